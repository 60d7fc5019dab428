"""``unisandbox attribute``: why the direct pictures of a run failed."""

import argparse
import textwrap

from rich.console import Console

from unisandbox.api import latest_folder
from unisandbox.attribution import Attribution, attribute, parse_accuracy
from unisandbox.calibration import fit_from
from unisandbox.cli.filters import patterns
from unisandbox.cli.show import print_notes
from unisandbox.errors import UsageError
from unisandbox.report.causes import LEGEND, export, not_asked, rich_table
from unisandbox.report.table import rows_as
from unisandbox.results import load_run


def attribute_(arguments: argparse.Namespace) -> int:
    """Print the causes, whole or in part."""
    folder = arguments.run or latest_folder()
    known = fit_from(folder, arguments.calibration)
    found = attribute(folder, dict(map(parse_accuracy, arguments.accuracy)), known.known)
    chosen = found.only(**patterns(arguments, ("tasks", "models", "judges")))
    if not chosen.cells:
        raise UsageError(
            f"{folder}: nothing matches the filters; there are {len(found.cells)} cells without them."
        )
    if not load_run(folder).finished:
        errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
        errors.print(f"note: {folder} is not finished. To go on: unisandbox resume {folder}")
    if arguments.samples:
        if arguments.format not in ("csv", "json"):
            raise UsageError("--samples gives one row a failed sample: add --format csv or --format json.")
        print(rows_as(chosen.sample_rows(), arguments.format))
    elif arguments.format == "table":
        print_causes(chosen)
    else:
        print(export(chosen, arguments.format))
    print_notes(known)
    return 0


def print_causes(attribution: Attribution) -> None:
    """Print the table, what it says in words, and how to read it."""
    console = Console()
    console.print(rich_table(attribution))
    print()
    print(textwrap.fill(attribution.reading(), min(console.width, 110), break_on_hyphens=False))
    errors = Console(stderr=True, highlight=False, markup=False)
    errors.print(LEGEND, style="dim")
    if missing := not_asked(attribution):
        errors.print(missing)
