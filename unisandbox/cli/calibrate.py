"""``unisandbox calibrate``: a judge's own errors, counted on pictures whose truth is known."""

import argparse
import sys

from rich.console import Console

from unisandbox.calibrating import calibrate
from unisandbox.calibration import Tally
from unisandbox.cli.run import progress
from unisandbox.report.calibration import LEGEND, export, rich_table


def calibrate_(arguments: argparse.Namespace) -> int:
    """Calibrate a judge and print its sensitivity and specificity, by rubric and kind of wrongness."""
    given = ("rubrics", "samples", "seed", "images", "labels", "out", "fresh", "tries")
    with progress(arguments.quiet) as shown:
        found = calibrate(
            arguments.judge, progress=shown, **{name: getattr(arguments, name) for name in given}
        )
    if arguments.format != "table":
        print(export(found, arguments.format))
    else:
        print(f"{found.judge} on {found.pictures}\n")
        Console().print(rich_table(found))
        Console(stderr=True, highlight=False).print(LEGEND, style="dim")
    print(f"Saved in {found.folder}", file=sys.stderr)
    tallies = sum((one.right + one.all_wrong for one in found.rubrics.values()), Tally())
    if tallies.errors:
        print(
            f"No verdict on {tallies.errors} of {tallies.n + tallies.errors} pictures, which are in no rate. "
            "To try again: the same command.",
            file=sys.stderr,
        )
        return 3
    return 0
