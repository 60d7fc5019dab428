"""``unisandbox judge``: a run judged again, by other judges."""

import argparse
import shlex
import sys
from dataclasses import replace

from rich.console import Console

from unisandbox.api import judge_again, latest_folder, make_options
from unisandbox.cli.run import commonest_error, progress, write_page
from unisandbox.cli.show import print_contrasts, print_corrected
from unisandbox.options import JUDGING
from unisandbox.run_log import VERDICTS
from unisandbox.specs import parse_spec


def judge(arguments: argparse.Namespace) -> int:
    """Judge what a run has generated, and print its table, the new judges beside the old ones."""
    folder, least = arguments.run or latest_folder(), arguments.min_coverage
    make_options({"min_coverage": least})
    options = {name: value for name, value in vars(arguments).items() if name in JUDGING}
    labels = [parse_spec(text).label for text in arguments.judges]
    verdicts = folder / VERDICTS
    before = verdicts.stat().st_size if verdicts.exists() else 0
    with progress(arguments.quiet) as shown:
        results = judge_again(folder, arguments.judges, again=arguments.again, progress=shown, **options)
    if verdicts.stat().st_size == before:
        print(
            f"Nothing to do: {' and '.join(labels)} judged all of it before. To have it judged again, add "
            "--again; another judge, or this one with other options, gets rows of its own.",
            file=sys.stderr,
        )
    print_corrected(results)
    own = replace(results, cells=tuple(cell for cell in results if cell.judge in labels))
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    errors.print(f"Saved in {folder}")
    write_page(folder, errors)
    if results.finished:
        print_contrasts(results)
    else:
        errors.print(f"{folder} is not finished; what it has is judged. To go on: unisandbox resume {folder}")
    if own.coverage < least:
        again = shlex.join(["unisandbox", "judge", str(folder), "--judges", *labels])
        errors.print(
            f"Coverage {own.coverage:.2f} is below --min-coverage {least:g}."
            f"{commonest_error(own)} To judge again: {again}"
        )
        return 3
    return 0
