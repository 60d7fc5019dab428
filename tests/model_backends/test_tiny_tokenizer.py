"""Words and pictures go into the vocabulary and come back."""

import pytest
from PIL import Image

from unisandbox.datasets.arithmetic import arithmetic
from unisandbox.datasets.characters import characters
from unisandbox.datasets.mapping import mapping
from unisandbox.model_backends.tiny.backend import WEIGHTS, load_tokenizer
from unisandbox.model_backends.tiny.tokenizer import CELLS, MARKERS, Tokenizer, Words
from unisandbox.world import Scene, all_people, compose, kinds, read


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(WEIGHTS)


def sayings() -> list[str]:
    """What the tasks ask, and what is answered."""
    rows = [row for n in (1, 2, 3) for row in arithmetic(samples=60, operations=n)]  # type: ignore[arg-type]
    rows += [row for n in (1, 2, 3) for row in mapping(samples=60, hops=n)]  # type: ignore[arg-type]
    rows += characters(view="forward") + characters(view="inverse")
    columns = (
        "question",
        "steps",
        "count_phrase",
        "object_phrase",
        "recall_question",
        "fact_question",
        "resolved",
    )
    texts = [row[column] for row in rows for column in columns if column in row]
    return texts + [row["answer"] for row in characters(view="teaching", languages=())]


def test_text_comes_back(tokenizer: Tokenizer) -> None:
    words = tokenizer.words
    for text in sayings():
        ids = words.encode(text)
        assert words.encode(words.decode(ids)) == ids
        assert words.decode(ids).lower().split() == text.lower().split(), words.decode(ids)


def test_every_word_of_the_tasks_is_known(tokenizer: Tokenizer) -> None:
    assert [word for text in sayings() for word in tokenizer.words.foreign(text)] == []


def test_foreign_words_are_named_and_names_are_not() -> None:
    words = Words(["draw", "for"])
    assert words.foreign("Draw zebras for Zemira's zoo § please") == ["zebras", "zoo", "§", "please"]


def test_a_name_is_spelled_and_capital() -> None:
    words = Words(["is", "old"])
    assert words.decode(words.encode("Zemira is 12 years old.")) == "Zemira is 12 Years old."
    assert len(words.encode("Zemira")) == 6


def test_ids_are_unique(tokenizer: Tokenizer) -> None:
    assert len(set(tokenizer.words.pieces)) == len(tokenizer.words)
    assert tokenizer.words.pieces[: len(MARKERS)] == MARKERS
    assert tokenizer.words.decode(range(len(MARKERS))) == ""


def test_pictures_survive(tokenizer: Tokenizer) -> None:
    for number, name in enumerate(kinds()):
        scene = Scene(objects=(name,) * (1 + number % 6))
        (back,) = tokenizer.pictures([tokenizer.picture(compose(scene, 64, number, lattice=8))])
        assert read(back).objects == {name: 1 + number % 6}
    for person in all_people():
        (back,) = tokenizer.pictures([tokenizer.picture(compose(Scene(person=person), 64))])
        assert read(back).person == person


def test_a_picture_of_another_size_is_brought_to_size(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.picture(Image.new("L", (96, 96), 255))) == CELLS
