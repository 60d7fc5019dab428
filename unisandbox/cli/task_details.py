"""``unisandbox tasks show`` and ``tasks validate``: task files in full."""

import argparse
import sys

from rich.console import Console
from rich.markup import escape

from unisandbox.api import with_data
from unisandbox.asking import THINK
from unisandbox.catalog import Catalog
from unisandbox.errors import DataError, UnisandboxError
from unisandbox.modes import MODES
from unisandbox.plugins import installed
from unisandbox.rubric import say
from unisandbox.task import Task


def _catalog(arguments: argparse.Namespace) -> Catalog:
    return Catalog(installed(), arguments.include_path)


def show_task(arguments: argparse.Namespace) -> int:
    """Show what a task asks: every mode's prompt on the first rows, targets, chance."""
    catalog = _catalog(arguments)
    tasks = [catalog.task(listing) for listing in catalog.select(arguments.patterns)]
    console = Console(highlight=False, soft_wrap=True)
    for task in with_data(tasks, arguments.data):
        console.print(f"[bold]{escape(task.name)}[/]  {escape(task.description)}")
        units = len({sample.unit for sample in task.samples})
        console.print(
            f"family {task.family}; {len(task.samples)} samples, {units} units; {escape(str(task.path))}"
        )
        for guess in task.guesses(task.modes[0]):
            console.print(f"guessing: {escape(guess.strategy)}: {guess.score:.3f}")
        for number in range(min(arguments.samples, len(task.samples))):
            _show_sample(console, task, number)
    return 0


def _show_sample(console: Console, task: Task, number: int) -> None:
    sample = task.samples[number]
    console.print(f"\n[bold]sample {escape(sample.id)}[/]")
    fields = {**sample.fields, "conclusion": "(what its own thought comes to)"}
    for mode in task.modes:
        output = MODES[mode].output
        target = say(task.target(mode, sample))
        prompt = task.prompts[mode].render(fields)
        console.print(f"[cyan]{mode}[/] -> {output} [dim]{escape(target)}[/]", markup=True)
        console.print("  " + escape(prompt.replace("\n", "\n  ")))
    if "cot" in task.modes and "think" not in task.prompts:
        console.print("[cyan]think[/] [dim](first of two calls, where a model cannot think natively)[/]")
        console.print("  " + escape(THINK.format(question="(the question)").replace("\n", "\n  ")))


def validate_tasks(arguments: argparse.Namespace) -> int:
    """Check task files as ``run`` does before its first call; exit code 2 when one is not valid."""
    catalog = _catalog(arguments)
    listings = catalog.select(arguments.patterns) if arguments.patterns else list(catalog)
    broken = 0 if arguments.patterns else len(catalog.broken)  # those are warned of already
    for listing in listings:
        try:
            (task,) = with_data([catalog.task(listing)], arguments.data, strict=False)
            task.validate()
        except DataError as error:
            if not arguments.patterns and "needs the option" in str(error):
                print(f"skipped  {listing.name}: {error}")
                continue
            broken += 1
            print(f"error: {listing.name}: {error}", file=sys.stderr)
        except UnisandboxError as error:
            broken += 1
            print(f"error: {listing.name}: {error}", file=sys.stderr)
        else:
            print(f"ok       {listing.name}: {len(task.samples)} samples, {len(task.modes)} modes")
    return 2 if broken else 0
