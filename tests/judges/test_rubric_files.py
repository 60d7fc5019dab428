"""Every rubric that ships: blind in stage one, and no answer that its own words do not give back."""

from itertools import product
from typing import Any

import pytest

from unisandbox.catalog import Rubrics
from unisandbox.plugins import installed
from unisandbox.rubric import Rubric
from unisandbox.world.people import SYNONYMS
from unisandbox.world.vocabulary import kinds, words

RUBRICS = Rubrics(installed().rubric_folders)
NAMES = ("Zemira", "Tolvan")


def values(rubric: Rubric) -> dict[str, list[Any]]:
    """Return values for each slot: all of a choice, some of whatever has no end."""
    some: dict[str, list[Any]] = {
        "count": [0, 1, 3, 12],
        "kind": ["cup", "scissors", "cherry blossom"],
        "kinds": [["apple", "rose"], ["rose", "apple"]],
        "name": ["zemira"],
        "text": ["new york"],
    }
    return {name: list(slot.values) or some[slot.type] for name, slot in rubric.slots.items()}


@pytest.fixture(params=sorted(RUBRICS))
def rubric(request: pytest.FixtureRequest) -> Rubric:
    return RUBRICS[request.param]


def test_what_a_rubric_says_it_reads_back(rubric: Rubric) -> None:
    for combination in product(*values(rubric).values()):
        slots = dict(zip(rubric.slots, combination, strict=True))
        target = rubric.target(slots, "here")
        assert rubric.read(rubric.say(target), NAMES) == target, slots
        assert rubric.compare(target, target) == ""


def test_other_words_for_a_value_are_read_as_the_value(rubric: Rubric) -> None:
    for name, slot in rubric.slots.items():
        for value, others in slot.values.items():
            for word in (value, *others):
                assert slot.canonical(word.upper()) == value
                assert rubric.read(f"{name}: {word}")[name] == value


def test_no_word_stands_for_two_values(rubric: Rubric) -> None:
    for slot in rubric.slots.values():
        every = [word.casefold() for value, others in slot.values.items() for word in (value, *others)]
        assert len(every) == len(set(every))


def test_stage_one_is_told_the_form_of_the_answer_and_every_rule(rubric: Rubric) -> None:
    for name in rubric.slots:
        assert f"{name}: " in rubric.observe_prompt
    for rule in rubric.spec.reject:
        assert rule in rubric.observe_prompt
    assert ("reject:" in rubric.observe_prompt) == bool(rubric.spec.reject)


def test_stage_two_is_shown_both_sides_and_asked_yes_or_no(rubric: Rubric) -> None:
    first, second = ({name: f"{side}-{name}" for name in rubric.slots} for side in ("seen", "wanted"))
    prompt = rubric.match_prompt(first, second)
    assert rubric.say(first) in prompt
    assert rubric.say(second) in prompt
    assert "yes or no" in prompt


def test_an_empty_answer_fills_nothing(rubric: Rubric) -> None:
    assert rubric.read("", NAMES) == {}
    target = rubric.target({name: some[0] for name, some in values(rubric).items()}, "here")
    assert rubric.compare({}, target)


def test_people_are_judged_by_the_words_they_are_taught_with() -> None:
    slots = RUBRICS["portrait"].slots
    assert {name: dict(slot.values) for name, slot in slots.items()} == {
        name: {value: list(others) for value, others in words_for.items()}
        for name, words_for in SYNONYMS.items()
    }


def test_species_are_fruit_and_flowers_that_the_sandbox_draws() -> None:
    assert set(RUBRICS["species"].slots["category"].values) == {"fruit", "flower"}
    assert {kind.category for kind in kinds().values()} >= {"fruit", "flower"}


def test_every_word_for_every_kind_is_read_as_that_kind() -> None:
    rubric = RUBRICS["object_identity"]
    for kind in kinds().values():
        for word in words(kind):
            assert rubric.read(f"It shows a {word.title()}.") == {"object": kind.name}
            assert rubric.read(word) == {"object": kind.name}
