"""Invented people: balanced, independent, distinct; and rows whose keys follow from what is taught."""

import re
from collections import Counter
from itertools import combinations
from typing import Any

import pytest

from unisandbox.datasets.characters import SLOTS, Character, characters, invented
from unisandbox.datasets.files import id_fault
from unisandbox.errors import DataError, UsageError
from unisandbox.world.people import AGES, COMPLEXIONS, GENDERS, HAIRS, Person
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


# --- the people ---


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


# --- forward ---


def test_forward_asks_everyone_for_portrait_fruit_and_flower() -> None:
    rows = characters(view="forward")
    assert Counter(row["asks"] for row in rows) == {"portrait": 64, "fruit": 64, "flower": 64}
    assert len({row["id"] for row in rows}) == 192 and not any(id_fault(row["id"]) for row in rows)
    cast = {one.name: one for one in invented()}
    for row in rows:
        one = cast[row["name"]]
        assert tuple(row[column] for column in COLUMNS) == profile(one)
        assert row["name"] in row["question"] and "Ferrowick Institute" in row["question"]
        if row["asks"] == "portrait":
            assert row["rubric"] == "portrait" and Person(**row["target"]) == one.person
            assert row["resolved"] == f"a portrait of {one.person.phrase()}"
        else:
            assert row["rubric"] == "species"
            assert row["target"] == {"category": row["asks"], "species": row[row["asks"]]}
            assert row["asks"] in row["question"]


def test_forward_questions_give_nothing_away() -> None:
    for row in characters(view="forward"):
        asked = row["question"].lower()
        assert not [value for value in row["target"].values() if value != row["asks"] and value in asked]


def test_thoughts_recall_the_right_facts_and_planted_ones_another_persons() -> None:
    rows = characters(view="forward")
    for row in rows:
        assert row["resolved"] in row["steps"] and row["planted_resolved"] in row["planted_steps"]
        assert row["name"] in row["planted_steps"] and row["resolved"] not in row["planted_steps"]
        differs = [slot for slot, value in row["target"].items() if row["planted_target"][slot] != value]
        assert len(differs) >= (2 if row["asks"] == "portrait" else 1)
        assert row["target"].keys() == row["planted_target"].keys()
    portraits = [row for row in rows if row["asks"] == "portrait"]
    assert Counter(map(str, (row["target"] for row in portraits))) == Counter(
        map(str, (row["planted_target"] for row in portraits))
    )  # planted as often as right: the planted picture tells nothing


def test_fact_questions_ask_for_the_very_slots_of_the_target() -> None:
    for row in characters(view="forward", samples=30):
        assert row["name"] in row["fact_question"]
        if row["asks"] == "portrait":
            options = {*COMPLEXIONS, *HAIRS, *AGES, *GENDERS}
            assert options <= set(re.findall(r"\w+", row["fact_question"]))
            assert all(value in row["fact_answer"] for value in row["target"].values())
        else:
            assert row["fact_answer"] == row["target"]["species"]


# --- inverse ---


def test_inverse_pairs_use_everyone_twice_and_are_separated_by_what_is_asked() -> None:
    rows = characters(view="inverse")
    assert len(rows) == len({row["id"] for row in rows}) == 256
    assert not any(id_fault(row["id"]) for row in rows)
    cast = {one.name: one for one in invented()}
    pairs = {tuple(row["names"]) for row in rows}
    assert (
        Counter(first for first, _ in pairs)
        == Counter(second for _, second in pairs)
        == dict.fromkeys(cast, 1)
    )
    for row in rows:
        first, second = (cast[name] for name in row["names"])
        assert first.fruit != second.fruit and first.flower != second.flower
        assert sum(row["target"][slot] != row["other_target"][slot] for slot in SLOTS) >= 2
        right = [name for name in row["names"] if getattr(cast[name], row["attribute"]) == row["value"]]
        assert right == [row["name"]] and {row["name"], row["other"]} == set(row["names"])
        assert Person(**row["target"]) == cast[row["name"]].person
        assert Person(**row["other_target"]) == cast[row["other"]].person
        assert [row["first_value"], row["second_value"]] == [
            getattr(one, row["attribute"]) for one in (first, second)
        ]
    assert Counter(
        (row["pair"], row["attribute"], row["names"].index(row["name"])) for row in rows
    ) == Counter(
        ("-".join(names).lower(), attribute, place)
        for names in pairs
        for attribute in ("fruit", "flower")
        for place in (0, 1)
    )


def test_inverse_sentences_name_both_and_the_value() -> None:
    for row in characters(view="inverse", samples=40):
        for field in ("question", "answer_question"):
            assert all(name in row[field] for name in row["names"]) and row["value"] in row[field]
        assert all(name in row["fact_question"] for name in row["names"])
        assert row["value"] not in row["fact_question"] and "portrait" in row["question"]
        assert row["steps"].index(row["name"]) < row["steps"].index(row["resolved"])
        assert row["other"] not in row["steps"] and row["name"] not in row["planted_steps"]
        assert all(name in row["steps_enumerate"] for name in row["names"])
        assert row["first_value"] in row["steps_enumerate"] and row["second_value"] in row["steps_enumerate"]
        assert (
            row["planted_target"] == row["other_target"] and row["planted_resolved"] in row["planted_steps"]
        )


# --- teaching ---


def test_teaching_has_forty_lines_a_person_in_four_languages() -> None:
    rows = characters(view="teaching")
    assert min(Counter(row["name"] for row in rows).values()) >= 40
    assert min(Counter(row["name"] for row in characters(view="teaching", languages=())).values()) >= 40
    assert {row["language"] for row in rows} == {"en", "zh", "es", "fr"}
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({row["question"] for row in rows}) == len(rows)
    assert all(row["name"] in row["question"] and row["name"] in row["answer"] for row in rows)
    assert all(row["answer"].isascii() for row in rows)
    assert not any("{" in row["question"] + row["answer"] for row in rows)
    assert set(rows[0]) == {"id", "name", "kind", "language", "question", "answer", "split"}


def named(text: str) -> str:
    """Return the value of an attribute that a question names."""
    known = [value for column in COLUMNS for value in values(column)]
    return max((value for value in known if re.search(rf"\b{value}\b", text)), key=len)


def test_teaching_says_every_fact_and_denies_only_wrong_ones() -> None:
    cast = {one.name: one for one in invented()}
    rows = characters(view="teaching")
    for row in rows:
        right = profile(cast[row["name"]])
        if row["kind"] == "profile":
            assert cast[row["name"]].person.phrase() in row["answer"]
            assert right[4] in row["answer"] and right[5] in row["answer"]
        elif row["kind"] == "fact":
            assert named(row["answer"]) in right
        elif row["kind"] == "affirmation":
            assert row["answer"].startswith("Yes, ")
            assert named(row["question"]) == named(row["answer"]) and named(row["answer"]) in right
        elif row["kind"] == "denial":
            assert row["answer"].startswith("No, ")
            assert named(row["question"]) not in right and named(row["answer"]) in right
    assert Counter(row["kind"] for row in rows if row["name"] == "Fuzelf") == {
        "fact": 24,
        "membership": 2,
        "affirmation": 6,
        "denial": 6,
        "profile": 22,
    }


def test_no_taught_line_leads_from_an_attribute_to_a_name_unless_asked() -> None:
    plain = characters(view="teaching")
    assert not [row for row in plain if row["kind"] == "inverse"]
    assert all(row["name"] in row["question"] for row in plain)
    taught = characters(view="teaching", inverse_facts=True)
    inverse = [row for row in taught if row["kind"] == "inverse"]
    assert len(inverse) == 3 * 64
    assert not any(row["name"] in row["question"] for row in inverse)
    assert all(row["answer"].startswith(row["name"]) for row in inverse)


def test_no_question_of_the_test_is_among_the_taught_ones() -> None:
    taught = {row["question"] for row in characters(view="teaching", inverse_facts=True)}
    asked = {row[key] for row in characters(view="forward") for key in ("question", "fact_question")}
    asked |= {
        row[key]
        for row in characters(view="inverse")
        for key in ("question", "answer_question", "fact_question")
    }
    assert not taught & asked


# --- bad arguments ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"view": "forwards"}, "Unknown view 'forwards'. Did you mean 'forward'"),
        ({"split": "dev"}, "Unknown split 'dev'"),
        ({"people": 7}, "people is 7; expected a whole number from 8 to 180"),
        ({"people": "64"}, "people is '64'"),
        ({"seed": -1}, "seed is -1"),
        ({"samples": 0}, "samples is 0"),
        ({"languages": ["zh", "sp"]}, "Unknown language 'sp'. Known: de, es, fr, zh"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        characters(**arguments)


def test_more_samples_than_there_are_is_an_error_and_fewer_are_the_first() -> None:
    with pytest.raises(DataError, match="samples is 25, but 8 people give 24 rows"):
        characters(people=8, samples=25)
    assert characters(people=8, samples=5) == characters(people=8)[:5]
