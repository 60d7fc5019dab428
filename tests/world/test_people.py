"""Every person has one phrase, and the words for people are not ambiguous within a slot."""

import pytest

from unisandbox.errors import DataError
from unisandbox.world.people import (
    AGES,
    COMPLEXIONS,
    GENDERS,
    HAIRS,
    SYNONYMS,
    Person,
    all_people,
    find_value,
)


def test_all_people_differ_in_values_and_phrases() -> None:
    count = len(COMPLEXIONS) * len(HAIRS) * len(AGES) * len(GENDERS)
    assert len(set(all_people())) == len({person.phrase() for person in all_people()}) == count


def test_phrases_name_children_girl_and_boy() -> None:
    girl = Person("fair", "red", "child", "female")
    assert girl.phrase() == "a girl with a fair complexion and red hair"
    assert Person("dark", "black", "child", "male").phrase().startswith("a boy ")


def test_every_phrase_takes_the_right_article() -> None:
    for person in all_people():
        assert f" {'an' if person.complexion[0] in 'aeiou' else 'a'} {person.complexion} " in person.phrase()


def test_a_word_means_one_value_of_a_slot() -> None:
    for slot, values in SYNONYMS.items():
        every = [word for value, others in values.items() for word in (value, *others)]
        assert len(every) == len(set(every)), slot
        for value, others in values.items():
            assert {find_value(slot, word.upper()) for word in (value, *others)} == {value}


def test_unknown_words_have_no_value() -> None:
    assert find_value("age", "ageless") is None


def test_bad_values_and_slots_are_refused() -> None:
    with pytest.raises(DataError, match=r"Unknown hair of a person 'blnd'\. Did you mean 'blond'"):
        Person("fair", "blnd", "child", "male")
    with pytest.raises(DataError, match="Unknown slot of a person 'eyes'"):
        find_value("eyes", "blue")
