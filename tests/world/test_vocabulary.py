"""The words for kinds of object mean one thing each, and loading them loads nothing heavy."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from unisandbox.errors import DataError
from unisandbox.world.vocabulary import find_kind, kinds, phrase, with_article, words


def test_every_word_stands_for_one_kind() -> None:
    owners: dict[str, set[str]] = {}
    for kind in kinds().values():
        for word in words(kind):
            owners.setdefault(word, set()).add(kind.name)
    assert {word: names for word, names in owners.items() if len(names) > 1} == {}
    assert all(word == word.lower().strip() for word in owners)


def test_there_is_enough_to_draw() -> None:
    categories = Counter(kind.category for kind in kinds().values())
    assert len(kinds()) >= 64
    assert categories["fruit"] >= 12
    assert categories["flower"] >= 12


def test_no_two_kinds_share_a_sprite() -> None:
    sources = Counter(kind.source for kind in kinds().values())
    assert set(sources.values()) == {1}


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("cup", "cup"),
        ("CUPS", "cup"),
        ("a mug", "cup"),
        ("The coffee  mugs.", "cup"),
        ("an Airplane", "airplane"),
        ("mice", "mouse"),
        ("fishes", "fish"),
        ("a bunch of grapes", "grapes"),
        ("grape", "grapes"),
        ("pairs of scissors", "scissors"),
        ("teddy bears", "teddy bear"),
        ("scarves", "scarf"),
        ("cacti", "cactus"),
        ("cactuses", "cactus"),
    ],
)
def test_a_kind_is_found_by_any_of_its_words(word: str, name: str) -> None:
    found = find_kind(word)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("word", ["", "red cup", "happiness", "a", "flower", "cup and plate"])
def test_other_words_stand_for_no_kind(word: str) -> None:
    assert find_kind(word) is None


def test_every_phrase_is_understood_again() -> None:
    for name, kind in kinds().items():
        assert find_kind(phrase(1, name).removeprefix("1 ")) == kind
        assert find_kind(phrase(5, name).removeprefix("5 ")) == kind
        assert find_kind(with_article(name)) == kind


def test_articles_fit_the_words() -> None:
    assert with_article("umbrella") == "an umbrella"
    assert with_article("pizza") == "a slice of pizza"
    assert phrase(0, "cherry") == "no pairs of cherries"


def test_unknown_kinds_and_counts_below_zero_are_refused() -> None:
    with pytest.raises(DataError, match=r"Unknown kind of object 'cupp'\. Did you mean 'cup'"):
        phrase(2, "cupp")
    with pytest.raises(DataError, match="Unknown kind of object 'unicorn'"):
        with_article("unicorn")
    with pytest.raises(DataError, match="Cannot count -1 of 'cup'"):
        phrase(-1, "cup")


def test_words_and_people_load_no_picture_library() -> None:
    code = (
        "import sys, unisandbox.world; from unisandbox.world import Person, find_kind, kinds; kinds();"
        "print({'numpy', 'PIL', 'scipy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_the_documentation_lists_every_kind() -> None:
    text = (Path(__file__).parents[2] / "docs" / "world.md").read_text(encoding="utf-8")
    listed = text.split("## Kinds")[1].split("## People")[0]
    rows = [row.split("|")[1:3] for row in listed.splitlines() if row.startswith("| ")][1:]
    assert [name for _, names in rows for name in names.strip().split(", ")] == list(kinds())
    assert f"{len(kinds())} kinds" in listed
