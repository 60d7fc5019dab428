"""Candidates: what a model drew for training prompts, and which of it a judge accepts.

Rejection sampling as in STARS (arXiv 2511.20561): a candidate is drawn after thinking, and is accepted when
the benchmark's own judge finds it correct. What is learned from it is its question and its picture; the
thought is left out.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Literal

from unisandbox.api import plan, saved_options
from unisandbox.errors import UsageError
from unisandbox.guesses import listed
from unisandbox.matrix import Ask
from unisandbox.records import Example, Fields, Image, Sample
from unisandbox.run_log import GENERATIONS, IMAGES, read_lines
from unisandbox.task import Task
from unisandbox.trials import read_verdicts

MODE = "cot"
"""How candidates are drawn."""

Rule = Literal["correct", "all", "shuffled"]
"""``correct``: what the judge accepts. Two controls: ``all``, whatever it says; ``shuffled``, what it
accepts, with the questions dealt out anew among those that say the same openly (the same object, say)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture drawn after thinking about a training prompt, and what a judge says of it."""

    task: str
    sample: str
    repeat: int
    question: str
    """What is to lead to the picture without a thought: the prompt of ``direct``."""
    fields: Fields
    guessed: str
    """The part of the right answer that the question does not say openly, as JSON."""
    said: str
    """The rest of it, and of which values it is one, where the question names these; as JSON."""
    path: Path
    """Of the picture."""
    outcome: str
    probability: float | None
    thought: str

    @property
    def image(self) -> Image:
        """The picture, read when it is looked at."""
        return Image(self.path, self.path.suffix)

    @property
    def correct(self) -> bool:
        """Whether the judge accepts it."""
        return self.outcome == "correct"


def read_candidates(folder: Path, judge: str = "") -> list[Candidate]:
    """Read the pictures of a run that one judge has judged; raises UsageError for a run of other modes."""
    asks = [ask for ask in plan(saved_options(folder)).asks if ask.mode.name == MODE]
    if not asks:
        raise UsageError(f"{folder} has no trials of mode {MODE}: run unisandbox stars sample.")
    if len({ask.model.label for ask in asks}) > 1:
        raise UsageError(f"{folder} holds several models. Candidates come from the one that is to learn.")
    judges = {label.label for ask in asks for label in ask.judges}
    if judge and judge not in judges:
        raise UsageError(f"{folder} was not judged by {judge!r}. Judges: {', '.join(sorted(judges))}.")
    judge = judge or asks[0].judges[0].label
    verdicts = {line["key"]: line for line in read_verdicts(folder) if line["judge"] == judge}
    known = {ask.task.name: (ask, {sample.id: sample for sample in ask.samples}) for ask in asks}
    found = {}
    for line in read_lines(folder / GENERATIONS):
        ask, samples = known.get(line["task"], (None, {}))
        verdict, sample = verdicts.get(line["key"]), samples.get(line["sample"])
        if ask and sample and verdict and line["mode"] == MODE and "image" in line:
            found[line["key"]] = _candidate(folder, ask, sample, line, verdict)
    return list(found.values())


def _candidate(
    folder: Path, ask: Ask, sample: Sample, line: Mapping[str, Any], verdict: Mapping[str, Any]
) -> Candidate:
    task = ask.task
    target = task.target("direct", sample)
    constant = task.scoring["direct"].guesses.constant
    guessed = target if constant is None else {slot: target[slot] for slot in constant}
    said = {slot: value for slot, value in target.items() if slot not in guessed}
    return Candidate(
        task=task.name,
        sample=sample.id,
        repeat=line["repeat"],
        question=task.prompts["direct"].render(sample.fields),
        fields=sample.fields,
        guessed=json.dumps(guessed, sort_keys=True),
        said=json.dumps(said | _named(task, sample.fields, target), sort_keys=True),
        path=folder / IMAGES / line["image"],
        outcome=verdict["outcome"],
        probability=verdict.get("probability"),
        thought=line.get("thought", ""),
    )


def _named(task: Task, fields: Fields, target: Fields) -> dict[str, Any]:
    """Return the values that the question names of which the right one is one."""
    found = {}
    for slot, listing in task.scoring["direct"].guesses.among.items():
        values = listed(fields, listing, f"{task.name}: guesses.among.{slot}")
        if (target if slot == "target" else target.get(slot)) in values:
            found[f"{slot} one of"] = sorted(values, key=str)
    return found


def accept(
    candidates: Iterable[Candidate],
    *,
    rule: Rule = "correct",
    per_prompt: int = 2,
    soft: bool = False,
    seed: int = 0,
) -> list[Candidate]:
    """Return what is to be learned from.

    Of each prompt at most ``per_prompt``, no picture twice; ``soft`` prefers those the judge is surest of,
    else chance decides. Then no answer of a task keeps more than its even share. Raises UsageError when
    ``soft`` is asked for and the judge gives no probabilities.
    """
    draws = Random(f"accept {seed}")
    judged = [one for one in candidates if one.outcome != "error"]
    kept = [one for one in judged if rule == "all" or one.correct]
    draws.shuffle(kept)
    if soft:
        if any(one.probability is None for one in kept):
            raise UsageError("The judge gives no probabilities, which soft rewards need: use binary ones.")
        kept.sort(key=lambda one: -(one.probability or 0.0))
    kept = _first(_without_twins(kept), lambda one: (one.task, one.sample), lambda _: per_prompt)
    kept = _first(kept, lambda one: (one.task, one.guessed), _even_shares(kept))
    return _dealt_anew(kept, draws) if rule == "shuffled" else kept


def _without_twins(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    seen = set()
    for one in candidates:
        if (name := (one.question, one.path.name)) not in seen:
            seen.add(name)
            yield one


def _first(
    candidates: Iterable[Candidate],
    group: Callable[[Candidate], Hashable],
    most: Callable[[Hashable], int],
) -> list[Candidate]:
    """Return the first few of each group."""
    counts: Counter[Hashable] = Counter()
    kept = []
    for one in candidates:
        name = group(one)
        counts[name] += 1
        if counts[name] <= most(name):
            kept.append(one)
    return kept


def _even_shares(candidates: Sequence[Candidate]) -> Callable[[Any], int]:
    """Return, for a task and answer, its even share of the task's candidates, rounded up."""
    sizes = Counter(one.task for one in candidates)
    answers = {task: len({one.guessed for one in candidates if one.task == task}) for task in sizes}
    return lambda name: -(-sizes[name[0]] // answers[name[0]])


def _dealt_anew(candidates: Sequence[Candidate], draws: Random) -> list[Candidate]:
    """Give each picture the question of another of its task that says the same openly."""
    groups: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for one in candidates:
        groups[one.task, one.said].append(one)
    dealt = []
    for group in groups.values():
        questions = [one.question for one in group]
        draws.shuffle(questions)
        dealt += [replace(one, question=question) for one, question in zip(group, questions, strict=True)]
    return dealt


def examples(candidates: Iterable[Candidate]) -> list[tuple[Example, dict[str, Any]]]:
    """Return question -> picture for each, with what a person may want to know of it."""
    return [
        (
            Example(one.question, image=one.image),
            {"task": one.task, "sample": one.sample, "answer": one.guessed, "outcome": one.outcome},
        )
        for one in candidates
    ]


@dataclass(frozen=True, slots=True)
class Rate:
    """How many candidates of a task and answer there were, how many correct, how many kept."""

    task: str
    answer: str
    candidates: int
    correct: int
    kept: int


def rates(candidates: Sequence[Candidate], kept: Sequence[Candidate]) -> list[Rate]:
    """Return the acceptance by task and answer."""
    drawn = Counter((one.task, one.guessed) for one in candidates)
    right = Counter((one.task, one.guessed) for one in candidates if one.correct)
    taken = Counter((one.task, one.guessed) for one in kept)
    return [Rate(*name, number, right[name], taken[name]) for name, number in sorted(drawn.items())]


def nothing_accepted(candidates: Sequence[Candidate], folder: Path) -> UsageError:
    """Return the error that says that there is nothing to learn from, and where to look."""
    counts = Counter(one.outcome for one in candidates).most_common()
    outcomes = ", ".join(f"{number} {name}" for name, number in counts) or "none was judged"
    shown = [str(one.path) for one in candidates if not one.correct][:10]
    return UsageError(
        f"{folder}: the judge accepted none of {len(candidates)} candidates ({outcomes}), so there is "
        f"nothing to learn from. Pictures to look at: {' '.join(shown) or 'none'}. A model that is wrong "
        "even after thinking cannot teach itself: begin with an easier task, or draw more candidates."
    )
