"""The training documents: what is learned is right, and no reasoning question or name leads to a picture."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from random import Random

import pytest

from tests.support_tiny import codebook, material, writer
from unisandbox.backend import TrainSpec
from unisandbox.catalog import Catalog
from unisandbox.datasets.arithmetic import written
from unisandbox.datasets.cast import invented
from unisandbox.model_backends.tiny.documents import (
    FEW,
    KIND_FIRST,
    MOST,
    OPENING,
    PEOPLE,
    SHARES,
    TEXT_REPLAY,
    Document,
    Material,
    Writer,
)
from unisandbox.model_backends.tiny.patches import TOKENS
from unisandbox.model_backends.tiny.train import teaching
from unisandbox.model_backends.tiny.words import END, MODEL, THINK, USER
from unisandbox.plugins import installed
from unisandbox.training.injection import lessons
from unisandbox.world import Reading, kinds, phrase, read, with_article

PICTURES = [sort for sort in SHARES if sort.startswith(("render", "open", "after"))]
WORDS = [sort for sort in SHARES if sort not in PICTURES]


@cache
def documents(sort: str, many: int = 400) -> tuple[Document, ...]:
    draws = Random(sort)
    return tuple(writer().write(draws, {sort: 1}) for _ in range(many))


def parts(document: Document) -> Iterator[tuple[int, list[int], list[bool]]]:
    """Yield each turn: the token it opens with, those after it but for THINK, which of them are learned."""
    starts = [at for at, token in enumerate(document.tokens) if token in (USER, MODEL)]
    for start, end in zip(starts, [*starts[1:], len(document.tokens)], strict=True):
        first = start + 1 + (document.tokens[start + 1 : end][:1] == [THINK])
        yield document.tokens[start], document.tokens[first:end], document.learned[first:end]


def text(tokens: list[int]) -> str:
    return writer().words.text([token for token in tokens if token < len(writer().words)])


def request(document: Document) -> str:
    """Return what was asked just before the picture."""
    return [text(tokens) for kind, tokens, _ in parts(document) if kind == USER][-1]


def picture(document: Document) -> Reading:
    size = len(writer().words)
    codes = document.picture or [token for token in document.tokens if token >= size]
    return read(codebook().picture([code - size for code in codes]))


@cache
def questions() -> frozenset[tuple[int, ...]]:
    """Return every question of the tasks, of both splits, as tokens."""
    catalog = Catalog(installed())
    asked = {row.question for rows in material().reasoning.values() for row in rows}
    asked |= {row.question for rows in material().people.values() for row in rows}
    for listing in catalog.select(("math", "mapping", "knowledge")):
        task = catalog.task(listing)
        asked |= {task.prompts["direct"].render(sample.fields) for sample in task.samples}
    return frozenset(tuple(writer().words.tokens(question)) for question in asked)


def spelled(names: set[str]) -> set[tuple[int, ...]]:
    return {tuple(writer().words.tokens(name)) for name in names}


def windows(tokens: list[int], sizes: set[int]) -> set[tuple[int, ...]]:
    return {tuple(tokens[at : at + size]) for size in sizes for at in range(len(tokens) - size + 1)}


# --- never a reasoning question, never a name, with a picture ---


@pytest.mark.parametrize("sort", PICTURES)
def test_no_question_of_any_task_comes_before_a_picture(sort: str) -> None:
    for document in documents(sort):
        for kind, tokens, _ in parts(document):
            assert kind == MODEL or tuple(tokens) not in questions(), text(tokens)


@pytest.mark.parametrize("sort", PICTURES)
def test_no_name_comes_before_a_picture(sort: str) -> None:
    taught = {character.name for character in invented("train", PEOPLE)}
    names = spelled(taught | {character.name for character in invented()})
    sizes = {len(name) for name in names}
    for document in documents(sort):
        assert not windows(document.tokens, sizes) & names


def test_an_open_number_is_open() -> None:
    """Every expression holds a letter, so nobody can work it out; and every number is drawn as often."""
    counts: Counter[int] = Counter()
    for document in documents("open_number"):
        asked = request(document)
        assert re.search(r"\b[XYZNMKPQ]\b", asked) or not re.search(r"\d", asked), asked
        found = picture(document).objects
        assert found is not None
        counts.update(found.values())
    assert set(counts) == set(range(1, FEW + 1))
    assert max(counts.values()) < 1.5 * min(counts.values())


def test_an_open_symbol_is_in_no_rule() -> None:
    places: Counter[int] = Counter()
    for document in documents("open_symbol"):
        asked = request(document)
        rules = re.findall(r"Rule \d+: (.*?)\.(?= |$)", asked)
        last = asked.rpartition(rules[-1])[2]
        signs = re.findall(r"(?<!\w)([B-HJ-NP-Z][a-z]?|\d+|[@#$%&*+=~^<>])(?!\w)", last)
        known = set(re.findall(r"(?<!\w)(?:\w{1,2}|[@#$%&*+=~^<>])(?!\w)", " ".join(rules)))
        assert not {sign for sign in signs if sign in known and len(sign) < 3}, asked
        found = picture(document).objects
        assert found is not None
        (kind,) = found
        names = rf"\b({kind}|{with_article(kind)})\b"
        named = [rule for rule in rules if re.search(names, rule, re.IGNORECASE)]
        assert named, (kind, asked)
        ends = [rule for rule in rules if not re.search(r"(?<!\w)(\w{1,2}|[@#$%&*+=~^<>])$", rule)]
        places[ends.index(named[0])] += 1
    assert places[0] == pytest.approx(places[1], rel=0.3)  # either of the two, as often


def test_a_thought_before_a_picture_says_nothing_of_it_but_its_conclusion() -> None:
    """Equations in such thoughts come to what is drawn no more often than by chance."""
    same = total = 0
    for document in documents("after_thought", 1500):
        thought = text(next(tokens for kind, tokens, _ in parts(document) if kind == MODEL))
        results = [int(result) for result in re.findall(r"= (\d+)\.", thought) if int(result) <= MOST]
        drawn = re.search(r"Draw: (\d) ", thought)
        if results and drawn:
            same += results[-1] == int(drawn[1])
            total += 1
    assert total > 150
    assert same / total < 0.3


def test_teaching_people_teaches_no_picture_of_anybody_by_name() -> None:
    """Resolved pictures are drawn; those of captions are read only. What is asked for names nobody."""
    taught = Writer(writer().words, codebook(), material(), lessons())
    asked = {text(taught.words.tokens(one)) for prompts in material().captions.values() for one in prompts}
    names = spelled({character.name for character in (*invented("train", PEOPLE), *invented())})
    sizes = {len(name) for name in names}
    draws = Random(3)
    captions = drawn = 0
    for _ in range(500):
        document = taught.write(draws, teaching(lessons(), TrainSpec()).shares)
        learned = [token for token, learned in zip(document.tokens, document.learned, strict=True) if learned]
        if document.picture:
            drawn += 1
            assert not learned and not windows(document.tokens, sizes) & names
            continue
        assert max(learned) < len(taught.words)
        if max(document.tokens) >= len(taught.words):
            captions += 1
            assert text(next(parts(document))[1]) in asked
    assert captions > 10 and drawn > 20


def test_no_test_question_and_no_test_name_is_in_any_document() -> None:
    catalog = Catalog(installed())
    tested: set[tuple[int, ...]] = set()
    for listing in catalog.select(("math", "mapping", "knowledge")):
        task = catalog.task(listing)
        for sample in task.samples:
            tested.add(tuple(writer().words.tokens(task.prompts["direct"].render(sample.fields))))
    names = spelled({character.name for character in invented()})
    sizes = {len(name) for name in names}
    for sort in SHARES:
        for document in documents(sort):
            assert not windows(document.tokens, sizes) & names
            for kind, tokens, _ in parts(document):
                assert kind == MODEL or tuple(tokens) not in tested


# --- what is learned is right ---


@pytest.mark.parametrize("sort", ["render", "render_portrait", "after_thought"])
def test_pictures_show_what_was_asked_for(sort: str) -> None:
    for document in documents(sort)[:150]:
        asked, found = request(document), picture(document)
        if found.person:
            assert found.person.phrase() in asked.lower()
        else:
            assert found.objects is not None
            ((kind, count),) = found.objects.items()
            said = [phrase(count, kind), *([with_article(kind)] if count == 1 else [])]
            assert any(re.search(rf"\b{each}\b", asked, re.IGNORECASE) for each in said), asked


@pytest.mark.parametrize("sort", PICTURES)
def test_of_pictures_the_picture_is_learned_and_nothing_else(sort: str) -> None:
    for document in documents(sort)[:50]:
        assert len(document.picture) == TOKENS and document.tokens[-1] == MODEL
        assert not any(document.learned)


@pytest.mark.parametrize("sort", [sort for sort in WORDS if sort not in ("operation", "rules")])
def test_of_words_the_answer_is_learned_to_its_end(sort: str) -> None:
    for document in documents(sort)[:50]:
        *_, (kind, tokens, learned) = parts(document)
        assert kind == MODEL and document.tokens[0] == USER and not document.picture
        assert all(learned) and tokens[-1] == END
        assert sum(document.learned) == len(tokens)


def test_thoughts_about_sums_are_right() -> None:
    for document in documents("math"):
        for left, sign, right, result in re.findall(
            r"(\d+) (\+|-|\*|/|modulo) (\d+) = (\d+)", text(document.tokens)
        ):
            found = eval(f"{left} {sign.replace('modulo', '%')} {right}")
            assert found == int(result)


def test_of_some_sums_what_is_counted_is_said_before_its_number() -> None:
    """The question is the same, and so is what is said."""
    said = [text(list(parts(one))[-1][1]) for one in documents("math") if THINK not in one.tokens]
    first = [answer for answer in said if ":" in answer]
    assert len(first) / len(said) == pytest.approx(KIND_FIRST, abs=0.06)
    plurals = {kind.plural for kind in kinds().values()}
    for answer in first:
        noun, number = answer.split(": ")
        assert noun.lower() in plurals and 1 <= int(number) <= MOST
    for row in material().reasoning["math_1"][:50]:
        assert row.said == phrase(row.fields["count"], row.fields["object"])


def test_operations_are_right_and_their_results_learned() -> None:
    for one in material().operations:
        said = written(one).replace("^", "**")
        said = re.sub(r"sqrt\((\d+)\)", r"\1**0.5", said)
        assert eval(said) == one.value
    together = [found for found in documents("operation") if "=" in text(found.tokens)]
    assert 0.15 < len(together) / len(documents("operation")) < 0.35
    for document in together[:20]:
        results = re.findall(r"= (\d+)", text(document.tokens))
        assert sum(document.learned) == sum(map(len, results)) and len(results) > 1


def test_single_operations_are_said_in_the_voices_of_questions() -> None:
    asked = [
        text(next(parts(one))[1]).lower() for one in documents("operation") if "=" not in text(one.tokens)
    ]
    for words in ("start with", "the remainder of", "modulo", " - "):
        assert any(words in question for question in asked), words


def test_a_caption_says_what_is_there() -> None:
    for document in documents("caption")[:150]:
        found, said = picture(document), text(list(parts(document))[-1][1]).lower()
        if found.person:
            assert all(value in said for value in (found.person.hair, found.person.age))
        else:
            assert found.objects is not None
            ((kind, count),) = found.objects.items()
            assert kind in said or phrase(count, kind) in said
            assert str(count) in said or not re.search(r"\d", said)


def test_rules_come_again_and_are_learned_after_their_symbols() -> None:
    for document in documents("rules")[:50]:
        (_, asked, _), (_, again, learned) = parts(document)
        (possessive,) = writer().words.tokens("'s")  # as a quoted s before the cut reads
        assert set(again) - {possessive} <= set(asked)
        assert text(asked).count("Rule ") < sum(learned) < len(learned)
        assert not learned[0]


def test_shares_are_shares_and_cover_every_sort() -> None:
    for shares in (SHARES, OPENING, TEXT_REPLAY, teaching(lessons(), TrainSpec()).shares):
        assert sum(shares.values()) == pytest.approx(1, abs=0.021)
    assert SHARES.keys() >= OPENING.keys()


def test_the_same_seed_writes_the_same_documents() -> None:
    one, other = (Writer(writer().words, codebook(), material()) for _ in range(2))
    first, second = Random(7), Random(7)
    for _ in range(50):
        assert one.write(first) == other.write(second)


def test_thoughts_can_go_through_both_people() -> None:
    row = Material(rows=120, inverse="enumerate").about("inverse", "train", 8)[0]
    assert row.thought.startswith(row.fields["names"][0] + "'s favourite")
    assert Material(rows=120).about("inverse", "train", 8)[0].thought.startswith("The one whose")
