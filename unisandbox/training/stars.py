"""STARS: a model thinks, a judge keeps what is right, and the model learns to draw it without thinking.

Self-training with rejection sampling (arXiv 2511.20561, section 5), with curriculum learning over tasks
of rising difficulty. Everything lies in one folder and goes on where it stopped::

    stars.json                    the options
    before/                       run: the model as it was
    candidates/START-TASK/        run: what a student drew for training prompts
    ARM/STAGE/accepted/           what was learned from
    ARM/STAGE/student/            the trained model
    ARM/STAGE/after/              run: what it can do
    results.json                  the table
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unisandbox.api import execute, make_options, plan
from unisandbox.backend import Trainable, TrainSpec
from unisandbox.building import load_backend
from unisandbox.contrast import Contrast, as_family, contrasted
from unisandbox.datasets.splits import split_of
from unisandbox.errors import BackendError, DataError, RunFolderError, UsageError, unknown
from unisandbox.files import whole
from unisandbox.matrix import Matrix, Model, named_model
from unisandbox.options import RunOptions
from unisandbox.plugins import installed
from unisandbox.records import Example
from unisandbox.results import Results
from unisandbox.run_log import difference
from unisandbox.task import Task
from unisandbox.training import candidates as pool
from unisandbox.training.candidates import Candidate, Rate, Rule
from unisandbox.training.examples import read, write

PLAN, TABLE = "stars.json", "results.json"
STEPS = 500
"""Of the optimiser, for each task, unless said otherwise."""
MODES = ("direct", "cot", "render")
"""What a student is asked before and after."""
ASKED_AGAIN = 500
"""Training prompts of each task that a student is asked without a thought, at most."""
CONTROLS: tuple[Rule, ...] = ("shuffled", "all")


@dataclass(frozen=True, kw_only=True, slots=True)
class StarsOptions:
    """What to teach, and how."""

    tasks: tuple[str, ...] = ("math_1",)
    """In the order of a curriculum."""
    model: str = "tiny"
    judges: tuple[str, ...] = ()
    """The first accepts; none is what fits the model."""
    prompts: int = 1000
    """Training prompts of each task."""
    candidates: int = 2
    """Pictures drawn for each."""
    per_prompt: int = 1
    """The most that are accepted of each."""
    soft: bool = False
    """Prefer what the judge is surest of."""
    rounds: int = 1
    """Times that a student draws new candidates and learns."""
    curriculum: bool = False
    """Tasks one after another, each from the last student, earlier accepted sets kept; else all at once."""
    compare: bool = False
    """Do it both ways with the same budget."""
    controls: tuple[Rule, ...] = ()
    """Students that learn from what should teach nothing."""
    hold_out: tuple[str, ...] = ()
    """Fields of which half the values are never learned from."""
    also: tuple[str, ...] = ()
    """More tasks to evaluate on, which are not trained."""
    train_data: tuple[str, ...] = ("split=train",)
    """Dataset options that lead to training prompts."""
    limit: int | None = None
    """Units of each task that are evaluated; else all of the test split, and some of the training prompts."""
    spec: TrainSpec = field(default_factory=TrainSpec)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to go: what is trained on at which stage, and what is accepted."""

    name: str
    stages: tuple[tuple[str, ...], ...]
    rule: Rule
    steps: int
    """Optimiser steps of each stage."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table: what a student can do in one mode, before and after."""

    arm: str
    stage: int
    on: str
    """``test``; ``trained`` prompts; or test samples with held-out values, ``new FIELD``."""
    contrast: Contrast
    chance: float


@dataclass(frozen=True)
class Stars:
    """What came of it."""

    folder: Path
    rates: Mapping[str, Sequence[Rate]]
    """Of each arm and stage ("union/1")."""
    lines: tuple[Line, ...]
    finished: bool = True
    """Whether that is all; else it is what stages have been finished so far."""


Told = Callable[[str], None]


def arms(options: StarsOptions, tasks: Sequence[str]) -> list[Arm]:
    """Return the ways to go: the same number of steps in all."""
    if len(tasks) < 2 and (options.curriculum or options.compare):
        raise UsageError(f"A curriculum takes at least two tasks; found {', '.join(tasks)}.")
    one_by_one = tuple((task,) for task in tasks for _ in range(options.rounds))
    at_once = (tuple(tasks),) * options.rounds
    steps = options.spec.steps or STEPS
    curriculum = Arm("curriculum", one_by_one, "correct", steps)
    union = Arm("union", at_once, "correct", steps * len(tasks))
    main = curriculum if options.curriculum else union
    found = [curriculum, union] if options.compare else [main]
    return found + [replace(main, name=f"{main.name}-{rule}", rule=rule) for rule in options.controls]


class Pipeline:
    """Runs STARS in a folder."""

    def __init__(
        self,
        options: StarsOptions,
        out: Path,
        *,
        run: Callable[[RunOptions], Results] = execute,
        told: Told = print,
        quiet: bool = False,
    ) -> None:
        """Check everything that can be known at once; raises UnisandboxError."""
        self.options = options
        self.out = out
        self._run = run
        self._told = told
        self._quiet = quiet
        trainable(options.model)
        test = plan(test_run(options, options.model, options.tasks))
        train = plan(candidate_run(options, options.model, options.tasks))
        also = plan(test_run(options, options.model, options.also)).asks if options.also else ()
        self._tasks = [task.name for task in test.tasks]
        for before, after in zip(test.tasks, train.tasks, strict=True):
            refuse_overlap(before, after)
            for name in options.hold_out:
                if name not in after.samples[0].fields:
                    raise UsageError(f"hold_out: {unknown('field', name, after.samples[0].fields)}")
        self.arms = arms(options, self._tasks)
        self._chance = {(ask.task.name, ask.mode.name): ask.chance.score for ask in (*test.asks, *also)}
        self._new = {place for place, held_out in self._places(test) if held_out}
        self._learned = {place for place, held_out in self._places(train) if not held_out}

    # --- the whole of it ---

    def run(self) -> Stars:
        """Do what is left to do; raises UnisandboxError. Whatever was done before that is kept."""
        self._begin()
        found = Stars(self.out, {}, (), finished=False)
        if not self._evaluated(self.options.model, self.out / "before"):
            return found
        for arm in self.arms:
            student, learned = self.options.model, list[Candidate]()
            for number, tasks in enumerate(arm.stages, 1):
                folder = self.out / arm.name / str(number)
                start = "start" if number == 1 else f"{arm.name}-{number - 1}"
                drawn = self._drawn(student, start, tasks)
                if drawn is None:
                    return found
                kept = self._accepted(drawn, arm.rule, self.out / "candidates")
                rates = {**found.rates, f"{arm.name}/{number}": pool.rates(drawn, kept)}
                learned = [*learned, *kept]
                write(folder / "accepted", pool.examples(learned))
                student = self._trained(student, folder, arm.steps, number)
                if not self._evaluated(student, folder / "after"):
                    return found
                lines = [*found.lines, *self._lines(arm.name, number, folder / "after")]
                found = replace(found, rates=rates, lines=tuple(_one_family(lines)))
                save(found)
        found = replace(found, finished=True)
        save(found)
        return found

    def _begin(self) -> None:
        """Write down the options, or check that the folder holds this very plan."""
        now = json.loads(json.dumps(asdict(self.options)))
        path = self.out / PLAN
        if path.exists():
            if found := difference(json.loads(path.read_text()), now):
                raise RunFolderError(f"{self.out} holds another plan: {found}. Choose another --out.")
            return
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with whole(path) as beside:
                beside.write_text(json.dumps(now, indent=1) + "\n")
        except OSError as error:
            raise RunFolderError(f"{self.out}: cannot be written: {error.strerror}.") from None

    # --- its steps ---

    def _drawn(self, student: str, start: str, tasks: Sequence[str]) -> list[Candidate] | None:
        """Return what a student draws for the training prompts of each task; None when stopped."""
        drawn: list[Candidate] = []
        for task in tasks:
            folder = self.out / "candidates" / f"{start}-{task}"
            self._told(f"drawing candidates: {task}, {student}")
            if not self._run(candidate_run(self.options, student, (task,), folder)).finished:
                return None
            drawn += pool.read_candidates(folder)
        return [one for one in drawn if not self._is_held_out(one.fields)]

    def _accepted(self, drawn: Sequence[Candidate], rule: Rule, folder: Path) -> list[Candidate]:
        options = self.options
        kept = pool.accept(
            drawn, rule=rule, per_prompt=options.per_prompt, soft=options.soft, seed=options.seed
        )
        if not kept:
            raise pool.nothing_accepted(drawn, folder)
        right = sum(one.correct for one in drawn)
        self._told(f"accepted: {right} of {len(drawn)} candidates are correct, {len(kept)} are kept")
        if right == len(drawn):
            self._told("warning: the judge accepted every candidate: does it tell right from wrong?")
        return kept

    def _trained(self, student: str, folder: Path, steps: int, number: int) -> str:
        examples = read(folder / "accepted")
        self._told(f"training on {len(examples)} pictures: {folder / 'student'}")
        spec = replace(self.options.spec, steps=steps, seed=self.options.seed + number)
        return train(student, examples, spec, folder / "student", quiet=self._quiet)

    def _evaluated(self, model: str, folder: Path) -> bool:
        """Ask a student; whether it was asked to the end."""
        self._told(f"evaluating: {model}")
        tasks = (*self._tasks, *self.options.also)
        test = test_run(self.options, model, tasks, folder)
        trained = trained_run(self.options, model, self._tasks, _seen(folder))
        return self._run(test).finished and self._run(trained).finished

    def _is_held_out(self, fields: Mapping[str, Any]) -> bool:
        return any(split_of(str(fields[name])) == "test" for name in self.options.hold_out)

    def _places(self, matrix: Matrix) -> Iterator[tuple[tuple[str, str], bool]]:
        """Yield task and id of every sample, and whether it is held out."""
        for ask in matrix.asks:
            for sample in ask.samples:
                yield (ask.task.name, sample.id), self._is_held_out(sample.fields)

    # --- the table ---

    def _lines(self, arm: str, stage: int, after: Path) -> Iterator[Line]:
        """Yield what changed, on test samples, on those with held-out values, and on trained prompts."""
        before = self.out / "before"
        tables = {"test": contrasted(before, after, {})}
        if self._new:
            new = f"test, new {'/'.join(self.options.hold_out)}"
            tables[new] = contrasted(before, after, {}, lambda *sample: sample in self._new)
        tables["trained"] = contrasted(
            _seen(before), _seen(after), {}, lambda *sample: sample in self._learned
        )
        for on, contrasts in tables.items():
            for one in contrasts:
                yield Line(arm, stage, on, one, self._chance[one.task, one.mode])


def _seen(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-trained")


def _one_family(lines: Sequence[Line]) -> list[Line]:
    corrected = as_family(line.contrast for line in lines)
    return [replace(line, contrast=one) for line, one in zip(lines, corrected, strict=True)]


def save(found: Stars) -> None:
    """Write the table as JSON."""
    value = {
        "rates": {name: [asdict(rate) for rate in rates] for name, rates in found.rates.items()},
        "lines": [asdict(line) for line in found.lines],
        "finished": found.finished,
    }
    with whole(found.folder / TABLE) as beside:
        beside.write_text(json.dumps(value, indent=1) + "\n")


def load(folder: Path) -> Stars:
    """Read the table of the stages that are finished; raises RunFolderError."""
    try:
        value = json.loads((folder / TABLE).read_text())
        rates = {name: [Rate(**rate) for rate in rates] for name, rates in value["rates"].items()}
        lines = [Line(**{**line, "contrast": _contrast(line["contrast"])}) for line in value["lines"]]
        return Stars(folder, rates, tuple(lines), value["finished"])
    except FileNotFoundError:
        why = f"there is no {TABLE}"
    except (KeyError, TypeError, ValueError):
        why = f"{TABLE} is of something else"
    raise RunFolderError(f"{folder} holds no finished stage of STARS: {why}.")


def _contrast(value: Mapping[str, Any]) -> Contrast:
    return Contrast(**{**value, "gained": tuple(value["gained"]), "lost": tuple(value["lost"])})


# --- what single steps share ---


def test_run(options: StarsOptions, model: str, tasks: Sequence[str], out: Path | None = None) -> RunOptions:
    """Return the run that evaluates a model."""
    return _run(options, model, tasks, modes=MODES, limit=options.limit, seed=options.seed, out=out)


def candidate_run(
    options: StarsOptions, model: str, tasks: Sequence[str], out: Path | None = None
) -> RunOptions:
    """Return the run that draws candidates for training prompts."""
    repeats, data = options.candidates, _training_data(options)
    seed = options.seed + 1  # not the draws of the evaluation
    return _run(options, model, tasks, modes=(pool.MODE,), data=data, repeats=repeats, seed=seed, out=out)


def trained_run(
    options: StarsOptions, model: str, tasks: Sequence[str], out: Path | None = None
) -> RunOptions:
    """Return the run that asks for training prompts without a thought."""
    data, limit = _training_data(options), options.limit or min(options.prompts, ASKED_AGAIN)
    return _run(options, model, tasks, modes=("direct",), data=data, limit=limit, seed=options.seed, out=out)


def _training_data(options: StarsOptions) -> tuple[str, ...]:
    return (*options.train_data, f"samples={options.prompts}")


def _run(options: StarsOptions, model: str, tasks: Sequence[str], **given: Any) -> RunOptions:
    return make_options({"tasks": tuple(tasks), "models": (model,), "judges": options.judges, **given})


def trainable(text: str) -> Model:
    """Return a model that can think, draw and be trained; raises UsageError."""
    model = named_model(text, installed())
    for ability, what in (("image", "draw"), ("train", "be trained")):
        if ability not in model.entry.does:
            able = [name for name, entry in installed().models.items() if "train" in entry.does]
            raise UsageError(
                f"The model {text!r} cannot {what}. Models that can be trained: {', '.join(able)}."
            )
    return model


def train(text: str, examples: Sequence[Example], spec: TrainSpec, out: Path, *, quiet: bool = False) -> str:
    """Train a model on examples; return the student, as ``--models`` names it."""
    model = trainable(text)
    backend = load_backend(model)
    if not isinstance(backend, Trainable):
        raise BackendError(f"The backend of {text!r} is registered as one that trains, but has no train().")
    try:
        options = {**model.spec.options, **backend.train(examples, spec, out, quiet=quiet)}
    finally:
        if callable(close := getattr(backend, "close", None)):
            close()
    return replace(model.spec, options=options).label


def refuse_overlap(test: Task, train: Task) -> None:
    """Raise DataError where training prompts are of the split that is tested, or one of them is tested."""
    splits = [
        {str(sample.fields["split"]) for sample in task.samples if "split" in sample.fields}
        for task in (test, train)
    ]
    if both := splits[0] & splits[1]:
        raise DataError(
            f"Task {test.name!r}: the training prompts are of the split {min(both)!r}, which is tested. "
            "Nothing is trained on what is tested: give other --train-data."
        )
    asked = _questions(test)
    for question, sample in _questions(train).items():
        if question in asked:
            raise DataError(
                f"Task {test.name!r}: the training prompt {sample} is the test sample {asked[question]} "
                f"({question[:60]!r}). Nothing is trained on what is tested: give other --train-data."
            )


def _questions(task: Task) -> dict[str, str]:
    prompt = task.prompts["direct"]
    return {" ".join(prompt.render(sample.fields).split()).casefold(): sample.id for sample in task.samples}
