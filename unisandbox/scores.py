"""Verdicts -> scores: units, coverage, intervals, and the bounds that unscored units leave open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from unisandbox.records import Outcome, Score
from unisandbox.stats import cluster_bootstrap, wilson

OUTCOMES: tuple[str, ...] = ("", *get_args(Outcome))
"""Code -> outcome; 0 stands for a trial not asked or not judged yet."""
CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}
_CORRECT, _ERROR = CODES["correct"], CODES["error"]


def score(outcomes: Sequence[int], unit_of: Sequence[int], units: int, repeats: int) -> Score:
    """Return the score of one cell.

    ``outcomes`` holds a code a trial, repeats of a sample side by side; ``unit_of`` the unit of each sample.
    A unit is correct in a repeat when all its samples are, and unscored when one of them is an error or has
    no verdict yet. Units repeat with different seeds: then the interval comes from a bootstrap over units.
    """
    passed = [[True] * repeats for _ in range(units)]
    scored = [[True] * repeats for _ in range(units)]
    asked = [False] * units
    for sample, unit in enumerate(unit_of):
        asked[unit] = True
        for repeat in range(repeats):
            code = outcomes[sample * repeats + repeat]
            if code in (0, _ERROR):
                scored[unit][repeat] = False
            elif code != _CORRECT:
                passed[unit][repeat] = False
    clusters = [
        [float(p) for p, s in zip(passed[unit], scored[unit], strict=True) if s]
        for unit in range(units)
        if asked[unit]
    ]
    return _score([cluster for cluster in clusters if cluster], units * repeats, repeats, outcomes)


def pooled(scores: Sequence[Score]) -> Score:
    """Return the score of the units of several cells together, no unit in two of them and each asked once."""
    n = sum(one.n for one in scores)
    right = round(sum((one.value or 0.0) * one.n for one in scores))
    outcomes: Counter[str] = Counter()
    for one in scores:
        outcomes.update(one.outcomes)
    codes = [CODES[name] for name in outcomes.elements()]
    clusters = [[1.0]] * right + [[0.0]] * (n - right)
    return _score(clusters, n + sum(one.unscored for one in scores), 1, codes)


def _score(clusters: list[list[float]], total: int, repeats: int, outcomes: Sequence[int]) -> Score:
    n = sum(map(len, clusters))
    right = sum(map(sum, clusters))
    counts = {OUTCOMES[code]: outcomes.count(code) for code in sorted(set(outcomes)) if code}
    if n == 0:
        return Score(None, None, None, 0, total, None, None, counts)
    if repeats == 1:
        low, high = wilson(right, n)
    else:  # in an order of their own, so that the order in which models answered does not move the interval
        low, high = cluster_bootstrap(sorted(clusters))
        if low == high:  # units all alike: a bootstrap of equal values has no width
            low, high = wilson(right / n * len(clusters), len(clusters))
    lowest, highest = right / total, (right + total - n) / total
    return Score(right / n, low, high, n, total - n, lowest, highest, counts)
