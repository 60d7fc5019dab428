"""Best of n: a judge chooses among a model's generations. A baseline for training, never a plain score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unisandbox.modes import MODES
from unisandbox.stats import wilson
from unisandbox.trials import Floats, Trials, read_trials


@dataclass(frozen=True, slots=True)
class Best:
    """What one judge's choice among ``of`` generations scores with another, or with the same."""

    task: str
    mode: str
    model: str
    verifier: str
    """The judge that chooses: the first generation that it accepts, else the first."""
    judge: str
    """The judge that scores. The same as ``verifier``: the share in which any of them is right."""
    of: int
    first: float
    """What the first generation of each sample scores, over the same units."""
    best: float
    low: float
    high: float
    """95 % interval of ``best`` (Wilson)."""
    n: int
    """Units in which every generation has a verdict of both."""


def best_of(folder: str | Path) -> list[Best]:
    """Return the best-of-n scores of every task, mode, model and pair of judges; none for a single repeat."""
    return [
        found
        for trials in read_trials(folder)
        for mode in MODES
        for verifier in trials.judges(mode)
        for judge in trials.judges(mode)
        for found in _best(trials, mode, verifier, judge)
    ]


def _best(trials: Trials, mode: str, verifier: str, judge: str) -> Iterator[Best]:
    accepted, right = trials.passed[mode, verifier], trials.passed[mode, judge]
    of = right.shape[1]
    whole = ~(np.isnan(accepted) | np.isnan(right)).any(axis=1)
    if of < 2 or not whole.any():
        return
    chosen = np.argmax(accepted == 1, axis=1)  # the first accepted; 0 where none is
    picked = np.where(whole, right[np.arange(len(right)), chosen], np.nan)
    best = _by_unit(picked, trials.unit_of)
    first = _by_unit(np.where(whole, right[:, 0], np.nan), trials.unit_of)
    if not best:
        return
    low, high = wilson(sum(best), len(best))
    yield Best(
        trials.task,
        mode,
        trials.model,
        verifier,
        judge,
        of,
        sum(first) / len(first),
        sum(best) / len(best),
        low,
        high,
        len(best),
    )


def _by_unit(samples: Floats, unit_of: NDArray[np.intp]) -> Sequence[float]:
    """Return 1 for each unit all of whose samples are right, else 0; units without a verdict left out."""
    units = [samples[unit_of == unit] for unit in range(int(unit_of.max()) + 1)]
    return [float(values.min()) for values in units if not np.isnan(values).any()]
