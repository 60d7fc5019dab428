"""Knowledge injection: invented people taught in words alone; then asked for, in words and in pictures.

After arXiv 2511.20561, section 4. What a failed picture means depends on whether the knowledge arrived at
all, so that is said first, of both directions: from a name to an attribute, and from an attribute to a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unisandbox.backend import TrainSpec
from unisandbox.datasets.cast import invented
from unisandbox.datasets.characters import characters
from unisandbox.errors import UsageError
from unisandbox.records import Example, Score
from unisandbox.results import Cell, Results
from unisandbox.scores import pooled
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
    by: Literal["all", "person", "pair"] = "all"
    """Whom a student is taught: everyone, or, as published, one person or two, a student each."""
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

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """The names that a student each is taught."""
        names = [one.name for one in invented("test", self.people)]
        size = {"person": 1, "pair": 2, "all": self.people}[self.by]
        return [tuple(names[start : start + size]) for start in range(0, len(names), size)]


def inject(
    options: InjectOptions,
    out: Path,
    execute: Callable[..., Results],
    told: Callable[[str], None] = print,
    *,
    quiet: bool = False,
) -> list[Results]:
    """Teach and ask; return the runs before and after, or the one in which it was told.

    After is a run a student. ``execute`` runs ``unisandbox.run``'s options. Goes on where it stopped; raises
    UnisandboxError.
    """
    if options.in_context and options.by != "all":
        raise UsageError("Who is told instead of taught is told all: leave --by out, or --in-context.")
    if options.by == "pair" and options.people % 2:
        raise UsageError(f"{options.people} people do not make pairs. Name an even number.")

    def asked(model: str, folder: Path, about: Sequence[str] = ()) -> Results:
        told(f"asking: {model}")
        return execute(
            tasks=(FORWARD,) if options.by == "person" else (FORWARD, INVERSE),
            models=(model,),
            judges=options.judges,
            modes=MODES,
            data=(*options.data, *((f"about={'+'.join(about)}",) if about else ())),
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
    runs = [before]
    for group in options.groups:
        about = () if options.by == "all" else group
        place = "-".join(about).lower()
        taught = lessons(people=options.people, inverse_facts=options.inverse_facts, about=about)
        whom = " and ".join(about) or f"{options.people} people"
        told(f"teaching {whom} in {len(taught)} lines of text: {out / 'student' / place}")
        student = train(options.model, taught, options.spec, out / "student" / place, quiet=quiet)
        runs.append(asked(student, out / "after" / place, about))
        if not runs[-1].finished:
            break
    return runs


def together(runs: Sequence[Results]) -> Results:
    """Return the results of several students, each asked about others, as if they were one."""
    if len(runs) == 1:
        return runs[0]
    cells: dict[tuple[str, str, str], list[Cell]] = {}
    for run in runs:
        for cell in run:
            cells.setdefault((cell.task, cell.mode, cell.judge), []).append(cell)
    whole = [
        replace(
            found[0],
            score=pooled([cell.score for cell in found]),
            chance=float(
                np.average([cell.chance for cell in found], weights=[cell.score.n or 1 for cell in found])
            ),
            model=f"{len(found)} students",
        )
        for found in cells.values()
    ]
    return Results(runs[0].folder.parent, tuple(whole), all(run.finished for run in runs))


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


def of_what_is_known(runs: Sequence[Results]) -> list[Known]:
    """Return, for each task and way to draw, how many of the samples known in words are drawn right."""
    found: dict[tuple[str, str], Known] = {}
    for one in (one for run in runs for one in _known_in(run.folder)):
        before = found.get((one.task, one.mode), Known(one.task, one.mode, 0, 0))
        found[one.task, one.mode] = replace(
            one, known=before.known + one.known, right=before.right + one.right
        )
    return list(found.values())


def _known_in(folder: Path) -> Iterator[Known]:
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


def sentences(runs: Sequence[Results]) -> Iterator[str]:
    """Say what arrived, and what that makes of the pictures."""
    found = {one.direction: one for one in arrivals(together(runs))}
    for one in found.values():
        verdict = "arrived" if one.arrived else "did not arrive, as far as can be told"
        yield f"{one.direction}: {verdict} ({_shown(one.cell.score)}, guessing {one.cell.chance:.2f})"
    arrived = {one.cell.task for one in found.values() if one.arrived}
    for drawn in of_what_is_known(runs):
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
