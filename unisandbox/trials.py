"""The verdicts of a run as arrays, sample by repeat: what attribution and contrasts count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisandbox.modes import MODES
from unisandbox.run_log import GENERATIONS, RUN, VERDICTS, read_json, read_lines

Floats = NDArray[np.float64]

JUDGED = ("correct", "incorrect", "rejected")
"""What a judge can say of an answer; where there is none (empty, refused, truncated) it is not asked."""


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
    tables = {(ask["task"], ask["model"]): _Table(ask) for ask in about["asks"]}
    for ask in about["asks"]:
        tables[ask["task"], ask["model"]].asks.append(ask)
    for line in read_lines(folder / GENERATIONS):
        if table := tables.get((line["task"], line["model"])):
            table.units[line["sample"]] = line["unit"]
    for verdict in read_verdicts(folder):
        if table := tables.get((verdict["task"], verdict["model"])):
            table.verdicts.append(verdict)
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


class _Table:
    """The lines of one task and model."""

    def __init__(self, ask: Mapping[str, Any]) -> None:
        self.task, self.family, self.model = ask["task"], ask["family"], ask["model"]
        self.asks: list[Mapping[str, Any]] = []
        self.units: dict[str, str] = {}
        """Sample -> its unit."""
        self.verdicts: list[Mapping[str, Any]] = []

    def trials(self, about: Mapping[str, Any]) -> Trials:
        repeats = about["matrix"]["repeats"]
        rows = {sample: row for row, sample in enumerate(sorted(self.units))}
        passed = {
            (ask["mode"], judge): np.full((len(rows), repeats), np.nan)
            for ask in self.asks
            for judge in ask["judges"]
        }
        rubrics = {key: np.full(values.shape, "", dtype=object) for key, values in passed.items()}
        for line in self.verdicts:
            key, place = (line["mode"], line["judge"]), (rows[line["sample"]], line["repeat"])
            if key in passed and line["repeat"] < repeats and line["outcome"] != "error":
                passed[key][place] = line["outcome"] == "correct"
                if line["outcome"] in JUDGED:
                    rubrics[key][place] = line.get("rubric", "")
        return Trials(
            self.task,
            self.family,
            self.model,
            str(about["matrix"].get("tasks", {}).get(self.task, {}).get("fingerprint", "")),
            tuple(rows),
            tuple(self.units[sample] for sample in rows),
            passed,
            dict(self._absent(about)),
            int(about["matrix"].get("seed", 0)),
            max((ask["trials"] // repeats for ask in self.asks), default=0),
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
