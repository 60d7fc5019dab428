"""The keys are checked by a reader of its own: it sees questions and expressions, never the generator."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from hashlib import sha256
from itertools import product
from json import dumps
from math import isqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisandbox.datasets.arithmetic import PATTERNS, arithmetic
from unisandbox.datasets.splits import Row
from unisandbox.errors import DataError, UsageError
from unisandbox.world.vocabulary import find_kind, kinds, phrase

LEVELS = (1, 2, 3)
SPLITS = ("train", "test")

# --- the reader ---

TOKEN = re.compile(
    r"the (?:sum|difference|product|quotient|remainder|square root|square|cube|fourth power|fifth power)"
    r" (?:of|between)|divided by|plus|minus|times|modulo|\band\b|sqrt|\d+|[-+*/%^()√]"
)
SIGNS = {"plus": "+", "minus": "-", "times": "*", "divided by": "/", "modulo": "%"}
COMMANDS = {
    r"add (\d+)": "+",
    r"subtract (\d+)": "-",
    r"multiply by (\d+)": "*",
    r"keep the remainder after dividing by (\d+)": "%",
    r"divide by (\d+)": "/",
    r"raise it to the power of (\d+)": "^",
    r"square it": "^2",
    r"cube it": "^3",
    r"take the square root": "sqrt",
}


@dataclass
class Reader:
    """Reads an expression, in signs or in words, by recursive descent, and keeps every operation."""

    tokens: list[str]
    facts: list[tuple[str, tuple[Fraction, ...], Fraction]] = field(default_factory=list)

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, *expected: str) -> str:
        assert not expected or self.peek() in expected, f"{self.peek()!r}, expected one of {expected}"
        return self.tokens.pop(0)

    def work(self, operator: str, *operands: Fraction) -> Fraction:
        x, y = operands[0], operands[-1]
        match operator:
            case "+":
                value = x + y
            case "-":
                value = x - y
            case "*":
                value = x * y
            case "/":
                value = x / y
            case "%":
                value = x % y
            case "^":
                value = x ** int(y)
            case "sqrt":
                value = Fraction(isqrt(int(x)))
                assert value * value == x
        self.facts.append((operator, operands, value))
        return value

    def chain(self, level: int = 0) -> Fraction:
        """Sums of products of powers, from left to right."""
        if level == 2:
            return self.power()
        value = self.chain(level + 1)
        while (sign := SIGNS.get(self.peek(), self.peek())) and sign in ("+-", "*/%")[level]:
            self.take()
            value = self.work(sign, value, self.chain(level + 1))
        return value

    def power(self) -> Fraction:
        base = self.atom()
        while self.peek() == "^":
            self.take()
            base = self.work("^", base, Fraction(self.take()))
        return base

    def atom(self) -> Fraction:
        token = self.take()
        if token.isdigit():
            return Fraction(token)
        if token == "(":
            value = self.chain()
            self.take(")")
            return value
        if token in ("sqrt", "√", "the square root of"):
            return self.work("sqrt", self.atom())
        powers = {"the square of": 2, "the cube of": 3, "the fourth power of": 4, "the fifth power of": 5}
        if token in powers:
            return self.work("^", self.atom(), Fraction(powers[token]))
        joints = {
            "the sum of": ("+", "and"),
            "the difference between": ("-", "and"),
            "the product of": ("*", "and"),
            "the quotient of": ("/", "and"),
            "the remainder of": ("%", "divided by"),
        }
        operator, joint = joints[token]
        left = self.atom()
        self.take(joint)
        return self.work(operator, left, self.atom())


def read_signs(expression: str) -> Reader:
    """Read a canonical expression to its end."""
    reader = Reader(re.findall(r"sqrt|\d+|[^\s\d]", expression))
    reader.chain()
    assert not reader.tokens, f"left over in {expression}: {reader.tokens}"
    return reader


def read_question(question: str) -> tuple[Fraction, str]:
    """Return the count a question asks for, and the kind, from its text alone."""
    return read_count(question), read_kind(question)


def read_count(question: str) -> Fraction:
    if steps := re.search(r"start with (\d+),(.*)", question, re.IGNORECASE):
        reader = Reader([])
        value = Fraction(steps[1])
        for found in re.finditer("|".join(f"(?P<c{n}>{c})" for n, c in enumerate(COMMANDS)), steps[2]):
            sign = list(COMMANDS.values())[int(str(found.lastgroup)[1:])]
            number = re.search(r"\d+", found[0]) or re.search(r"\d+", sign)
            value = reader.work(sign[0], value, Fraction(number[0])) if number else reader.work(sign, value)
        return value
    tokens = TOKEN.findall(question)
    while tokens[0] == "and":
        tokens.pop(0)
    reader = Reader(tokens)
    value = reader.chain()
    assert set(reader.tokens) <= {"and"}, f"read only part of {question!r}"
    return value


def read_kind(question: str) -> str:
    plurals = {kind.plural: kind.name for kind in kinds().values()}
    found = [plurals[word] for word in sorted(plurals, key=len, reverse=True) if f" {word}" in question]
    assert found, question
    return found[0]


@cache
def rows_of(level: int, split: Any, seed: int = 2511, samples: int = 400) -> list[Row]:
    return arithmetic(operations=level, split=split, seed=seed, samples=samples)  # type: ignore[arg-type]


def every_row() -> Iterator[Row]:
    for level, split, seed in product(LEVELS, SPLITS, (2511, 7)):
        yield from rows_of(level, split, seed)


def text_of(rows: list[Row]) -> str:
    return dumps(rows, ensure_ascii=False, sort_keys=True)


# --- the keys ---


def test_key_is_what_the_question_asks() -> None:
    for row in every_row():
        count, kind = read_question(row["question"])
        assert count == row["count"], row
        assert kind == row["object"], row


def test_key_is_what_the_expression_comes_to() -> None:
    for row in every_row():
        reader = read_signs(row["expression"])
        assert reader.facts[-1][2] == row["count"], row
        assert [operator for operator, _, _ in reader.facts] == row["operators"], row
        assert re.findall(r"\d+", row["expression"]) == list(map(str, row["operands"]))


def test_expression_has_exactly_so_many_operations_each_doing_some_work() -> None:
    for row in every_row():
        reader = read_signs(row["expression"])
        assert len(reader.facts) == row["level"], row
        for operator, operands, value in reader.facts:
            assert value.denominator == 1 and 1 <= value <= (99 if row["level"] == 1 else 50), row
            assert all(operand >= (1 if operator in "+-" else 2) for operand in operands), row
            assert operator != "%" or operands[0] > operands[1], row


@pytest.mark.parametrize("level", (1, 2))
def test_every_written_number_matters(level: int) -> None:
    """As it would not in 7 + 3 - 3 or 5 / 5, however much 3 and 5 were changed."""
    plain = [row for row in rows_of(level, "test") if set(row["operators"]) <= set("+-*/")]
    assert len(plain) > 100
    for row in plain:
        for number in set(row["operands"]):
            changed = re.sub(rf"\b{number}\b", str(number + 977), row["expression"])
            assert read_signs(changed).facts[-1][2] != row["count"], row


def test_no_root_of_a_power_and_no_power_of_a_root() -> None:
    for row in every_row():
        assert not re.search(r"sqrt\((\d+|\([^()]*\))\^\d\)|\(sqrt\(.*\)\)\^", row["expression"]), row


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    level=st.sampled_from(LEVELS),
    least=st.integers(1, 8),
    span=st.integers(1, 8),
    operand_max=st.sampled_from([10, 23, 100]),
    share=st.sampled_from([0, 0.1, 1]),
)
def test_options_are_kept(
    seed: int, level: int, least: int, span: int, operand_max: int, share: float
) -> None:
    answers = (least, min(9, least + span))
    rows = arithmetic(
        samples=20,
        seed=seed,
        operations=level,  # type: ignore[arg-type]
        answers=answers,
        operand_max=operand_max,
        operand_share=share,
    )
    assert len(rows) == 20
    for row in rows:
        reader = read_signs(row["expression"])
        assert reader.facts[-1][2] == row["count"] == read_count(row["question"])
        assert answers[0] <= row["count"] <= answers[1]
        assert answers[0] <= row["planted_count"] <= answers[1]
        assert max(row["operands"]) <= operand_max
        assert all(value <= operand_max for _, _, value in reader.facts)
        assert share or row["count"] not in row["operands"]


# --- wording ---


def test_every_row_names_its_noun_in_the_plural_and_fills_its_phrases() -> None:
    for row in every_row():
        kind = find_kind(row["noun"])
        assert kind is not None and (kind.name, kind.plural) == (row["object"], row["noun"])
        assert row["noun"] in row["question"] and row["spoken"].lower() in row["question"].lower()
        assert row["count_phrase"] == phrase(row["count"], row["object"])
        assert row["planted_phrase"] == phrase(row["planted_count"], row["object"])


def test_modulo_is_never_said_by_its_sign() -> None:
    said = [row for row in every_row() if "%" in row["operators"]]
    assert len(said) > 500
    for row in said:
        assert "%" not in row["question"] + row["steps"] + row["planted_steps"]
        assert re.search("modulo|remainder", row["question"])


def groups(expression: str) -> Iterator[str]:
    """Yield what stands inside each pair of brackets, and outside all, with # for brackets within."""
    while "(" in expression:
        yield from re.findall(r"\(([^()]*)\)", expression)
        expression = re.sub(r"\([^()]*\)", "#", expression)
    yield expression


def test_modulo_shares_its_brackets_with_no_other_sign() -> None:
    """People and programs do not agree on whether it comes before the others."""
    for row in every_row():
        signs = [row["expression"], row["spoken"]] if PATTERNS[row["pattern"]][0] == "symbols" else []
        for group in (group for text in signs for group in groups(text) if re.search("%|modulo", group)):
            assert re.fullmatch(r"(sqrt|√)?(#|\d+) (%|modulo) (sqrt|√)?(#|\d+)", group), row


def test_only_a_number_comes_before_an_and() -> None:
    """So that no "and" can be taken for another's, as in the sum of the product of 2 and 3 and 4."""
    worded = [row for row in every_row() if PATTERNS[row["pattern"]][0] == "words"]
    assert len(worded) > 1000
    for row in worded:
        assert all(
            first.isdigit()
            for first in re.findall(
                r"(?:sum|product|quotient|remainder|between)(?: of)? (\S+)", row["spoken"]
            )
        ), row


@pytest.mark.parametrize("level", LEVELS)
def test_patterns_are_used_evenly(level: int) -> None:
    used = Counter(row["pattern"] for row in rows_of(level, "test"))
    assert len(PATTERNS) >= 20
    assert set(used) == set(range(len(PATTERNS)))
    assert max(used.values()) - min(used.values()) <= 4


def test_steps_work_out_the_expression_one_operation_at_a_time() -> None:
    for row in every_row():
        steps = row["steps"].removesuffix(".").split(". ")
        assert len(steps) == row["level"]
        for step, operator in zip(steps, row["operators"], strict=True):
            left, right = step.split(" = ")
            reader = Reader(TOKEN.findall(left))
            assert reader.chain() == int(right), row
            assert [fact[0] for fact in reader.facts] == [operator]
        assert int(steps[-1].split(" = ")[1]) == row["count"]


def test_planted_steps_go_wrong_in_the_last_result_only() -> None:
    for row in every_row():
        assert row["planted_count"] != row["count"]
        before, last = row["steps"].rsplit(" = ", 1)
        assert last == f"{row['count']}."
        assert row["planted_steps"] == f"{before} = {row['planted_count']}."


# --- the set as a whole ---


def test_no_expression_is_in_both_splits_however_its_summands_and_factors_stand() -> None:
    def signature(row: Row) -> str:
        (x, y), operator = (*row["operands"], 0)[:2], row["operators"][0]
        return f"{min(x, y)}{operator}{max(x, y)}" if operator in "+*" else row["expression"]

    for level in LEVELS:
        train, test = (
            {
                signature(row) if level == 1 else row["expression"]
                for seed in (1, 2, 3)
                for row in rows_of(level, split, seed, 600)
            }
            for split in SPLITS
        )
        assert len(train) > 400 and len(test) > 400
        assert not train & test


@cache
def all_of_level_one() -> Mapping[str, int]:
    """Every expression there should be at level 1, made by trying all pairs of numbers."""
    worth: dict[str, int] = {}
    for x, y in product(range(1, 100), repeat=2):
        worth[f"{x} + {y}"] = x + y
        worth[f"{x} - {y}"] = x - y
        if min(x, y) > 1:
            worth[f"{x} * {y}"] = x * y
            worth[f"{x} / {y}"] = x // y if x % y == 0 and x != y else 0
            worth[f"{x} % {y}"] = x % y if x > y else 0
            worth[f"{x}^{y}"] = x**y if y <= 5 else 0
        if y == 1 and x > 1:
            worth[f"sqrt({x})"] = isqrt(x) if isqrt(x) ** 2 == x else 0
    return {expression: value for expression, value in worth.items() if 1 <= value <= 4}


def test_level_one_uses_every_expression_there_is() -> None:
    rows = [row for split in SPLITS for row in rows_of(1, split, 2511, 6000)]
    found = {row["expression"]: row["count"] for row in rows}
    missing = set(all_of_level_one()) - set(found)
    assert set(found) <= set(all_of_level_one())
    # what is left out are expressions that contain their answer, of which only a share is taken
    assert all(all_of_level_one()[e] in map(int, re.findall(r"\d+", e)) for e in missing)
    assert len(found) > 1500


def test_expression_and_noun_are_together_once_and_expressions_recur_evenly() -> None:
    rows = rows_of(1, "train", 2511, 6000)
    assert len({(row["expression"], row["object"]) for row in rows}) == 6000
    for count in range(1, 5):
        times = Counter(row["expression"] for row in rows if row["count"] == count).values()
        assert max(times) - min(times) <= 1
    nouns = Counter(row["object"] for row in rows).values()
    assert max(nouns) - min(nouns) <= 2


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("split", SPLITS)
def test_no_expression_comes_twice_in_a_benchmark(level: int, split: str) -> None:
    rows = rows_of(level, split, 2511, 250)
    assert len({row["expression"] for row in rows}) == 250
    assert sorted(row["id"] for row in rows) == [f"{number:04d}" for number in range(1, 251)]
    assert {(row["level"], row["split"]) for row in rows} == {(level, split)}


@pytest.mark.parametrize("level", LEVELS)
def test_answers_nouns_and_planted_counts_are_even(level: int) -> None:
    rows = rows_of(level, "test")
    answers = range(1, 6 if level == 3 else 5)
    for end in (len(answers), 50, 150, 400):
        counted = Counter(row["count"] for row in rows[:end])
        assert set(counted) == set(answers)
        assert max(counted.values()) - min(counted.values()) <= 1
    pairs = Counter((row["count"], row["planted_count"]) for row in rows)
    assert len(pairs) == len(answers) * (len(answers) - 1)
    assert max(pairs.values()) - min(pairs.values()) <= 2
    nouns = Counter(row["object"] for row in rows).values()
    assert max(nouns) - min(nouns) <= 1


@pytest.mark.parametrize("share", [0, 0.05, 0.2])
@pytest.mark.parametrize("level", LEVELS)
def test_few_expressions_contain_their_answer(level: int, share: float) -> None:
    rows = arithmetic(operations=level, samples=500, operand_share=share)  # type: ignore[arg-type]
    for count in {row["count"] for row in rows}:
        expressions = {row["expression"]: row["operands"] for row in rows if row["count"] == count}
        assert sum(count in operands for operands in expressions.values()) <= share * len(expressions)


@pytest.mark.parametrize("level", (2, 3))
def test_operators_are_mixed(level: int) -> None:
    used = Counter(operator for row in rows_of(level, "test") for operator in row["operators"])
    assert set(used) == {"+", "-", "*", "/", "%", "^", "sqrt"}
    assert min(used.values()) >= 0.05 * used.total()
    assert max(used.values()) <= 0.30 * used.total()


# --- the same everywhere, and faults ---


def test_rows_are_the_same_everywhere() -> None:
    rows = [row for level in LEVELS for row in rows_of(level, "test", 2511, 250)]
    assert sha256(text_of(rows).encode()).hexdigest() == GOLDEN


def test_seed_changes_rows_and_nothing_else_does() -> None:
    assert text_of(arithmetic(samples=30)) == text_of(arithmetic(samples=30, seed=2511))
    assert text_of(arithmetic(samples=30)) != text_of(arithmetic(samples=30, seed=2512))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tets"}, r"Unknown split 'tets'. Did you mean 'test'\?"),
        ({"samples": 0}, "samples is 0; expected a whole number from 1 to 1000000"),
        ({"samples": "250"}, "samples is '250'"),
        ({"samples": True}, "samples is True"),
        ({"seed": -1}, "seed is -1"),
        ({"operations": 4}, "operations is 4; expected a whole number from 1 to 3"),
        ({"answers": (0, 4)}, r"answers is \(0, 4\); expected the least and the greatest count"),
        ({"answers": [3, 3]}, r"answers is \[3, 3\]"),
        ({"answers": [1, 10]}, r"answers is \[1, 10\]"),
        ({"answers": 4}, "answers is 4"),
        ({"answers": "14"}, "answers is '14'"),
        ({"operand_max": 9}, "operand_max is 9; expected a whole number from 10 to 100"),
        ({"operand_share": 1.5}, "operand_share is 1.5; expected a number from 0 to 1"),
        ({"operand_share": "half"}, "operand_share is 'half'"),
    ],
)
def test_option_that_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        arithmetic(**options)


def test_more_samples_than_there_are() -> None:
    options: dict[str, Any] = {"operand_max": 10, "answers": (8, 9)}
    with pytest.raises(DataError, match=r"samples is 99999; there are only \d+ with these options") as error:
        arithmetic(samples=99_999, **options)
    found = re.search(r"only (\d+)", str(error.value))
    assert found
    most = int(found[1])
    assert len({(row["expression"], row["object"]) for row in arithmetic(samples=most, **options)}) == most
    with pytest.raises(DataError, match=f"only {most} "):
        arithmetic(samples=most + 1, **options)


def test_more_samples_than_are_found_by_drawing() -> None:
    with pytest.raises(DataError, match=r"only \d+ with these options: \d+ expressions come to [89]"):
        arithmetic(samples=999_999, operations=2, operand_max=10, answers=(8, 9))


GOLDEN = "04e263195cb51a841187edbd52c7f986efb90a3d46b0520d47cc0676223b029d"
