"""Rubrics: what a judge looks for, in two stages, as data.

*Observe* fills the rubric's slots from a picture, blind to the target; *match* holds the filled slots
against the target. The deterministic half lives here: how slots are read from words and compared.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unisandbox.errors import TaskFileError
from unisandbox.prompts import Template
from unisandbox.records import Fields
from unisandbox.world.vocabulary import find_kind, kinds, words
from unisandbox.yaml_file import YamlFile

NUMBERS = dict(
    zip(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ],
        range(13),
        strict=True,
    )
)


class Slot(BaseModel):
    """One thing to write down about a picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["count", "kind", "kinds", "choice", "name", "text"]
    """``count`` a whole number; ``kind`` an object; ``kinds`` several, in order; ``choice`` one of
    ``values``; ``name`` one of the names the task offers; ``text`` the whole answer, case and outer
    punctuation aside."""
    values: dict[str, list[str]] = Field(default_factory=dict)
    """For ``choice``: each value with its synonyms."""
    open: str | None = None
    """For ``choice``: the value of a target that leaves the slot open; any observation agrees with it."""

    @model_validator(mode="after")
    def _values_are_those_of_a_choice(self) -> Slot:
        if bool(self.values) != (self.type == "choice"):
            raise ValueError("'values' belongs to slots of type choice, and they need it")
        if self.open is not None and self.open not in self.values:
            raise ValueError(f"'open' is {self.open!r}, which is none of the 'values'")
        value_of: dict[str, str] = {}
        for value, synonyms in self.values.items():
            for word in (value, *synonyms):
                if (other := value_of.setdefault(_plain(word), value)) != value:
                    raise ValueError(f"the word {word!r} stands for both {other!r} and {value!r}")
        return self

    @cached_property
    def words(self) -> Mapping[str, str]:
        """Every word for a value -> the value."""
        return {_plain(word): value for value, synonyms in self.values.items() for word in (value, *synonyms)}

    def canonical(self, value: Any) -> Any:
        """Return the one form in which two values are compared; None when it means nothing.

        Plurals are singulars, synonyms are one word, ``"3"`` and ``"three"`` are 3.
        """
        if value is None or value == "":
            return None
        if self.type == "count":
            return _count(value)
        if self.type == "kind":
            return _kind(str(value))
        if self.type == "kinds":
            items = re.split(r",\s*|\s+and\s+", value) if isinstance(value, str) else value
            found = [_kind(str(item)) for item in items]
            return found or None
        return self.words.get(_plain(str(value))) if self.type == "choice" else _plain(str(value))

    def read(self, text: str, names: Sequence[str] = ()) -> Any:
        """Find the slot's value in free text; None when it is not there or not unambiguous."""
        if self.type == "count":
            return _last_number(text.lower())
        if self.type == "text":
            return _plain(text) or None
        if self.type == "kinds":
            return _mentioned(text, _kind_words()) or None
        if self.type == "name":
            vocabulary: Mapping[str, str] = {_plain(name): _plain(name) for name in names}
        else:
            vocabulary = self.words if self.values else _kind_words()
        found = set(_mentioned(text, vocabulary))
        if self.type == "kind" and not found:
            return _kind(text) if text and len(text.split()) <= 3 else None  # not one of ours: compare words
        return found.pop() if len(found) == 1 else None


class RubricFile(BaseModel):
    """The schema of ``judges/rubrics/*.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    slots: dict[str, Slot] = Field(min_length=1)
    reject: list[str] = []
    """When the picture breaks the rules, in words for a judge that reads words."""
    observe: str
    """Stage one's prompt for a model judge; sees ``slots`` and ``reject``."""
    match: str
    """Stage two's prompt for a model judge; sees ``observation`` and ``target``."""


class Rubric:
    """One rubric file, ready for use."""

    def __init__(self, path: Path) -> None:
        """Read and check a rubric; raises TaskFileError."""
        file = YamlFile(path)
        self.name = path.stem
        self.spec = file.check(RubricFile)
        self.slots = self.spec.slots
        self._observe = Template(self.spec.observe, file.where("observe"))
        self._match = Template(self.spec.match, file.where("match"))
        self.observe_prompt = self._observe.render({"slots": self.slots, "reject": self.spec.reject})
        self.match_prompt({name: "x" for name in self.slots}, {name: "x" for name in self.slots})

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that decides a verdict."""
        return hashlib.blake2b(self.spec.model_dump_json().encode(), digest_size=16).hexdigest()

    def match_prompt(self, observation: Fields, target: Fields) -> str:
        """Return stage two's prompt for a model judge."""
        return self._match.render({"observation": self.say(observation), "target": self.say(target)})

    def target(self, values: Fields, where: str) -> dict[str, Any]:
        """Return a target in canonical form; raises TaskFileError when a slot is missing or senseless."""
        if set(values) != set(self.slots):
            raise TaskFileError(
                f"{where}: rubric {self.name!r} needs the slots {', '.join(self.slots)}; "
                f"found {', '.join(values) or 'none'}."
            )
        target = {name: slot.canonical(values[name]) for name, slot in self.slots.items()}
        for name, value in target.items():
            if value is None:
                slot = self.slots[name]
                allowed = f" (one of {', '.join(slot.values)})" if slot.values else f" ({slot.type})"
                raise TaskFileError(
                    f"{where}.{name}: {values[name]!r} is no value of this slot{allowed} "
                    f"of rubric {self.name!r}."
                )
        return target

    def compare(self, observed: Fields, target: Fields) -> str:
        """Return '' when every slot of the observation equals the (canonical) target, else which does not."""
        for name, slot in self.slots.items():
            seen = slot.canonical(observed.get(name))
            if seen != target[name] and (slot.open is None or slot.open != target[name]):
                return f"{name}: {'nothing' if seen is None else seen} instead of {target[name]}"
        return ""

    def read(self, text: str, names: Sequence[str] = ()) -> dict[str, Any]:
        """Fill the slots from words: ``slot: value`` where it is written so, else from the whole answer.

        Words before a final "Answer:" are left out, and so is anything in think tags, closed or not.
        """
        text = re.sub(r"<think>.*?(?:</think>|\Z)", "", text, flags=re.DOTALL | re.IGNORECASE)
        text = re.split(r"</think>", text, flags=re.IGNORECASE)[-1]  # some models are started inside the tag
        parts, rest = self._parts(re.split(r"answer[\s*_]*(?:is)?[\s*_]*[:=]", text, flags=re.IGNORECASE)[-1])
        found = {name: slot.read(parts.get(name, rest), names) for name, slot in self.slots.items()}
        return {name: value for name, value in found.items() if value is not None}

    def labelled(self, text: str) -> dict[str, str]:
        """Return what stands behind the label of each slot, as it is written; the last of each.

        ``count: 3; object: cups`` -> ``{"count": "3", "object": "cups"}``
        """
        names = {name.lower(): name for name in self.slots}
        return {names[found[1].lower()]: found[2].strip() for found in self._labels.finditer(text)}

    def _parts(self, text: str) -> tuple[dict[str, str], str]:
        """Split words into what they say of single slots by name, and the rest, which may be of any.

        So "white hair" says nothing of the complexion.
        """
        parts: dict[str, str] = {}

        def take(found: re.Match[str]) -> str:
            name = next(name for name in self.slots if name.lower() == found[1].lower())
            said, after = found[2], ""
            if self.slots[name].values:  # words; a text may have dots in it
                said, _, after = said.partition(". ")
            parts[name] = said
            return f";{after}"

        rest = self._labels.sub(take, text)
        for name, pattern in self._beside.items():
            if name not in parts and (near := pattern.findall(rest)):
                parts[name] = ", ".join(word for hit in near for word in hit)
                rest = pattern.sub(",", rest)
        return parts, rest

    @cached_property
    def _labels(self) -> re.Pattern[str]:
        """``hair: black``, ``**Hair:** black``, ``"hair": "black",``, ``Hair colour: black``."""
        label = rf"\b({'|'.join(map(re.escape, self.slots))})\b(?: colou?r| tone| group)?\W{{0,4}}[:=][\s*_]*"
        return re.compile(rf"{label}((?:(?!{label.replace('(', '(?:', 1)})[^;\n])*)", re.IGNORECASE)

    @cached_property
    def _beside(self) -> dict[str, re.Pattern[str]]:
        """``white hair``, ``white-haired``, ``hair is long and white``; not ``black or white hair``."""
        patterns = {}
        for name, slot in self.slots.items():
            word = rf"({'|'.join(map(re.escape, sorted(slot.words, key=len, reverse=True)))})"
            before = rf"(?<!\w)(?<!\bor ){word}[\s-]+{re.escape(name)}(?:ed)?\b"
            after = rf"\b{re.escape(name)}\s+(?:is|was|looks)\s+(?:\w+\s+(?:and\s+)?)?{word}(?!\w|\s+or\b)"
            if slot.values:
                patterns[name] = re.compile(f"{before}|{after}", re.IGNORECASE)
        return patterns

    def say(self, slots: Fields) -> str:
        """Put filled slots into words that ``read`` understands.

        One slot is its value alone; several are labelled.
        """
        return say({name: slots[name] for name in self.slots if slots.get(name) is not None})


def say(slots: Fields) -> str:
    """Put filled slots into words that every rubric with these slots understands.

    >>> say({"count": 3, "object": "cup"}), say({"object": "cup"})
    ('count: 3; object: cup', 'cup')
    """
    words = {
        name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in slots.items()
    }
    if len(words) == 1:
        return next(iter(words.values()))
    return "; ".join(f"{name}: {word}" for name, word in words.items())


def _plain(text: str) -> str:
    """Case, accents' forms, quotes and outer punctuation do not count."""
    text = unicodedata.normalize("NFKC", text).casefold().strip()
    return re.sub(r"\s+", " ", text.strip(" .,;:!?\"'`*_()[]")).strip()


def _count(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    text = str(value).strip().lower()
    if text in NUMBERS:
        return NUMBERS[text]
    return int(text.partition(".")[0]) if re.fullmatch(r"-?\d+(?:\.0+)?", text) else None


_NUMBER = re.compile(rf"(?<!\w)-?\d+(?:\.\d+)?|(?<![\w-])(?:{'|'.join(NUMBERS)})(?![\w-])")
_PRONOUN = re.compile(r"\b(?:each|every|this|that|which|another|no) one\b")


def _last_number(text: str) -> int | None:
    """Return the number that the words end on; None for a range or a choice such as "2 or 3"."""
    found = list(_NUMBER.finditer(_PRONOUN.sub("", text)))
    if len(found) > 1 and re.fullmatch(
        r"\s*(?:or|to|and|[-–—])\s*", found[0].string[found[-2].end() : found[-1].start()]
    ):
        return None
    return _count(found[-1][0]) if found else None


@lru_cache(maxsize=4096)
def _kind(word: str) -> str | None:
    """Our kind's name, or the singular of a word we have no sprite for."""
    plain = re.sub(rf"^(?:an?|the|some|\d+|{'|'.join(NUMBERS)})\s+", "", _plain(word))
    if kind := find_kind(plain):
        return kind.name
    return _singular(plain) or None


@lru_cache(maxsize=4096)
def _singular(noun: str) -> str:
    if not noun.isascii() or not noun:
        return noun
    import inflect  # 1.7 s to import: only for nouns that are not in our vocabulary

    try:
        singular = inflect.engine().singular_noun(noun)
    except Exception:  # it raises over what is no noun, such as "-in-"
        return noun
    return singular if isinstance(singular, str) else noun


@lru_cache(maxsize=1)
def _kind_words() -> Mapping[str, str]:
    return {_plain(word): kind.name for kind in kinds().values() for word in words(kind)}


@lru_cache(maxsize=64)
def _pattern(vocabulary: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(vocabulary, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


def _mentioned(text: str, vocabulary: Mapping[str, str]) -> list[str]:
    """Return the values whose words stand in the text, in order, each once."""
    if not vocabulary:
        return []
    hits = _pattern(tuple(vocabulary)).findall(unicodedata.normalize("NFKC", text).casefold())
    return list(dict.fromkeys(vocabulary[hit] for hit in hits))
