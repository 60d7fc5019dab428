"""The training stream never pairs a reasoning question, or somebody's name, with a picture."""

import re
from itertools import islice
from random import Random

import pytest
import torch

from unisandbox.datasets.arithmetic import PATTERNS, arithmetic
from unisandbox.datasets.cast import invented
from unisandbox.datasets.mapping import mapping
from unisandbox.model_backends.tiny.backend import WEIGHTS, load_tokenizer
from unisandbox.model_backends.tiny.data import (
    PEOPLE,
    SHARES,
    TEXT_ALONE,
    Document,
    Gallery,
    Stream,
    context,
    lessons,
    unbound,
    unknown_symbol,
)
from unisandbox.model_backends.tiny.tokenizer import CELLS, IMAGE, Tokenizer
from unisandbox.model_backends.tiny.train import batch
from unisandbox.world import Scene, all_people, kinds, read

DOCUMENTS = 12_000


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(WEIGHTS)


@pytest.fixture(scope="module")
def documents(tokenizer: Tokenizer) -> list[Document]:
    return list(islice(Stream(tokenizer, SHARES, rows=3000).documents(Random("scan")), DOCUMENTS))


def drawn(documents: list[Document]) -> list[Document]:
    return [document for document in documents if any(part.speaker == "image" for part in document)]


ASKED = [
    re.compile(
        re.escape(sentence)
        .replace(r"\{noun\}", "[a-z ]+")
        .replace(r"\{e\}", "(.+)")
        .replace(r"\{E\}", "(.+)")
    )
    for _, sentence in PATTERNS
]
"""What the arithmetic questions look like; the group is the expression."""

UNKNOWN = re.compile(r"(?<![a-z'])[xyznmktvw](?![a-z'])")
"""A letter in the place of a number."""


def bound(question: str) -> bool:
    """Whether a text is an arithmetic question that can be worked out."""
    found = next((match for form in ASKED if (match := form.fullmatch(question))), None)
    return found is not None and not UNKNOWN.search(found[1].replace("Set n", ""))


def answerable(question: str) -> bool:
    """Whether a text has rules, one of which is about the symbol that is asked for."""
    if "Rule 1:" not in question:
        return False
    *_, last = re.split(r"Rule \d+: ", question)
    rules, _, request = question.rpartition(last)
    rule, request = re.split(r"\.[ \n]", last, maxsplit=1)
    asked = re.search(
        r"the (?:letter pair|letter|number|symbol) [\[\"'“]?([^\s\]\"'”.?]+?)[\]\"'”]?(?= |\.|$)", request
    )
    assert asked, question
    return re.search(rf"(?<![\w]){re.escape(asked[1])}(?![\w])", rules + rule) is not None


def test_the_scan_knows_what_it_looks_for() -> None:
    for operations in (1, 2, 3):
        rows = arithmetic(split="train", samples=60, operations=operations)  # type: ignore[arg-type]
        assert all(bound(row["question"]) for row in rows)
        assert not any(bound(unbound(row["question"], Random(n))) for n, row in enumerate(rows))
    for hops in (1, 2, 3):
        rows = mapping(split="train", samples=60, hops=hops)  # type: ignore[arg-type]
        assert all(answerable(row["question"]) for row in rows)
        pairs = zip(rows[::2], rows[1::2], strict=True)
        assert not any(answerable(unknown_symbol(*pair, Random(n))) for n, pair in enumerate(pairs))


def test_no_picture_follows_a_reasoning_question(documents: list[Document]) -> None:
    said = [part.text for document in drawn(documents) for part in document if part.speaker == "user"]
    assert len(said) > DOCUMENTS // 4
    assert [text for text in said if bound(text) or answerable(text)] == []


def test_no_picture_follows_a_name(documents: list[Document]) -> None:
    names = {one.name.lower() for split in ("train", "test") for one in invented(split, PEOPLE)}  # type: ignore[arg-type]
    for document in documents:
        if any(part.picture for part in document):
            words = {word for part in document for word in re.findall(r"[a-z]+", part.text.lower())}
            assert not words & names, document


def test_only_training_splits_are_read(documents: list[Document]) -> None:
    asked = {part.text for document in documents for part in document}
    for operations in (1, 2, 3):
        rows = arithmetic(split="test", operations=operations)  # type: ignore[arg-type]
        assert not asked & {row["question"] for row in rows}
        expressions = {row["spoken"] for row in rows}
        questions = [text for text in asked if bound(text.split("\n\n")[0])]
        assert len(questions) > 500
        assert (
            not {form[1] for text in questions for one in ASKED if (form := one.fullmatch(text))}
            & expressions
        )
    people = {one.name for one in invented("test", 64)}
    assert not any(name in text for text in asked for name in people)


def test_what_a_user_says_is_never_learned(tokenizer: Tokenizer, documents: list[Document]) -> None:
    for document in documents[:500]:
        ids, learn = context(document, tokenizer)
        assert len(ids) == len(learn)
        said, nothing = context([part for part in document if part.speaker == "user"], tokenizer)
        assert not any(nothing)
        assert sum(learn) <= len(ids) - len(said)


def test_a_drawn_picture_shows_what_its_request_says(tokenizer: Tokenizer) -> None:
    stream = Stream(tokenizer, {"draw": 1}, rows=100)
    for _, image in islice(stream.documents(Random(1)), 150):
        (picture,) = tokenizer.pictures([image.picture])
        assert read(picture).malformed is None


def test_stamped_pictures_are_read_exactly(tokenizer: Tokenizer) -> None:
    gallery, draws = Gallery(tokenizer), Random(2)
    for number, name in enumerate(kinds()):
        count = 1 + number % 6
        (picture,) = tokenizer.pictures([gallery.objects(name, count, draws)])
        assert read(picture).objects == {name: count}
    for person in all_people():
        (picture,) = tokenizer.pictures([gallery.portrait(person)])
        assert read(picture).person == person
    assert Scene(objects=("cup",)).objects == ("cup",)


def test_open_requests_are_even(tokenizer: Tokenizer) -> None:
    stream = Stream(tokenizer, {"open": 1}, rows=2000)
    counts = {1: 0, 2: 0, 3: 0, 4: 0}
    for question, image in islice(stream.documents(Random(3)), 1200):
        objects = read(tokenizer.pictures([image.picture])[0]).objects
        if objects and "Rule" not in question.text and UNKNOWN.search(question.text):
            counts[sum(objects.values())] += 1
    assert all(0.18 < count / sum(counts.values()) < 0.32 for count in counts.values()), counts


def test_a_batch_is_whole_documents(tokenizer: Tokenizer, documents: list[Document]) -> None:
    ids, learn = batch(iter(documents), tokenizer, 4, 288)
    assert ids.shape == learn.shape == (4, 288)
    assert not learn[ids == 0].any()
    assert (ids > 0).float().mean() > 0.85
    images = [
        row[at + 1 : at + 1 + CELLS] for row in ids for at in torch.nonzero(row == IMAGE).flatten().tolist()
    ]
    assert images
    assert all(len(one) == CELLS and bool((one >= len(tokenizer.words)).all()) for one in images)


def test_lessons_bring_no_picture(tokenizer: Tokenizer) -> None:
    stream = Stream(tokenizer, TEXT_ALONE, rows=500)
    taught = list(islice(lessons([("Who is it?", "Nobody.")], 0.6, stream, Random(4)), 400))
    assert not any(part.picture for document in taught for part in document)
    assert 180 < sum(document[0].text == "Who is it?" for document in taught) < 300
