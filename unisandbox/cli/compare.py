"""``unisandbox compare`` and ``unisandbox power``."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from unisandbox.cli.filters import patterns
from unisandbox.contrast import Contrast, between_runs
from unisandbox.errors import UsageError
from unisandbox.report.contrasts import LEGEND, export, flipped, flipped_rows, rich_table
from unisandbox.report.table import rows_as
from unisandbox.results import load_run
from unisandbox.stats import paired_power, resolved, samples_needed


def compare(arguments: argparse.Namespace) -> int:
    """Print how later runs differ from the first; exit code 1 when one got worse than allowed."""
    if not arguments.others:
        raise UsageError(
            f"{arguments.run}: with which run is it to be compared? unisandbox compare RUN_A RUN_B"
        )
    limit = arguments.fail_if_worse
    if limit is not None and not 0 <= limit < 1:
        raise UsageError(
            f"--fail-if-worse {limit:g}: expected a share from 0 to 1, such as 0.05 for 5 points."
        )
    if arguments.samples and arguments.format not in ("csv", "json"):
        raise UsageError("--samples gives one row a flipped unit: add --format csv or --format json.")
    for folder in (arguments.run, *arguments.others):
        if not load_run(folder).finished:
            print(f"note: {folder} is not finished. To go on: unisandbox resume {folder}", file=sys.stderr)
    found = {other: between_runs(arguments.run, other, **patterns(arguments)) for other in arguments.others}
    if arguments.format in ("csv", "json"):
        print(rows_as(_rows(arguments.run, found, samples=arguments.samples), arguments.format))
    else:
        _print(arguments.run, found, arguments.format)
    worse = [
        one for contrasts in found.values() for one in contrasts if limit is not None and one.worse_by(limit)
    ]
    for one in worse:
        print(f"worse: {one.task} {one.mode} {one.model}: {one.difference:+.2f}", file=sys.stderr)
    return 1 if worse else 0


def _rows(run: Path, found: Mapping[Path, list[Contrast]], *, samples: bool) -> list[dict[str, Any]]:
    """Return a mapping a contrast, or a flipped unit, of all runs compared with ``run``."""
    return [
        {"first_run": str(run), "second_run": str(other), **row}
        for other, contrasts in found.items()
        for row in (flipped_rows(contrasts) if samples else map(Contrast.to_row, contrasts))
    ]


def _print(run: Path, found: Mapping[Path, list[Contrast]], form: str) -> None:
    for number, (other, contrasts) in enumerate(found.items()):
        if len(found) > 1:
            print("\n" * bool(number) + f"{run} -> {other}")
        if form != "table":
            print(export(contrasts, form))
            continue
        console = Console()
        console.print(rich_table(contrasts, console.width))
        for line in flipped(contrasts):
            print(line)
    if form == "table":
        Console(stderr=True, highlight=False).print(LEGEND, style="dim")


def power(arguments: argparse.Namespace) -> int:
    """Print how many samples a contrast needs, and what a given number resolves."""
    effect, discordance, wanted = arguments.effect, arguments.discordance, arguments.power
    try:
        needed = samples_needed(effect, discordance, wanted)
    except ValueError as error:
        raise UsageError(
            f"--effect {effect:g} --discordance {discordance:g} --power {wanted:g}: {error}."
        ) from None
    print(
        f"{needed} units show a difference of {100 * effect:g} points between two modes or runs, when "
        f"{100 * discordance:g} % of them pass in one only (power {wanted:g}, two-sided alpha 0.05)."
    )
    if (n := arguments.n) is not None:
        least = resolved(n, discordance, wanted)
        says = f"the smallest they show is {100 * least:g} points" if least else "they show none at all"
        print(f"{n} units show it with power {paired_power(effect, discordance, n):.2f}; {says}.")
    return 0
