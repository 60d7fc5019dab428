"""``unisandbox show``: the table of a run, again."""

import argparse
import sys
from typing import Any

from rich.console import Console

from unisandbox.api import latest_folder
from unisandbox.cli.filters import patterns
from unisandbox.errors import UsageError
from unisandbox.report.table import export, legend, rich_table, rows_as
from unisandbox.results import Results, load_run


def show(arguments: argparse.Namespace) -> int:
    """Print a run's results, whole or in part."""
    folder = arguments.run or latest_folder()
    results = load_run(folder)
    chosen = results.only(**patterns(arguments))
    if not chosen.cells:
        raise UsageError(
            f"{folder}: no cell matches the filters; there are {len(results.cells)} without them."
        )
    if not results.finished:
        print(f"note: {folder} is not finished. To go on: unisandbox resume {folder}", file=sys.stderr)
    if arguments.samples:
        if arguments.format not in ("csv", "json"):
            raise UsageError("--samples gives one row a trial: add --format csv or --format json.")
        print(rows_as(_samples(chosen), arguments.format))
    elif arguments.format == "table":
        Console().print(rich_table(chosen))
        Console(stderr=True, highlight=False).print(legend(chosen), style="dim")
    else:
        print(export(chosen, arguments.format))
    return 0


def _samples(chosen: Results) -> list[dict[str, Any]]:
    """Return the trials of the chosen cells; one without a verdict belongs to every judge."""
    cells = {(cell.task, cell.mode, cell.model, judge) for cell in chosen for judge in (cell.judge, None)}
    rows = [
        {str(name): value for name, value in row.items() if value == value}  # no NaN
        for row in chosen.samples().to_dict("records")
    ]
    return [row for row in rows if (row["task"], row["mode"], row["model"], row.get("judge")) in cells]
