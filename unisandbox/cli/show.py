"""``unisandbox show``: the table of a run, again."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from unisandbox.agreement import Agreement, agreements
from unisandbox.api import latest_folder
from unisandbox.calibration import Fit, correct, fit_from
from unisandbox.cli.filters import patterns
from unisandbox.errors import UsageError
from unisandbox.report import agreement
from unisandbox.report.table import export, legend, rich_table, rows_as
from unisandbox.results import Results, load_run


def show(arguments: argparse.Namespace) -> int:
    """Print a run's results, whole or in part."""
    folder = arguments.run or latest_folder()
    results = load_run(folder)
    known = fit_from(folder, arguments.calibration)
    chosen = correct(results.only(**patterns(arguments)), known.known)
    if not chosen.cells:
        has = {
            f"{column}s": dict.fromkeys(getattr(cell, column) for cell in results)
            for column in ("task", "mode", "model", "judge")
        }
        told = "; ".join(f"{name} {', '.join(filter(None, words))}" for name, words in has.items())
        raise UsageError(f"{folder}: no cell matches the filters. It has: {told}.")
    if not results.finished:
        print(f"note: {folder} is not finished. To go on: unisandbox resume {folder}", file=sys.stderr)
    if arguments.samples:
        if arguments.format not in ("csv", "json"):
            raise UsageError("--samples gives one row a trial: add --format csv or --format json.")
        print(rows_as(_samples(chosen), arguments.format))
    elif arguments.agreement:
        print_agreement(chosen, arguments.format)
    elif arguments.format == "table":
        print_results(chosen, known)
        if results.finished and len(chosen.cells) == len(results.cells):
            print_contrasts(results)
    else:
        print(export(chosen, arguments.format))
        print_notes(known)
    return 0


def print_corrected(results: Results) -> Fit:
    """Print results, corrected by what calibrations tell of the judges; return those."""
    known = fit_from(results.folder, None)
    print_results(correct(results, known.known), known)
    return known


def print_results(results: Results, known: Fit) -> None:
    """Print the table, how to read it, and how far judges of the same answers agree."""
    console = Console()
    console.print(rich_table(results, console.width))
    Console(stderr=True, highlight=False).print(legend(results), style="dim")
    print_notes(known)
    if found := agreements(results):
        _print_tables(found)


def print_contrasts(results: Results) -> None:
    """Print what thinking first changes, where both modes were asked."""
    if not {"direct", "cot"} <= {cell.mode for cell in results if cell.supported}:
        return
    from unisandbox.contrast import between_modes
    from unisandbox.report.contrasts import LEGEND
    from unisandbox.report.contrasts import rich_table as contrast_table

    if contrasts := between_modes(results.folder):
        print()
        console = Console()
        console.print(contrast_table(contrasts, console.width))
        Console(stderr=True, highlight=False).print(LEGEND, style="dim")


def print_notes(known: Fit) -> None:
    """Print which calibrations are used, and which are not, and why."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    for one in known.used:
        errors.print(f"corrected for {one.judge} as counted on {one.pictures} in {one.folder}", style="dim")
    for note in known.notes:
        errors.print(f"note: {note}")


def print_agreement(results: Results, form: str) -> None:
    """Print only how far judges agree; raises UsageError where there is but one a cell."""
    found = agreements(results)
    if not found:
        raise UsageError(
            f"{results.folder}: nothing is judged by two judges. Add one: "
            f"unisandbox judge {results.folder} --judges JUDGE"
        )
    if form == "table":
        _print_tables(found)
    else:
        print(agreement.export(found, form))


def _print_tables(found: Sequence[Agreement]) -> None:
    console = Console(highlight=False, markup=False)
    for part in agreement.tables(found):
        console.print(part)
    Console(stderr=True, highlight=False).print(agreement.LEGEND, style="dim")


def _samples(chosen: Results) -> list[dict[str, Any]]:
    """Return the trials of the chosen cells; one without a verdict belongs to every judge."""
    cells = {(cell.task, cell.mode, cell.model, judge) for cell in chosen for judge in (cell.judge, None)}
    rows = [
        {str(name): value for name, value in row.items() if value == value}  # no NaN
        for row in chosen.samples().to_dict("records")
    ]
    return [row for row in rows if (row["task"], row["mode"], row["model"], row.get("judge")) in cells]
