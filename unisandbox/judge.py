"""The protocol a judge implements: observe blind, then match.

The harness never shows a target to ``observe``; one picture is observed once a judge and rubric.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from unisandbox.records import Fields, Image, Observation, Verdict

if TYPE_CHECKING:
    from unisandbox.rubric import Rubric


@dataclass(frozen=True, slots=True)
class View:
    """What stage one sees: a picture or a text, and the rubric; not the target."""

    key: str
    rubric: Rubric
    image: Image | None = None
    text: str | None = None
    names: tuple[str, ...] = ()
    """For rubrics with a ``name`` slot: the names the question offers."""


@dataclass(frozen=True, slots=True)
class Case:
    """What stage two sees: an observation and the target; not the picture."""

    key: str
    rubric: Rubric
    observation: Observation
    target: Fields = field(default_factory=dict)


@runtime_checkable
class Judge(Protocol):
    """Carries out rubrics. Optional: ``batch_size``, ``describe()`` and ``close()``, as for a backend."""

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Yield one observation a view, in any order. An exception counts as in ``Backend.generate``."""
        ...

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Yield one verdict a case, in any order."""
        ...


def match_by_rules(case: Case) -> Verdict:
    """Return the verdict of the rubric's deterministic rules: the stage two most judges need."""
    seen = case.observation
    raw = (seen.raw,) if seen.raw else ()
    if seen.error is not None:
        return Verdict(case.key, "error", seen.error, seen.slots, raw=raw)
    if seen.malformed is not None:
        return Verdict(case.key, "rejected", seen.malformed, seen.slots, raw=raw)
    difference = case.rubric.compare(seen.slots, case.target)
    return Verdict(case.key, "incorrect" if difference else "correct", difference, seen.slots, raw=raw)
