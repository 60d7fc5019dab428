"""The invented people of the source `characters`: their names, and who has which attributes."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import chain, combinations
from math import prod
from operator import itemgetter
from random import Random

from unisandbox.datasets.splits import Split, check_split, check_whole, in_blocks, split_of
from unisandbox.errors import DataError
from unisandbox.world.people import AGES, COMPLEXIONS, GENDERS, HAIRS, SYNONYMS, Person
from unisandbox.world.vocabulary import kinds

SLOTS = tuple(field.name for field in fields(Person))
"""The slots of a portrait."""

FAVOURITES = ("fruit", "flower")

FEWEST, MOST = 8, 180  # people; with fewer there may be none to pair, with more the spreading takes long

_SWAPS = 2000  # tries for each person, of which 64 people seldom need more than half
_ALL_SWAPS = 400_000  # over all beginnings


@dataclass(frozen=True, slots=True)
class Character:
    """One invented person."""

    name: str
    """One word of ASCII letters, capitalised."""
    person: Person
    """What a portrait shows."""
    fruit: str
    """The favourite: a kind of the category fruit."""
    flower: str
    """The favourite: a kind of the category flower."""


@cache
def invented(split: Split = "test", people: int = 64, seed: int = 2511) -> tuple[Character, ...]:
    """Return the invented people of a split, every two neighbours fit to be paired; the last with the first.

    Neighbours differ in favourite fruit and flower and in two or more slots of their portraits.
    Raises UsageError for an option that cannot be meant.
    """
    check_split(split)
    check_whole("people", people, FEWEST, MOST)
    check_whole("seed", seed, 0, 2**63 - 1)
    rng = Random(f"characters {split} {people} {seed}")
    profiles = _dealt(people, rng)
    _seat(profiles, rng)
    return tuple(
        Character(name, Person(*profile[:4]), *profile[4:])
        for name, profile in zip(_names(split, people, seed), profiles, strict=True)
    )


@cache
def attributes() -> Mapping[str, Sequence[str]]:
    """Return every attribute with its values, in the order of the columns of a profile."""
    species = {
        category: tuple(kind.name for kind in kinds().values() if kind.category == category)
        for category in FAVOURITES
    }
    return dict(zip(SLOTS, (COMPLEXIONS, HAIRS, AGES, GENDERS), strict=True)) | species


@dataclass(frozen=True, slots=True)
class _Table:
    """How often each combination of values occurs."""

    columns: tuple[int, ...]
    """The columns of a profile that are combined."""
    weight: int
    """What an agreement of two people counts."""

    @property
    def key(self) -> Callable[[Sequence[str]], tuple[str, ...]]:
        """Return what takes the combination from a profile."""
        return itemgetter(*self.columns)

    def agreements(self, counts: Iterable[int]) -> int:
        """Return how many pairs of people agree, weighed."""
        return self.weight * sum(count * (count - 1) // 2 for count in counts)

    def fewest(self, people: int) -> int:
        """Return the agreements there are if every combination is as frequent as any other."""
        sizes = [len(values) for values in attributes().values()]
        cells = prod(sizes[column] for column in self.columns)
        each, more = divmod(people, cells)
        return self.agreements([each + 1] * more + [each] * (cells - more))


_Counted = tuple[Callable[[Sequence[str]], tuple[str, ...]], int, Counter[tuple[str, ...]]]

# Any two columns are to be independent; a portrait weighs more, so that it is the last to repeat.
_TABLES = (*(_Table(columns, 1) for columns in combinations(range(6), 2)), _Table((0, 1, 2, 3), 3))


def _dealt(people: int, rng: Random) -> list[list[str]]:
    """Return who has what; begins anew where swapping is stuck, and then takes the most even."""
    found = []
    for _ in range(max(1, _ALL_SWAPS // (_SWAPS * people))):
        columns = [in_blocks(values, people, rng) for values in attributes().values()]
        profiles = [list(profile) for profile in zip(*columns, strict=True)]
        found.append((_spread(profiles, rng), profiles))
        if found[-1][0] == 0:
            break
    return min(found, key=itemgetter(0))[1]


def _spread(profiles: Sequence[list[str]], rng: Random) -> int:
    """Swap values within columns until in every table all combinations are about equally frequent.

    Only swaps that add no agreements are kept. Returns by how many these still exceed the fewest.
    """
    counts = {table: Counter(map(table.key, profiles)) for table in _TABLES}
    excess = sum(
        table.agreements(found.values()) - table.fewest(len(profiles)) for table, found in counts.items()
    )
    touched = [
        [(table.key, table.weight, found) for table, found in counts.items() if column in table.columns]
        for column in range(6)
    ]
    for _ in range(_SWAPS * len(profiles)):
        if excess == 0:
            break
        column, i, j = (int(rng.random() * size) for size in (6, len(profiles), len(profiles)))
        if profiles[i][column] != profiles[j][column]:
            excess += _swap(profiles[i], profiles[j], column, touched[column])
    return excess


def _swap(one: list[str], two: list[str], column: int, tables: Sequence[_Counted]) -> int:
    """Swap a value of two people unless that adds agreements; return how many it adds, 0 or less."""
    before = [(key(one), key(two)) for key, _, _ in tables]
    one[column], two[column] = two[column], one[column]
    after = [(key(one), key(two)) for key, _, _ in tables]
    change = 0
    for (_, weight, counts), (a, b), (c, d) in zip(tables, before, after, strict=True):
        if b != c:  # else they differ in nothing else, and have changed places
            change += weight * (counts[c] + counts[d] - counts[a] - counts[b] + 2)
    if change > 0:
        one[column], two[column] = two[column], one[column]
        return 0
    for (_, _, counts), (a, b), (c, d) in zip(tables, before, after, strict=True):
        for gone, come in ((a, c), (b, d)):
            counts[gone] -= 1
            counts[come] += 1
    return change


def _seat(profiles: list[list[str]], rng: Random) -> None:
    """Reorder the profiles so that neighbours, and the last and the first, are fit to be paired."""
    for _ in range(1000 * len(profiles)):
        clashes = _clashes(profiles)
        if not clashes:
            return
        i, j = rng.choice(clashes), int(rng.random() * len(profiles))
        profiles[i], profiles[j] = profiles[j], profiles[i]
        if len(_clashes(profiles)) > len(clashes):
            profiles[i], profiles[j] = profiles[j], profiles[i]
    raise DataError(f"Found no way to pair {len(profiles)} people; choose another seed, or more people.")


def _clashes(profiles: Sequence[Sequence[str]]) -> list[int]:
    return [at for at, profile in enumerate(profiles) if not _separable(profiles[at - 1], profile)]


def _separable(one: Sequence[str], two: Sequence[str]) -> bool:
    differs = [a != b for a, b in zip(one, two, strict=True)]
    return all(differs[4:]) and sum(differs[:4]) >= 2


# --- names ---

_ONSETS = ("b", "br", "d", "dr", "f", "fl", "g", "k", "kl", "l", "m", "p", "pr", "s", "t", "tr", "v", "z")
_VOWELS = "aeiou"
_MIDDLES = ("b", "d", "dr", "g", "gr", "l", "m", "mb", "n", "nd", "p", "r", "rd", "t", "tr", "v", "z")
_ENDS = ("lf", "lk", "lm", "lth", "mp", "nk", "nth", "rf", "rth", "sk", "sp")  # few given names end so

# What the syllables can make that is a name or a word.
_REAL = {"bardolf", "debunk", "gandalf", "gandolf", "gundolf", "ludolf", "radolf", "randolf", "rudolf"}


def _names(split: Split, people: int, seed: int) -> Iterator[str]:
    """Yield so many names; with one seed, any two of either split are two letters or more apart."""
    rng = Random(f"names {seed}")
    near: set[str] = set()
    found = 0
    while found < people:
        name = "".join(map(rng.choice, (_ONSETS, _VOWELS, _MIDDLES, _VOWELS, _ENDS)))
        shortened = {name, *(name[:at] + name[at + 1 :] for at in range(len(name)))}
        if near.isdisjoint(shortened) and name not in _REAL and not any(word in name for word in _telling()):
            near |= shortened
            if split_of(name) == split:
                found += 1
                yield name.capitalize()


@cache
def _telling() -> frozenset[str]:
    """Return the words that would give something away inside a name: red, old, man, rose."""
    others = (words for values in SYNONYMS.values() for words in values.values())
    return frozenset(chain(*others, *attributes().values()))
