"""Invented people: balanced, independent, distinct, and with names that say nothing."""

import re
from collections import Counter
from itertools import combinations
from typing import Any

import pytest

from unisandbox.datasets.cast import SLOTS, Character, invented
from unisandbox.errors import UsageError
from unisandbox.world.people import AGES, COMPLEXIONS, GENDERS, HAIRS
from unisandbox.world.vocabulary import kinds

COLUMNS = (*SLOTS, "fruit", "flower")
CASTS = [("test", 64, 2511), ("train", 64, 2511), ("test", 60, 1), ("train", 90, 7), ("test", 8, 3)]


def profile(one: Character) -> tuple[str, ...]:
    return (*(getattr(one.person, slot) for slot in SLOTS), one.fruit, one.flower)


def values(column: str) -> list[str]:
    if column in SLOTS:
        return list(dict(zip(SLOTS, (COMPLEXIONS, HAIRS, AGES, GENDERS), strict=True))[column])
    return [kind.name for kind in kinds().values() if kind.category == column]


def distance(one: str, two: str) -> int:
    """Return the edit distance of two words."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        last, row = row, [i]
        for j, b in enumerate(two, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (a != b)))
    return row[-1]


@pytest.mark.parametrize("cast", CASTS)
def test_every_attribute_is_balanced_and_no_profile_repeats(cast: Any) -> None:
    profiles = [profile(one) for one in invented(*cast)]
    assert len(profiles) == cast[1]
    for place, column in enumerate(COLUMNS):
        counts = Counter(one[place] for one in profiles)
        spread = [counts[value] for value in values(column)]
        assert sum(spread) == len(profiles)
        assert max(spread) - min(spread) <= 1, column
    assert len(set(profiles)) == len(profiles)
    assert len({one[:4] for one in profiles}) == len(profiles)


@pytest.mark.parametrize("cast", CASTS)
def test_attributes_are_as_independent_as_the_numbers_allow(cast: Any) -> None:
    profiles = [profile(one) for one in invented(*cast)]
    for i, j in combinations(range(len(COLUMNS)), 2):
        counts = Counter((one[i], one[j]) for one in profiles)
        rows, columns = values(COLUMNS[i]), values(COLUMNS[j])
        table = [[counts[a, b] for b in columns] for a in rows]
        cells = [count for row in table for count in row]
        assert max(cells) - min(cells) <= 1, (COLUMNS[i], COLUMNS[j])
        expected = [
            sum(row) * sum(column) / len(profiles) for row in table for column in zip(*table, strict=True)
        ]
        chi2 = sum((found - e) ** 2 / e for found, e in zip(cells, expected, strict=True) if e)
        assert chi2 <= (len(rows) - 1) * (len(columns) - 1)  # what independent draws have on average
        if {i, j} <= {0, 1, 2, 3} and len(profiles) >= 60:
            v = (chi2 / len(profiles) / (min(len(rows), len(columns)) - 1)) ** 0.5
            assert v < 0.1, (COLUMNS[i], COLUMNS[j], v)


def test_names_are_distinct_words_that_give_nothing_away() -> None:
    names = [one.name for one in (*invented("test", 48, 5), *invented("train", 48, 5))]
    assert all(distance(one, two) >= 2 for one, two in combinations(names, 2))
    assert all(re.fullmatch("[A-Z][a-z]{4,8}", name) for name in names)
    telling = {*COMPLEXIONS, *HAIRS, *AGES, *GENDERS, "old", "man", "boy", "girl", "young"}
    telling |= {kind.name for kind in kinds().values() if kind.category in ("fruit", "flower")}
    assert not [name for name in names for word in telling if word in name.lower()]


def test_a_name_is_of_one_split_whatever_the_seed() -> None:
    tests = {one.name for seed in range(20) for one in invented("test", 16, seed)}
    trains = {one.name for seed in range(20) for one in invented("train", 16, seed)}
    assert len(tests) > 250 and not tests & trains


def test_a_cast_is_the_same_every_time_and_another_with_another_seed() -> None:
    again = invented.__wrapped__("test", 64, 2511)
    assert again == invented("test", 64, 2511) != invented("test", 64, 2512)
    assert [again[0].name, again[63].name] == ["Fuzelf", "Flugilf"]


def test_neighbours_all_round_are_fit_to_be_paired() -> None:
    for people in (8, 9, 13, 64):
        cast = invented("train", people, 4)
        for one, two in zip(cast, [*cast[1:], cast[0]], strict=True):
            differs = [a != b for a, b in zip(profile(one), profile(two), strict=True)]
            assert all(differs[4:]) and sum(differs[:4]) >= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dev", 64, 0), "Unknown split 'dev'"),
        (("test", 7, 0), "people is 7; expected a whole number from 8 to 180"),
        (("test", 64, -1), "seed is -1"),
    ],
)
def test_bad_arguments_are_usage_errors(arguments: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        invented(*arguments)
