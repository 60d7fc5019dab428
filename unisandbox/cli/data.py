"""``unisandbox data export``: a task's rows, for other people's pipelines."""

import argparse
import sys

from unisandbox.api import with_data
from unisandbox.catalog import Catalog
from unisandbox.datasets.export import export_rows
from unisandbox.errors import UsageError
from unisandbox.plugins import installed


def help_(arguments: argparse.Namespace) -> int:
    """Say what there is."""
    print("error: name what to do: unisandbox data export --task TASK DIR", file=sys.stderr)
    return 2


def export(arguments: argparse.Namespace) -> int:
    """Write the rows of one task."""
    catalog = Catalog(installed(), arguments.include_path)
    found = catalog.select([arguments.task])
    if len(found) != 1:
        raise UsageError(
            f"--task {arguments.task}: expected one task, found {', '.join(f.name for f in found)}."
        )
    (task,) = with_data([catalog.task(found[0])], arguments.data)
    rows = [dict(sample.fields) for sample in task.samples]
    for path in export_rows(
        rows, arguments.layout, arguments.folder, task.name, task.family, overwrite=arguments.overwrite
    ):
        print(path)
    return 0
