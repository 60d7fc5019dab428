"""Calibrating: pictures whose truth is known go through a judge the way those of a run do.

A calibration is a run whose model draws what is known: folder, log, retries and resumption are a run's.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unisandbox.api import about_matrix
from unisandbox.backend import describe
from unisandbox.building import loaded_judges
from unisandbox.calibration import COMPOSED, LABELLED, PLACE, Calibration, Rates, Tally
from unisandbox.catalog import Catalog
from unisandbox.datasets.labels import labelled
from unisandbox.datasets.scenes import composable, scene_of, scenes
from unisandbox.datasets.splits import Row
from unisandbox.errors import RunFolderError, UsageError, unknown
from unisandbox.guesses import GuessSpec
from unisandbox.judge import Judge
from unisandbox.matrix import Ask, JudgeChoice, Matrix, Model, named_judge
from unisandbox.modes import MODES
from unisandbox.plugins import ModelEntry, installed
from unisandbox.prompts import Template
from unisandbox.records import Fields, Generation, Image, Request
from unisandbox.results import collect
from unisandbox.rubric import Rubric
from unisandbox.run_log import CALIBRATION, RESULTS, RUN, RunLog, difference, read_json
from unisandbox.runner import Progress, Runner
from unisandbox.specs import Spec
from unisandbox.task import Scoring, Task
from unisandbox.trials import read_verdicts
from unisandbox.world import compose

SIZE = 512
"""Side of a composed picture, in pixels."""
MODE = MODES["render"]

Draw = Callable[[Fields, int], Image]
"""A row and a seed -> its picture."""


@dataclass(frozen=True)
class _Source:
    """Rows whose truth is known, and their pictures."""

    pictures: str
    rows: Mapping[str, Sequence[Row]]
    """Rubric -> its rows."""
    draw: Draw
    options: Mapping[str, Any]
    """What the rows come from."""


def calibrate(
    judge: str,
    *,
    rubrics: Sequence[str] = (),
    samples: int = 200,
    seed: int = 0,
    images: str | Path | None = None,
    labels: str | Path | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    tries: int = 3,
    progress: Progress | None = None,
) -> Calibration:
    """Count a judge's errors on composed scenes, or on ``images`` with ``labels``, and store them in ``out``.

    Under each rubric (default: all that scenes can be composed for, or that are labelled) ``samples`` right
    and as many wrong pictures are composed. The same call goes on where it stopped. Raises UsageError for
    what cannot be meant, DataError for labels that are not fit, KeyboardInterrupt when the user stops it.
    """
    plugins = installed()
    choice = named_judge(judge, plugins)
    if set(choice.entry.reads) == {"text"}:
        others = ", ".join(name for name, entry in plugins.judges.items() if set(entry.reads) != {"text"})
        raise UsageError(
            f"The judge {choice.label!r} reads text only, and is calibrated on pictures. Judges that read "
            f"pictures: {others}."
        )
    known = Catalog(plugins).rubrics
    if images and labels:
        source = _labelled(known, rubrics, Path(images), Path(labels))
    elif images or labels:
        raise UsageError("--images DIR and --labels FILE belong together: give both.")
    else:
        source = _composed(known, rubrics, samples, seed)
    matrix = _matrix(choice, source, known, seed)
    folder = Path(out) if out else PLACE / _name(choice.label, source)
    with loaded_judges([choice]) as loaded, RunLog(folder, fresh=fresh) as log:
        log.begin(matrix.describe(), {"options": {"calibrate": choice.label}, **about_matrix(matrix)})
        log.note("judges", choice.label, _same(log, choice.label, loaded[choice.label]))
        runner = Runner(matrix, log, tries=tries, progress=progress)
        runner.run(loaded)
        if runner.stopped:
            raise KeyboardInterrupt
        log.write_json(RESULTS, collect(folder, matrix, runner.states).to_json())
        found = _counted(folder, choice.label, source)
        log.write_json(CALIBRATION, found.to_json())
    return found


def _composed(known: Mapping[str, Rubric], names: Sequence[str], samples: int, seed: int) -> _Source:
    chosen = [_rubric(name, known) for name in names] or [one for one in known.values() if composable(one)]
    return _Source(
        COMPOSED,
        {rubric.name: scenes(rubric, samples, seed) for rubric in chosen},
        lambda row, seed: Image.from_pil(compose(scene_of(row), SIZE, seed)),
        {"samples": samples, "seed": seed},
    )


def _labelled(known: Mapping[str, Rubric], names: Sequence[str], images: Path, labels: Path) -> _Source:
    chosen = {_rubric(name, known).name for name in names}
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in labelled(images, labels, known):
        if not chosen or row["rubric"] in chosen:
            rows[row["rubric"]].append(row)
    if not rows:
        raise UsageError(f"{labels} labels nothing for the rubric {' or '.join(sorted(chosen))}.")
    return _Source(
        LABELLED,
        rows,
        lambda row, seed: Image.from_file(images / row["file"]),
        {"labels": labels.name},
    )


def _rubric(name: str, known: Mapping[str, Rubric]) -> Rubric:
    if name not in known:
        raise UsageError(unknown("rubric", name, known))
    return known[name]


def _name(label: str, source: _Source) -> str:
    """Return a file name for a judge's calibration: one of its own for every label."""
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", label)[:60].strip("-.")
    if stem != label:
        stem += f"-{hashlib.blake2b(label.encode(), digest_size=4).hexdigest()}"
    return stem + "-labelled" * (source.pictures == LABELLED)


def _same(log: RunLog, label: str, judge: Judge) -> Fields:
    """Return what a judge says of itself, unless it is another than when this calibration began."""
    said, before = describe(judge), log.noted("judges", label)
    if before and (changed := difference(before, said)):
        raise RunFolderError(
            f"{log.folder}: {label!r} is another judge now than when this calibration began: {changed}. "
            "Choose another --out, or start over with --fresh."
        )
    return said


@dataclass(frozen=True, slots=True)
class _Known(ModelEntry):
    """A model that no plugin registers: it draws what is known."""

    draw: Draw

    def load(self) -> Callable[..., _Drawer]:
        return lambda: _Drawer(self.draw)


@dataclass(frozen=True, slots=True)
class _Drawer:
    draw: Draw

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        for request in requests:
            assert request.sample is not None
            yield Generation(request.key, self.draw(request.sample.fields, request.seed))


def _matrix(choice: JudgeChoice, source: _Source, known: Mapping[str, Rubric], seed: int) -> Matrix:
    name = source.pictures.replace(" ", "_")
    entry = _Known(name, "", "", source.pictures, ("image",), "any", True, source.draw)
    model = Model(Spec(name), entry, entry.draws)
    asks = []
    for rubric, rows in source.rows.items():
        task = _task(known[rubric], rows, source)
        asks.append(Ask(task, MODE, model, (choice,), task.samples, repeats=1, seed=seed))
    return Matrix(tuple(asks), (), (), seed, 1, None)


def _task(rubric: Rubric, rows: Sequence[Row], source: _Source) -> Task:
    where = f"calibration of {rubric.name}"
    target = Template("{{ target }}", where)
    return Task(
        name=rubric.name,
        family="calibration",
        description=f"{source.pictures} for {rubric.name}",
        tags=(),
        paper=None,
        path=Path(where),
        source=source.pictures,
        options=source.options,
        prompts={MODE.name: Template("{{ truth }} {{ kind }}", where)},
        scoring={
            MODE.name: Scoring(Template(rubric.name, where), target, None, GuessSpec(constant=[]), where)
        },
        unit=None,
        rubrics={rubric.name: rubric},
        factory=lambda samples=0, seed=0, labels="": rows,
    )


def _counted(folder: Path, label: str, source: _Source) -> Calibration:
    """Return what the log holds; a picture without a verdict is an error."""
    outcomes = {(line["task"], line["sample"]): line["outcome"] for line in read_verdicts(folder)}
    about = read_json(folder / RUN)
    rubrics = {}
    for name, rows in source.rows.items():
        said: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for row in rows:
            said[row["truth"], row["kind"]][outcomes.get((name, row["id"]), "error")] += 1
        tallies = {
            key: Tally(counts["correct"], counts["incorrect"], counts["rejected"], counts["error"])
            for key, counts in said.items()
        }
        rubrics[name] = Rates(
            about["matrix"]["rubrics"][name],
            tallies.get(("right", ""), Tally()),
            {kind: tally for (truth, kind), tally in tallies.items() if truth == "wrong"},
        )
    return Calibration(label, about["judges"][label], source.pictures, about["started"], rubrics, folder)
