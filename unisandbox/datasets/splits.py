"""What the generated datasets share: rows, the split a key belongs to, even draws, checked arguments."""

from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import Any, Literal, TypeVar, get_args

from unisandbox.errors import UsageError, unknown

Split = Literal["train", "test"]

Row = dict[str, Any]
"""One sample as JSON values; the keys are the template variables of task files."""

T = TypeVar("T")


def split_of(key: str) -> Split:
    """Return the one split a key belongs to, for every seed, platform and release.

    >>> split_of("9 / 3"), split_of("6 / 3")
    ('test', 'train')
    """
    return "train" if sha256(key.encode()).digest()[0] % 2 else "test"


def in_blocks(values: Sequence[T], length: int, rng: Random) -> list[T]:
    """Return a list in which every block of `len(values)` holds each value once, in random order.

    So the list, and any beginning of it, is even: no two values differ by more than one.

    >>> from collections import Counter
    >>> sorted(Counter(in_blocks("abc", 7, Random(0))).values())
    [2, 2, 3]
    """
    blocks: list[T] = []
    while len(blocks) < length:
        blocks += rng.sample(values, len(values))
    return blocks[:length]


def check_split(split: str) -> None:
    """Raise UsageError unless this names a split."""
    if split not in get_args(Split):
        raise UsageError(unknown("split", str(split), get_args(Split)))


def check_whole(option: str, found: object, low: int, high: int) -> None:
    """Raise UsageError unless the option's value is a whole number from `low` to `high`."""
    if type(found) is not int or not low <= found <= high:
        raise UsageError(f"{option} is {found!r}; expected a whole number from {low} to {high}.")
