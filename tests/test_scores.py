"""Scores: what counts, what does not, and what is left open, held against counting by hand."""

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisandbox.records import Outcome, Score
from unisandbox.scores import CODES, OUTCOMES, pooled, score
from unisandbox.stats import cluster_bootstrap, wilson

LETTERS = {
    "+": "correct", "-": "incorrect", "r": "rejected", "e": "empty", "f": "refused", "t": "truncated",
    "E": "error", ".": "",
}  # fmt: skip


def scored(outcomes: str, units: str = "", repeats: int = 1, more: int = 0) -> Score:
    """Score letters, a word of them a sample; ``units`` names each sample's unit, ``more`` are not asked."""
    words = outcomes.split() if repeats > 1 else list(outcomes)
    numbers: dict[str, int] = {}
    named = units or map(str, range(len(words)))
    unit_of = [numbers.setdefault(unit, len(numbers)) for unit in named]
    codes = bytearray(CODES[LETTERS[letter]] for letter in "".join(words))
    return score(codes, unit_of, len(numbers) + more, repeats)


def test_every_outcome_has_a_code_and_nothing_is_zero() -> None:
    assert tuple(OUTCOMES) == ("", *get_args(Outcome))
    assert not CODES[""]
    assert max(CODES.values()) < 256


@pytest.mark.parametrize(
    ("outcomes", "value", "n", "unscored"),
    [
        ("+", 1.0, 1, 0),
        ("-", 0.0, 1, 0),
        ("++--", 0.5, 4, 0),
        ("+r", 0.5, 2, 0),
        ("+e", 0.5, 2, 0),
        ("+f", 0.5, 2, 0),
        ("+t", 0.5, 2, 0),
        ("+E", 1.0, 1, 1),
        ("-E", 0.0, 1, 1),
        ("+.", 1.0, 1, 1),
        ("+-EE", 0.5, 2, 2),
    ],
)
def test_errors_leave_the_denominator_and_no_other_outcome_does(
    outcomes: str, value: float, n: int, unscored: int
) -> None:
    found = scored(outcomes)
    assert (found.value, found.n, found.unscored) == (value, n, unscored)


def test_outcomes_are_counted_by_trial() -> None:
    assert scored("++-rEEE.").outcomes == {"correct": 2, "incorrect": 1, "rejected": 1, "error": 3}


@pytest.mark.parametrize(
    ("outcomes", "units", "value", "n", "unscored"),
    [
        ("++", "pp", 1.0, 1, 0),
        ("+-", "pp", 0.0, 1, 0),
        ("--", "pp", 0.0, 1, 0),
        ("+++-", "ppqq", 0.5, 2, 0),
        ("++-+", "pqqp", 0.5, 2, 0),
        ("+E++", "ppqq", 1.0, 1, 1),
        ("-E++", "ppqq", 1.0, 1, 1),
        (".-++", "ppqq", 1.0, 1, 1),
        ("EE..", "ppqq", None, 0, 2),
    ],
)
def test_a_pair_is_right_when_both_are_and_open_when_one_is(
    outcomes: str, units: str, value: float | None, n: int, unscored: int
) -> None:
    found = scored(outcomes, units)
    assert (found.value, found.n, found.unscored) == (value, n, unscored)


@pytest.mark.parametrize(
    ("outcomes", "lowest", "highest"),
    [("+-", 0.5, 0.5), ("+-EE", 0.25, 0.75), ("++E", 2 / 3, 1.0), ("--E", 0.0, 1 / 3)],
)
def test_bounds_say_what_the_open_units_could_change(outcomes: str, lowest: float, highest: float) -> None:
    found = scored(outcomes)
    assert found.lowest == pytest.approx(lowest)
    assert found.highest == pytest.approx(highest)


def test_units_that_were_never_asked_are_open() -> None:
    found = scored("+-", more=2)
    assert (found.n, found.unscored, found.coverage) == (2, 2, 0.5)
    assert (found.lowest, found.highest) == (0.25, 0.75)


@pytest.mark.parametrize("outcomes", ["", "E", "EE..", "."])
def test_without_a_verdict_there_is_no_score(outcomes: str) -> None:
    found = scored(outcomes)
    assert (found.value, found.low, found.high, found.n) == (None, None, None, 0)
    assert found.unscored == len(outcomes)


@pytest.mark.parametrize("outcomes", ["+" * 20, "-" * 20, "+" * 7 + "-" * 13, "+" * 5 + "-" * 5 + "E" * 10])
def test_one_repeat_has_wilsons_interval(outcomes: str) -> None:
    found = scored(outcomes)
    assert (found.low, found.high) == wilson(outcomes.count("+"), outcomes.count("+") + outcomes.count("-"))


def test_repeats_count_each_and_are_drawn_by_unit() -> None:
    found = scored("++ +- -- +-", repeats=2)
    assert (found.value, found.n, found.unscored) == (0.5, 8, 0)
    assert (found.low, found.high) == cluster_bootstrap([[1, 1], [1, 0], [0, 0], [1, 0]])


def test_a_pair_is_right_in_a_repeat_when_both_are_in_that_repeat() -> None:
    found = scored("+- -+", units="pp", repeats=2)
    assert (found.value, found.n) == (0.0, 2)
    assert scored("+- +-", units="pp", repeats=2).value == 0.5


def test_an_error_leaves_only_its_own_repeat_open() -> None:
    found = scored("+E ++ --", repeats=2)
    assert (found.n, found.unscored) == (5, 1)
    assert found.value == pytest.approx(3 / 5)
    assert found.lowest == pytest.approx(3 / 6)
    assert found.highest == pytest.approx(4 / 6)
    assert (found.low, found.high) == cluster_bootstrap([[1], [1, 1], [0, 0]])


@pytest.mark.parametrize("repeats", [2, 8])
@pytest.mark.parametrize(("letter", "right"), [("+", 10), ("-", 0)])
def test_all_alike_has_a_width_that_repeats_do_not_shrink(letter: str, right: int, repeats: int) -> None:
    found = scored(" ".join([letter * repeats] * 10), repeats=repeats)
    assert found.value == right / 10
    assert (found.low, found.high) == wilson(right, 10)


@given(
    st.integers(1, 3).flatmap(
        lambda repeats: st.lists(
            st.tuples(
                st.integers(0, 3), st.lists(st.sampled_from("+-rE."), min_size=repeats, max_size=repeats)
            ),
            min_size=1,
            max_size=8,
        )
    )
)
def test_scores_are_what_counting_by_hand_gives(rows: Sequence[tuple[int, list[str]]]) -> None:
    repeats = len(rows[0][1])
    verdicts: list[float | None] = []
    for unit in {unit for unit, _ in rows}:
        members = [letters for each, letters in rows if each == unit]
        for repeat in range(repeats):
            column = {letters[repeat] for letters in members}
            verdicts.append(None if column & {"E", "."} else float(column == {"+"}))
    known = [verdict for verdict in verdicts if verdict is not None]
    found = scored(
        " ".join("".join(letters) for _, letters in rows)
        if repeats > 1
        else "".join(letters[0] for _, letters in rows),
        "".join(str(unit) for unit, _ in rows),
        repeats,
    )
    assert (found.n, found.unscored) == (len(known), len(verdicts) - len(known))
    assert found.value == (pytest.approx(sum(known) / len(known)) if known else None)
    if known:
        assert found.low is not None and found.high is not None and found.value is not None
        assert 0 <= found.low <= found.high <= 1
        assert found.lowest == pytest.approx(sum(known) / len(verdicts))
        assert found.highest == pytest.approx(1 - (len(known) - sum(known)) / len(verdicts))
        if repeats == 1:
            assert found.low <= found.value <= found.high


@given(st.lists(st.text("+-rE.", min_size=1, max_size=9), min_size=1, max_size=5))
def test_parts_together_are_the_whole(parts: list[str]) -> None:
    assert pooled([scored(part) for part in parts]) == scored("".join(parts))
