"""``name:key=value,key=value``: how models and judges are named, and how their options are checked."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

import yaml

from unisandbox.errors import UsageError, unknown

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
HIDDEN = "***"
PART = re.compile(r'(?:"[^"]*"|[^,])++')
"""What stands between commas; those in double quotes are part of a value."""
SECRET = re.compile(r"(?:^|_)(?:key|token|secret|password)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Spec:
    """A name with options, as on the command line."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The canonical form: options sorted, secrets hidden. Names the column, the log and the key."""
        shown = [
            f"{key}={HIDDEN if SECRET.search(key) else _quoted(value)}"
            for key, value in sorted(self.options.items())
        ]
        return f"{self.name}:{','.join(shown)}" if shown else self.name


def parse_spec(text: str) -> Spec:
    """Read ``name:key=value,key=value``, where a value that holds commas stands in double quotes.

    Raises UsageError.

    >>> parse_spec("oracle:transfer=0.1,cannot_draw=cup+hat").options
    {'transfer': '0.1', 'cannot_draw': 'cup+hat'}
    """
    name, _, rest = text.strip().partition(":")
    options: dict[str, str] = {}
    for part in PART.findall(rest):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"{text!r}: {part!r} is no option. Write NAME:KEY=VALUE,KEY=VALUE (lists as VALUE+VALUE)."
            )
        if key.strip() in options:
            raise UsageError(f"{text!r}: the option {key.strip()!r} stands twice.")
        options[key.strip()] = re.sub(r'^"([^"]*)"$', r"\1", value.strip())
    if not name:
        raise UsageError(f"{text!r}: the name is missing before the colon.")
    return Spec(name, options)


def _quoted(value: str) -> str:
    """Return a value so that ``parse_spec`` reads it as it is.

    >>> _quoted("draw.py --sizes 1,2")
    '"draw.py --sizes 1,2"'
    """
    return value if PART.fullmatch(value) or not value else f'"{value}"'


def build(what: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Call a factory with options checked against its signature and annotations.

    Strings become the annotated type; a list is written ``a+b``. Raises UsageError for an unknown option,
    a missing one or a value of the wrong type.
    """
    return factory(**checked_options(what, factory, options))


def checked_options(
    what: str, factory: Callable[..., Any], options: Mapping[str, Any], *, complete: bool = True
) -> dict[str, Any]:
    """Return the options in the types the factory asks for; raises UsageError.

    ``complete`` also asks for every option that has no default.
    """
    parameters = options_of(factory)
    for name in options:
        if name not in parameters:
            raise UsageError(f"{what}: {unknown('option', name, parameters)}")
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in options]
    if missing and complete:
        raise UsageError(f"{what} needs the option{'s' * (len(missing) > 1)} {', '.join(missing)}=...")
    hints = hints_of(factory)
    return {name: _typed(what, name, hints.get(name, Any), value) for name, value in options.items()}


def options_of(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the options a factory takes, by name."""
    return {
        name: parameter
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }


def hints_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a factory's options."""
    function = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc]
    return get_type_hints(function, include_extras=True)


def _typed(what: str, name: str, annotation: Any, value: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(annotation)
    attempts = [value]
    if isinstance(value, str):  # from the command line: a number, or a list written a+b
        attempts += [yaml.safe_load(value)] if NUMBER.fullmatch(value) else []
        attempts += [value.split("+") if value else []]
    fault = ""
    for attempt in attempts:
        try:
            return adapter.validate_python(attempt)
        except ValidationError as error:
            fault = fault or error.errors()[0]["msg"]
    raise UsageError(f"{what}: option {name}={value!r}: {fault[0].lower()}{fault[1:]}.")
