"""The command line: one small module a command; none is imported before it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    0 done; 1 a model, judge or comparison failed; 2 what was asked cannot be meant; 3 coverage below
    ``--min-coverage``; 130 interrupted.
    """
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()  # here, and not when Python ends, where a closed pipe is an ugly message
        return code
    except BrokenPipeError:  # `unisandbox show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fetch_runs(options: Namespace) -> None:
    """Put a local folder in the place of every run that a command reads and that is given as a URL."""
    for name in ("run", "runs", "others"):
        given = getattr(options, name, None)
        places: list[Any] = given if isinstance(given, list) else [given]
        if any(isinstance(place, str) for place in places):
            from unisandbox.storage import local

            pictures = options.command.startswith(("report:", "merge:"))
            folders = [local(place, pictures=pictures) for place in places]
            setattr(options, name, folders if isinstance(given, list) else folders[0])


def _run(arguments: Sequence[str]) -> int:
    from unisandbox.cli.parser import parse
    from unisandbox.errors import UnisandboxError

    try:
        command, options = parse(arguments)
    except SystemExit as stop:  # help is printed, or what is wrong with the arguments
        return int(stop.code or 0)
    try:
        _fetch_runs(options)
        return command(options)
    except UnisandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nInterrupted. What is done is kept: run the same command to go on.", file=sys.stderr)
        return 130
