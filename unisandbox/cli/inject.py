"""``unisandbox inject``: teach invented people in words, then ask what reached the pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from unisandbox.api import run
from unisandbox.cli.run import progress
from unisandbox.cli.stars import at_least, new_folder, told, train_spec
from unisandbox.report.table import legend, rich_table
from unisandbox.results import Results
from unisandbox.training import injection
from unisandbox.training.injection import InjectOptions


def inject(arguments: argparse.Namespace) -> int:
    """Teach, ask, and say what arrived."""
    options = InjectOptions(
        model=arguments.model,
        judges=tuple(arguments.judges),
        people=at_least(2, arguments, "people"),
        by=arguments.by,
        inverse_facts=arguments.inverse_facts,
        in_context=arguments.in_context,
        limit=arguments.limit,
        spec=train_spec(arguments),
        seed=arguments.seed,
    )
    out = arguments.out or new_folder(Path("inject"))

    def execute(**given: Any) -> Results:
        with progress(arguments.quiet) as shown:
            return run(progress=shown, executor=arguments.executor, **given)

    found = injection.inject(options, out, execute, told, quiet=arguments.quiet)
    if not all(results.finished for results in found):
        told(f"Stopped before the end. The same command with --out {out} goes on.")
        return 130
    after = found[1:] or found
    shown = injection.together(after)
    for results in (*found[: len(found) - len(after)], shown):
        told(f"\n{results.folder}")
        console = Console()
        console.print(rich_table(results, console.width))
    told(legend(shown))
    for sentence in injection.sentences(after):
        print(sentence)
    told(f"Saved in {out}")
    return 0
