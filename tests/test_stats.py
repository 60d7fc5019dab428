"""Intervals and tests, held against scipy, against published figures and against simulation."""

import random
import time
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom, binomtest, chi2_contingency
from scipy.stats import bootstrap as scipy_bootstrap

from unisandbox.stats import (
    Accuracy,
    Estimate,
    bootstrap,
    cluster_bootstrap,
    cohens_kappa,
    holm,
    mcnemar,
    paired_difference,
    paired_permutation,
    paired_power,
    pass_at_k,
    resolved,
    rogan_gladen,
    samples_needed,
    share,
    two_rates,
    unpaired_difference,
    wilson,
)


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


def test_ten_thousand_samples_are_redrawn_two_thousand_times_in_a_second() -> None:
    clusters = [[float(n % 3 == 0)] for n in range(10_000)]
    begin = time.process_time()
    cluster_bootstrap(clusters, draws=2000)
    assert time.process_time() - begin < 1


def test_bca_is_scipys() -> None:
    draws = np.random.Generator(np.random.PCG64(3))
    values = draws.exponential(size=40)  # skewed, so that the correction does something
    expected = scipy_bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=1
    ).confidence_interval
    found = cluster_bootstrap([[value] for value in values], draws=20_000, method="bca")
    assert found == pytest.approx((expected.low, expected.high), abs=0.02)
    plain = cluster_bootstrap([[value] for value in values], draws=20_000)
    assert abs(found[1] - plain[1]) > 0.02


def test_bca_of_equal_values_has_no_width() -> None:
    assert cluster_bootstrap([[1.0]] * 9, method="bca") == (1.0, 1.0)


def test_a_bootstrapped_statistic_of_sums() -> None:
    values = np.array([[1.0] * 30 + [0.0] * 70, [1.0] * 100])
    found = bootstrap(values, lambda sums: sums[:, 0] / sums[:, 1])
    assert found == pytest.approx(cluster_bootstrap([[v] for v in values[0]]))
    assert all(np.isnan(bootstrap(values[:, :1], lambda sums: sums[:, 0])))
    assert all(np.isnan(bootstrap(values, lambda sums: sums[:, 0] * np.nan)))


@pytest.mark.parametrize(("right", "n"), [(0, 40), (3, 40), (20, 40), (40, 40), (150, 500)])
def test_a_share_of_plain_trials_is_near_wilson(right: int, n: int) -> None:
    found = share(np.array([1.0] * right + [0.0] * (n - right)), np.ones(n))
    assert found.value == right / n and found.n == n
    assert (found.low, found.high) == pytest.approx(wilson(right, n), abs=0.035)


def test_a_share_with_nothing_to_share_says_so() -> None:
    assert share(np.zeros(4), np.zeros(4)) == Estimate(None, reason="nothing to share")
    one = share(np.array([1.0]), np.array([1.0]))
    assert (one.value, one.low, one.high) == (1.0, 0.0, 1.0)


def test_a_share_does_not_gain_from_copies_but_from_independent_repeats() -> None:
    values = np.array([1.0] * 12 + [0.0] * 28)
    alone, copied = share(values, np.ones(40)), share(values * 4, np.ones(40) * 4, trials=160)
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high), abs=0.003)
    draws = np.random.Generator(np.random.PCG64(5))
    many = share(draws.binomial(8, 0.3, 40).astype(float), np.full(40, 8.0), trials=320)
    assert many.high is not None and many.low is not None and alone.high is not None and alone.low is not None
    assert many.high - many.low < 0.6 * (alone.high - alone.low)


@pytest.mark.parametrize(("rate", "repeats"), [(0.1, 1), (0.5, 1), (0.1, 4), (0.4, 4)])
def test_shares_cover_at_the_nominal_rate(rate: float, repeats: int) -> None:
    """Shares of a random number of failures, in clusters of ``repeats`` trials with a rate of their own."""
    draws = np.random.Generator(np.random.PCG64(11))
    runs, hit = 600, 0
    for _ in range(runs):
        own = draws.beta(4 * rate, 4 * (1 - rate), size=60)
        failed = draws.binomial(repeats, 0.7, size=60)
        found = share(draws.binomial(failed, own).astype(float), failed.astype(float), 60 * repeats)
        assert found.low is not None and found.high is not None
        hit += found.low <= rate <= found.high
    assert 0.93 <= hit / runs <= 0.985


def test_what_is_not_known_of_the_judge_widens_a_share() -> None:
    values = np.array([1.0] * 50 + [0.0] * 150)
    sure = share(values, np.ones(200))
    unsure = share(values, np.ones(200), judge=np.array([[10.0], [0.0]]))
    assert sure.value == unsure.value
    assert sure.high is not None and unsure.high is not None and unsure.high > sure.high + 0.03


def test_rogan_gladen_with_a_perfect_judge_is_the_rate() -> None:
    found = rogan_gladen(30, 100, Accuracy(10**6, 10**6, 10**6, 10**6))
    assert found.value == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx(wilson(30, 100), abs=0.01)


def test_rogan_gladen_by_hand() -> None:
    # of 100 right the judge passes 90, of 100 wrong it fails 80: 0.48 seen is (0.48 - 0.2) / 0.7
    assert rogan_gladen(48, 100, Accuracy(90, 100, 80, 100)).value == pytest.approx(0.4)
    assert rogan_gladen(5, 100, Accuracy(90, 100, 80, 100)).value == 0.0  # fewer than the judge gives away
    assert rogan_gladen(0, 0, Accuracy(9, 10, 9, 10)).reason == "nothing was scored"
    assert rogan_gladen(5, 10, Accuracy(5, 10, 5, 10)).reason == "the judge is no better than guessing"


@pytest.mark.parametrize("true", [0.05, 0.3, 0.8])
def test_rogan_gladen_covers_with_an_uncertain_judge(true: float) -> None:
    draws = np.random.Generator(np.random.PCG64(13))
    runs, hit = 1500, 0
    for _ in range(runs):
        judge = Accuracy(int(draws.binomial(100, 0.9)), 100, int(draws.binomial(100, 0.85)), 100)
        found = rogan_gladen(int(draws.binomial(200, true * 0.9 + (1 - true) * 0.15)), 200, judge)
        assert found.low is not None and found.high is not None
        hit += found.low <= true <= found.high
    assert 0.93 <= hit / runs <= 0.98


@pytest.mark.parametrize("counts", [(11, 10, 1, 10), (-1, 10, 1, 10), (0, 0, 1, 10), (1, 10, 2, 1)])
def test_error_rates_of_a_judge_are_shares(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="is no share of answers"):
        Accuracy(*counts)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (0, 5), (1, 9), (12, 7), (40, 41), (900, 700)])
def test_mcnemar_is_the_exact_binomial(gained: int, lost: int) -> None:
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, abs=1e-12)


def test_a_paired_difference_by_hand_and_by_simulation() -> None:
    # Bonett & Price: (13 - 3) / 102 -+ 1.96 sqrt(((13 + 3) / 102 - (10 / 102)^2) / 102)
    assert paired_difference(12, 2, 100) == pytest.approx((0.02357, 0.17251), abs=1e-5)
    with pytest.raises(ValueError, match="n = 0"):
        paired_difference(0, 0, 0)
    draws = np.random.Generator(np.random.PCG64(17)).multinomial(80, [0.2, 0.1, 0.7], size=2000)
    hit = [low <= 0.1 <= high for low, high in (paired_difference(int(g), int(b), 80) for g, b, _ in draws)]
    assert 0.93 <= np.mean(hit) <= 0.98


def test_an_unpaired_difference_is_newcombes() -> None:
    # Newcombe 1998, table II (a): 56/70 against 48/80, method 10: 0.0524 to 0.3339
    assert unpaired_difference((48, 80), (56, 70)) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert two_rates((48, 80), (56, 70)) == pytest.approx(
        chi2_contingency([[56, 14], [48, 32]], False).pvalue
    )
    assert two_rates((0, 5), (0, 9)) == 1.0


def test_permutation_of_few_differences_is_exact() -> None:
    assert paired_permutation([0.5, 0.25, 1.0]) == pytest.approx(2 / 8)
    assert paired_permutation([0.0, 0.0]) == 1.0
    assert paired_permutation([]) == paired_permutation([0.7]) == 1.0
    assert paired_permutation([1.0] * 9 + [-1.0]) == pytest.approx(mcnemar(9, 1), abs=0.001)


def test_permutation_of_many_differences_holds_its_level() -> None:
    draws = np.random.Generator(np.random.PCG64(19))
    p_values = [paired_permutation(draws.normal(size=25).tolist(), draws=500) for _ in range(200)]
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.09
    assert paired_permutation((draws.normal(size=40) + 1).tolist(), draws=500) < 0.01


def test_holm_by_hand() -> None:
    assert holm([]) == []
    assert holm([0.03]) == [0.03]
    assert holm([0.01, 0.02, 0.03, 0.005]) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_kappa_by_hand() -> None:
    # 20 both yes, 15 both no, 5 and 10 apart: 0.70 seen, 0.50 by chance
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    found = cohens_kappa(first, second)
    assert found.value == pytest.approx(0.4)
    assert found.low is not None and found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.1266, abs=0.005)
    assert cohens_kappa([1, 0, 1], [1, 0, 1]).value == 1.0
    assert cohens_kappa([1, 1], [1, 1]).reason == "both gave one and the same rating to everything"
    assert cohens_kappa([], []).reason == "nothing was rated"
    with pytest.raises(ValueError, match="2 ratings against 1"):
        cohens_kappa([1, 0], [1])


@pytest.mark.parametrize(("n", "correct", "k"), [(5, 2, 1), (5, 2, 3), (5, 0, 5), (5, 5, 1), (8, 3, 4)])
def test_pass_at_k_is_counting_all_choices(n: int, correct: int, k: int) -> None:
    choices = list(combinations([1] * correct + [0] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, choices)) / len(choices))


def test_pass_at_k_needs_k() -> None:
    with pytest.raises(ValueError, match="pass@3 needs at least 3 generations"):
        pass_at_k(2, 1, 3)


@pytest.mark.parametrize(
    ("effect", "discordance", "n"), [(0.1, 0.2, 155), (0.1, 0.3, 234), (0.05, 0.2, 626), (0.05, 0.1, 312)]
)
def test_samples_needed(effect: float, discordance: float, n: int) -> None:
    assert samples_needed(effect, discordance) == n
    assert paired_power(effect, discordance, n) >= 0.8 > paired_power(effect, discordance, n - 1)


def test_power_is_that_of_the_test() -> None:
    up, down = 0.2, 0.1
    draws = np.random.Generator(np.random.PCG64(23)).multinomial(234, [up, down, 1 - up - down], size=2000)
    won = np.mean([mcnemar(int(gained), int(lost)) < 0.05 for gained, lost, _ in draws])
    assert 0.72 <= won <= 0.84  # the exact test is a little careful


def test_what_a_number_of_samples_resolves() -> None:
    assert resolved(234, 0.3) == 0.1
    assert resolved(100, 0.2) == 0.124
    assert resolved(5, 0.2) is None
    with pytest.raises(ValueError, match="0 < effect <= discordance"):
        samples_needed(0.4, 0.3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        samples_needed(0.1, 0.3, power=1)
