"""What charts show, as data: drawn in the HTML report and, by ``unisandbox plot``, for papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from unisandbox.attribution import CAUSES, Attribution, Causes
from unisandbox.calibration import Calibration
from unisandbox.modes import MODES
from unisandbox.results import Cell, Results
from unisandbox.stats import Estimate
from unisandbox.training.stars import Stars

GAP_MODES = ("direct", "cot", "refined", "render", "answer")
"""Modes of the gap chart: what it draws, with more and more help, and what it could."""


class Named(Protocol):
    """Whatever has a row in a chart."""

    @property
    def run(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def judge(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Mark:
    """One score on the axis."""

    mode: str
    value: float
    low: float
    high: float
    n: int
    chance: float


@dataclass(frozen=True, slots=True)
class GapRow:
    """The modes of one task and model, as one judge of its pictures sees them."""

    run: str
    task: str
    model: str
    judge: str
    marks: tuple[Mark, ...]

    @property
    def expected(self) -> float | None:
        """Answer x render: what direct would score if understanding and drawing were all it took."""
        value = {mark.mode: mark.value for mark in self.marks}
        return value["answer"] * value["render"] if {"answer", "render"} <= value.keys() else None

    @property
    def direct(self) -> float | None:
        """The score of direct."""
        return next((mark.value for mark in self.marks if mark.mode == "direct"), None)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar."""

    cause: str
    value: float
    start: float
    """Sum of the parts before it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Why the direct pictures of one task and model failed: parts that add up to 1."""

    run: str
    task: str
    model: str
    judge: str
    failed: float
    samples: int
    parts: tuple[Part, ...]


def gap(results: Results, run: str = "") -> list[GapRow]:
    """Return a row a task, model and judge of pictures; words are judged by whoever judges them."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in results:
        if cell.mode in GAP_MODES and cell.score.value is not None:
            groups.setdefault((cell.task, cell.model), []).append(cell)
    return [
        GapRow(run, task, model, judge, tuple(_marks(cells, judge)))
        for (task, model), cells in groups.items()
        for judge in _judges(cells)
    ]


def _judges(cells: Sequence[Cell]) -> list[str]:
    """Return the judges of pictures, or those of words where there are no pictures."""
    drawn = [cell.judge for cell in cells if MODES[cell.mode].output == "image"]
    return list(dict.fromkeys(drawn or [cell.judge for cell in cells]))


def _marks(cells: Sequence[Cell], judge: str) -> Iterator[Mark]:
    for mode in GAP_MODES:
        of_mode = [cell for cell in cells if cell.mode == mode]
        for cell in sorted(of_mode, key=lambda cell: cell.judge != judge)[:1]:
            score = cell.score
            if score.value is not None and score.low is not None and score.high is not None:
                yield Mark(mode, score.value, score.low, score.high, score.n, cell.chance)


def bars(attribution: Attribution | None, run: str = "") -> list[Bar]:
    """Return a bar a task, model and judge whose failures can be told apart."""
    return [
        Bar(run, cell.task, cell.model, cell.judge, cell.failed, cell.samples, tuple(_parts(cell)))
        for cell in attribution or ()
        if not cell.corrected and cell.causes["transfer"].known and cell.failed
    ]


def _parts(cell: Causes) -> Iterator[Part]:
    start = 0.0
    for cause in CAUSES:
        if value := cell.causes[cause].value:
            yield Part(cause, value, start)
            start += value


@dataclass(frozen=True, slots=True)
class Change:
    """What training did to the score of one mode."""

    mode: str
    before: float
    after: float
    chance: float


@dataclass(frozen=True, slots=True)
class StarsRow:
    """The modes of one task on the test split, before any training and after an arm's last stage."""

    run: str
    task: str
    model: str
    """The arm."""
    judge: str
    changes: tuple[Change, ...]


def stars(found: Stars, run: str = "") -> list[StarsRow]:
    """Return a row an arm, task and judge."""
    last = {line.arm: line.stage for line in found.lines}
    groups: dict[tuple[str, str, str], list[Change]] = {}
    for line in found.lines:
        one = line.contrast
        if line.on == "test" and line.stage == last[line.arm] and one.first is not None:
            change = Change(one.mode, one.first, one.second or 0.0, line.chance)
            groups.setdefault((one.task, line.arm, one.judge), []).append(change)
    return [StarsRow(run, task, arm, judge, tuple(changes)) for (task, arm, judge), changes in groups.items()]


@dataclass(frozen=True, slots=True)
class RatesRow:
    """A judge's sensitivity and specificity under one rubric."""

    run: str
    task: str
    """The rubric."""
    model: str
    """The judge."""
    judge: str
    rates: tuple[tuple[str, Estimate], ...]


def rates(found: Calibration) -> list[RatesRow]:
    """Return a row a rubric."""
    return [
        RatesRow(
            "",
            rubric,
            found.judge,
            "",
            (("sensitivity", known.sensitivity), ("specificity", known.specificity())),
        )
        for rubric, known in found.rubrics.items()
    ]


def titles(rows: Sequence[Named]) -> list[str]:
    """Return what to write beside each row: the task, and whatever else differs."""
    also = [name for name in ("model", "judge", "run") if len({getattr(row, name) for row in rows}) > 1]
    return ["\n".join([row.task, *filter(None, (getattr(row, name) for name in also))]) for row in rows]
