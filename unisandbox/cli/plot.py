"""``unisandbox plot``: charts for papers."""

import argparse

from unisandbox.api import latest_folder
from unisandbox.cli.filters import patterns
from unisandbox.report.plots import plot


def plot_(arguments: argparse.Namespace) -> int:
    """Draw a chart and say where it is."""
    plot(
        arguments.kind,
        arguments.runs or [latest_folder()],
        arguments.output,
        columns=arguments.columns,
        only=patterns(arguments, ("tasks", "models", "judges")),
    )
    print(arguments.output)
    return 0
