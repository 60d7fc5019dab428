"""The verdicts of a run as arrays, sample by repeat: what attribution and contrasts count."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisandbox.modes import MODES
from unisandbox.run_log import GENERATIONS, RUN, VERDICTS, read_json, read_lines
from unisandbox.scores import CODES, OUTCOMES

Floats = NDArray[np.float64]

JUDGED = ("correct", "incorrect", "rejected")
"""What a judge can say of an answer; where there is none (empty, refused, truncated) it is not asked."""
_PASSED = np.array([np.nan if code in ("", "error") else float(code == "correct") for code in OUTCOMES])
"""Code -> 1 correct, 0 not, NaN where there is no verdict."""


@dataclass(frozen=True)
class Trials:
    """What became of the trials of one task and model."""

    task: str
    family: str
    model: str
    fingerprint: str
    """Of the task: runs of the same fingerprint asked the same samples."""
    samples: tuple[str, ...]
    """Ids, sorted, so that the order in which a model answered moves no interval."""
    units: tuple[str, ...]
    """The unit of each sample."""
    passed: Mapping[tuple[str, str], Floats]
    """(mode, judge) -> (samples, repeats): 1 correct, 0 not, NaN where there is no verdict."""
    absent: Mapping[str, str]
    """Why a mode was not asked."""
    seed: int
    """Of the run: runs of the same seed asked each sample with the same seeds."""
    expected: int
    """Samples that the run is to ask; more than ``samples`` when it is not finished."""
    rubrics: Mapping[tuple[str, str], NDArray[np.object_]] = field(default_factory=dict)
    """(mode, judge) -> (samples, repeats): the rubric of the verdict; '' where the judge gave none."""

    @property
    def unit_of(self) -> NDArray[np.intp]:
        """The number of each sample's unit."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(unit, len(numbers)) for unit in self.units], dtype=np.intp)

    def judges(self, mode: str) -> tuple[str, ...]:
        """Return who judged a mode."""
        return tuple(judge for asked, judge in self.passed if asked == mode)

    def went_by(self, mode: str, judge: str) -> list[str]:
        """Return the rubrics that a judge's verdicts on a mode are by."""
        rubrics = self.rubrics.get((mode, judge))
        return [] if rubrics is None else sorted({str(name) for name in rubrics.flat if name})

    def judge_for(self, mode: str, judge: str) -> str | None:
        """Return who judged a mode on behalf of ``judge``: itself, or whoever reads what it does not."""
        judges = self.judges(mode)
        return judge if judge in judges else next(iter(judges), None)


def read_trials(folder: str | Path) -> list[Trials]:
    """Read every verdict of a run, finished or not; raises RunFolderError when the folder is no run."""
    folder = Path(folder)
    about = read_json(folder / RUN)
    tables = {(ask["task"], ask["model"]): _Table(ask, about["matrix"]["repeats"]) for ask in about["asks"]}
    for ask in about["asks"]:
        tables[ask["task"], ask["model"]].asks.append(ask)
    for line in read_lines(folder / GENERATIONS):
        if table := tables.get((line["task"], line["model"])):
            table.generation(line)
    for line in read_lines(folder / VERDICTS):
        if table := tables.get((line["task"], line["model"])):
            table.verdict(line)
    return [table.trials(about) for table in tables.values()]


def read_verdicts(folder: Path) -> Iterable[Mapping[str, Any]]:
    """Return the last line of each trial and judge, of trials whose last generation is no error."""
    lines = read_lines(folder / GENERATIONS, warn=False)
    failed = {line["key"]: line["finish"] == "error" for line in lines}
    verdicts = {
        (line["key"], line["judge"]): line
        for line in read_lines(folder / VERDICTS)
        if not failed.get(line["key"], True)
    }
    return verdicts.values()


class _Column:
    """Small numbers, 0 where none is set; grows as it must."""

    def __init__(self) -> None:
        self._values = array("H")

    def __setitem__(self, place: int, value: int) -> None:
        self._grow(place + 1)
        self._values[place] = value

    def _grow(self, size: int) -> None:
        if (more := size - len(self._values)) > 0:
            self._values.frombytes(bytes(more * self._values.itemsize))

    def array(self, shape: tuple[int, int]) -> NDArray[np.uint16]:
        self._grow(shape[0] * shape[1])
        return np.array(self._values, dtype=np.uint16).reshape(shape)


class _Table:
    """The lines of one task and model, kept as numbers: a log can have millions."""

    def __init__(self, ask: Mapping[str, Any], repeats: int) -> None:
        self.task, self.family, self.model = ask["task"], ask["family"], ask["model"]
        self.asks: list[Mapping[str, Any]] = []
        self._repeats = repeats
        self._rows: dict[str, int] = {}
        """Sample -> its row, in the order in which they were asked."""
        self._units: list[str] = []
        """The unit of each row."""
        self._there: dict[str, _Column] = defaultdict(_Column)
        """Mode -> 1 where the last generation is no error."""
        self._codes: dict[tuple[str, str], _Column] = defaultdict(_Column)
        """(mode, judge) -> the outcome's code."""
        self._rubrics: dict[tuple[str, str], _Column] = defaultdict(_Column)
        """(mode, judge) -> the rubric's place in ``_names``."""
        self._names: dict[str, int] = {"": 0}

    def generation(self, line: Mapping[str, Any]) -> None:
        row = self._rows.setdefault(line["sample"], len(self._rows))
        if row == len(self._units):
            self._units.append(line["unit"])
        if line["repeat"] < self._repeats:
            self._there[line["mode"]][row * self._repeats + line["repeat"]] = line["finish"] != "error"

    def verdict(self, line: Mapping[str, Any]) -> None:
        row, repeat = self._rows.get(line["sample"]), line["repeat"]
        if row is None or repeat >= self._repeats:
            return
        cell, place, outcome = (line["mode"], line["judge"]), row * self._repeats + repeat, line["outcome"]
        self._codes[cell][place] = CODES[outcome]
        rubric = line.get("rubric", "") if outcome in JUDGED else ""
        self._rubrics[cell][place] = self._names.setdefault(rubric, len(self._names))

    def trials(self, about: Mapping[str, Any]) -> Trials:
        samples = sorted(self._rows)
        rows = np.array([self._rows[sample] for sample in samples], dtype=np.intp)
        shape = len(samples), self._repeats
        cells = [(ask["mode"], judge) for ask in self.asks for judge in ask["judges"]]
        names = np.array(list(self._names), dtype=object)
        passed, rubrics = {}, {}
        for cell in cells:
            there = self._there[cell[0]].array(shape)[rows] > 0
            passed[cell] = np.where(there, _PASSED[self._codes[cell].array(shape)[rows]], np.nan)
            rubrics[cell] = np.where(there, names[self._rubrics[cell].array(shape)[rows]], "")
        return Trials(
            self.task,
            self.family,
            self.model,
            str(about["matrix"].get("tasks", {}).get(self.task, {}).get("fingerprint", "")),
            tuple(samples),
            tuple(self._units[row] for row in rows),
            passed,
            dict(self._absent(about)),
            int(about["matrix"].get("seed", 0)),
            max((ask["trials"] // self._repeats for ask in self.asks), default=0),
            rubrics,
        )

    def _absent(self, about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        asked = {ask["mode"] for ask in self.asks}
        wanted = _wanted(about["options"])
        gaps = {
            gap["mode"]: gap["reason"]
            for gap in about.get("unsupported", ())
            if (gap["task"], gap["model"]) == (self.task, self.model)
        }
        for mode in (mode for mode in MODES if mode not in asked):
            unasked = "not in this task" if mode in wanted else "not asked"
            yield mode, gaps.get(mode, unasked)


def _wanted(options: Mapping[str, Any]) -> Sequence[str]:
    """Return the modes that a run was told to ask."""
    words = [word.strip() for text in options.get("modes", ()) for word in str(text).split(",")]
    return list(MODES) if "all" in words or options.get("attribution") else words
