"""Source `published`: the UniSandbox paper's test files (arXiv 2511.20561), read where the user has them.

Nothing of them is shipped. What is shipped is `known_faults.json`: the ids of the items whose key
contradicts their own question, so that the sound items can be scored alone.
"""

import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from unisandbox.datasets.files import id_fault, read_objects
from unisandbox.datasets.splits import Row
from unisandbox.errors import DataError, UsageError, unknown
from unisandbox.world.people import Person, all_people
from unisandbox.world.vocabulary import find_kind, kinds, phrase, plural_of, with_article

Part = Literal[
    "math_1", "math_2", "math_3", "mapping1", "mapping2", "mapping3", "forward", "inverse", "teaching"
]
View = Literal["sound", "all"]

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "reasoning": ("test_reasoning", "benchmark/test_reasoning", "."),
    "knowledge": ("test_knowledge", "benchmark/test_knowledge"),
    "teaching": ("knowledge_injection", "data/knowledge"),
}
"""Where the files of a family lie below the user's folder; the first that exists is read."""

_PORTRAIT = re.compile(
    r"An? (?:(?P<age>[a-z-]+) )?(?P<ethnicity>[A-Z]\w*(?:[ /][A-Z]\w*)*) (?P<who>man|woman|kid) "
    r"with (?P<hair>\w+) hair"
)
_ONE = {  # one of what has no plural, or no singular
    "chocolate": "a bar of chocolate",
    "coffee": "a cup of coffee",
    "glasses": "a pair of glasses",
    "paper": "a sheet of paper",
    "rain": "rain",
    "soap": "a bar of soap",
    "sunshine": "sunshine",
    "tea": "a cup of tea",
    "toothpaste": "a tube of toothpaste",
    "vanilla": "vanilla",
    "water": "a glass of water",
}
_FILE_NAMES = {1: "NAME.jsonl", 2: "NAME_NAME.jsonl"}
_NOT_PLURAL = frozenset({"canvas", "glasses"})


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a published file."""

    path: Path
    number: int
    fields: Mapping[str, Any]

    def text(self, key: str) -> str:
        """Return a field as text; raises DataError, naming file and line, where there is none."""
        if key not in self.fields:
            raise self.error(f"no key {key!r} among {', '.join(map(repr, self.fields))}")
        return str(self.fields[key])

    def id(self, key: str) -> str:
        found = self.text(key)
        if fault := id_fault(found):
            raise self.error(f"{key!r} is {found!r}, which {fault}")
        return found

    def error(self, what: str) -> DataError:
        return DataError(f"{self.path}:{self.number}: {what}.")


def published(
    *, folder: Path, part: Part, view: View = "sound", people: Sequence[str] | None = None
) -> list[Row]:
    """Return the rows of one part of the published test files that lie in `folder`.

    `folder` holds `test_reasoning/` and `test_knowledge/` (for `teaching`, `knowledge_injection/`),
    or is a checkout of the published repository. The view "sound" leaves out the items, and whole
    A/B pairs, listed in `known_faults.json`; "all" keeps them and says in `fault` what is wrong.
    `people` keeps only the knowledge rows about these people, or these pairs of people.

    Raises UsageError for an unknown part or view, DataError for files that are missing or of
    another schema.
    """
    for what, found, known in (("part", part, get_args(Part)), ("view", view, get_args(View))):
        if found not in known:
            raise UsageError(unknown(what, found, known))
    paths = _paths(folder, part, people)
    lines = (_Line(path, number, fields) for path in paths for number, fields in read_objects(path))
    rows = list(_READERS[re.sub(r"_?\d$", "", part)](lines))
    _mark(rows, _faults().get(part, {}))
    for row in rows:  # where the published scripts put its picture
        row["stem"] = row.pop("file")
        row["image"] = row["id"].replace("-", "_")
    _require_different_ids(rows, part)
    return [row for row in rows if view == "all" or not row["fault"]]


def _paths(folder: Path, part: str, people: Sequence[str] | None) -> list[Path]:
    if part[-1].isdigit():
        if people is not None:
            raise UsageError(f"'people' chooses among the knowledge rows; part {part!r} is about nobody.")
        other = part.replace("_", "") if "_" in part else f"{part[:-1]}_{part[-1]}"  # both are in use
        names = product(FOLDERS["reasoning"], (part, other))
        return [_first([folder / below / f"{name}.jsonl" for below, name in names], part)]
    family = "teaching" if part == "teaching" else "knowledge"
    directory = _first([folder / below for below in FOLDERS[family]], part)
    size = 2 if part == "inverse" else 1
    paths = [path for path in sorted(directory.glob("*.jsonl")) if len(path.stem.split("_")) == size]
    wanted = [path for path in paths if people is None or set(path.stem.split("_")) <= set(people)]
    if not wanted:
        named = "" if people is None else f" with names among {', '.join(people)}"
        raise DataError(
            f"Nothing to read for part {part!r}: looked for {directory}/{_FILE_NAMES[size]}{named}."
        )
    return wanted


def _first(candidates: Sequence[Path], part: str) -> Path:
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        looked = ", ".join(map(str, candidates))
        raise DataError(f"Nothing to read for part {part!r}: looked for {looked}.")
    return found


def _math(lines: Iterator[_Line]) -> Iterator[Row]:
    for line in lines:
        answer = line.text("Answer")
        parsed = re.fullmatch(r"(\d+) (.+?)\.?", answer.strip())
        if parsed is None:
            raise line.error(f"the key {answer!r} is not a count and a noun")
        count, noun = int(parsed[1]), parsed[2]
        one = _singular(noun)
        yield {
            "id": line.id("id"),
            "file": line.path.stem,
            "question": line.text("Question"),
            "answer": answer,
            "count": count,
            "object": one,
            "count_phrase": _counted(count, one),
        }


def _mapping(lines: Iterator[_Line]) -> Iterator[Row]:
    rows = []
    for line in lines:
        # One published row carries the other side's question as well; the first is its own.
        side = "A" if "Question_A" in line.fields else "B"
        answer = line.text("Answer")
        noun = answer.lower()
        one = noun if noun in _NOT_PLURAL else _singular(noun)
        rows.append(
            {
                "id": f"{line.id('ID')}-{side}",
                "pair": line.id("ID"),
                "file": line.path.stem,
                "side": side,
                "question": line.text(f"Question_{side}"),
                "answer": answer,
                "object": one,
                "object_phrase": _with_article(one),
            }
        )
    objects = {row["id"]: row["object"] for row in rows}
    for row in rows:
        yield row | {"other": objects.get(f"{row['pair']}-{'B' if row['side'] == 'A' else 'A'}", "")}


def _forward(lines: Iterator[_Line]) -> Iterator[Row]:
    for line in lines:
        asks = _named(line, ("portrait", "fruit", "flower"))
        facts = _portrait(line) if asks == "portrait" else _species(asks, line.text("Answer"))
        yield (
            {"id": line.id("ID"), "file": line.path.stem, "name": line.path.stem, "asks": asks}
            | _asked(line)
            | facts
        )


def _inverse(lines: Iterator[_Line]) -> Iterator[Row]:
    for line in lines:
        about = {"names": line.path.stem.split("_"), "attribute": _named(line, ("fruit", "flower"))}
        yield {"id": line.id("ID"), "file": line.path.stem} | about | _asked(line) | _portrait(line)


def _teaching(lines: Iterator[_Line]) -> Iterator[Row]:
    for line in lines:
        turns = line.fields.get("conversations", ())
        try:
            question, answer = (turn["value"] for turn in turns)
        except (TypeError, KeyError, ValueError):
            raise line.error(f"'conversations' is {turns!r}, not a question and an answer") from None
        yield {
            "id": line.id("id"),
            "file": line.path.stem,
            "name": line.path.stem,
            "question": question,
            "answer": answer,
        }


_READERS: Mapping[str, Callable[[Iterator[_Line]], Iterator[Row]]] = {
    "math": _math,
    "mapping": _mapping,
    "forward": _forward,
    "inverse": _inverse,
    "teaching": _teaching,
}


def _asked(line: _Line) -> Row:
    return {"question": line.text("Question"), "answer": line.text("Answer")}


def _named(line: _Line, things: Sequence[str]) -> str:
    question = line.text("Question").lower()
    found = next((thing for thing in things if thing in question), None)
    if found is None:
        raise line.error(f"the question names none of {', '.join(things)}: {question!r}")
    return found


def _portrait(line: _Line) -> Row:
    """Return the slots of a portrait's key: those of the published keys, or of this project's own people."""
    key = line.text("Answer").strip().removesuffix(".")
    resolved = f"a portrait of {key[:1].lower()}{key[1:]}"
    if person := _own_people().get(key.lower()):
        rubric = "portrait"
        target = {slot: getattr(person, slot) for slot in ("complexion", "hair", "age", "gender")}
    elif (parsed := _PORTRAIT.fullmatch(key)) and (parsed["age"] or parsed["who"] == "kid"):
        rubric = "published_portrait"
        target = {
            "ethnicity": parsed["ethnicity"],
            "hair": parsed["hair"],
            "age": "kid" if parsed["who"] == "kid" else parsed["age"],
            "gender": {"man": "male", "woman": "female", "kid": "unclear"}[parsed["who"]],
        }
    else:
        raise line.error(f"the key {key!r} is not a person with a complexion or ethnicity and a hair colour")
    return {"rubric": rubric, "target": target, "resolved": resolved}


@cache
def _own_people() -> Mapping[str, Person]:
    return {person.phrase(): person for person in all_people()}


def _species(category: str, answer: str) -> Row:
    noun = answer.strip().lower()
    one = _singular(noun)
    resolved = noun if noun == _counted(2, one).removeprefix("2 ") else _with_article(one)
    return {"rubric": "species", "target": {"category": category, "species": one}, "resolved": resolved}


def _singular(noun: str) -> str:
    """Return one of a noun, keeping to the word that was used: bikes -> bike, not bicycle."""
    kind = find_kind(noun)
    if kind is None:
        return str(_inflect().singular_noun(noun) or noun)
    return next((word for word in (kind.name, *kind.synonyms) if noun in (word, plural_of(word))), kind.name)


def _counted(count: int, one: str) -> str:
    if one in kinds():
        return phrase(count, one)
    several = plural_of(one) if find_kind(one) else _inflect().plural_noun(one)
    return f"{count or 'no'} {one if count == 1 else several}"


def _with_article(one: str) -> str:
    if one in _ONE:
        return _ONE[one]
    return with_article(one) if one in kinds() else str(_inflect().a(one))


@cache
def _inflect() -> Any:
    import inflect  # takes a second, and the sandbox's own words do not need it

    return inflect.engine()


@cache
def _faults() -> Mapping[str, Mapping[str, Sequence[str]]]:
    with Path(__file__).with_name("known_faults.json").open(encoding="utf-8") as file:
        return json.load(file)["faults"]  # type: ignore[no-any-return]


def _mark(rows: Sequence[Row], faults: Mapping[str, Sequence[str]]) -> None:
    """Write into each row's `fault` what is wrong with it, or with the other side of its pair, or ""."""
    found = {}
    for row in rows:
        kind, print_ = faults.get(row["id"], ("", ""))
        # A file in which the authors, or an export of other rows, have another text is not at fault.
        if print_ == fingerprint(row["question"], row["answer"]):
            found[row["id"]] = kind
    pairs = {row["pair"] for row in rows if "pair" in row and row["id"] in found}
    for row in rows:
        row["fault"] = found.get(row["id"], "other side of the pair" if row.get("pair") in pairs else "")


def fingerprint(question: str, answer: str) -> str:
    """Return the 8 hex digits by which `known_faults.json` recognises an item without quoting it."""
    return format(zlib.crc32(f"{question}\n{answer}".encode()), "08x")


def _require_different_ids(rows: Sequence[Row], part: str) -> None:
    seen: set[str] = set()
    for row in rows:
        if row["id"] in seen:
            raise DataError(f"Part {part!r}: the id {row['id']!r} is used twice.")
        seen.add(row["id"])
