"""Intervals, tests and sample sizes for rates.

Short closed forms are written out here rather than taken from scipy, whose import costs 1.9 s at the end of
every run; tests hold each of them against scipy or against published figures. Where no closed form exists
(permutations) scipy does the work, imported when it is needed. All intervals are 95 % and two-sided.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, comb, isnan, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NORMAL = NormalDist()
Z95 = _NORMAL.inv_cdf(0.975)
SEED = 2511
"""Of every random draw here, so that the same verdicts give the same interval."""
BLOCK = 2_000_000
"""Draws held at once: bounds memory at some 32 MB."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval, or the reason why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: float = 0.0
    """What it is a share of, in trials of a sample (over repeats: expected number)."""
    reason: str = ""
    """Why there is no value."""

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return self.value is not None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A judge's own error rates, as counted on answers whose truth is known."""

    passed: int
    """Right answers that it called correct, of ``right``."""
    right: int
    failed: int
    """Wrong answers that it called incorrect, of ``wrong``."""
    wrong: int

    def __post_init__(self) -> None:
        for part, whole in ((self.passed, self.right), (self.failed, self.wrong)):
            if not 0 <= part <= whole or whole == 0:
                raise ValueError(f"{part}/{whole} is no share of answers")

    @property
    def sensitivity(self) -> float:
        """P(called correct | right)."""
        return self.passed / self.right

    @property
    def specificity(self) -> float:
        """P(called incorrect | wrong)."""
        return self.failed / self.wrong

    @property
    def youden(self) -> float:
        """Sensitivity + specificity - 1: 1 for a perfect judge, 0 for one that guesses (Youden 1950)."""
        return self.sensitivity + self.specificity - 1

    @property
    def standard_errors(self) -> tuple[float, float]:
        """Of sensitivity and specificity, with one answer of each kind added, so that none is 0."""
        rates = (((p + 1) / (n + 2), n) for p, n in ((self.passed, self.right), (self.failed, self.wrong)))
        first, second = (sqrt(rate * (1 - rate) / (n + 2)) for rate, n in rates)
        return first, second


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Return the Wilson score interval of a rate (Wilson 1927).

    >>> [round(bound, 3) for bound in wilson(0, 20)]
    [0.0, 0.161]
    """
    if n == 0:
        raise ValueError("no interval for n = 0")
    rate = successes / n
    centre = (rate + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * sqrt(rate * (1 - rate) / n + Z95**2 / (4 * n * n)) / (1 + Z95**2 / n)
    return (0.0 if successes == 0 else max(0.0, centre - half)), (
        1.0 if successes == n else min(1.0, centre + half)
    )


def cluster_bootstrap(
    clusters: Sequence[Sequence[float]],
    draws: int = 4000,
    method: Literal["percentile", "bca"] = "percentile",
) -> tuple[float, float]:
    """Return the bootstrap interval of the mean of all values, drawing whole clusters with replacement.

    For values that are not independent within a cluster, such as repeats of one sample. ``bca`` corrects the
    percentiles for bias and skewness (Efron 1987). One cluster has no interval: (0, 1); values that are all
    alike give an interval without width, which says nothing.
    """
    import numpy as np

    if len(clusters) < 2:
        return 0.0, 1.0
    sums = np.array([sum(cluster) for cluster in clusters], dtype=float)
    sizes = np.array([len(cluster) for cluster in clusters], dtype=float)
    means = np.concatenate([part[:, 0] / part[:, 1] for part in _redrawn(np.stack([sums, sizes]), draws)])
    if method == "bca":
        left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
        levels = _bca_levels(means, sums.sum() / sizes.sum(), left_out)
    else:
        levels = (0.025, 0.975)
    low, high = np.quantile(means, levels)
    return float(low), float(high)


def bootstrap(
    columns: Floats, statistic: Callable[[Floats], Floats], draws: int = 4000
) -> tuple[float, float]:
    """Return the percentile interval of a statistic of column sums, drawing whole clusters.

    ``columns`` is (columns, clusters); ``statistic`` takes sums of shape (draws, columns) and returns one
    value a draw. Draws in which it is not defined (NaN) are left out. One cluster gives (nan, nan).
    """
    import numpy as np

    if columns.shape[1] < 2:
        return float("nan"), float("nan")
    values = np.concatenate([statistic(part) for part in _redrawn(columns, draws)])
    values = values[np.isfinite(values)]
    if not values.size:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _redrawn(columns: Floats, draws: int) -> Iterator[Floats]:
    """Yield column sums of redrawn clusters, (some draws, columns) at a time."""
    import numpy as np

    number = columns.shape[1]
    for picks in [_picks(number, draws)] if number * draws <= BLOCK else _blocks(number, draws):
        yield np.stack([column[picks].sum(axis=1) for column in columns], axis=1)


@lru_cache(maxsize=4)
def _picks(number: int, draws: int) -> NDArray[np.int64]:
    """Return all draws at once; cells of one task have as many clusters, and so the very same draws."""
    return next(_blocks(number, draws))


def _blocks(number: int, draws: int) -> Iterator[NDArray[np.int64]]:
    """Yield which clusters are drawn, (some draws, clusters) at a time."""
    import numpy as np

    generator = np.random.Generator(np.random.PCG64(SEED))
    block = max(1, BLOCK // number)
    for start in range(0, draws, block):
        yield generator.integers(0, number, size=(min(block, draws - start), number))


def _bca_levels(means: Floats, mean: float, left_out: Floats) -> tuple[float, float]:
    """Return the percentiles to read off; the plain ones where there is nothing to correct."""
    import numpy as np

    below = (np.sum(means < mean) + np.sum(means == mean) / 2) / means.size
    off = left_out.mean() - left_out
    spread = float(np.sum(off**2))
    if not 0 < below < 1 or spread == 0:
        return 0.025, 0.975
    bias = _NORMAL.inv_cdf(float(below))
    skew = float(np.sum(off**3)) / (6 * spread**1.5)

    def level(z: float) -> float:
        return _NORMAL.cdf(bias + (bias + z) / (1 - skew * (bias + z)))

    return level(-Z95), level(Z95)


def share(part: Floats, whole: Floats, trials: float | None = None, judge: Floats | None = None) -> Estimate:
    """Return sum(part) / sum(whole) over clusters, with its linearised interval (Woodruff 1971).

    ``part`` and ``whole`` hold a number a cluster; parts may be unbiased estimates outside [0, whole], as
    after a correction for the judge. ``trials`` bounds how many independent observations there can be.
    ``judge`` is (2, k): how far the two sums move with each error rate of a judge, one standard error each;
    it widens the interval by what is not known about the judge.

    As Agresti & Coull (1998) do for a plain rate, z squared observations, half of them successes, are added
    before the interval is taken, so that a share of 0 or 1 has an interval too. Each weighs as much as one
    independent observation does in these data.
    """
    import numpy as np

    total, top, number = float(whole.sum()), float(part.sum()), len(whole)
    if number < 1 or total <= 0:
        return Estimate(None, reason="nothing to share")
    value = min(1.0, max(0.0, top / total))
    if number < 2:
        return Estimate(value, 0.0, 1.0, total)
    covariance = np.cov(np.stack([part, whole])) * number
    weight = total / _observations(part, whole, value, trials)
    added = Z95**2 * weight
    spread = covariance + Z95**2 * weight**2 * np.array([[0.5, 0.5], [0.5, 1.0]])
    if judge is not None:
        spread = spread + judge @ judge.T
    centre = min(1.0, max(0.0, (top + added / 2) / (total + added)))
    way = np.array([1.0, -centre])
    half = Z95 * sqrt(float(way @ spread @ way)) / (total + added)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(value, min(low, value), max(high, value), total)


def ratio(hits: Sequence[bool], units: Sequence[Hashable]) -> Estimate:
    """Return the share of hits with its interval: Wilson's, or over ``units`` where hits share one."""
    n, number = len(hits), len(set(units))
    if n == 0:
        return Estimate(None, reason="nothing was counted")
    if number == n:
        return Estimate(sum(hits) / n, *wilson(sum(hits), n), n)
    import numpy as np

    row_of = {unit: row for row, unit in enumerate(dict.fromkeys(units))}
    rows = np.array([row_of[unit] for unit in units])
    part, whole = (np.bincount(rows, values).astype(float) for values in (hits, np.ones(n)))
    return share(part, whole, n)


def _observations(part: Floats, whole: Floats, value: float, trials: float | None) -> float:
    """Return how many independent observations a share rests on: from Kish's number to ``trials``."""
    import numpy as np

    total, number = float(whole.sum()), len(whole)
    least = max(1.0, total**2 / float(np.sum(whole**2)))
    residual = part - value * whole
    variance = number * float(np.var(residual, ddof=1)) / total**2
    if variance <= 0 or not 0 < value < 1:
        return least
    return max(least, min(value * (1 - value) / variance, least if trials is None else trials))


def rogan_gladen(successes: float, n: float, judge: Accuracy) -> Estimate:
    """Return the rate that a judge who errs would have called ``successes`` of ``n`` (Rogan & Gladen 1978).

    The interval carries what is not known about the judge (Lang & Reiczigel 2014, section 2.3).
    """
    if n == 0:
        return Estimate(None, reason="nothing was scored")
    if judge.youden <= 0:
        return Estimate(None, n=n, reason="the judge is no better than guessing")
    value = (successes / n + judge.specificity - 1) / judge.youden
    z = Z95**2
    rate = (successes + z / 2) / (n + z)
    sensitivity = (judge.passed + 1) / (judge.right + 2)
    specificity = (judge.failed + 1) / (judge.wrong + 2)
    youden = sensitivity + specificity - 1
    if youden <= 0:
        return Estimate(min(1.0, max(0.0, value)), 0.0, 1.0, n)
    true = (rate + specificity - 1) / youden
    for_right = sensitivity * (1 - sensitivity) / (judge.right + 2)
    for_wrong = specificity * (1 - specificity) / (judge.wrong + 2)
    shift = 2 * z * (true * for_right - (1 - true) * for_wrong)
    half = (
        Z95 * sqrt(rate * (1 - rate) / (n + z) + true**2 * for_right + (1 - true) ** 2 * for_wrong) / youden
    )
    value = min(1.0, max(0.0, value))
    low, high = max(0.0, true + shift - half), min(1.0, true + shift + half)
    return Estimate(value, min(low, value), max(high, value), n)


def mcnemar(gained: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test: ``gained`` pairs against ``lost`` (McNemar 1947).

    >>> mcnemar(1, 9)
    0.021484375
    """
    n = gained + lost
    if n == 0:
        return 1.0
    tail = sum(comb(n, k) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / (1 << n))


def paired_difference(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Return the interval of the difference of two paired rates, (gained - lost) / n.

    Bonett & Price 2012.
    """
    if n == 0:
        raise ValueError("no interval for n = 0")
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = Z95 * sqrt((up + down - (up - down) ** 2) / (n + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def unpaired_difference(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Return the interval of second - first, each (successes, n) (Newcombe 1998, method 10)."""
    (a, m), (b, n) = first, second
    difference = b / n - a / m
    (a_low, a_high), (b_low, b_high) = wilson(a, m), wilson(b, n)
    return (
        difference - sqrt((b / n - b_low) ** 2 + (a_high - a / m) ** 2),
        difference + sqrt((b_high - b / n) ** 2 + (a / m - a_low) ** 2),
    )


def two_rates(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Return the two-sided p that two independent rates, each (successes, n), are one (pooled z test)."""
    (a, m), (b, n) = first, second
    pooled = (a + b) / (m + n)
    error = sqrt(pooled * (1 - pooled) * (1 / m + 1 / n))
    return 1.0 if error == 0 else 2 * _NORMAL.cdf(-abs(b / n - a / m) / error)


def paired_permutation(differences: Sequence[float], draws: int = 10_000) -> float:
    """Return the two-sided p that differences, one a cluster, are as often above zero as below.

    By flipping their signs: all ways of it where there are few, else ``draws`` of them (scipy).
    """
    import numpy as np

    values = np.asarray(differences, dtype=float)
    values = values[values != 0]  # a zero stays zero whichever way it is turned
    if not values.size:
        return 1.0
    if values.size < 2:
        return 1.0  # one cluster: either sign is as likely
    from scipy.stats import permutation_test

    done = permutation_test(
        (values,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=draws,
        rng=SEED,
        batch=1000,
    )
    return float(done.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for being a family (Holm 1979), in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [1.0] * len(p_values)
    worst = 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = worst
    return corrected


def cohens_kappa(
    first: Sequence[Hashable], second: Sequence[Hashable], units: Sequence[Hashable] | None = None
) -> Estimate:
    """Return how far two raters agree beyond chance (Cohen 1960).

    The interval is that of Fleiss, Cohen & Everitt 1969; where ratings share a unit, a bootstrap over
    ``units``. Where the two agree throughout, neither has a width: then the lower end is that of Wilson's
    interval of the agreement.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} ratings against {len(second)}")
    n = len(first)
    if n == 0:
        return Estimate(None, reason="nothing was rated")
    labels = list(dict.fromkeys([*first, *second]))
    rows = {label: first.count(label) / n for label in labels}
    columns = {label: second.count(label) / n for label in labels}
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    chance = sum(rows[label] * columns[label] for label in labels)
    if chance == 1:
        return Estimate(None, n=n, reason="both gave one and the same rating to everything")
    kappa = (agreed - chance) / (1 - chance)
    clusters = n if units is None else len(set(units))
    if agreed == 1:
        return Estimate(kappa, (wilson(clusters, clusters)[0] - chance) / (1 - chance), 1.0, n)
    if units is not None and clusters < n:
        low, high = _kappa_bootstrap(first, second, units, labels)
        return Estimate(kappa, min(low, kappa), max(high, kappa), n)
    squares = 0.0
    for a, b in zip(first, second, strict=True):
        both = rows[b] + columns[a]
        term = (1 - both * (1 - kappa)) ** 2 if a == b else (both * (1 - kappa)) ** 2
        squares += term / n
    variance = max(0.0, squares - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    half = Z95 * sqrt(variance)
    return Estimate(kappa, max(-1.0, kappa - half), min(1.0, kappa + half), n)


def _kappa_bootstrap(
    first: Sequence[Hashable], second: Sequence[Hashable], units: Sequence[Hashable], labels: list[Hashable]
) -> tuple[float, float]:
    import numpy as np

    row_of = {unit: row for row, unit in enumerate(dict.fromkeys(units))}
    k = len(labels)
    counts = np.zeros((k * k, len(row_of)))
    for a, b, unit in zip(first, second, units, strict=True):
        counts[labels.index(a) * k + labels.index(b), row_of[unit]] += 1

    def kappa(totals: Floats) -> Floats:
        shares = totals.reshape(-1, k, k) / totals.sum(axis=1)[:, None, None]
        agreed = np.trace(shares, axis1=1, axis2=2)
        chance = (shares.sum(axis=1) * shares.sum(axis=2)).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):  # one rating throughout: left out
            return np.asarray((agreed - chance) / (1 - chance))

    low, high = bootstrap(counts, kappa)
    return (-1.0, 1.0) if isnan(low) else (low, high)


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Return the chance that one of ``k`` generations is right, from ``correct`` of ``n`` (Chen et al. 2021).

    >>> pass_at_k(4, 1, 2)
    0.5
    """
    if not (0 <= correct <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} needs at least {k} generations, found {correct} right of {n}")
    return 1 - comb(n - correct, k) / comb(n, k)


def samples_needed(effect: float, discordance: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return how many pairs show a difference between two rates (Miettinen 1968; Connor 1987).

    ``effect`` is the difference; ``discordance`` the share of pairs in which the two outcomes differ, which
    is at least the effect.

    >>> samples_needed(0.1, 0.2)
    155
    """
    _check(effect, discordance)
    if not 0 < power < 1 or not 0 < alpha < 1:
        raise ValueError("power and alpha lie between 0 and 1")
    two_sided, one_sided = _NORMAL.inv_cdf(1 - alpha / 2), _NORMAL.inv_cdf(power)
    root = two_sided * sqrt(discordance) + one_sided * sqrt(discordance - effect**2)
    return ceil((root / effect) ** 2)


def paired_power(effect: float, discordance: float, n: int, alpha: float = 0.05) -> float:
    """Return the chance that ``n`` pairs show a difference; see ``samples_needed``."""
    _check(effect, discordance)
    z = effect * sqrt(n) - _NORMAL.inv_cdf(1 - alpha / 2) * sqrt(discordance)
    left = discordance - effect**2
    return float(z > 0) if left <= 0 else _NORMAL.cdf(z / sqrt(left))


def resolved(n: int, discordance: float, power: float = 0.8) -> float | None:
    """Return the smallest difference that ``n`` pairs show with that power, to a tenth of a point.

    None when they do not show even the largest that this discordance allows.
    """
    for tenth in range(1, int(discordance * 1000) + 1):
        if samples_needed(tenth / 1000, discordance, power) <= n:
            return tenth / 1000
    return None


def _check(effect: float, discordance: float) -> None:
    if not 0 < effect <= discordance <= 1:
        raise ValueError("expected 0 < effect <= discordance <= 1")
