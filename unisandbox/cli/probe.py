"""``unisandbox probe``: what can be read from inside a model before it speaks, and before it draws."""

import argparse

from rich.console import Console
from rich.progress import Progress

from unisandbox.api import with_data
from unisandbox.building import load_backend
from unisandbox.catalog import Catalog
from unisandbox.errors import UsageError
from unisandbox.matrix import Model, named_model
from unisandbox.modes import MODES
from unisandbox.plugins import installed
from unisandbox.probe import Place, Probed, check, probe
from unisandbox.report.plots import check_path
from unisandbox.report.probes import LEGEND, export, plot, rich_table
from unisandbox.task import Task


def probe_(arguments: argparse.Namespace) -> int:
    """Print what probes read, and draw it."""
    if arguments.output:
        check_path(arguments.output)
    plugins = installed()
    catalog = Catalog(plugins, arguments.include_path)
    tasks = [catalog.task(listing) for listing in catalog.select(arguments.tasks)]
    tasks = with_data(tasks, arguments.data)
    models = [named_model(text, plugins) for text in arguments.models]
    modes = [mode for text in arguments.modes for mode in text.split(",") if mode]
    for model in models:
        for task in tasks:
            check(model, task, modes, plugins.models)
    places = _places(modes, arguments.after)
    found = _probed(arguments, tasks, models, places)
    readings = [reading for one in found for reading in one.readings]
    errors = Console(stderr=True, highlight=False, markup=False)
    if arguments.format == "table":
        console = Console()
        console.print(rich_table(readings, console.width))
        errors.print(LEGEND, style="dim")
    else:
        print(export(readings, arguments.format))
    for note in (note for one in found for note in one.notes):
        errors.print(f"note: {note}")
    if arguments.output:
        plot(readings, arguments.output)
        errors.print(f"The plot is in {arguments.output}")
    return 0


def _places(modes: list[str], after: list[int]) -> list[Place]:
    """Return every position: before the output of each mode, and inside direct pictures."""
    if wrong := [number for number in after if number < 0]:
        raise UsageError(f"--after {wrong[0]}: expected a number of tokens.")
    found = [
        Place(mode, number)
        for mode in modes
        for number in ((0, *after) if mode == "direct" else (0,))
        if mode in MODES
    ]
    return list(dict.fromkeys(found))


def _probed(
    arguments: argparse.Namespace, tasks: list[Task], models: list[Model], places: list[Place]
) -> list[Probed]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        found = []
        for model in models:
            backend = load_backend(model)
            for task in tasks:
                row = bar.add_task(f"{task.name} {model.label}", total=None)
                found.append(
                    probe(
                        task,
                        model,
                        backend,
                        places,
                        samples=arguments.samples,
                        limit=arguments.limit,
                        seed=arguments.seed,
                        told=lambda number, row=row: bar.advance(row, number),  # type: ignore[misc]
                    )
                )
                bar.remove_task(row)
            if callable(close := getattr(backend, "close", None)):
                close()
    return found
