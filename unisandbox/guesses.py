"""What a model scores without looking: trivial strategies, computed from a task's own samples.

Stands beside every score, so that "near zero" and "near chance" are not taken for each other.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from unisandbox.errors import TaskFileError, unknown
from unisandbox.records import Fields, Sample


class GuessSpec(BaseModel):
    """Which strategies make sense for a task: the key ``guesses`` under ``scoring``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    constant: list[str] | None = None
    """Slots that a guesser must guess; the others it reads off the question. Default: all."""
    among: dict[str, str | list[str]] = {}
    """Slot, or ``target`` for all slots at once -> what the question names, one of which is guessed: the
    field that lists it, or a list of fields."""


Answer = tuple[tuple[str, ...], tuple[str, ...]]
"""Slots, and what is said in them."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A strategy and its expected score over units."""

    strategy: str
    score: float


def guesses(
    spec: GuessSpec,
    samples: Sequence[Sample],
    target: Callable[[Sample], Mapping[str, Any]],
    matches: Callable[[Sample, Mapping[str, Any]], bool],
    where: str,
) -> tuple[Guess, ...]:
    """Return each strategy's expected score; a unit counts when all its samples are right.

    ``matches`` says whether slots, filled in by a guess, would be judged correct.
    """
    example = target(samples[0])
    found = list(_constants(spec, samples, target, example, where))
    for slot, listing in spec.among.items():
        if slot not in {**example, "target": None}:
            raise TaskFileError(f"{where}.guesses.among: {unknown('slot', slot, [*example, 'target'])}")
        place = f"{where}.guesses.among.{slot}"
        rates = (
            _share(listed(sample.fields, listing, place), sample, target(sample), slot, matches)
            for sample in samples
        )
        named = listing if isinstance(listing, str) else slot + "s"
        found.append(Guess(f"one of the {named} at random", _over_units(samples, rates)))
    return tuple(found)


def _constants(
    spec: GuessSpec,
    samples: Sequence[Sample],
    target: Callable[[Sample], Mapping[str, Any]],
    example: Mapping[str, Any],
    where: str,
) -> Iterator[Guess]:
    """Yield what the commonest answer scores, and any answer at random."""
    for slot in spec.constant or ():
        if slot not in example:
            raise TaskFileError(f"{where}.guesses.constant: {unknown('slot', slot, example)}")
    if spec.constant == []:
        return
    numbers: dict[Answer, int] = {}  # answers are few or many, so they are kept once and numbered
    keys = array("l")
    for sample in samples:
        slots = target(sample)
        guessed = [slot for slot in slots if spec.constant is None or slot in spec.constant]
        answer = tuple(guessed), tuple(str(slots[slot]) for slot in guessed)
        keys.append(numbers.setdefault(answer, len(numbers)))
    # a question tells which slots it asks for, so there is one commonest answer for each set of slots
    answers = list(numbers)
    kinds = Counter(slots for slots, _ in answers)
    commonest: dict[tuple[str, ...], int] = {}
    for key, _ in Counter(keys).most_common():
        commonest.setdefault(answers[key][0], key)
    names = " or ".join(" and ".join(slots) for slots in kinds)
    said = " or ".join(" ".join(answers[commonest[slots]][1]) for slots in kinds)
    best = set(commonest.values())
    yield Guess(f"always {said} ({names})", _over_units(samples, (float(key in best) for key in keys)))
    yield Guess(f"any {names} at random", _over_units(samples, (1 / kinds[answers[key][0]] for key in keys)))


def best_guess(found: Sequence[Guess]) -> Guess:
    """Return the best strategy; 0 when there is none."""
    return max(found, key=lambda guess: guess.score, default=Guess("none", 0.0))


def listed(fields: Fields, listing: str | Sequence[str], where: str) -> list[Any]:
    """Return what the fields of a sample list; raises TaskFileError for a field that it lacks."""
    for name in [listing] if isinstance(listing, str) else listing:
        if name not in fields:
            raise TaskFileError(f"{where}: {unknown('field', name, fields)}")
    return list(fields[listing]) if isinstance(listing, str) else [fields[name] for name in listing]


def _share(
    listed: Sequence[Any],
    sample: Sample,
    target: Mapping[str, Any],
    slot: str,
    matches: Callable[[Sample, Mapping[str, Any]], bool],
) -> float:
    """Return how much of the list is right."""
    filled = [item if slot == "target" else {**target, slot: item} for item in listed]
    return sum(matches(sample, slots) for slots in filled) / len(filled) if filled else 0.0


def _over_units(samples: Sequence[Sample], rates: Iterable[float]) -> float:
    units: dict[str, float] = {}
    for sample, rate in zip(samples, rates, strict=True):
        units[sample.unit] = units.get(sample.unit, 1.0) * rate
    return round(sum(units.values()) / len(units), 12)
