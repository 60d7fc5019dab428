"""The people the sandbox can portray: complexion, hair, age and gender, and the words for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from unisandbox.errors import DataError, unknown

SYNONYMS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "complexion": {
            "dark": ("black", "brown", "deep", "dark brown", "ebony", "dark-skinned"),
            "olive": ("tan", "tanned", "medium", "golden", "olive-skinned"),
            "fair": ("light", "pale", "white", "fair-skinned", "light-skinned"),
        },
        "hair": {
            "black": ("dark", "raven", "jet black"),
            "brown": ("dark brown", "brunette", "brunet", "chestnut"),
            "blond": ("blonde", "golden", "yellow", "fair"),
            "red": ("ginger", "auburn", "orange", "copper"),
            "white": ("gray", "grey", "silver"),
        },
        "age": {
            "child": ("kid", "young", "boy", "girl", "toddler", "youth"),
            "adult": ("middle-aged", "middle aged", "mid-age", "grown-up", "mature"),
            "elderly": ("old", "senior", "aged", "older"),
        },
        "gender": {
            "female": ("woman", "girl", "lady", "feminine"),
            "male": ("man", "boy", "gentleman", "masculine"),
        },
    }
)
"""For each slot of a person and each of its values, the other words for that value."""

COMPLEXIONS = tuple(SYNONYMS["complexion"])
HAIRS = tuple(SYNONYMS["hair"])
AGES = tuple(SYNONYMS["age"])
GENDERS = tuple(SYNONYMS["gender"])

_NOUNS = {
    ("child", "female"): "a girl",
    ("child", "male"): "a boy",
    ("adult", "female"): "an adult woman",
    ("adult", "male"): "an adult man",
    ("elderly", "female"): "an elderly woman",
    ("elderly", "male"): "an elderly man",
}


@dataclass(frozen=True, slots=True)
class Person:
    """What a portrait shows; raises DataError where a value is not one of its slot."""

    complexion: str
    """One of COMPLEXIONS."""
    hair: str
    """One of HAIRS."""
    age: str
    """One of AGES."""
    gender: str
    """One of GENDERS."""

    def __post_init__(self) -> None:
        for slot, values in SYNONYMS.items():
            if getattr(self, slot) not in values:
                raise DataError(unknown(f"{slot} of a person", str(getattr(self, slot)), values))

    def phrase(self) -> str:
        """Return the person in words.

        >>> Person("dark", "white", "elderly", "female").phrase()
        'an elderly woman with a dark complexion and white hair'
        """
        article = "an" if self.complexion[0] in "aeiou" else "a"
        who = _NOUNS[self.age, self.gender]
        return f"{who} with {article} {self.complexion} complexion and {self.hair} hair"


def all_people() -> tuple[Person, ...]:
    """Return every person that can be portrayed, in a fixed order."""
    return tuple(Person(*values) for values in product(COMPLEXIONS, HAIRS, AGES, GENDERS))


def find_value(slot: str, word: str) -> str | None:
    """Return the value of a slot that a word stands for, or None; raises DataError for an unknown slot.

    >>> find_value("hair", "Blonde"), find_value("age", "kid"), find_value("complexion", "blue")
    ('blond', 'child', None)
    """
    if slot not in SYNONYMS:
        raise DataError(unknown("slot of a person", slot, SYNONYMS))
    plain = " ".join(word.lower().split())
    return next(
        (value for value, others in SYNONYMS[slot].items() if plain == value or plain in others), None
    )
