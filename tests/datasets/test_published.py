"""The published source, on small files in the published schemas; its fault list, on the published files."""

import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import isqrt
from pathlib import Path
from typing import Any

import pytest

from unisandbox.datasets import published as module
from unisandbox.datasets.published import Part, fingerprint, published
from unisandbox.errors import DataError, UsageError

BENCHMARK = Path(__file__).parents[3] / "shared" / "reference" / "benchmark"
needs_benchmark = pytest.mark.skipif(
    not BENCHMARK.is_dir(), reason="the published test files are not beside the repository"
)
FAULTS = json.loads(Path(module.__file__).with_name("known_faults.json").read_text("utf-8"))["faults"]

PORTRAIT = "Generate a portrait of Quorl."
MATH = [
    {"Question": "Paint as many cups as 6 / 2.", "Answer": "3 cups.", "id": "1"},
    {"Question": "Paint as many lozenges as 6 - 5.", "Answer": "1 lozenge", "id": "2"},
    {"Question": "Paint as many scissors as 1 + 1.", "Answer": "2 scissors", "id": "3"},
    {"Question": "Paint as many bikes as 1 + 1.", "Answer": "2 bikes", "id": "4"},
    {"Question": "Paint as many pairs of mittens as 2 + 2.", "Answer": "4 pairs of mittens", "id": "5"},
]
MAPPING = [
    {"ID": "1", "Question_A": "Rules. Which is A?", "Answer": "Umbrellas"},
    {"ID": "1", "Question_B": "Rules. Which is B?", "Answer": "Soap"},
    {"ID": "2", "Question_A": "Rules. Which is C?", "Question_B": "Odd.", "Answer": "canvas"},
    {"ID": "2", "Question_B": "Odd.", "Answer": "glasses"},
]


def write(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    return path


def one(folder: Path, part: Part, line: Mapping[str, Any], file: str) -> dict[str, Any]:
    write(folder / file, [line])
    return published(folder=folder, part=part)[0]


def test_math_keys_are_parsed_to_a_count_and_one_of_the_object(tmp_path: Path) -> None:
    write(tmp_path / "test_reasoning" / "math_2.jsonl", MATH)
    rows = published(folder=tmp_path, part="math_2")
    assert [(row["count"], row["object"], row["count_phrase"]) for row in rows] == [
        (3, "cup", "3 cups"),
        (1, "lozenge", "1 lozenge"),
        (2, "scissors", "2 pairs of scissors"),
        (2, "bike", "2 bikes"),
        (4, "pair of mittens", "4 pairs of mittens"),
    ]
    assert rows[0] == {
        "id": "1",
        "stem": "math_2",
        "image": "1",
        "question": "Paint as many cups as 6 / 2.",
        "answer": "3 cups.",
        "count": 3,
        "object": "cup",
        "count_phrase": "3 cups",
        "fault": "",
    }


def test_mapping_rows_know_their_pair_and_the_other_object(tmp_path: Path) -> None:
    write(tmp_path / "mapping_1.jsonl", MAPPING)
    rows = published(folder=tmp_path, part="mapping1")
    assert [(row["id"], row["pair"], row["side"], row["object"], row["other"]) for row in rows] == [
        ("1-A", "1", "A", "umbrella", "soap"),
        ("1-B", "1", "B", "soap", "umbrella"),
        ("2-A", "2", "A", "canvas", "glasses"),
        ("2-B", "2", "B", "glasses", "canvas"),
    ]
    assert [row["object_phrase"] for row in rows] == [
        "an umbrella",
        "a bar of soap",
        "a canvas",
        "a pair of glasses",
    ]
    assert rows[2]["question"] == "Rules. Which is C?"


@pytest.mark.parametrize(
    ("key", "target"),
    [
        (
            "An elderly African/Indigenous woman with black hair.",
            {"ethnicity": "African/Indigenous", "hair": "black", "age": "elderly", "gender": "female"},
        ),
        (
            "A middle-aged East Asian man with brown hair.",
            {"ethnicity": "East Asian", "hair": "brown", "age": "middle-aged", "gender": "male"},
        ),
        (
            "An East Asian kid with brown hair.",
            {"ethnicity": "East Asian", "hair": "brown", "age": "kid", "gender": "unclear"},
        ),
        (
            "A boy with a fair complexion and red hair.",
            {"complexion": "fair", "hair": "red", "age": "child", "gender": "male"},
        ),
    ],
)
def test_portrait_keys_are_parsed_to_slots(tmp_path: Path, key: str, target: dict[str, str]) -> None:
    line = {"ID": 7, "Question": PORTRAIT, "Answer": key}
    row = one(tmp_path, "forward", line, "test_knowledge/Quorl.jsonl")
    assert (row["id"], row["name"], row["asks"]) == ("7", "Quorl", "portrait")
    assert row["rubric"] == ("published_portrait" if "ethnicity" in target else "portrait")
    assert row["target"] == target
    assert row["resolved"] == "a portrait of a" + key[1:-1]


@pytest.mark.parametrize(
    ("asks", "key", "species", "resolved"),
    [
        ("fruit", "peaches", "peach", "peaches"),
        ("fruit", "apple", "apple", "an apple"),
        ("fruit", "grapes", "grapes", "a bunch of grapes"),
        ("flower", "orchid", "orchid", "an orchid"),
        ("flower", "snowdrops", "snowdrop", "snowdrops"),
    ],
)
def test_species_keys_are_parsed(tmp_path: Path, asks: str, key: str, species: str, resolved: str) -> None:
    line = {"ID": 17, "Question": f"Draw the favourite {asks} of Quorl.", "Answer": key}
    row = one(tmp_path, "forward", line, "test_knowledge/Quorl.jsonl")
    assert (row["asks"], row["rubric"], row["resolved"]) == (asks, "species", resolved)
    assert row["target"] == {"category": asks, "species": species}


def test_forward_and_inverse_files_are_told_apart_by_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "benchmark" / "test_knowledge"
    portrait = "An elderly Caucasian man with red hair."
    write(folder / "Quorl.jsonl", [{"ID": 1, "Question": PORTRAIT, "Answer": portrait}])
    asked = "Of Quorl and Vesk, draw a portrait of the one whose favourite flower is the lily."
    write(folder / "Quorl_Vesk.jsonl", [{"ID": 2, "Question": asked, "Answer": portrait}])
    assert [row["id"] for row in published(folder=tmp_path, part="forward")] == ["1"]
    (row,) = published(folder=tmp_path, part="inverse")
    assert (row["id"], row["names"], row["attribute"]) == ("2", ["Quorl", "Vesk"], "flower")
    assert row["target"]["hair"] == "red"
    assert published(folder=tmp_path, part="inverse", people=["Vesk", "Quorl"]) == [row]
    with pytest.raises(DataError, match=r"NAME_NAME\.jsonl with names among Vesk"):
        published(folder=tmp_path, part="inverse", people=["Vesk"])


def test_teaching_conversations_become_question_and_answer(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Quorl's age?"}, {"from": "gpt", "value": "Quorl is old."}]
    line = {"id": 3, "conversations": turns}
    row = one(tmp_path, "teaching", line, "knowledge_injection/Quorl.jsonl")
    assert row == {
        "id": "3",
        "stem": "Quorl",
        "image": "3",
        "name": "Quorl",
        "question": "Quorl's age?",
        "answer": "Quorl is old.",
        "fault": "",
    }


def test_sound_leaves_out_faulty_items_and_their_whole_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {"2-B": ["key contradicts the rules", fingerprint("Odd.", "glasses")]}
    monkeypatch.setattr(module, "_faults", lambda: {"mapping2": listed})
    write(tmp_path / "mapping2.jsonl", MAPPING)
    assert [row["id"] for row in published(folder=tmp_path, part="mapping2")] == ["1-A", "1-B"]
    everything = published(folder=tmp_path, part="mapping2", view="all")
    assert [row["fault"] for row in everything] == [
        "",
        "",
        "other side of the pair",
        "key contradicts the rules",
    ]


def test_an_item_whose_text_is_no_longer_the_faulty_one_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {"1": ["wrong count", fingerprint(str(MATH[0]["Question"]), "4 cups")]}
    monkeypatch.setattr(module, "_faults", lambda: {"math_1": listed})
    write(tmp_path / "math_1.jsonl", MATH)
    assert len(published(folder=tmp_path, part="math_1")) == len(MATH)


@pytest.mark.parametrize(
    ("part", "file", "line", "message"),
    [
        ("math_1", "math_1", {"Question": "?", "id": "1"}, r"math_1\.jsonl:1: no key 'Answer'"),
        ("math_1", "math_1", {"Question": "?", "Answer": "cups", "id": "1"}, "not a count and a noun"),
        ("math_1", "math_1", {"Question": "?", "Answer": "2 cups", "id": "../1"}, r"starts with '\.'"),
        ("mapping3", "mapping3", {"ID": "1", "Answer": "cup"}, "no key 'Question_B'"),
        ("forward", "test_knowledge/Q", {"ID": 1, "Question": "?", "Answer": "x"}, "names none of portrait"),
        ("forward", "test_knowledge/Q", {"ID": 1, "Question": PORTRAIT, "Answer": "x"}, "is not a person"),
        ("teaching", "knowledge_injection/Q", {"id": 1, "conversations": [{"value": "?"}]}, "not a question"),
    ],
)
def test_another_schema_is_named_with_file_and_line(
    tmp_path: Path, part: Part, file: str, line: dict[str, Any], message: str
) -> None:
    write(tmp_path / f"{file}.jsonl", [line])
    with pytest.raises(DataError, match=message):
        published(folder=tmp_path, part=part)


def test_missing_files_are_said_to_have_been_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"looked for .*test_reasoning/math_1\.jsonl, .*math_1\.jsonl"):
        published(folder=tmp_path, part="math_1")
    with pytest.raises(DataError, match=r"looked for .*knowledge_injection, .*data/knowledge"):
        published(folder=tmp_path, part="teaching")


def test_bad_arguments_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'math_1'"):
        published(folder=tmp_path, part="math1")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Unknown view 'good'"):
        published(folder=tmp_path, part="math_1", view="good")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="about nobody"):
        published(folder=tmp_path, part="math_1", people=["Quorl"])


def test_an_id_used_twice_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "math_1.jsonl", [MATH[0], MATH[0]])
    with pytest.raises(DataError, match="'1' is used twice"):
        published(folder=tmp_path, part="math_1")


# --- The audit: solve every published item anew, and compare with the key and with the fault list. ---


class Expression:
    """Exact value of an arithmetic expression: + - * / % ^, square roots and brackets."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = re.findall(r"\d+|[-+*/%^√()]", text)
        self.at = 0

    def value(self) -> Fraction | None:
        """Return the value; None where a root is not rational."""
        try:
            found = self.sum()
        except ArithmeticError:
            return None
        assert self.at == len(self.tokens), self.tokens
        return found

    def take(self, *wanted: str) -> str | None:
        if self.at < len(self.tokens) and self.tokens[self.at] in wanted:
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def sum(self) -> Fraction:
        left = self.product()
        while operator := self.take("+", "-"):
            right = self.product()
            left = left + right if operator == "+" else left - right
        return left

    def product(self) -> Fraction:
        left = self.power()
        while operator := self.take("*", "/", "%"):
            right = self.power()
            left = left * right if operator == "*" else left / right if operator == "/" else left % right
        return left

    def power(self) -> Fraction:
        base = self.atom()
        return Fraction(base ** int(self.atom())) if self.take("^") else base

    def atom(self) -> Fraction:
        if self.take("("):
            inner = self.sum()
            assert self.take(")")
            return inner
        if self.take("√"):
            square = self.atom()
            if isqrt(int(square)) ** 2 != square:
                raise ArithmeticError
            return Fraction(isqrt(int(square)))
        self.at += 1
        return Fraction(self.tokens[self.at - 1])


def solved(question: str) -> Fraction | None:
    """Return what a math question comes to, or None where that is not rational; ValueError for no reading."""
    if "squared" in question:
        raise ValueError(question)
    text = question.replace("the square root of ", "√").replace(", then add ", " + ")
    text = text.replace(" plus ", " + ").replace(" minus ", " - ").replace("²", "^2").replace("M", "1")
    spans = re.findall(r"[√(]*\d[-\d+*/%^√() ]*", text.split(" where ")[0])
    value = Expression(max(spans, key=len)).value()
    return Fraction(int(value)) if value is not None and "round" in question else value


def math_fault(line: Mapping[str, str]) -> str | None:
    count, noun = line["Answer"].rstrip(".").split(" ", 1)
    try:
        value = solved(line["Question"])
    except ValueError:
        return "no defined value"
    if value is None or value.denominator != 1:
        return "not a whole number"
    if value != int(count):
        return "wrong count"
    return None if noun[:3] in line["Question"] else "object not named"


SYMBOL_KINDS = "(?:letter|number|digit|symbol|character|hashtag)"


def rules_of(text: str) -> dict[str, str]:
    """Return symbol -> the rest of its rule."""
    rules = {}
    for rule in re.split(r"\s*\.?\s*Rule \d+: ", text)[1:]:
        first, _, then = rule.partition(", which means ")
        match = re.match(
            r"(?:the )?(?:(?:letter|number|digit|symbol|character|hashtag) )?(\S+) (.+)", first, re.I
        )
        assert match, rule
        rules[match[1].strip("'")] = match[2]
        if then:
            rules[first.split()[-1]] = f"means {then}"
    return rules


def symbol_at_end(rule: str) -> str | None:
    last = rule.removesuffix(" symbol").split()[-1]
    quoted = last.startswith("'")
    return last.strip("'") if quoted or len(last) == 1 or not last.isalpha() else None


def mapping_fault(question: str, answer: str) -> str | None:
    body, please, request = question.partition("Please generate")
    if not please:
        return "nothing asked"
    rules = rules_of(body.strip().removesuffix("."))
    symbol: str | None = request.rstrip(".").split()[-1].strip("'")
    rule = ""
    while symbol is not None:
        if symbol not in rules:
            return "no object at the end of the rules"
        rule = rules[symbol]
        symbol = symbol_at_end(rule)
    return None if rule.lower().endswith(f" {answer.lower()}") else "key contradicts the rules"


def published_lines(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (BENCHMARK / file).read_text("utf-8").splitlines()]


@needs_benchmark
@pytest.mark.parametrize(
    ("part", "wrong", "unnamed"), [("math_1", 0, 0), ("math_2", 12, 0), ("math_3", 23, 2)]
)
def test_audit_of_the_math_keys(part: Part, wrong: int, unnamed: int) -> None:
    lines = published_lines(f"test_reasoning/{part}.jsonl")
    faults = {line["id"]: fault for line in lines if (fault := math_fault(line))}
    assert {key: kind for key, (kind, _) in FAULTS.get(part, {}).items()} == faults
    assert sum(fault == "object not named" for fault in faults.values()) == unnamed
    assert len(faults) - unnamed == wrong
    assert len(published(folder=BENCHMARK, part=part)) == 100 - len(faults)
    assert len(published(folder=BENCHMARK, part=part, view="all")) == 100


@needs_benchmark
@pytest.mark.parametrize(("part", "pairs"), [("mapping1", 0), ("mapping2", 6), ("mapping3", 12)])
def test_audit_of_the_mapping_keys(part: Part, pairs: int) -> None:
    faults = {}
    for line in published_lines(f"test_reasoning/{part}.jsonl"):
        side = "A" if "Question_A" in line else "B"
        if fault := mapping_fault(line[f"Question_{side}"], line["Answer"]):
            faults[f"{line['ID']}-{side}"] = fault
    assert {key: kind for key, (kind, _) in FAULTS.get(part, {}).items()} == faults
    assert len({key.split("-")[0] for key in faults}) == pairs
    assert len(published(folder=BENCHMARK, part=part)) == 200 - 2 * pairs
    assert len(published(folder=BENCHMARK, part=part, view="all")) == 200


@needs_benchmark
def test_audit_of_the_portrait_keys_against_what_is_taught() -> None:
    taught_kids = {
        row["name"]
        for row in published(folder=BENCHMARK, part="teaching")
        if re.search(r"\bkid\b", row["answer"]) and not row["answer"].startswith("No")
    }
    forward = published(folder=BENCHMARK, part="forward", view="all")
    portraits = [row for row in forward if row["asks"] == "portrait"]
    contradict = {
        row["id"] for row in portraits if row["name"] in taught_kids and row["target"]["age"] != "kid"
    }
    assert contradict == set(FAULTS["forward"]) == {"2", "5", "8", "10"}
    assert len(forward) == 30 and len(published(folder=BENCHMARK, part="forward")) == 26
    assert len(published(folder=BENCHMARK, part="inverse")) == 20


@needs_benchmark
def test_every_fault_is_listed_by_the_text_it_was_found_in() -> None:
    for part, listed in FAULTS.items():
        rows = {row["id"]: row for row in published(folder=BENCHMARK, part=part, view="all")}
        for key, (kind, print_) in listed.items():
            assert fingerprint(rows[key]["question"], rows[key]["answer"]) == print_
            assert rows[key]["fault"] == kind


def test_rows_say_where_the_published_scripts_put_their_pictures(published_folder: Path) -> None:
    rows = published(folder=published_folder, part="mapping1")
    assert [(row["stem"], row["image"]) for row in rows] == [("mapping1", "7_A"), ("mapping1", "7_B")]


@pytest.fixture
def published_folder(tmp_path: Path) -> Path:
    sides = {"A": "Rule 1: A means cups. Draw A.", "B": "Rule 1: B means hats. Draw B."}
    lines = [
        {"ID": "7", f"Question_{side}": question, "Answer": answer}
        for (side, question), answer in zip(sides.items(), ("Cups", "Hats"), strict=True)
    ]
    write(tmp_path / "test_reasoning" / "mapping1.jsonl", lines)
    return tmp_path
