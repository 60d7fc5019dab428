"""``command``: a program of one's own, in its own environment, spoken to in JSON lines."""

from collections.abc import Mapping

from unisandbox.errors import UsageError, unknown

DOES = ("image", "text", "think", "see")
"""What a worker may do, and is taken to do where the options do not say."""


def does(options: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a run is planned for; the worker is held to it once it says hello. Raises UsageError."""
    given = tuple(filter(None, options.get("does", "").split("+")))
    for word in given:
        if word not in DOES:
            raise UsageError(f"model 'command': does={options['does']}: {unknown('ability', word, DOES)}")
    return given or DOES
