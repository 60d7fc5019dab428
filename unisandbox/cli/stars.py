"""``unisandbox stars`` and its single steps."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from unisandbox.api import make_options
from unisandbox.backend import TrainSpec
from unisandbox.cli.run import shown_run
from unisandbox.contrast import between_runs
from unisandbox.errors import UsageError
from unisandbox.options import RunOptions
from unisandbox.report import contrasts as contrast_report
from unisandbox.report import stars as report
from unisandbox.results import Results
from unisandbox.training import candidates as pool
from unisandbox.training import stars
from unisandbox.training.examples import FILE, read, write, write_parquet
from unisandbox.training.stars import CONTROLS, MODES, Pipeline, Stars, StarsOptions

FOLDER = Path("stars")


def all_(arguments: argparse.Namespace) -> int:
    """Do everything, and print the table."""
    options = _sampling(
        arguments,
        per_prompt=at_least(1, arguments, "per_prompt"),
        soft=arguments.rewards == "soft",
        rounds=at_least(1, arguments, "rounds"),
        curriculum=arguments.curriculum,
        compare=arguments.compare_curriculum,
        controls=CONTROLS if arguments.controls else (),
        hold_out=tuple(arguments.hold_out),
        also=tuple(arguments.also),
        limit=arguments.limit,
        spec=train_spec(arguments),
    )
    out = arguments.out or new_folder()
    run = runner(arguments.executor, arguments.quiet)
    found = Pipeline(options, out, run=run, told=told, quiet=arguments.quiet).run()
    if found.lines:
        _print(found)
    if not found.finished:
        told(f"Stopped before the end. The same command with --out {out} goes on.")
        return 130
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print the table again, of a run under way that of its finished stages."""
    found = stars.load(arguments.folder)
    if arguments.format == "table":
        _print(found)
    else:
        print(report.export(found, arguments.format))
    if not found.finished:
        told("Not finished: these are the stages so far.")
    return 0


def _print(found: Stars) -> None:
    console = Console()
    console.print(report.rates_table(found))
    print()
    console.print(report.rich_table(found, console.width))
    Console(stderr=True, highlight=False).print(report.LEGEND, style="dim")
    told(f"Saved in {found.folder}")


def sample(arguments: argparse.Namespace) -> int:
    """Draw candidates for training prompts."""
    options = _sampling(arguments)
    run = stars.candidate_run(options, options.model, options.tasks, arguments.out)
    if not runner(arguments.executor, arguments.quiet)(run).finished:
        told("Stopped before the end. The same command goes on.")
        return 130
    drawn = pool.read_candidates(arguments.out)
    right = sum(one.correct for one in drawn)
    told(f"{right} of {len(drawn)} candidates are correct. Saved in {arguments.out}")
    return 0


def runner(executor: str, quiet: bool) -> Callable[[RunOptions], Results]:
    """Return what does a run where ``executor`` says, and shows it."""
    return lambda options: shown_run(replace(options, executor=executor), quiet)


def _sampling(arguments: argparse.Namespace, **more: Any) -> StarsOptions:
    """Return options from those that say how candidates are drawn, and ``more``."""
    return StarsOptions(
        tasks=tuple(arguments.tasks),
        model=arguments.model,
        judges=tuple(arguments.judges),
        prompts=at_least(1, arguments, "prompts"),
        candidates=at_least(1, arguments, "candidates"),
        train_data=tuple(arguments.train_data),
        seed=arguments.seed,
        **more,
    )


def filter_(arguments: argparse.Namespace) -> int:
    """Keep what a judge accepts."""
    if (arguments.run / stars.PLAN).exists():
        there = sorted(map(str, (arguments.run / "candidates").glob("*")))
        raise UsageError(f"{arguments.run} is all of STARS. Its candidates: {' '.join(there) or 'none yet'}.")
    drawn = pool.read_candidates(arguments.run, arguments.judge)
    kept = pool.accept(
        drawn,
        per_prompt=at_least(1, arguments, "per_prompt"),
        soft=arguments.rewards == "soft",
        seed=arguments.seed,
    )
    if not kept:
        raise pool.nothing_accepted(drawn, arguments.run)
    found = pool.examples(kept)
    write(arguments.out, found)
    if arguments.parquet:
        told(f"For BAGEL's trainer: {write_parquet(arguments.out, [example for example, _ in found])}")
    Console().print(report.rates_table(Stars(arguments.out, {"": pool.rates(drawn, kept)}, ())))
    told(f"{len(kept)} of {len(drawn)} candidates are kept: {arguments.out / FILE}")
    return 0


def train_(arguments: argparse.Namespace) -> int:
    """Train a model on examples."""
    examples = read(arguments.accepted)
    told(f"training {arguments.model} on {len(examples)} examples: {arguments.out}")
    student = stars.train(
        arguments.model, examples, train_spec(arguments), arguments.out, quiet=arguments.quiet
    )
    told(f"The student: --models {student}")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Ask two models the same, and print what changed."""
    out = arguments.out or new_folder()
    given = {
        name: getattr(arguments, name)
        for name in ("tasks", "judges", "limit", "seed", "executor")
        if hasattr(arguments, name)
    }
    for name in ("before", "after"):
        options = make_options(
            {"modes": MODES, **given, "models": (getattr(arguments, name),), "out": out / name}
        )
        if not shown_run(options, arguments.quiet).finished:
            told(f"Stopped before the end. The same command with --out {out} goes on.")
            return 130
    Console().print(contrast_report.rich_table(between_runs(out / "before", out / "after")))
    told(f"Saved in {out}")
    return 0


# --- shared with ``unisandbox inject`` ---


def train_spec(arguments: argparse.Namespace) -> TrainSpec:
    """Return how to train, checked."""
    for name in ("rate", "mix"):
        value = getattr(arguments, name)
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"--{name} {value:g}: expected a number from 0 to 1.")
    return TrainSpec(
        steps=at_least(1, arguments, "steps"),
        batch=at_least(1, arguments, "batch"),
        rate=arguments.rate,
        schedule=arguments.schedule,
        mix=arguments.mix,
        precision=arguments.precision,
        freeze=tuple(arguments.freeze),
        lora=at_least(0, arguments, "lora"),
        seed=arguments.seed,
    )


def at_least(least: int, arguments: argparse.Namespace, name: str) -> Any:
    """Return a whole number as given; raises UsageError for one that is too small."""
    value = getattr(arguments, name)
    if value is not None and value < least:
        flag = name.replace("_", "-")
        raise UsageError(f"--{flag} {value}: expected a whole number of at least {least}.")
    return value


def new_folder(under: Path = FOLDER) -> Path:
    """Return a new folder, named by the time."""
    return under / time.strftime("%Y%m%d-%H%M%S")


def told(message: str) -> None:
    """Say what is being done."""
    print(message, file=sys.stderr, flush=True)
