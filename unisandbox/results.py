"""Results of a run: one row a cell, and one row a trial and judge."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unisandbox.errors import RunFolderError
from unisandbox.matrix import Matrix
from unisandbox.records import Score
from unisandbox.run_log import (
    FAILED,
    GENERATIONS,
    RESULTS,
    RUN,
    VERDICTS,
    AskState,
    read_json,
    read_lines,
    standing,
)
from unisandbox.scores import CODES, score
from unisandbox.stats import Estimate

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the results table."""

    task: str
    family: str
    mode: str
    model: str
    judge: str
    score: Score
    chance: float
    """What the best trivial strategy scores."""
    guess: str
    """Which strategy that is."""
    note: str = ""
    """Why there is no score, for a mode the model does not support."""
    remark: str = ""
    """What must be known of the column before its score is read."""
    corrected: Estimate | None = None
    """The score without the judge's own errors, where they are known: see ``unisandbox.calibration``."""

    @property
    def supported(self) -> bool:
        """Whether the model could be asked at all."""
        return not self.note


def matches(globs: Sequence[str], *words: str) -> bool:
    """Whether one of the words matches one of the globs; without globs, any does."""
    return not globs or any(fnmatchcase(word, glob) for word in words for glob in globs)


def words_of(cell: Any, column: str) -> Sequence[str]:
    """Return what a cell can be chosen by in a column: a task by its family too."""
    return (cell.task, cell.family) if column == "task" else (getattr(cell, column),)


_NOTHING = Score(None, None, None, 0, 0, None, None, {})


@dataclass(frozen=True)
class Results:
    """The scores of a run. ``folder`` holds everything they come from."""

    folder: Path
    cells: tuple[Cell, ...]
    finished: bool = True

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    @property
    def coverage(self) -> float:
        """The smallest coverage of any cell that could be asked."""
        return min((cell.score.coverage for cell in self.cells if cell.supported), default=1.0)

    def only(self, **patterns: Sequence[str]) -> Results:
        """Return the cells whose ``task``, ``mode``, ``model`` or ``judge`` match a glob.

        ``task`` patterns also match families.
        """

        def keep(cell: Cell) -> bool:
            return all(matches(globs, *words_of(cell, name)) for name, globs in patterns.items())

        return Results(self.folder, tuple(cell for cell in self.cells if keep(cell)), self.finished)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a mapping a cell.

        task, family, mode, model, judge, score, low, high, n, unscored, errors, chance; where a cell is
        corrected for its judge also corrected, corrected_low, corrected_high.
        """
        known = any(cell.corrected for cell in self.cells)
        return [
            {
                "task": cell.task,
                "family": cell.family,
                "mode": cell.mode,
                "model": cell.model,
                "judge": cell.judge,
                "score": cell.score.value,
                "low": cell.score.low,
                "high": cell.score.high,
                "n": cell.score.n,
                "unscored": cell.score.unscored,
                "errors": cell.score.errors,
                "chance": cell.chance,
                **(_correction(cell) if known else {}),
            }
            for cell in self.cells
        ]

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a cell, with the columns of ``to_rows``."""
        import pandas as pd

        return pd.DataFrame(self.to_rows())

    def samples(self) -> pd.DataFrame:
        """Return one row a trial and judge: the generation beside its verdict."""
        import pandas as pd

        generations = pd.DataFrame(_last(read_lines(self.folder / GENERATIONS), "key"))
        verdicts = pd.DataFrame(_last(read_lines(self.folder / VERDICTS), "key", "judge"))
        if generations.empty or verdicts.empty:
            return generations
        new = [column for column in verdicts.columns if column == "key" or column not in generations.columns]
        return generations.merge(verdicts[new], on="key", how="left")

    def errors(self) -> Iterator[str]:
        """Yield why each trial is an error: of the model, or of a judge of these cells."""
        judges = {cell.judge for cell in self}
        for line in _last(read_lines(self.folder / GENERATIONS, warn=False), "key"):
            if line["finish"] == "error":
                yield str(line.get("error", ""))
        for line in _last(read_lines(self.folder / VERDICTS, warn=False), "key", "judge"):
            if line["outcome"] == "error" and line["judge"] in judges:
                yield str(line.get("reason", ""))

    def to_json(self) -> dict[str, Any]:
        """Return the scores as ``results.json`` holds them: no times, so that equal runs give equal bytes."""
        return {
            "format": 1,
            "finished": self.finished,
            "cells": [
                {name: value for name, value in asdict(cell).items() if name != "corrected"}
                for cell in self.cells
            ],
        }


def _correction(cell: Cell) -> dict[str, float | None]:
    figure = cell.corrected or Estimate(None)
    return {"corrected": figure.value, "corrected_low": figure.low, "corrected_high": figure.high}


def _last(lines: Iterator[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """Return the last line of each key: a retried trial has several."""
    return list({tuple(line.get(key) for key in keys): line for line in lines}.values())


def collect(folder: Path, matrix: Matrix, states: Mapping[tuple[str, str, str], AskState]) -> Results:
    """Score every cell of a matrix."""
    cells = []
    finished = True
    for ask, judge in matrix.cells():
        state = states[ask.id]
        outcomes = state.outcomes(judge.label)
        finished = finished and 0 not in outcomes
        cells.append(
            Cell(
                ask.task.name,
                ask.task.family,
                ask.mode.name,
                ask.model.label,
                judge.label,
                score(outcomes, ask.unit_of, ask.units, ask.repeats),
                ask.chance.score,
                ask.chance.strategy,
                remark=ask.remark,
            )
        )
    cells += [_gap(**asdict(gap)) for gap in matrix.unsupported]
    return Results(folder, tuple(cells), finished)


def _gap(task: str, family: str, mode: str, model: str, reason: str) -> Cell:
    return Cell(task, family, mode, model, "", _NOTHING, 0.0, "", f"not supported: {reason}")


def load_run(folder: str | Path) -> Results:
    """Read the results of a run, finished or not.

    A run that was killed has no ``results.json`` of its last state: its scores are then computed from the
    logs. Raises RunFolderError when the folder is no run.
    """
    folder = Path(folder)
    about = read_json(folder / RUN)
    if (folder / RESULTS).exists():
        try:
            return _from_json(folder, read_json(folder / RESULTS))
        except RunFolderError as error:
            what = str(error).partition(". ")[0]
            print(f"warning: {what}. The scores are computed from the logs.", file=sys.stderr)
    return _from_logs(folder, about)


def _from_json(folder: Path, value: Mapping[str, Any]) -> Results:
    try:
        cells = tuple(Cell(**{**cell, "score": Score(**cell["score"])}) for cell in value["cells"])
    except (KeyError, TypeError) as error:
        raise RunFolderError(f"{folder / RESULTS} cannot be read: not a cell: {error}") from None
    return Results(folder, cells, value["finished"])


def _from_logs(folder: Path, about: Mapping[str, Any]) -> Results:
    """Score what the logs hold; run.json says how much there should be."""
    repeats = about["matrix"]["repeats"]
    tallies = {
        (ask["task"], ask["mode"], ask["model"]): _Tally(ask, repeats, {label: {} for label in ask["judges"]})
        for ask in about["asks"]
    }
    for name in (GENERATIONS, VERDICTS):
        for line in read_lines(folder / name):
            tally = tallies.get((line["task"], line["mode"], line["model"]))
            if tally and line["repeat"] < repeats:
                tally.add(line)
    cells = [cell for tally in tallies.values() for cell in tally.cells()]
    cells += [_gap(**gap) for gap in about["unsupported"]]
    return Results(folder, tuple(cells), finished=False)


@dataclass(frozen=True, slots=True)
class _Tally:
    """The outcomes of one ask, gathered from log lines."""

    ask: Mapping[str, Any]
    repeats: int
    codes: dict[str, dict[tuple[str, str], bytearray]]
    """Judge -> (sample, unit) -> a code a repeat."""

    def add(self, line: Mapping[str, Any]) -> None:
        if "finish" in line:  # a generation: an error, or not judged yet
            failed = standing(line["finish"], "image" in line) == FAILED
            for label in self.codes:
                self._set(label, line, "error" if failed else "")
        elif line["judge"] in self.codes:
            self._set(line["judge"], line, line["outcome"])

    def _set(self, label: str, line: Mapping[str, Any], outcome: str) -> None:
        row = self.codes[label].setdefault((line["sample"], line["unit"]), bytearray(self.repeats))
        row[line["repeat"]] = CODES.get(outcome, 0)

    def cells(self) -> Iterator[Cell]:
        for label, rows in self.codes.items():
            numbers: dict[str, int] = {}
            unit_of = [numbers.setdefault(unit, len(numbers)) for _, unit in rows]
            units = max(self.ask["units"], len(numbers))
            codes = bytearray(b"".join(rows.values()))
            for unit in self._open(unit_of):
                unit_of.append(unit)
                codes += bytes(self.repeats)
            value = score(codes, unit_of, units, self.repeats)
            named = {key: self.ask[key] for key in ("task", "family", "mode", "model", "chance", "guess")}
            yield Cell(judge=label, score=value, remark=self.ask.get("remark", ""), **named)

    def _open(self, unit_of: Sequence[int]) -> list[int]:
        """Return the units of which a sample is not in the log yet: half a pair is not right."""
        samples = self.ask["trials"] // self.repeats
        if len(unit_of) >= samples:
            return []
        size = -(-samples // self.ask["units"])
        return [unit for unit, logged in Counter(unit_of).items() if logged < size]
