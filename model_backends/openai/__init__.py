"""``openai``: any model behind an OpenAI-compatible server. See ``docs/models.md``."""

from collections.abc import Mapping

GENERIC = ("image", "text", "see")
"""What is asked of a server of which nothing is said."""


def does(options: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a model with these options can do; raises UsageError for those that cannot be meant."""
    if not options:
        return GENERIC
    from unisandbox.model_backends.openai.factory import abilities

    return abilities(options)
