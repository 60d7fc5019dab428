"""Intervals, held against scipy, against formulas and against simulation."""

import random

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from unisandbox.stats import cluster_bootstrap, wilson


@pytest.mark.parametrize("n", [1, 2, 3, 10, 97, 250, 5000])
def test_wilson_is_scipys(n: int) -> None:
    for successes in sorted({0, 1, n // 3, n // 2, n - 1, n}):
        expected = binomtest(successes, n).proportion_ci(method="wilson")
        assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_ends_exactly_at_nothing_and_at_all() -> None:
    assert wilson(0, 7)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0
    with pytest.raises(ValueError, match="n = 0"):
        wilson(0, 0)


def test_wilson_takes_parts_of_successes() -> None:
    assert wilson(1, 10)[0] < wilson(1.5, 10)[0] < wilson(2, 10)[0]


def test_the_bootstrap_of_single_values_is_binomial() -> None:
    low, high = cluster_bootstrap([[1.0]] * 30 + [[0.0]] * 70)
    assert low == pytest.approx(binom.ppf(0.025, 100, 0.3) / 100, abs=0.011)
    assert high == pytest.approx(binom.ppf(0.975, 100, 0.3) / 100, abs=0.011)


def test_copies_within_a_cluster_add_nothing() -> None:
    values = [1.0] * 12 + [0.0] * 28
    alone = cluster_bootstrap([[value] for value in values])
    assert cluster_bootstrap([[value] * 5 for value in values]) == pytest.approx(alone)


def test_independent_repeats_within_clusters_narrow_the_interval() -> None:
    draw = random.Random(1).random
    clusters = [[float(draw() < 0.5) for _ in range(16)] for _ in range(60)]
    low, high = cluster_bootstrap(clusters)
    one_low, one_high = cluster_bootstrap([cluster[:1] for cluster in clusters])
    assert (high - low) * 2 < one_high - one_low


def test_clusters_of_unequal_size_weigh_by_their_values() -> None:
    low, high = cluster_bootstrap([[1.0] * 9, [0.0]] * 20)
    assert low < 0.9 < high  # the mean of values, not of clusters
    assert low > 0.5


def test_the_same_verdicts_give_the_same_interval() -> None:
    clusters = [[float(n % 3 == 0)] * 2 for n in range(40)]
    assert cluster_bootstrap(clusters) == cluster_bootstrap(clusters)


def test_one_cluster_says_nothing() -> None:
    assert cluster_bootstrap([[1.0, 0.0]]) == (0.0, 1.0)
    assert cluster_bootstrap([]) == (0.0, 1.0)


def test_many_clusters_are_drawn_in_blocks_as_if_at_once() -> None:
    values = (np.arange(3000) % 3 == 0).astype(float)
    generator = np.random.Generator(np.random.PCG64(2511))
    means = values[generator.integers(0, 3000, size=(1500, 3000))].mean(axis=1)
    expected = np.quantile(means, [0.025, 0.975])
    assert cluster_bootstrap([[value] for value in values], draws=1500) == pytest.approx(tuple(expected))


def test_the_bootstrap_covers_where_counting_repeats_as_samples_does_not() -> None:
    """40 samples that differ in how hard they are, four repeats each; the true rate is 0.5."""
    draws = np.random.Generator(np.random.PCG64(7))
    runs, clustered, naive = 300, 0, 0
    for _ in range(runs):
        right = draws.binomial(1, draws.beta(0.3, 0.3, size=(40, 1)), size=(40, 4)).astype(float)
        low, high = cluster_bootstrap(right.tolist(), draws=600)
        clustered += low <= 0.5 <= high
        low, high = wilson(right.sum(), right.size)
        naive += low <= 0.5 <= high
    assert 0.90 <= clustered / runs <= 0.98
    assert naive / runs < 0.85
