"""What a model scores without looking: trivial strategies, computed from a task's own samples.

Stands beside every score, so that "near zero" and "near chance" are not taken for each other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from pydantic import BaseModel, ConfigDict

from unisandbox.errors import TaskFileError, unknown
from unisandbox.records import Sample


class GuessSpec(BaseModel):
    """Which strategies make sense for a task: the key ``guesses`` under ``scoring``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    constant: list[str] | None = None
    """Slots that a guesser must guess; the others it reads off the question. Default: all."""
    among: dict[str, str | list[str]] = {}
    """Slot, or ``target`` for all slots at once -> what the question names, one of which is guessed: the
    field that lists it, or a list of fields."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A strategy and its expected score over units."""

    strategy: str
    score: float


def guesses(
    spec: GuessSpec, samples: Sequence[Sample], targets: Sequence[Mapping[str, Any]], where: str
) -> tuple[Guess, ...]:
    """Return each strategy's expected score; a unit counts when all its samples are right."""
    slots = spec.constant if spec.constant is not None else list(targets[0])
    for slot in slots:
        if slot not in targets[0]:
            raise TaskFileError(f"{where}.guesses.constant: {unknown('slot', slot, targets[0])}")
    keys = [tuple(str(target.get(slot)) for slot in slots) for target in targets]
    names = " and ".join(slots)
    commonest, _ = min(Counter(keys).items(), key=lambda item: (-item[1], item[0]))
    found = []
    if slots:
        always = [float(key == commonest) for key in keys]
        found.append(Guess(f"always {' '.join(commonest)} ({names})", _over_units(samples, always)))
        uniform = [1 / len(set(keys))] * len(keys)
        found.append(Guess(f"any {names} at random", _over_units(samples, uniform)))
    for slot, listing in spec.among.items():
        if slot not in {**targets[0], "target": None}:
            raise TaskFileError(f"{where}.guesses.among: {unknown('slot', slot, [*targets[0], 'target'])}")
        rates = [
            _share(_listed(sample, listing, f"{where}.guesses.among.{slot}"), target, slot)
            for sample, target in zip(samples, targets, strict=True)
        ]
        named = listing if isinstance(listing, str) else slot + "s"
        found.append(Guess(f"one of the {named} at random", _over_units(samples, rates)))
    return tuple(found)


def best_guess(found: Sequence[Guess]) -> Guess:
    """Return the best strategy; 0 when there is none."""
    return max(found, key=lambda guess: guess.score, default=Guess("none", 0.0))


def _listed(sample: Sample, listing: str | Sequence[str], where: str) -> list[Any]:
    fields = [listing] if isinstance(listing, str) else listing
    for name in fields:
        if name not in sample.fields:
            raise TaskFileError(f"{where}: {unknown('field', name, sample.fields)}")
    return list(sample.fields[listing]) if isinstance(listing, str) else [sample.fields[f] for f in fields]


def _share(listed: Sequence[Any], target: Mapping[str, Any], slot: str) -> float:
    """Return how much of the list is right."""
    right = target if slot == "target" else target[slot]
    return sum(item == right or str(item) == str(right) for item in listed) / len(listed) if listed else 0.0


def _over_units(samples: Sequence[Sample], rates: Sequence[float]) -> float:
    units: dict[str, list[float]] = defaultdict(list)
    for sample, rate in zip(samples, rates, strict=True):
        units[sample.unit].append(rate)
    return round(sum(prod(unit) for unit in units.values()) / len(units), 12)
