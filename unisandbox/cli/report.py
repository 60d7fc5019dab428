"""``unisandbox report``: the page about a run, or several."""

import argparse

from unisandbox.api import latest_folder
from unisandbox.errors import UsageError
from unisandbox.report.page import write_report
from unisandbox.storage import publish


def report(arguments: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    folders = arguments.runs or [latest_folder()]
    if len(folders) > 1 and arguments.output is None:
        raise UsageError("Of several runs the page needs a place of its own: add -o FILE.html")
    path = write_report(folders, arguments.output, embed=arguments.embed)
    if path.parent == folders[0]:
        publish(folders[0], path.name)
    print(path)
    return 0
