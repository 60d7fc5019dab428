"""Contrasts: one mode against another, or one run against another, unit by unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisandbox.errors import UsageError
from unisandbox.results import matches, words_of
from unisandbox.stats import (
    cluster_bootstrap,
    holm,
    mcnemar,
    paired_difference,
    paired_permutation,
    two_rates,
    unpaired_difference,
)
from unisandbox.trials import Trials, read_trials

Floats = NDArray[np.float64]

ALPHA = 0.05
"""Of a family of contrasts, after Holm's correction."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """How two scores differ: second - first."""

    task: str
    family: str
    mode: str
    """The mode of both, or ``SECOND - FIRST``."""
    model: str
    judge: str
    first: float | None
    """Share of the compared units that pass."""
    second: float | None
    low: float | None = None
    high: float | None = None
    """95 % interval of the difference."""
    p: float | None = None
    """Two-sided: McNemar's exact test, or flipped signs over repeats; unpaired, a z test."""
    corrected: float | None = None
    """The same, corrected for the family of contrasts it stands in (Holm)."""
    n: int = 0
    """Compared units; unpaired, the smaller number."""
    paired: bool = True
    gained: tuple[str, ...] = ()
    """Units that pass in the second only (over repeats: in at least half of them)."""
    lost: tuple[str, ...] = ()
    """Units that pass in the first only."""
    note: str = ""
    """Why there is no difference, or what to know about it."""

    @property
    def difference(self) -> float | None:
        """Second - first; None when nothing could be compared."""
        return None if self.first is None or self.second is None else self.second - self.first

    @property
    def significant(self) -> bool:
        """Whether the difference stands after correction."""
        return self.corrected is not None and self.corrected < ALPHA

    def worse_by(self, points: float) -> bool:
        """Whether the second is significantly worse, and by more than ``points`` (a share)."""
        return self.significant and self.difference is not None and self.difference < -points

    def to_row(self) -> dict[str, Any]:
        """Return it as a mapping; flipped units with spaces between."""
        return {
            "task": self.task,
            "family": self.family,
            "mode": self.mode,
            "model": self.model,
            "judge": self.judge,
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "p": self.p,
            "p_holm": self.corrected,
            "n": self.n,
            "paired": self.paired,
            "gained": " ".join(self.gained),
            "lost": " ".join(self.lost),
            "note": self.note,
        }


def between_modes(folder: str | Path, second: str = "cot", first: str = "direct") -> list[Contrast]:
    """Return the contrast of two modes for every task, model and judge of a run that has both."""
    found = [
        _compared(trials, trials, (first, judge), (second, judge), f"{second} - {first}", trials.model, judge)
        for trials in read_trials(folder)
        for judge in trials.judges(first)
        if judge in trials.judges(second)
    ]
    return as_family(found)


def between_runs(first: str | Path, second: str | Path, **patterns: Sequence[str]) -> list[Contrast]:
    """Return the contrasts of all that two runs share: task, mode, model and judge.

    Models and judges are the same when their labels are, or when each run has but one. Units are paired
    where the task is the same in both (its fingerprint); else the rates are compared unpaired, and the note
    says so.
    ``patterns``: globs for ``task`` (or family), ``mode``, ``model``, ``judge``. Raises UsageError when
    nothing is shared.
    """
    return as_family(contrasted(first, second, patterns))


def contrasted(
    first: str | Path,
    second: str | Path,
    patterns: Mapping[str, Sequence[str]],
    keep: Callable[[str, str], bool] | None = None,
) -> list[Contrast]:
    """Return the same, not yet corrected for their number; of the samples (task, id) to ``keep`` alone."""
    tables = [_chosen(read_trials(folder), patterns) for folder in (first, second)]
    if keep:
        tables = [[_of_samples(one, keep) for one in table] for table in tables]
        tables = [[one for one in table if one.samples] for table in tables]
    found = []
    for one, other in _same_models(*tables):
        for mode in dict.fromkeys(mode for mode, _ in one.passed):
            if matches(patterns.get("mode", ()), mode):
                found += list(_same_judges(one, other, mode, patterns.get("judge", ())))
    if not found:
        raise UsageError(f"{first} and {second} have no task, mode, model and judge in common to compare.")
    return found


def _of_samples(trials: Trials, keep: Callable[[str, str], bool]) -> Trials:
    rows = [row for row, sample in enumerate(trials.samples) if keep(trials.task, sample)]
    return replace(
        trials,
        samples=tuple(trials.samples[row] for row in rows),
        units=tuple(trials.units[row] for row in rows),
        passed={cell: values[rows] for cell, values in trials.passed.items()},
        expected=len(rows),
    )


def as_family(contrasts: Iterable[Contrast]) -> list[Contrast]:
    """Correct the p-values of contrasts that are read together."""
    found = list(contrasts)
    tested = [contrast for contrast in found if contrast.p is not None]
    corrected = dict(zip(map(id, tested), holm([c.p for c in tested if c.p is not None]), strict=True))
    return [replace(contrast, corrected=corrected.get(id(contrast))) for contrast in found]


def _chosen(tables: Sequence[Trials], patterns: Mapping[str, Sequence[str]]) -> list[Trials]:
    tasks, models = patterns.get("task", ()), patterns.get("model", ())
    return [one for one in tables if matches(tasks, *words_of(one, "task")) and matches(models, one.model)]


def _same_models(first: Sequence[Trials], second: Sequence[Trials]) -> Iterator[tuple[Trials, Trials]]:
    alone = len({one.model for one in first}) == len({one.model for one in second}) == 1
    for one in first:
        for other in second:
            if one.task == other.task and (alone or one.model == other.model):
                yield one, other


def _same_judges(one: Trials, other: Trials, mode: str, globs: Sequence[str]) -> Iterator[Contrast]:
    mine, theirs = one.judges(mode), other.judges(mode)
    alone = len(mine) == len(theirs) == 1
    for judge in mine:
        for their in theirs:
            if (judge == their or alone) and matches(globs, judge):
                model, who = _both(one.model, other.model), _both(judge, their)
                contrast = _compared(one, other, (mode, judge), (mode, their), mode, model, who)
                if judge != their:
                    contrast = replace(
                        contrast, note="; ".join(filter(None, ("judges differ", contrast.note)))
                    )
                yield contrast


def _both(first: str, second: str) -> str:
    return first if first == second else f"{first} -> {second}"


def _compared(
    one: Trials,
    other: Trials,
    cell: tuple[str, str],
    their: tuple[str, str],
    mode: str,
    model: str,
    judge: str,
) -> Contrast:
    """Return the contrast of two cells, not yet corrected."""
    empty = Contrast(one.task, one.family, mode, model, judge, None, None)
    first, second = _units(one, cell), _units(other, their)
    if one.fingerprint != other.fingerprint:
        return _unpaired(empty, first, second)
    shared = [unit for unit in first if unit in second]
    if not shared:
        return replace(empty, note="no unit has a verdict in both")
    if one.seed != other.seed:
        empty = replace(empty, note="paired by sample only: the seeds differ")
    return _paired(empty, shared, [first[unit] for unit in shared], [second[unit] for unit in shared])


def _units(trials: Trials, cell: tuple[str, str]) -> dict[str, Floats]:
    """Return each unit's repeats that have a verdict throughout: 1 when all its samples pass, else 0.

    A unit of which a sample is not in the log yet is left out.
    """
    passed = trials.passed[cell]
    members: dict[str, list[int]] = {}
    for row, unit in enumerate(trials.units):
        members.setdefault(unit, []).append(row)
    size = max(map(len, members.values()), default=0) if trials.expected > len(trials.samples) else 0
    whole = {unit: passed[rows].min(axis=0) for unit, rows in members.items() if len(rows) >= size}
    return {unit: values for unit, values in whole.items() if not np.isnan(values).all()}


def _paired(empty: Contrast, units: Sequence[str], first: list[Floats], second: list[Floats]) -> Contrast:
    pairs = [_scored_in_both(a, b) for a, b in zip(first, second, strict=True)]
    kept = [(unit, *pair) for unit, pair in zip(units, pairs, strict=True) if pair is not None]
    if not kept:
        return replace(empty, note="no unit has a verdict in both")
    n = len(kept)
    gained = tuple(unit for unit, a, b in kept if a < 0.5 <= b)
    lost = tuple(unit for unit, a, b in kept if b < 0.5 <= a)
    contrast = replace(
        empty,
        first=sum(a for _, a, _ in kept) / n,
        second=sum(b for _, _, b in kept) / n,
        n=n,
        gained=gained,
        lost=lost,
    )
    low, high = paired_difference(len(gained), len(lost), n)
    if all(len(values) == 1 for values in (*first, *second)):
        return replace(contrast, low=low, high=high, p=mcnemar(len(gained), len(lost)))
    differences = [b - a for _, a, b in kept]
    if len(set(differences)) > 1:  # a bootstrap of equal values has no width
        low, high = cluster_bootstrap([[difference] for difference in differences])
    return replace(contrast, low=low, high=high, p=paired_permutation(differences))


def _scored_in_both(first: Floats, second: Floats) -> tuple[float, float] | None:
    """Return both rates over the repeats that have a verdict in both; over all, where repeats differ."""
    if len(first) == len(second):
        both = ~np.isnan(first) & ~np.isnan(second)
        first, second = first[both], second[both]
    first, second = first[~np.isnan(first)], second[~np.isnan(second)]
    return (float(first.mean()), float(second.mean())) if first.size and second.size else None


def _unpaired(empty: Contrast, first: dict[str, Floats], second: dict[str, Floats]) -> Contrast:
    """Compare rates of units that are not the same; repeats are averaged, which costs some precision."""
    note = "not paired: the task is not the same in both"
    if not first or not second:
        return replace(empty, paired=False, note=f"{note}, and one has no verdicts")
    (a, m), (b, n) = (
        (float(sum(np.nanmean(values) for values in units.values())), float(len(units)))
        for units in (first, second)
    )
    low, high = unpaired_difference((a, m), (b, n))
    p = two_rates((a, m), (b, n))
    return replace(
        empty, first=a / m, second=b / n, low=low, high=high, p=p, n=int(min(m, n)), paired=False, note=note
    )
