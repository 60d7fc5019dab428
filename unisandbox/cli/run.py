"""``unisandbox run`` and ``unisandbox resume``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unisandbox.api import (
    execute,
    latest_folder,
    make_options,
    new_folder,
    nothing_asked,
    plan,
    saved_options,
    unbuildable,
)
from unisandbox.calibration import Fit
from unisandbox.cli.show import print_contrasts, print_corrected
from unisandbox.errors import BackendError, JudgeError, UsageError, unknown
from unisandbox.executors import judge_replicas
from unisandbox.options import RunOptions, option_names
from unisandbox.report.names import Name
from unisandbox.results import Results
from unisandbox.run_log import GENERATIONS, VERDICTS
from unisandbox.stats import resolved, samples_needed
from unisandbox.storage import publish, spool_of
from unisandbox.yaml_file import YamlFile

if TYPE_CHECKING:
    from unisandbox.runner import Progress

DISCORDANCE = 0.3
"""Share of units that two modes are taken to differ in when --limit is judged."""


def run(arguments: argparse.Namespace) -> int:
    """Run a matrix and print its table."""
    options = make_options({**_from_config(arguments.config), **_given(arguments)})
    costs = Costs(arguments.seconds_per_image, arguments.devices, arguments.price_per_hour)
    if arguments.dry_run:
        return dry_run(options, costs)
    if costs != Costs():
        raise UsageError("--seconds-per-image, --devices and --price-per-hour plan a run: add --dry-run.")
    return _execute(options, arguments)


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a stopped run."""
    return _execute(saved_options(arguments.run or latest_folder()), arguments)


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(arguments).items() if name in option_names()}


def _from_config(path: Path | None) -> dict[str, Any]:
    """Read the options of a config file; keys may be written with dashes."""
    if path is None:
        return {}
    file = YamlFile(path)
    values = {}
    for key, value in file.data.items():
        name = str(key).replace("-", "_")
        if name not in option_names():
            raise UsageError(f"{file.where(key)}: {unknown('option', str(key), option_names())}")
        default = RunOptions.__dataclass_fields__[name].default
        if isinstance(default, tuple) and isinstance(value, list):
            value = [Path(v) if name == "include_path" else str(v) for v in value]
        elif name == "min_coverage" and isinstance(value, int):
            value = float(value)
        try:
            make_options({"out": ".", name: value})
        except UsageError as error:
            raise UsageError(f"{file.where(key)}: {error}") from None
        values[name] = value
    return values


def _too_few(options: RunOptions) -> str:
    """Return a note when --limit leaves too few units to see a difference of 10 points, else ''."""
    needed = samples_needed(0.1, DISCORDANCE)
    if options.limit is None or options.limit >= needed:
        return ""
    least = resolved(options.limit, DISCORDANCE)
    shows = f"only differences of {100 * least:.0f} points or more" if least else "no difference for certain"
    return (
        f"note: --limit {options.limit} shows {shows}; 10 points take {needed} units (with 30 % of them "
        "flipped and power 0.8: see unisandbox power)."
    )


def _execute(options: RunOptions, arguments: argparse.Namespace) -> int:
    folder = options.out or new_folder(options)
    goes_on = isinstance(folder, Path) and not options.fresh
    logs = [Path(folder) / name for name in (GENERATIONS, VERDICTS)]
    before = [log.stat().st_size if goes_on and log.exists() else 0 for log in logs]
    try:
        results = shown_run(replace(options, out=folder), arguments.quiet)
    except (BackendError, JudgeError) as error:
        if nothing_asked(spool_of(folder) if isinstance(folder, str) else folder):
            raise
        raise type(error)(f"{error} To go on: unisandbox resume {folder}") from error
    except KeyboardInterrupt:
        print(f"\nInterrupted. What is done is kept. To go on: unisandbox resume {folder}", file=sys.stderr)
        return 130
    if all(before) and before == [log.stat().st_size for log in logs]:
        print("Nothing to do: all of it was asked and judged before.", file=sys.stderr)
    return _report(results, options, page=not arguments.no_report)


def shown_run(options: RunOptions, quiet: bool) -> Results:
    """Run what the options say, and show what is going on."""
    with progress(quiet) as shown:
        return execute(options, progress=shown)


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """Show what is going on while the block lasts."""
    from unisandbox.report.progress import Display
    from unisandbox.runner import Silent

    if quiet:
        yield Silent()
    else:
        with Display() as display:
            yield display


def _report(results: Results, options: RunOptions, *, page: bool) -> int:
    known = print_corrected(results)
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    if few := _too_few(options):
        errors.print(few)
    errors.print(f"Saved in {results.folder}")
    if page:
        write_page(results.folder, errors)
    if not results.finished:
        errors.print(f"Stopped before the end. To go on: unisandbox resume {results.folder}")
        return 130
    print_contrasts(results)
    if options.best_of:
        _print_best(results)
    if options.attribution:
        _print_causes(results, known)
    if results.coverage < options.min_coverage:
        errors.print(
            f"Coverage {results.coverage:.2f} is below --min-coverage {options.min_coverage:g}."
            f"{commonest_error(results)} To ask again: unisandbox resume {results.folder}"
        )
        return 3
    return 0


def write_page(folder: Path, errors: Console) -> None:
    """Write the HTML page; that it cannot be written is no failure of the run."""
    from unisandbox.report.page import write_report

    try:
        path = write_report([folder])
    except Exception as error:  # whatever it is: the run is done, and its table printed
        errors.print(f"warning: no report: {error}")
    else:
        publish(folder, path.name)
        errors.print(Text.assemble("Look at it: ", (str(path), f"link {path.resolve().as_uri()}")))


def _print_best(results: Results) -> None:
    from unisandbox.best_of import best_of
    from unisandbox.report.best_of import LEGEND
    from unisandbox.report.best_of import rich_table as best_table

    if found := best_of(results.folder):
        print()
        Console().print(best_table(found))
        Console(stderr=True, highlight=False).print(LEGEND, style="dim")


def _print_causes(results: Results, known: Fit) -> None:
    from unisandbox.attribution import attribute
    from unisandbox.cli.attribute import print_causes

    print()
    print_causes(attribute(results.folder, known=known.known))


def commonest_error(results: Results) -> str:
    """Return in a sentence why trials are errors, where the logs say so."""
    reasons = Counter(str(reason) for reason in results.errors())
    if not reasons:
        return ""
    reason, number = reasons.most_common(1)[0]
    return f" Commonest error ({number} of {reasons.total()}): {reason}."


@dataclass(frozen=True, slots=True)
class Costs:
    """What a run is planned by."""

    seconds: float | None = None
    """That one device takes for a picture."""
    devices: int | None = None
    price: float | None = None
    """Of a device for an hour, in whatever money."""

    def __post_init__(self) -> None:
        for flag, value in (
            ("--seconds-per-image", self.seconds),
            ("--devices", self.devices),
            ("--price-per-hour", self.price),
        ):
            if value is None:
                continue
            if not (isfinite(value) and value > 0):
                raise UsageError(f"{flag} {value:g}: expected a number above 0.")
            if self.seconds is None:
                raise UsageError(f"{flag} {value:g} says nothing without --seconds-per-image.")

    def of(self, pictures: int) -> str:
        """Return in a sentence what so many pictures take; loading, texts and judges are not in it."""
        if self.seconds is None:
            return ""
        hours, devices = pictures * self.seconds / 3600, self.devices or 1
        parts = [f"{pictures} pictures at {self.seconds:g} s: {hours:,.1f} device-hours"]
        parts.append(f"{hours / devices:,.1f} h ({hours / devices / 24:,.1f} days) on {devices}")
        if self.price is not None:
            parts.append(f"{hours * self.price:,.2f} at {self.price:g} an hour")
        return f"{'; '.join(parts)}. Texts, judges and loading come on top."


def dry_run(options: RunOptions, costs: Costs) -> int:
    """Print what a run would do: the matrix, generations and judge calls, and what is missing for it."""
    matrix = plan(options)
    names = ("task", "mode", "model", "judge")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name == "mode")
    for name in ("units", "generations", "verdicts", "guess"):
        table.add_column(name, justify="right", no_wrap=True)
    for ask in matrix.asks:
        judges = ", ".join(judge.label for judge in ask.judges)
        words = {"task": ask.task.name, "mode": ask.mode.name, "model": ask.model.label, "judge": judges}
        counts = (str(ask.units), str(ask.trials), str(ask.trials * len(ask.judges)))
        table.add_row(*(Name(words[name]) for name in names), *counts, f"{ask.chance.score:.2f}")
    Console().print(table)
    calls = sum(ask.trials * len(ask.judges) for ask in matrix.asks)
    pictures = Counter(ask.mode.output for ask in matrix.asks for _ in range(ask.trials))
    print(f"{pictures['image']} pictures, {pictures['text']} texts, {calls} judge calls (two stages each).")
    for label, number in judge_replicas(options.judge_replicas, matrix.judges).items():
        print(f"Replicas of the judge {label}: {number}.")
    if cost := costs.of(pictures["image"]):
        print(cost)
    for gap in matrix.unsupported:
        print(f"not supported: {gap.task} {gap.mode} {gap.model}: {gap.reason}")
    if matrix.added:
        print(f"added, because others are made from them: {', '.join(matrix.added)}")
    if few := _too_few(options):
        print(few)
    faults = list(unbuildable(matrix))
    for fault in faults:
        print(f"missing: {fault}", file=sys.stderr)
    return 2 if faults else 0
