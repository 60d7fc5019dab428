"""``unisandbox show``: the table of a run, again."""

import argparse
import sys

from rich.console import Console

from unisandbox.api import latest_folder
from unisandbox.errors import UsageError
from unisandbox.report.table import LEGEND, export, rich_table, rows_as
from unisandbox.results import Results, load_run


def show(arguments: argparse.Namespace) -> int:
    """Print a run's results, whole or in part."""
    folder = arguments.run or latest_folder()
    results = load_run(folder)
    split = {name: [p for text in getattr(arguments, name) for p in text.split(",")] for name in _FILTERS}
    chosen = results.only(**{_FILTERS[name]: globs for name, globs in split.items()})
    if not chosen.cells:
        raise UsageError(
            f"{folder}: no cell matches the filters; there are {len(results.cells)} without them."
        )
    if not results.finished:
        print(f"note: {folder} is not finished. To go on: unisandbox resume {folder}", file=sys.stderr)
    if arguments.samples:
        if arguments.format not in ("csv", "json"):
            raise UsageError("--samples gives one row a trial: add --format csv or --format json.")
        frame = chosen.samples()
        kept = frame[[tuple(key) in _cells(chosen) for key in frame[["task", "mode", "model"]].values]]
        rows = [{k: v for k, v in row.items() if v == v} for row in kept.to_dict("records")]
        print(rows_as([{str(k): v for k, v in row.items()} for row in rows], arguments.format))
    elif arguments.format == "table":
        Console().print(rich_table(chosen))
        Console(stderr=True, highlight=False).print(LEGEND, style="dim")
    else:
        print(export(chosen, arguments.format))
    return 0


_FILTERS = {"tasks": "task", "modes": "mode", "models": "model", "judges": "judge"}


def _cells(results: Results) -> set[tuple[str, str, str]]:
    return {(cell.task, cell.mode, cell.model) for cell in results}
