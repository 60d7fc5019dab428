"""The keys are checked by a reader of its own: it sees questions, never the generator."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import product
from json import dumps
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisandbox.datasets.mapping import CATEGORIES, CLAUSES, QUOTES, REQUESTS, mapping
from unisandbox.datasets.splits import Row
from unisandbox.errors import UsageError
from unisandbox.world.vocabulary import find_kind, kinds, with_article

HOPS = (1, 2, 3)
SPLITS = ("train", "test")
SIGNS = "@#$%&*+=~^<>"

# --- the reader ---


def symbols_in(text: str) -> list[str]:
    """Return what stands in a text besides words, with quotes and punctuation taken off."""
    bare = [word.strip("'\"[]“”,.?") for word in text.split()]
    return [word for word in bare if is_symbol(word) and word not in ("a", "I")]


def is_symbol(word: str) -> bool:
    return bool(re.fullmatch(rf"[A-Za-z]|([A-Z])\1|\d+|[{re.escape(SIGNS)}]", word))


def object_in(text: str) -> str:
    """Return the kind that the last words of a text name."""
    last = text.split()
    for start in range(len(last)):
        if kind := find_kind(" ".join(last[start:])):
            return kind.name
    raise AssertionError(f"no object at the end of {text!r}")


@dataclass(frozen=True)
class Reading:
    """A question taken apart."""

    rules: dict[str, str]
    """What each symbol leads to: another symbol, or a kind."""
    request: str
    asked: str

    def walk(self) -> list[str]:
        """Follow the rules from the symbol asked for, to the object."""
        way = [self.asked]
        while way[-1] in self.rules:
            way.append(self.rules[way[-1]])
            assert len(way) <= len(self.rules) + 1, "a loop"
        return way


def read(question: str) -> Reading:
    _, *parts = re.split(r"Rule \d+: ", question)
    rules: dict[str, str] = {}
    for part in parts:
        left, *right = symbols_in(part.split(".")[0])
        assert len(right) <= 1 and left not in rules, part
        rules[left] = right[0] if right else object_in(part.split(".")[0])
    request = parts[-1].split(".", 1)[1].strip()
    (asked,) = set(symbols_in(request))
    return Reading(rules, request, asked)


@cache
def rows_of(hops: int, split: Any = "test", seed: int = 2511, samples: int = 250, more: int = 0) -> list[Row]:
    return mapping(hops=hops, split=split, seed=seed, samples=samples, distractors=more)  # type: ignore[arg-type]


def every_row() -> Iterator[Row]:
    for hops, split, seed, more in product(HOPS, SPLITS, (2511, 7), (0, 2)):
        yield from rows_of(hops, split, seed, 150, more)


def pairs_of(rows: list[Row]) -> list[frozenset[str]]:
    return [frozenset((row["object"], row["other"])) for row in rows if row["side"] == "A"]


def text_of(rows: list[Row]) -> str:
    return dumps(rows, ensure_ascii=False, sort_keys=True)


# --- the keys ---


def test_key_is_where_the_rules_lead() -> None:
    for row in every_row():
        reading = read(row["question"])
        assert reading.asked == row["symbol"]
        assert reading.walk() == row["chain"], row
        assert row["chain"][-1] == row["object"]


def test_every_chain_has_exactly_so_many_rules_and_none_meet() -> None:
    for row in every_row():
        rules = read(row["question"]).rules
        assert len(row["chain"]) == row["hops"] + 1
        assert len(rules) == row["hops"] * len(row["candidates"])
        assert len(set(rules.values())) == len(rules)  # nothing is reached twice: no loops, no meeting chains
        ends = [right for right in rules.values() if right not in rules]
        assert sorted(ends) == sorted(row["candidates"]) and all(end in kinds() for end in ends)
        assert row["rules"] == re.findall(r"Rule \d+: [^.]*\.", row["question"])
        assert [int(rule.split(":")[0][5:]) for rule in row["rules"]] == list(range(1, len(rules) + 1))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    hops=st.sampled_from(HOPS),
    split=st.sampled_from(SPLITS),
    distractors=st.integers(0, 4),
)
def test_options_are_kept(seed: int, hops: int, split: str, distractors: int) -> None:
    rows = rows_of.__wrapped__(hops, split, seed, 5, distractors)
    assert len(rows) == 10
    for row in rows:
        assert read(row["question"]).walk() == row["chain"]
        assert len(row["candidates"]) == 2 + distractors
        assert len(row["chain"]) == hops + 1


def test_sides_differ_only_in_what_is_asked() -> None:
    rows = list(every_row())
    for a, b in zip(rows[::2], rows[1::2], strict=True):
        assert (a["id"], b["id"]) == (f"{a['pair']}-A", f"{a['pair']}-B")
        assert (a["side"], b["side"]) == ("A", "B")
        assert (a["object"], a["other"]) == (b["other"], b["object"])
        for same in ("pair", "split", "hops", "rules", "category", "candidates"):
            assert a[same] == b[same]
        said = [
            re.sub(r"the (letter pair|letter|number|symbol) \S+?(?=[,.]? |[.?]$)", "_", q)
            for q in (read(a["question"]).request, read(b["question"]).request)
        ]
        assert said[0] == said[1] and "_" in said[0]
        assert not set(a["chain"]) & set(b["chain"])


def test_ids_are_unique() -> None:
    rows = rows_of(2)
    assert len(rows) == 500
    assert len({row["id"] for row in rows}) == 500 and rows[0]["id"] == "0001-A"


# --- symbols and objects ---


def test_symbols_are_never_words_and_never_taken_for_one_another() -> None:
    for row in every_row():
        symbols = list(read(row["question"]).rules)
        assert all(is_symbol(symbol) for symbol in symbols)
        assert len({symbol.upper()[0] if symbol.isalpha() else symbol for symbol in symbols}) == len(symbols)
        assert not {symbol.upper()[0] for symbol in symbols} & set("AILO")
        assert all(int(symbol) > len(row["rules"]) for symbol in symbols if symbol.isdigit())


def test_symbols_are_called_what_they_are() -> None:
    named = 0
    for row in every_row():
        for called, written in re.findall(r"the (letter pair|letter|number|symbol) (\S+)", row["question"]):
            (symbol,) = symbols_in(written)
            right = "number" if symbol.isdigit() else "letter" if symbol.isalpha() else "symbol"
            assert called == right + " pair" * (symbol.isalpha() and len(symbol) == 2)
            named += 1
    assert named > 5000


def found(template: str, text: str) -> bool:
    """Return whether a text has this template, filled in with something."""
    return bool(re.search(re.sub(r"\\\{\w*\\\}", ".{1,20}", re.escape(template)), text))


def test_all_sorts_of_wording_are_used() -> None:
    text = "\n".join(row["question"] for row in rows_of(3))
    assert len(CLAUSES) >= 15 and len(REQUESTS) >= 5
    assert all(found(template, text) for template in CLAUSES + REQUESTS)
    assert all(found(f"the letter {quote}", text) for quote in QUOTES)
    assert {len(row["symbol"]) for row in rows_of(3)} == {1, 2}
    kinds_of_symbol = Counter(
        called for called in re.findall(r"the (letter pair|letter|number|symbol) \S", text)
    )
    assert len(kinds_of_symbol) == 4 and min(kinds_of_symbol.values()) > 100


def test_articles_are_used_throughout_a_question_or_not_at_all() -> None:
    with_and_without = Counter[bool]()
    for row in every_row():
        ends = [rule for rule in row["rules"] if len(symbols_in(rule.split(": ")[1])) == 1]
        used = {bool(re.search(r"\ban? [a-z]", rule)) for rule in ends}
        assert len(used) == 1
        with_and_without[used.pop()] += 1
        for rule, name in zip(ends, row["candidates"], strict=True):
            assert rule.endswith((f" {name}.", f" {with_article(name)}."))
    assert min(with_and_without.values()) > 0.4 * with_and_without.total()


def test_objects_in_a_question_are_kinds_of_their_own() -> None:
    for row in every_row():
        names = row["candidates"]
        assert len(set(names)) == len(names) and {row["object"], row["other"]} <= set(names)
        assert not any(one in other for one in names for other in names if one != other)
        assert row["object_phrase"] == with_article(row["object"])
        assert row["other_phrase"] == with_article(row["other"])


def test_category_tells_no_object_from_another() -> None:
    narrow = 0
    for row in every_row():
        shared = {kinds()[name].category for name in row["candidates"]}
        word = "object" if len(shared) > 1 else CATEGORIES.get(*shared, *shared)
        assert row["category"] == word
        assert re.search(rf"\b(the|that|Which) {word}\b", read(row["question"]).request)
        narrow += word != "object"
    assert narrow > 50


# --- thoughts and recall ---


def test_steps_are_the_rules_of_the_chain_in_order() -> None:
    for row in every_row():
        steps = re.findall(r"[^.]+\.", row["steps"])
        rules = {rule.split(": ")[1].lower() for rule in row["rules"]}
        assert [symbols_in(step)[0] for step in steps] == row["chain"][:-1]
        assert all(step.strip().lower() in rules for step in steps)


def test_planted_steps_turn_off_to_the_other_object_at_the_end() -> None:
    for row in every_row():
        *steps, last = re.findall(r"[^.]+\.", row["steps"])
        *planted_steps, planted = re.findall(r"[^.]+\.", row["planted_steps"])
        assert steps == planted_steps and last != planted
        assert symbols_in(planted) == symbols_in(last)
        assert object_in(planted.strip(" .")) == row["other"]


def test_recall_asks_for_the_last_rule_only() -> None:
    for row in every_row():
        reading = read(row["recall_question"])
        assert reading.asked == row["recall_symbol"] == row["chain"][-2]
        assert reading.walk() == [row["recall_symbol"], row["object"]]


# --- the set as a whole ---


@pytest.mark.parametrize("hops", HOPS)
@pytest.mark.parametrize("more", (0, 1, 2))
def test_place_of_the_answer_among_the_objects_named_tells_nothing(hops: int, more: int) -> None:
    rows = rows_of(hops, "test", 3, 120, more)
    for side in "AB":
        places = Counter(row["candidates"].index(row["object"]) for row in rows if row["side"] == side)
        assert places == dict.fromkeys(range(2 + more), 120 // (2 + more))


@pytest.mark.parametrize("hops", HOPS)
def test_objects_are_even(hops: int) -> None:
    used = Counter(row["object"] for row in rows_of(hops))
    assert set(used) == set(kinds())
    assert max(used.values()) - min(used.values()) <= 2


def test_splits_share_no_pair_of_objects_and_no_rules() -> None:
    train, test = (
        {
            pair
            for hops, seed in product(HOPS, (1, 2, 3))
            for pair in pairs_of(rows_of(hops, split, seed, 400))
        }
        for split in SPLITS
    )
    assert len(train) > 1500 and len(test) > 1500
    assert not train & test
    rules = [
        frozenset(read(row["question"]).rules.items())
        for hops, split in product(HOPS, SPLITS)
        for row in rows_of(hops, split, 1, 400)[::2]
    ]
    assert len(set(rules)) == len(rules)


def test_pairs_recur_only_when_they_must() -> None:
    pairs = pairs_of(rows_of(1, "train", 2511, 5000))
    assert len(set(pairs[:1500])) == 1500
    seen = Counter[frozenset[str]]()
    met: dict[str, set[str]] = {name: set() for name in kinds()}
    universe = {
        name: {other for pair in pairs if name in pair for other in pair - {name}} for name in kinds()
    }
    for pair in pairs:
        one, other = pair
        if seen[pair]:
            assert met[one] >= universe[one] or met[other] >= universe[other]
        seen[pair] += 1
        met[one].add(other)
        met[other].add(one)


# --- the same everywhere, and faults ---


def test_rows_are_the_same_everywhere() -> None:
    rows = [row for hops in HOPS for row in rows_of(hops)] + rows_of(2, "train", 5, 50, 2)
    assert sha256(text_of(rows).encode()).hexdigest() == GOLDEN


def test_seed_changes_rows_and_nothing_else_does() -> None:
    assert text_of(mapping(samples=30)) == text_of(mapping(samples=30, seed=2511))
    assert text_of(mapping(samples=30)) != text_of(mapping(samples=30, seed=2512))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "Unknown split 'dev'. Known: test, train."),
        ({"samples": 0}, "samples is 0; expected a whole number from 1 to 1000000"),
        ({"samples": 2.5}, "samples is 2.5"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"hops": 0}, "hops is 0; expected a whole number from 1 to 3"),
        ({"distractors": 5}, "distractors is 5; expected a whole number from 0 to 4"),
    ],
)
def test_option_that_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mapping(**options)


GOLDEN = "411c5d4bf0b72b3ba597b9ce3d8eddf9371f0bdfdc232a9cb5e8b9be92c222f6"
