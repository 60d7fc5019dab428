"""Rows about invented people, whose keys follow from what is taught."""

import re
from collections import Counter
from typing import Any

import pytest

from unisandbox.datasets.cast import SLOTS, Character, invented
from unisandbox.datasets.characters import characters
from unisandbox.datasets.files import id_fault
from unisandbox.errors import DataError, UsageError
from unisandbox.world.people import AGES, COMPLEXIONS, GENDERS, HAIRS, Person
from unisandbox.world.vocabulary import kinds

COLUMNS = (*SLOTS, "fruit", "flower")


def profile(one: Character) -> tuple[str, ...]:
    return (*(getattr(one.person, slot) for slot in SLOTS), one.fruit, one.flower)


def values(column: str) -> list[str]:
    if column in SLOTS:
        return list(dict(zip(SLOTS, (COMPLEXIONS, HAIRS, AGES, GENDERS), strict=True))[column])
    return [kind.name for kind in kinds().values() if kind.category == column]


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


def test_rows_about_some_are_those_that_name_nobody_else() -> None:
    one, other, third = (character.name for character in invented()[:3])
    forward, inverse, taught = (
        characters(view=view, about=(one, other)) for view in ("forward", "inverse", "teaching")
    )
    assert {row["name"] for row in forward} == {row["name"] for row in taught} == {one, other}
    assert (len(forward), len(inverse)) == (6, 4) and inverse[0]["pair"] == f"{one}-{other}".lower()
    every = {row["id"]: row for row in characters(view="inverse")}
    assert all(row == every[row["id"]] for row in inverse)
    with pytest.raises(DataError, match=f"There are no inverse rows about {one} and {third} alone"):
        characters(view="inverse", about=(one, third))
    with pytest.raises(UsageError, match="Unknown person 'Nobody'"):
        characters(about=(one, "Nobody"))
