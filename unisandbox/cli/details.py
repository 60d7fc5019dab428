"""``unisandbox models show`` and ``judges show``: one in full, as its code tells it."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unisandbox.plugins import Entry, installed
from unisandbox.specs import hints_of, options_of

WORDS = {str: "text", int: "whole number", float: "number", bool: "true|false", Path: "path"}
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "a multiple of"}


def show_model(arguments: argparse.Namespace) -> int:
    """Show models by name; raises UsageError for one that is not installed."""
    for number, entry in enumerate([installed().models[name] for name in arguments.names]):
        print(end="\n" if number else "")
        about = f"does {' '.join(entry.abilities({}))}; draws {entry.draws}"
        judge = "" if entry.draws == "sandbox" else " --judges openai"
        _show(entry, about, f"unisandbox run{judge} --models", "draws")
    return 0


def show_judge(arguments: argparse.Namespace) -> int:
    """Show judges by name; raises UsageError for one that is not installed."""
    for number, entry in enumerate([installed().judges[name] for name in arguments.names]):
        print(end="\n" if number else "")
        default = f"; default for {' '.join(entry.default_for)}" if entry.default_for else ""
        _show(entry, f"reads {' '.join(entry.reads)}{default}", "unisandbox run --judges")
    return 0


def _show(entry: Entry, about: str, command: str, common: str = "") -> None:
    """Show one: ``about`` says what it does, ``command`` takes it, ``common`` is an option that all have."""
    factory: Callable[..., Any] = entry.load()
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(entry.name)}[/]  {escape(entry.summary)}")
    console.print(f"{about}; plugin {escape(entry.plugin)}, {escape(entry.factory)}")
    hints, options = hints_of(factory), options_of(factory)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("option", "takes", "default"):
        table.add_column(title, overflow="fold")
    for name, option in options.items():
        table.add_row(name, escape(takes(hints.get(name, str))), escape(_default(option.default)))
    if options:
        console.print()
        Console().print(table)
    for part in (factory, getattr(factory, "__init__", None)) if isinstance(factory, type) else (factory,):
        if part.__doc__ and part is not object.__init__:
            console.print(f"\n{escape(inspect.cleandoc(part.__doc__).replace('``', ''))}")
    first = next((name for name, option in options.items() if option.default is option.empty), "")
    first = first or next(iter(options), common)
    console.print(f"\n{command} {entry.name}{f':{first}=...' if first else ''}", style="dim")


def takes(annotation: Any) -> str:
    """Return in words what an option takes, as far as the annotation tells.

    >>> takes(tuple[Literal["cup", "hat"], ...] | None)
    'cup|hat, several joined by +'
    """
    kind, inside = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        known = [example for one in inside[1:] for example in getattr(one, "examples", None) or ()]
        return f"such as {', '.join(known)}" if known else _bounded(takes(inside[0]), inside[1:])
    if kind is Literal:
        return "|".join(map(str, inside))
    if kind in (Union, UnionType):
        return " or ".join(takes(one) for one in inside if one is not NoneType)
    if kind in (tuple, list):
        return f"{takes(inside[0])}, several joined by +"
    return WORDS.get(annotation, getattr(annotation, "__name__", "text"))


def _bounded(kind: str, metadata: tuple[Any, ...]) -> str:
    """Add the limits in an annotation: those of pydantic's ``Field``, or of annotated-types."""
    limits = [limit for one in metadata for limit in getattr(one, "metadata", [one])]
    found = [
        f"{sign} {getattr(limit, name)}"
        for limit in limits
        for name, sign in BOUNDS.items()
        if hasattr(limit, name)
    ]
    return f"{kind} {', '.join(found)}".strip()


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "must be given"
    if value in (None, "", ()):
        return "-"
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
