"""Knowledge injection: invented people taught in words alone; then asked for, in words and in pictures.

After arXiv 2511.20561, section 4. What a failed picture means depends on whether the knowledge arrived at
all, so that is said first, of both directions: from a name to an attribute, and from an attribute to a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unisandbox.backend import TrainSpec
from unisandbox.datasets.characters import characters
from unisandbox.records import Example, Score
from unisandbox.results import Cell, Results
from unisandbox.training.stars import train, trainable
from unisandbox.trials import read_trials

FORWARD, INVERSE = "forward_retrieval", "inverse_search"
MODES = ("recall", "answer", "direct", "cot")
ARRIVES = {
    "name -> attribute": (FORWARD, "recall"),
    "attribute -> name": (INVERSE, "answer"),
}
"""The task and mode in which each direction shows in words."""


def lessons(**options: Any) -> list[Example]:
    """Return the teaching material of the source ``characters`` (see its options), split test by default."""
    rows = characters(**{"split": "test", **options, "view": "teaching"})
    return [Example(row["question"], text=row["answer"]) for row in rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class InjectOptions:
    """Whom to teach, and how."""

    model: str = "tiny:variant=base"
    judges: tuple[str, ...] = ()
    people: int = 64
    inverse_facts: bool = False
    """Also teach lines that lead from a favourite to a name."""
    in_context: bool = False
    """Tell instead of teach: what is known stands in the prompt."""
    limit: int | None = None
    spec: TrainSpec = field(default_factory=TrainSpec)
    seed: int = 0

    @property
    def data(self) -> tuple[str, ...]:
        """The dataset options of the people asked about."""
        return (f"people={self.people}", *(("in_context=true",) if self.in_context else ()))


def inject(
    options: InjectOptions,
    out: Path,
    execute: Callable[..., Results],
    told: Callable[[str], None] = print,
    *,
    quiet: bool = False,
) -> list[Results]:
    """Teach and ask; return the runs before and after, or the one in which it was told.

    ``execute`` runs ``unisandbox.run``'s options. Goes on where it stopped; raises UnisandboxError.
    """

    def asked(model: str, folder: Path) -> Results:
        told(f"asking: {model}")
        return execute(
            tasks=(FORWARD, INVERSE),
            models=(model,),
            judges=options.judges,
            modes=MODES,
            data=options.data,
            limit=options.limit,
            seed=options.seed,
            out=folder,
        )

    if options.in_context:
        return [asked(options.model, out / "in-context")]
    trainable(options.model)
    before = asked(options.model, out / "before")
    if not before.finished:
        return [before]
    taught = lessons(people=options.people, inverse_facts=options.inverse_facts)
    told(f"teaching {options.people} people in {len(taught)} lines of text: {out / 'student'}")
    student = train(options.model, taught, options.spec, out / "student", quiet=quiet)
    return [before, asked(student, out / "after")]


@dataclass(frozen=True, slots=True)
class Arrival:
    """Whether knowledge arrived in one direction, in words."""

    direction: str
    cell: Cell
    """What it shows in."""

    @property
    def arrived(self) -> bool:
        """Whether it is above what guessing scores."""
        return (self.cell.score.low or 0.0) > self.cell.chance


def arrivals(results: Results) -> list[Arrival]:
    """Return both directions, as far as they were asked."""
    cells = {(cell.task, cell.mode): cell for cell in results if cell.supported}
    return [Arrival(direction, cells[place]) for direction, place in ARRIVES.items() if place in cells]


@dataclass(frozen=True, slots=True)
class Known:
    """How often a picture is right where the knowledge for it was shown in words."""

    task: str
    mode: str
    known: int
    right: int


def of_what_is_known(folder: Path) -> Iterator[Known]:
    """Yield, for each task and way to draw, how many of the samples known in words are drawn right."""
    for trials in read_trials(folder):
        words = next((mode for task, mode in ARRIVES.values() if task == trials.task), None)
        if words is None or not (judges := trials.judges(words)):
            continue
        known = trials.passed[words, judges[0]] == 1
        for mode in ("direct", "cot"):
            for judge in trials.judges(mode)[:1]:
                drawn = trials.passed[mode, judge]
                counted = known & ~np.isnan(drawn)
                yield Known(trials.task, mode, int(counted.sum()), int((drawn[counted] == 1).sum()))


def sentences(results: Results) -> Iterator[str]:
    """Say what arrived, and what that makes of the pictures."""
    found = {one.direction: one for one in arrivals(results)}
    for one in found.values():
        verdict = "arrived" if one.arrived else "did not arrive, as far as can be told"
        yield f"{one.direction}: {verdict} ({_shown(one.cell.score)}, guessing {one.cell.chance:.2f})"
    arrived = {one.cell.task for one in found.values() if one.arrived}
    for drawn in of_what_is_known(results.folder):
        if drawn.known and drawn.task in arrived:  # else what is "known" is guessed
            known, right = drawn.known, drawn.right
            yield f"{drawn.task}, {drawn.mode}: of {known} known in words, {right} are drawn right"
    inverse = found.get("attribute -> name")
    if inverse and not inverse.arrived:
        yield f"So what fails in {INVERSE} fails for want of knowledge in that direction, not of transfer."


def _shown(score: Score) -> str:
    if score.value is None or score.low is None or score.high is None:
        return "no score"
    return f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"
