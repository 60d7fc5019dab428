"""``run`` and ``load_run``: what the command line does, for Python."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from unisandbox.backend import describe
from unisandbox.catalog import Catalog
from unisandbox.errors import UsageError, unknown
from unisandbox.matrix import Matrix, resolve
from unisandbox.options import DEFAULTS, MINIMUM, RunOptions, option_names
from unisandbox.plugins import Plugins, installed
from unisandbox.results import Results, collect, load_run
from unisandbox.run_log import RESULTS, RUN, RunLog, read_json
from unisandbox.runner import Progress, Runner, load_judge
from unisandbox.specs import HIDDEN, checked_options, parse_spec
from unisandbox.task import Task, with_options

__all__ = ["load_run", "plan", "run"]

RUNS = Path("runs")


def run(*, progress: Progress | None = None, **options: Any) -> Results:
    """Run a matrix and return its results; the options are those of ``RunOptions``.

    A run folder is continued where it stopped. Raises UnisandboxError (see ``unisandbox.errors``) with a
    message that says what to do; whatever was asked before is kept.
    """
    return execute(make_options(options), progress=progress)


def make_options(given: Mapping[str, Any]) -> RunOptions:
    """Return checked options; raises UsageError for an unknown name or a value that cannot be meant."""
    for name in given:
        if name not in option_names():
            raise UsageError(unknown("option", name, option_names()))
    values = dict(given)
    for option in fields(RunOptions):
        name, default = option.name, option.default
        if name in values and isinstance(default, tuple):
            value = values[name]
            several = [] if value is None or value == "" else value
            words = tuple(several if isinstance(several, (list, tuple)) else [several])
            if not all(isinstance(word, (str, Path)) for word in words):
                raise UsageError(f"{name}={value!r}: expected words.")
            values[name] = tuple(Path(word) if name == "include_path" else str(word) for word in words)
    if (out := values.get("out")) is not None:
        if not isinstance(out, (str, Path)):
            raise UsageError(f"out={out!r}: expected a path.")
        values["out"] = Path(out)
    options = RunOptions(**values)
    for name in ("fresh", "attribution"):
        if not isinstance(value := getattr(options, name), bool):
            raise UsageError(f"{name}={value!r}: expected true or false.")
    for name, least in MINIMUM.items():
        value = getattr(options, name)
        if value is None and getattr(DEFAULTS, name) is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(f"{name}={value!r}: expected a whole number of at least {least}.")
    share = options.min_coverage
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise UsageError(f"min_coverage={options.min_coverage!r}: expected a share from 0 to 1.")
    if options.best_of is not None:
        if options.repeats not in (1, options.best_of):
            raise UsageError(
                f"--best-of {options.best_of} draws as many generations per sample, --repeats says "
                f"{options.repeats}: give one of them."
            )
        options = replace(options, repeats=options.best_of)
    if options.fresh and options.out is None:
        raise UsageError("--fresh starts over in a folder that --out names: add --out DIR.")
    return options


def plan(options: RunOptions, plugins: Plugins | None = None) -> Matrix:
    """Resolve the options into a matrix and validate every task in it; no model is loaded or asked."""
    plugins = plugins or installed()
    catalog = Catalog(plugins, map(Path, options.include_path))
    tasks = [catalog.task(listing) for listing in catalog.select(options.tasks)]
    tasks = with_data(tasks, options.data)
    for task in tasks:
        task.validate()
    return resolve(
        tasks,
        plugins,
        models=options.models,
        judges=options.judges,
        modes=("all",) if options.attribution else options.modes,
        seed=options.seed,
        repeats=options.repeats,
        limit=options.limit,
    )


def unbuildable(matrix: Matrix) -> Iterator[UsageError]:
    """Yield what is wrong with the models and judges named: a factory that cannot be imported, an option."""
    for what, chosen in (("model", matrix.models), ("judge", matrix.judges)):
        for one in chosen:
            options = {key: value for key, value in one.spec.options.items() if key != "draws"}
            try:
                checked_options(f"{what} {one.spec.name!r}", one.entry.load(), options)
            except UsageError as error:
                yield error


def execute(options: RunOptions, *, progress: Progress | None = None) -> Results:
    """Run what the options say."""
    matrix = plan(options)
    for fault in unbuildable(matrix):
        raise fault
    judges = {judge.label: load_judge(judge) for judge in matrix.judges}
    folder = Path(options.out) if options.out else new_folder(options)
    with RunLog(folder, fresh=options.fresh) as log:
        log.begin(matrix.describe(), about(options, matrix))
        for label, judge in judges.items():
            log.note("judges", label, describe(judge))
        runner = Runner(matrix, log, batch_size=options.batch_size, tries=options.tries, progress=progress)
        try:
            runner.run(judges)
        finally:
            results = collect(folder, matrix, runner.states)
            log.write_json(RESULTS, results.to_json())
    return results


def resume(folder: Path, *, progress: Progress | None = None) -> Results:
    """Go on with a run where it stopped, with the options it was started with."""
    return execute(saved_options(folder), progress=progress)


def saved_options(folder: Path) -> RunOptions:
    """Return the options that a run folder was started with."""
    given = {**read_json(folder / RUN)["options"], "out": folder, "fresh": False}
    if any(HIDDEN in text for text in (*given["models"], *given["judges"])):
        raise UsageError(f"{folder}: an option that is a secret is not kept. Give the whole command again.")
    given["include_path"] = tuple(map(Path, given["include_path"]))
    return make_options(given)


def with_data(tasks: Sequence[Task], data: Sequence[str], *, strict: bool = True) -> list[Task]:
    """Apply ``--data KEY=VALUE`` to every task whose source has such an option.

    Raises UsageError when none has and ``strict`` asks for one.
    """
    changes = {key: value for part in data for key, value in parse_spec(f"data:{part}").options.items()}
    changed: list[Task] = []
    used: set[str] = set()
    for task in tasks:
        own = {key: value for key, value in changes.items() if key in task.source_options}
        used |= set(own)
        changed.append(with_options(task, own) if own else task)
    for key in changes.keys() - used if strict else ():
        known = {name for task in tasks for name in task.source_options}
        raise UsageError(f"--data {key}=...: {unknown('dataset option', key, known)}")
    return changed


def new_folder(options: RunOptions) -> Path:
    """Return a new folder under ``runs/``, named by time and tasks."""
    tasks = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(options.tasks).replace("*", ""))[:60].strip("-")
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{tasks or 'all'}"
    folder, number = RUNS / stem, 1
    while folder.exists():
        number += 1
        folder = RUNS / f"{stem}-{number}"
    return folder


def latest_folder() -> Path:
    """Return the newest run under ``runs/``; raises UsageError when there is none."""
    found = sorted(RUNS.glob(f"*/{RUN}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UsageError(
            f"There is no run under {RUNS}/ yet. Name a run folder, or start one: unisandbox run"
        )
    return found[-1].parent


def about(options: RunOptions, matrix: Matrix) -> dict[str, Any]:
    """Return what ``run.json`` says beside the matrix: how it was started, with what, on what."""
    shown = {
        name: [str(one) for one in value] if isinstance(value, tuple) else value
        for name, value in asdict(options).items()
        if name not in ("out", "fresh")
    }
    shown["models"] = [model.label for model in matrix.models]  # labels hide secrets
    shown["judges"] = [parse_spec(text).label for text in options.judges]
    return {
        "options": shown,
        "asks": [
            {
                "task": ask.task.name,
                "family": ask.task.family,
                "mode": ask.mode.name,
                "model": ask.model.label,
                "judges": [judge.label for judge in ask.judges],
                "units": ask.units,
                "trials": ask.trials,
                "chance": ask.chance.score,
                "guess": ask.chance.strategy,
                "remark": ask.remark,
            }
            for ask in matrix.asks
        ],
        "unsupported": [asdict(gap) for gap in matrix.unsupported],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "command": [Path(sys.argv[0]).name],
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in ("unisandbox", "numpy", "pillow", "jinja2", "torch", "transformers", "diffusers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
