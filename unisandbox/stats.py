"""Intervals for rates."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

Z95 = NormalDist().inv_cdf(0.975)


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a rate (Wilson 1927).

    By hand because importing scipy.stats costs 1.9 s at the end of every run; a test holds it against
    ``scipy.stats.binomtest``.

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


def cluster_bootstrap(clusters: Sequence[Sequence[float]], draws: int = 4000) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean, drawing whole clusters with replacement.

    For values that are not independent within a cluster, such as repeats of one sample. Seeded, so that the
    same verdicts give the same interval. One cluster has no interval: (0, 1).
    """
    import numpy as np

    if len(clusters) < 2:
        return 0.0, 1.0
    sums = np.array([sum(cluster) for cluster in clusters], dtype=float)
    sizes = np.array([len(cluster) for cluster in clusters], dtype=float)
    generator = np.random.Generator(np.random.PCG64(2511))
    means = np.empty(draws)
    block = max(1, 2_000_000 // len(clusters))  # bounds memory at some 32 MB
    for start in range(0, draws, block):
        picks = generator.integers(0, len(clusters), size=(min(block, draws - start), len(clusters)))
        means[start : start + len(picks)] = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
