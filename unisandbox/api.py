"""``run`` and ``load_run``: what the command line does, for Python."""

from __future__ import annotations

import math
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeGuard

from unisandbox.backend import describe
from unisandbox.building import loaded_judges
from unisandbox.catalog import Catalog
from unisandbox.errors import UsageError, unknown
from unisandbox.executors import judge_replicas, make_executor, parse_executor
from unisandbox.executors.judges import loader
from unisandbox.executors.protocol import Executor
from unisandbox.judge import Judge
from unisandbox.matrix import JudgeChoice, Matrix, Model, NoJudge, Shard, named_model, resolve
from unisandbox.options import DEFAULTS, JUDGING, MINIMUM, RunOptions, option_names
from unisandbox.plugins import Plugins, installed
from unisandbox.results import Results, collect, load_run
from unisandbox.run_log import GENERATIONS, RESULTS, RUN, RUNS, AskState, RunLog, read_json
from unisandbox.runner import Progress, Runner
from unisandbox.specs import HIDDEN, checked_options, parse_spec
from unisandbox.storage import is_url, local, working_folder
from unisandbox.task import Task, with_options

__all__ = ["judge_again", "load_run", "plan", "run"]


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
        values["out"] = out if is_url(out) else Path(out)
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
    parse_executor(str(options.executor))
    for name in ("gpus_per_replica", "judge_gpus_per_replica"):
        gpus = getattr(options, name)
        if gpus is not None and not (_is_number(gpus) and gpus >= 0 and (gpus < 1 or gpus % 1 == 0)):
            raise UsageError(f"{name}={gpus!r}: expected a share of a GPU, a whole number, or 0.")
    seconds = options.replica_timeout
    if seconds is not None and not (_is_number(seconds) and seconds > 0):
        raise UsageError(f"replica_timeout={seconds!r}: expected seconds, a number above 0.")
    share = options.min_coverage
    if not (_is_number(share) and 0 <= share <= 1):
        raise UsageError(f"min_coverage={options.min_coverage!r}: expected a share from 0 to 1.")
    if options.shard is not None:
        Shard.parse(str(options.shard))
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


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def judge_again(
    folder: str | Path,
    judges: Sequence[str],
    *,
    again: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Results:
    """Judge what a run has generated by more judges; no model is built or asked.

    Judges that the run has already judge what they have not judged yet, or could not; ``again``: all of it,
    and the new verdicts count (when stopped, the earlier ones stay on the rest). Of the options of
    ``RunOptions`` it takes ``tries`` and those that say where replicas of judges run: ``executor``,
    ``judge_replicas``, ``judge_gpus_per_replica``, ``replica_timeout``. Raises UsageError for a judge that
    reads nothing of the run, RunFolderError when its tasks or rubrics are others by now, KeyboardInterrupt
    when the user stopped it; what is judged by then is kept.
    """
    chosen = _judging_options(options)
    folder = local(folder)
    run = read_json(folder / RUN)
    before = run["matrix"]["judges"]
    matrix = plan(saved(folder, judges=(*before, *judges), tries=chosen.tries))
    labels = [parse_spec(text).label for text in judges]
    asks = [(ask, tuple(one for one in ask.judges if one.label in labels)) for ask in matrix.asks]
    added = replace(matrix, asks=tuple(replace(ask, judges=chosen) for ask, chosen in asks))
    if idle := set(labels) - {judge.label for judge in added.judges}:
        reads = installed().judges[parse_spec(min(idle)).name].reads
        raise UsageError(
            f"{folder} holds nothing that the judge {min(idle)!r} reads: it reads {' and '.join(reads)} only."
        )
    with (
        working_folder(folder) as work,
        _loaded(chosen, (), added.judges) as (_, loaded),
        RunLog(folder, has=work.has) as log,
    ):
        fix = "Judge it with the tasks and rubrics that it was run with."
        log.begin({**matrix.describe(), "judges": before}, {}, fix)
        now = {**run["options"], "judges": matrix.describe()["judges"]}
        log.change(matrix=matrix.describe(), asks=asks_of(matrix), options=now)
        for label, judge in loaded.items():
            log.note("judges", label, describe(judge))
        runner = Runner(added, log, tries=chosen.tries, progress=progress)
        try:
            runner.run(loaded, asking=False, again=again)
        finally:
            states = {ask.id: AskState(ask) for ask in matrix.asks}
            log.load(states)
            results = collect(folder, matrix, states)
            log.write_json(RESULTS, results.to_json())
    if runner.stopped:
        raise KeyboardInterrupt
    return results


def _judging_options(given: Mapping[str, Any]) -> RunOptions:
    for name in given:
        if name not in JUDGING:
            raise UsageError(unknown("option", name, JUDGING))
    options = make_options(given)
    if parse_executor(options.executor)[0] == "workers":
        raise UsageError(
            f"--executor {options.executor}: these are for models, and none is asked. For copies of a judge: "
            "--judge-replicas JUDGE=N"
        )
    return options


def plan(options: RunOptions, plugins: Plugins | None = None) -> Matrix:
    """Resolve the options into a matrix and validate every task in it; no model is loaded or asked."""
    plugins = plugins or installed()
    catalog = Catalog(plugins, map(Path, options.include_path))
    tasks = [catalog.task(listing) for listing in catalog.select(options.tasks)]
    tasks = with_data(tasks, options.data)
    for task in tasks:
        task.validate()
    try:
        matrix = resolve(
            tasks,
            plugins,
            models=options.models,
            judges=options.judges,
            modes=("all",) if options.attribution else options.modes,
            seed=options.seed,
            repeats=options.repeats,
            limit=options.limit,
        )
    except NoJudge:  # an option that a model does not have is to be mended before what follows from it
        for fault in _faults("model", [named_model(text, plugins) for text in options.models]):
            raise fault from None
        raise
    return matrix.only(Shard.parse(options.shard)) if options.shard else matrix


def unbuildable(matrix: Matrix) -> Iterator[UsageError]:
    """Yield what is wrong with the models and judges named: a factory that cannot be imported, an option."""
    yield from _faults("model", matrix.models)
    yield from _faults("judge", matrix.judges)


def _faults(what: str, chosen: Iterable[Model | JudgeChoice]) -> Iterator[UsageError]:
    for one in chosen:
        try:
            checked_options(f"{what} {one.spec.name!r}", one.entry.load(), one.options)
        except UsageError as error:
            yield error


def execute(options: RunOptions, *, progress: Progress | None = None) -> Results:
    """Run what the options say."""
    matrix = plan(options)
    for fault in unbuildable(matrix):
        raise fault
    with (
        working_folder(options.out or new_folder(options), fresh=options.fresh) as work,
        _loaded(options, matrix.models, matrix.judges) as (executor, judges),
        RunLog(folder := work.folder, fresh=options.fresh, has=work.has) as log,
    ):
        log.begin(matrix.describe(), about(options, matrix))
        for label, judge in judges.items():
            log.note("judges", label, describe(judge))
        runner = Runner(
            matrix,
            log,
            executor,
            batch_size=options.batch_size,
            tries=options.tries,
            progress=progress,
        )
        try:
            runner.run(judges)
        finally:
            for label, judge in judges.items():
                log.note("judges", label, describe(judge))  # by now it may know what fits
            results = collect(folder, matrix, runner.states)
            log.write_json(RESULTS, results.to_json())
    return results


@contextmanager
def _loaded(
    options: RunOptions, models: Sequence[Model], judges: Sequence[JudgeChoice]
) -> Iterator[tuple[Executor, dict[str, Judge]]]:
    """Make the executor, and load judges by label, here or as replicas of its."""
    replicas = judge_replicas(options.judge_replicas, judges)
    executor = make_executor(
        options.executor,
        models,
        replicas=options.replicas,
        gpus_per_replica=options.gpus_per_replica,
        py_executable=options.py_executable,
        judges=replicas,
        judge_gpus_per_replica=options.judge_gpus_per_replica,
        replica_timeout=options.replica_timeout,
    )
    load = loader(executor, replicas, options.tries)
    with closing(executor), loaded_judges(judges, load) as loaded:
        yield executor, loaded


def resume(folder: Path, *, progress: Progress | None = None) -> Results:
    """Go on with a run where it stopped, with the options it was started with."""
    return execute(saved_options(folder), progress=progress)


def saved_options(folder: Path) -> RunOptions:
    """Return the options that a run folder was started with."""
    options = saved(folder)
    if any(HIDDEN in text for text in (*options.models, *options.judges)):
        raise UsageError(f"{folder}: an option that is a secret is not kept. Give the whole command again.")
    return options


def saved(folder: Path, **changes: Any) -> RunOptions:
    """Return the options of a run folder, secrets hidden, with changes."""
    options = read_json(folder / RUN)["options"]
    if judge := options.get("calibrate"):
        raise UsageError(f"{folder} is no run but a calibration. To go on: unisandbox calibrate {judge}")
    return make_options({**options, "out": folder, "fresh": False, **changes})


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
    # one that was stopped while its model was loaded holds nothing
    found = [path for path in found if not nothing_asked(path.parent)] or found
    if not found:
        raise UsageError(
            f"There is no run under {RUNS}/ yet. Name a run folder, or start one: unisandbox run"
        )
    return found[-1].parent


def nothing_asked(folder: Path) -> bool:
    """Whether a run has not begun to ask; a copy of one without its log has."""
    log = folder / GENERATIONS
    return not (folder / RUN).exists() or (log.exists() and not log.stat().st_size)


def about(options: RunOptions, matrix: Matrix) -> dict[str, Any]:
    """Return what ``run.json`` says beside the matrix: how it was started, with what, on what."""
    shown = {
        name: [str(one) for one in value] if isinstance(value, tuple) else value
        for name, value in asdict(options).items()
        if name not in ("out", "fresh")
    }
    shown["models"] = [model.label for model in matrix.models]  # labels hide secrets
    shown["judges"] = [parse_spec(text).label for text in options.judges]
    return {"options": shown, **about_matrix(matrix)}


def about_matrix(matrix: Matrix) -> dict[str, Any]:
    """Return what is asked, when, and with what."""
    return {
        "asks": asks_of(matrix),
        "unsupported": [asdict(gap) for gap in matrix.unsupported],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "command": [Path(sys.argv[0]).name],
    }


def asks_of(matrix: Matrix) -> list[dict[str, Any]]:
    """Return how much there is to ask and judge, as ``run.json`` says it."""
    return [
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
    ]


def _versions() -> dict[str, str]:
    found = {}
    for package in ("unisandbox", "numpy", "pillow", "jinja2", "torch", "transformers", "diffusers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
