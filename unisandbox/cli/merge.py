"""``unisandbox merge``: run folders of one matrix, joined."""

import argparse

from rich.console import Console

from unisandbox.cli.run import write_page
from unisandbox.cli.show import print_corrected
from unisandbox.merging import merge, missing_shards


def merge_(arguments: argparse.Namespace) -> int:
    """Join the runs, print their table, and say what is missing."""
    results = merge(arguments.runs, arguments.output)
    print_corrected(results)
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    errors.print(f"Saved in {results.folder}")
    if not arguments.no_report:
        write_page(results.folder, errors)
    if missing := missing_shards(results.folder):
        errors.print(f"warning: not among them: shard {', '.join(missing)}. Merge again when they are there.")
    if not results.finished:
        errors.print(f"{results.folder} is not finished. To ask the rest: unisandbox resume {results.folder}")
    return 0
