"""The protocol a judge implements: observe blind, then match.

The harness never shows a target to ``observe``; one picture is observed once a judge and rubric.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from unisandbox.records import Fields, Image, Observation, Outcome, Verdict

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
    """Carries out rubrics. Optional: ``batch_size``, ``describe()`` and ``close()``, as for a backend.

    A judge that waits for others rather than computes may set ``batches_at_once`` to more than 1: that many
    threads then call it at the same time.
    """

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Yield one observation a view, in any order. An exception counts as in ``Backend.generate``."""
        ...

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Yield one verdict a case, in any order."""
        ...


def match_by_rules(case: Case) -> Verdict:
    """Return the verdict of the rubric's deterministic rules: the stage two most judges need."""
    seen = case.observation
    if seen.error is not None:
        return verdict_on(case, "error", seen.error)
    if seen.malformed is not None:
        return verdict_on(case, "rejected", seen.malformed)
    difference = case.rubric.compare(seen.slots, case.target)
    return verdict_on(case, "incorrect" if difference else "correct", difference)


def verdict_on(case: Case, outcome: Outcome, reason: str = "", reply: str = "", **more: Any) -> Verdict:
    """Return a verdict that keeps what its observation brought; ``reply``: the judge's words in stage two."""
    seen = case.observation
    raw = tuple(filter(None, (seen.raw, reply)))
    return Verdict(case.key, outcome, reason, seen.slots, raw=raw, notes=seen.notes, **more)
