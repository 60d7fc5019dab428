"""The kinds of object the sandbox draws and reads, and the words for them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from unisandbox.errors import DataError, unknown


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object."""

    name: str
    """Its name: singular, lower case; unique among all words of all kinds."""
    plural: str
    """More than one of it."""
    category: str
    """A neutral word for what it is: fruit, animal, tool."""
    synonyms: tuple[str, ...]
    """Other singular words for it."""
    source: str
    """Where its sprite comes from: an emoji, or ``drawn:NAME``."""
    counted: tuple[str, str]
    """How one and several are counted: name and plural, or such as bunch and bunches of grapes."""


def plural_of(word: str) -> str:
    """Return the regular plural of an English noun.

    >>> plural_of("cherry"), plural_of("toy"), plural_of("box"), plural_of("couch")
    ('cherries', 'toys', 'boxes', 'couches')
    """
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"


@cache
def kinds() -> Mapping[str, Kind]:
    """Return every kind by its name, in the order of the sprite atlas."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with Path(__file__).with_name("vocabulary.yaml").open(encoding="utf-8") as file:
        categories = yaml.load(file, loader)
    return MappingProxyType(
        {
            name: _kind(name, category, entry)
            for category, entries in categories.items()
            for name, entry in entries.items()
        }
    )


def _kind(name: str, category: str, entry: Mapping[str, Any]) -> Kind:
    plural = entry.get("plural", plural_of(name))
    one, several = entry.get("counted", (name, plural))
    return Kind(name, plural, category, tuple(entry.get("synonyms", ())), entry["source"], (one, several))


def find_kind(word: str) -> Kind | None:
    """Return the kind a word stands for, or None: any case, one or several, an article before it or not.

    >>> find_kind("The Bikes").name, find_kind("a bunch of grapes").name, find_kind("happiness")
    ('bicycle', 'grapes', None)
    """
    plain = " ".join(word.lower().strip(" \t\n.,;:!?\"'").split())
    return _kinds_by_word().get(plain.removeprefix("a ").removeprefix("an ").removeprefix("the "))


@cache
def _kinds_by_word() -> Mapping[str, Kind]:
    return {word: kind for kind in kinds().values() for word in words(kind)}


def words(kind: Kind) -> Iterator[str]:
    """Yield every word that stands for a kind: its name, its synonyms, and more than one of each."""
    yield from (kind.plural, *kind.counted)
    for word in (kind.name, *kind.synonyms):
        yield from (word, plural_of(word))


def phrase(count: int, kind: str) -> str:
    """Return a count of a kind in words; raises DataError for an unknown kind or a count below 0.

    >>> phrase(1, "cup"), phrase(3, "cup"), phrase(0, "box"), phrase(2, "scissors")
    ('1 cup', '3 cups', 'no boxes', '2 pairs of scissors')
    """
    if count < 0:
        raise DataError(f"Cannot count {count} of {kind!r}: a count is 0 or more.")
    one, several = _known(kind).counted
    return f"{count or 'no'} {one if count == 1 else several}"


def with_article(kind: str) -> str:
    """Return one of a kind with its indefinite article; raises DataError for an unknown kind.

    >>> with_article("cup"), with_article("apple"), with_article("grapes")
    ('a cup', 'an apple', 'a bunch of grapes')
    """
    one = _known(kind).counted[0]
    return f"{'an' if one[0] in 'aeiou' else 'a'} {one}"


def _known(kind: str) -> Kind:
    if kind not in kinds():
        raise DataError(unknown("kind of object", kind, kinds()))
    return kinds()[kind]
