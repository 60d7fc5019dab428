"""Prompts: sandboxed, strict Jinja templates over a sample's fields.

Task files come from anyone, so templates run in Jinja's sandbox; a missing variable is an error,
never an empty string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from unisandbox.errors import TaskFileError, unknown
from unisandbox.records import Fields, Turn


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.globals = {"range": environment.globals["range"]}  # every render copies them
    return environment


class Template:
    """One compiled template; ``where`` (file, line, key) starts its error messages.

    >>> Template("Draw {{ n }} cups.", "demo").render({"n": 3})
    'Draw 3 cups.'
    """

    __slots__ = ("_field", "_render", "literal", "source", "where")

    def __init__(self, source: str, where: str) -> None:
        self.source = source
        self.where = where
        only = re.fullmatch(r"\{\{\s*(\w+)\s*\}\}", source)
        self._field = only[1] if only else None  # half of all templates; ten times as fast as a render
        try:
            self._render = _environment().from_string(source).render
        except TemplateError as error:
            raise TaskFileError(f"{where}: not a valid Jinja template: {error}") from None
        self.literal: str | None = None if re.search(r"\{[{%#]", source) else self._render()

    def __reduce__(self) -> tuple[Callable[[str, str], Template], tuple[str, str]]:
        """Travel to other processes as the source, which each compiles once."""
        return _compiled, (self.source, self.where)

    def render(self, fields: Fields) -> str:
        """Fill in the fields; raises TaskFileError naming a missing variable and the ones there are."""
        if self.literal is not None:
            return self.literal
        if self._field is not None and isinstance(value := fields.get(self._field), str):
            return value
        try:
            return self._render(fields)
        except UndefinedError as error:
            found = re.match(r"'(\w+)' is undefined", str(error))
            what = unknown("variable", found[1], fields) if found else f"{error}."
            raise TaskFileError(f"{self.where}: {what}") from None
        except SecurityError as error:
            raise TaskFileError(f"{self.where}: templates cannot reach Python internals: {error}") from None
        except Exception as error:  # whatever an expression over a row's values can raise
            raise TaskFileError(f"{self.where}: {type(error).__name__} in the template: {error}") from None

    def value(self, fields: Fields) -> Any:
        """Like ``render``, but a lone ``{{ field }}`` keeps the field's own type."""
        if self._field is not None and self._field in fields:
            return fields[self._field]
        return self.render(fields)


@lru_cache(maxsize=256)
def _compiled(source: str, where: str) -> Template:
    return Template(source, where)


def render_all(templates: Mapping[str, Template], fields: Fields) -> dict[str, Any]:
    """Render each template, keeping the type of lone fields."""
    return {name: template.value(fields) for name, template in templates.items()}


CONCLUSION = "Draw:"
"""What the last line of a thought begins with, in our own prompts."""


def conclusion(thought: str) -> str:
    """Return what a thought says to draw: after the last ``Draw:``, else its last sentence.

    >>> conclusion("8 / 4 = 2.\\nDraw: 2 cups.")
    'Draw 2 cups.'
    >>> conclusion("Eight over four is two. So I should paint two cups.")
    'So I should paint two cups.'
    """
    marked = re.findall(r"draw:[*_\s]*(\S.*)", thought, flags=re.IGNORECASE)
    if marked:
        return f"Draw {marked[-1].strip(' *_')}"
    sentences = re.split(r"(?<=[.!?。])\s+|\n+", thought.strip())
    return sentences[-1].strip() if sentences else ""


def with_thought(question: str, thought: str) -> tuple[Turn, ...]:
    """Put a thought behind the question and re-issue its conclusion as a new turn.

    This is the one form in which thoughts made or chosen by the harness enter a model's context
    (two-call thinking, ``gold``, ``planted``), because the form decides scores.
    """
    return (
        Turn("user", question),
        Turn("model", thought, thought=True),
        Turn("user", conclusion(thought)),
    )
