"""Tasks: one YAML entry each, read, checked, and turned into samples, prompts and targets.

A task file is data: no functions, no inheritance across files, no model names. What needs code is a
dataset source or a rubric's judge, called by name.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from unisandbox.errors import DataError, TaskFileError, UnisandboxError, UsageError, unknown
from unisandbox.guesses import Guess, GuessSpec, best_guess, guesses
from unisandbox.modes import MODES
from unisandbox.plugins import Plugins
from unisandbox.prompts import Template, conclusion, render_all
from unisandbox.records import Fields, Sample
from unisandbox.rubric import Rubric
from unisandbox.specs import checked_options
from unisandbox.yaml_file import YamlFile, shown

RENDERED = 10_000
"""Rows of which every prompt and target is rendered before a run."""
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SAFE = "use letters, digits, '.', '_' and '-', no '..', at most 128 of them"


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PromptsFile(_Schema):
    """One Jinja template a mode; a sample's fields are the variables."""

    direct: str | None = None
    cot: str | None = None
    think: str | None = None
    """How the first of two calls asks for a thought, where a model cannot think natively."""
    answer: str | None = None
    recall: str | None = None
    render: str | None = None
    refined: str | None = None
    """Also sees ``conclusion``: what the model's own thought came to."""
    gold: str | None = None
    """The correct thought that is put in."""
    planted: str | None = None
    """The wrong thought that is put in."""
    caption: str | None = None


class ScoringFile(_Schema):
    """How generations of one mode are judged."""

    rubric: str
    target: dict[str, Any] | str
    """Slots of the rubric as templates, or one ``{{ field }}`` that holds them."""
    names: str | None = None
    """The field that lists the names a ``name`` slot may take."""
    guesses: GuessSpec = GuessSpec()


class TaskScoring(ScoringFile):
    """The task's scoring, and what is different in single modes."""

    unit: str | None = None
    """The field that names a sample's cluster; every sample of a cluster must be correct."""
    modes: dict[str, ScoringFile] = {}


class TaskFile(_Schema):
    """The schema of a task file."""

    family: str | None = None
    description: str
    paper: str | None = None
    tags: list[str] = []
    dataset: dict[str, Any] = Field(min_length=1)
    variants: dict[str, dict[str, Any] | None] = {}
    """Task name -> overrides of ``dataset``; without variants the file's name is the task's."""
    prompts: PromptsFile
    scoring: TaskScoring


@dataclass(frozen=True, slots=True)
class Scoring:
    """One mode's rubric and target, compiled."""

    rubric: Template
    target: Mapping[str, Template] | Template
    names: str | None
    guesses: GuessSpec
    where: str


@dataclass(frozen=True)
class Task:
    """One benchmark: where its rows come from, how each mode asks, how answers are judged."""

    name: str
    family: str
    description: str
    tags: tuple[str, ...]
    paper: str | None
    path: Path
    source: str
    options: Mapping[str, Any]
    prompts: Mapping[str, Template]
    """Mode (or ``think``) -> template."""
    scoring: Mapping[str, Scoring]
    """Mode -> scoring."""
    unit: str | None
    rubrics: Mapping[str, Rubric] = field(repr=False)
    factory: Callable[..., Iterable[Fields]] = field(repr=False)

    @property
    def source_options(self) -> tuple[str, ...]:
        """The options the dataset source takes."""
        return tuple(inspect.signature(self.factory).parameters)

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes this task offers, in their order."""
        return tuple(mode for mode in MODES if mode in self.prompts)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The rows, checked. Raises DataError when there are none or an id is unfit or stands twice."""
        try:
            checked_options(f"dataset {self.source!r}", self.factory, self.options)
            rows = list(self.factory(**self.options))
        except UsageError as error:
            raise DataError(
                f"Task {self.name!r}: {error} Its options stand in the task's file, or in --data KEY=VALUE."
            ) from None
        except UnisandboxError:
            raise
        except Exception as error:  # sources come from anyone
            raise DataError(
                f"Task {self.name!r}: the dataset {self.source!r} failed: {type(error).__name__}: {error}"
            ) from error
        samples = tuple(self._sample(number, row) for number, row in enumerate(rows, 1))
        if not samples:
            raise DataError(f"Task {self.name!r} has no samples: the dataset {self.source!r} returned none.")
        if len({sample.id for sample in samples}) < len(samples):
            seen: set[str] = set()
            twice = next(s.id for s in samples if s.id in seen or seen.add(s.id))  # type: ignore[func-returns-value]
            raise DataError(f"Task {self.name!r}: two rows have the id {twice!r}.")
        return samples

    def _sample(self, number: int, row: Fields) -> Sample:
        if not isinstance(row, Mapping):
            raise DataError(
                f"Task {self.name!r}: row {number} is {str(row)[:60]!r}; expected a mapping of columns."
            )
        id_ = str(row.get("id", number))
        if not SAFE_ID.fullmatch(id_) or ".." in id_:
            raise DataError(
                f"Task {self.name!r}: row {number} has the id {id_!r}. Ids become file names: {SAFE}."
            )
        if self.unit is None:
            return Sample(id_, row, id_)
        if self.unit not in row:
            raise TaskFileError(
                f"{shown(self.path)}: scoring.unit of task {self.name!r}: " + unknown("field", self.unit, row)
            )
        return Sample(id_, row, str(row[self.unit]))

    def rubric(self, mode: str, sample: Sample) -> Rubric:
        """Return what judges a sample in a mode."""
        scoring = self.scoring[mode]
        name = scoring.rubric.render(sample.fields)
        if name not in self.rubrics:
            raise TaskFileError(f"{scoring.where}.rubric: {unknown('rubric', name, self.rubrics)}")
        return self.rubrics[name]

    def target(self, mode: str, sample: Sample) -> dict[str, Any]:
        """Return the right answer in a mode, in canonical form."""
        scoring = self.scoring[mode]
        return self.rubric(mode, sample).target(
            self._raw_target(scoring, sample), f"{scoring.where}.target (sample {sample.id})"
        )

    def _raw_target(self, scoring: Scoring, sample: Sample) -> Fields:
        if not isinstance(scoring.target, Template):
            return render_all(scoring.target, sample.fields)
        value = scoring.target.value(sample.fields)
        if not isinstance(value, Mapping):
            raise TaskFileError(
                f"{scoring.where}.target: expected a field that holds the rubric's slots, "
                f"found {value!r} in sample {sample.id}."
            )
        return value

    def names(self, mode: str, sample: Sample) -> tuple[str, ...]:
        """Return the names that a ``name`` slot may take."""
        name = self.scoring[mode].names
        if name is None:
            return ()
        if name not in sample.fields:
            raise TaskFileError(f"{self.scoring[mode].where}.names: {unknown('field', name, sample.fields)}")
        return tuple(sample.fields[name])

    def guesses(self, mode: str, samples: Sequence[Sample] | None = None) -> tuple[Guess, ...]:
        """Return what each trivial strategy scores, computed from the samples."""
        rows = self.samples if samples is None else samples
        scoring = self.scoring[mode]

        def target(sample: Sample) -> dict[str, Any]:
            return self.target(mode, sample)

        def matches(sample: Sample, slots: Fields) -> bool:
            return not self.rubric(mode, sample).compare(slots, target(sample))

        return guesses(scoring.guesses, rows, target, matches, scoring.where)

    def chance(self, mode: str, samples: Sequence[Sample] | None = None) -> Guess:
        """Return the best of the trivial strategies."""
        return best_guess(self.guesses(mode, samples))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the rows, templates and scoring: what must agree for two runs to be comparable."""
        digest = hashlib.blake2b(digest_size=16)
        for sample in self.samples:
            try:
                digest.update(orjson.dumps(sample.fields, option=orjson.OPT_SORT_KEYS))
            except TypeError as error:
                raise DataError(
                    f"Task {self.name!r}: sample {sample.id} holds what JSON has no word for: {error}."
                ) from None
        recipe = {
            "prompts": {mode: template.source for mode, template in self.prompts.items()},
            "scoring": {mode: _recipe(scoring) for mode, scoring in self.scoring.items()},
            "unit": self.unit,
        }
        digest.update(orjson.dumps(recipe, option=orjson.OPT_SORT_KEYS))
        return digest.hexdigest()

    def validate(self, samples: int = 3) -> None:
        """Render every template on every row, judge the targets of the first samples; raises UnisandboxError.

        The target must score correct, and an empty answer must not: a misspelt column would pass any
        check of syntax and make every answer wrong, or right. A row that lacks a field would end a run in its
        middle; rows beyond the first ``RENDERED`` are not looked at.
        """
        for mode, scoring in self.scoring.items():
            _refuse_bare_words(scoring, self.samples[0].fields, constant=mode == "planted")
        for sample in self.samples[:RENDERED]:
            self._validate_row(sample)
        for sample in self.samples[:samples]:
            for mode in self.modes:
                self._validate_scoring(mode, sample)
        for mode in ("gold", "planted"):
            for sample in self.samples[:samples] if mode in self.prompts else ():
                if not conclusion(self.prompts[mode].render(sample.fields)):
                    raise TaskFileError(f"{self.prompts[mode].where}: the thought says nothing to draw.")
        self.chance(self.modes[0], self.samples[: max(samples, 50)])

    def _validate_row(self, sample: Sample) -> None:
        fields = {**sample.fields, "conclusion": "Draw it."}
        try:
            for name, template in self.prompts.items():
                if not template.render(fields if name == "refined" else sample.fields).strip():
                    raise TaskFileError(f"{template.where}: sample {sample.id} gives an empty prompt.")
            for mode in self.modes:
                self.target(mode, sample)
        except TaskFileError as error:
            if sample is self.samples[0] or f"sample {sample.id}" in str(error):
                raise
            raise TaskFileError(f"sample {sample.id}: {error}") from None

    def _validate_scoring(self, mode: str, sample: Sample) -> None:
        rubric, target, names = self.rubric(mode, sample), self.target(mode, sample), self.names(mode, sample)
        where = f"{self.scoring[mode].where} (mode {mode}, sample {sample.id})"
        if fault := rubric.compare(target, target):
            raise TaskFileError(f"{where}: the right answer itself does not score correct: {fault}.")
        if fault := rubric.compare(rubric.read(rubric.say(target), names), target):
            raise TaskFileError(f"{where}: the right answer in words does not score correct: {fault}.")
        if not rubric.compare(rubric.read("", names), target):
            raise TaskFileError(f"{where}: an empty answer scores correct; the target is empty: {target}.")


def _refuse_bare_words(scoring: Scoring, fields: Fields, *, constant: bool) -> None:
    """Raise TaskFileError for a target that is a field's name where its value is meant.

    ``answer: anwser`` would hold every answer against the word "anwser". ``constant``: one target for all
    samples can be meant, as with one planted thought.
    """
    templates = scoring.target.values() if isinstance(scoring.target, Mapping) else [scoring.target]
    bare = [template for template in templates if template.literal is not None]
    for template in bare:
        near = get_close_matches(template.source, fields, n=1, cutoff=0.75)
        if near or (len(bare) == len(templates) and not constant):
            meant = f"did you mean '{{{{ {near[0]} }}}}'?" if near else f"Fields: {', '.join(fields)}."
            raise TaskFileError(
                f"{template.where}: the right answer would be {template.source!r} for every sample; {meant} "
                f"If that word itself is meant, write \"{{{{ '{template.source}' }}}}\"."
            )


def _recipe(scoring: Scoring) -> dict[str, Any]:
    target = scoring.target
    return {
        "rubric": scoring.rubric.source,
        "target": target.source
        if isinstance(target, Template)
        else {slot: template.source for slot, template in target.items()},
        "names": scoring.names,
    }


def read_tasks(path: Path, plugins: Plugins, rubrics: Mapping[str, Rubric]) -> list[Task]:
    """Read every task of one file; raises TaskFileError. Generates no rows yet."""
    file = YamlFile(path)
    spec = file.check(TaskFile)
    prompts = _compile_prompts(file, spec)
    scoring = _compile_scoring(file, spec, prompts, rubrics)
    variants = spec.variants or {path.stem: None}
    for name in variants:
        if not SAFE_ID.fullmatch(name) or ".." in name:
            raise TaskFileError(f"{file.where('variants', name)}: a task cannot be named {name!r}: {SAFE}.")
    return [
        Task(
            name=name,
            family=spec.family or path.stem,
            description=spec.description,
            tags=tuple(spec.tags),
            paper=spec.paper,
            path=path,
            **_dataset(file, {**spec.dataset, **(overrides or {})}, name, spec, plugins),
            prompts=prompts,
            scoring=scoring,
            unit=spec.scoring.unit,
            rubrics=rubrics,
        )
        for name, overrides in variants.items()
    ]


def _compile_prompts(file: YamlFile, spec: TaskFile) -> dict[str, Template]:
    given = {name: text for name, text in spec.prompts if text is not None}
    for name in given:
        before = MODES[name].after if name in MODES else "cot"
        if before and before not in given:
            raise TaskFileError(f"{file.where('prompts', name)}: needs a template for {before!r} too.")
    for name in ("gold", "planted"):
        if name in given and "direct" not in given:
            raise TaskFileError(f"{file.where('prompts', name)}: needs a template for 'direct' too.")
    if not set(given) & set(MODES):
        raise TaskFileError(f"{file.where('prompts')}: no mode has a template. Modes: {', '.join(MODES)}.")
    return {name: Template(text, file.where("prompts", name)) for name, text in given.items()}


def _compile_scoring(
    file: YamlFile, spec: TaskFile, prompts: Mapping[str, Template], rubrics: Mapping[str, Rubric]
) -> dict[str, Scoring]:
    for mode in spec.scoring.modes:
        if mode not in prompts:
            raise TaskFileError(
                f"{file.where('scoring', 'modes', mode)}: {unknown('mode of this task', mode, prompts)}"
            )
    compiled = {}
    for mode in (mode for mode in MODES if mode in prompts):
        own = spec.scoring.modes.get(mode)
        keys = ("scoring", "modes", mode) if own else ("scoring",)
        compiled[mode] = _scoring(file, own or spec.scoring, keys, rubrics)
    return compiled


def _scoring(
    file: YamlFile, spec: ScoringFile, keys: tuple[str, ...], rubrics: Mapping[str, Rubric]
) -> Scoring:
    if "{{" not in spec.rubric and spec.rubric not in rubrics:
        raise TaskFileError(f"{file.where(*keys, 'rubric')}: {unknown('rubric', spec.rubric, rubrics)}")
    where = file.where(*keys, "target")
    target: Mapping[str, Template] | Template
    if isinstance(spec.target, str):
        target = Template(spec.target, where)
    else:
        target = {
            slot: Template(str(value), file.where(*keys, "target", slot))
            for slot, value in spec.target.items()
        }
    rubric = Template(spec.rubric, file.where(*keys, "rubric"))
    return Scoring(rubric, target, spec.names, spec.guesses, file.where(*keys))


def _dataset(
    file: YamlFile, dataset: Mapping[str, Any], name: str, spec: TaskFile, plugins: Plugins
) -> dict[str, Any]:
    """Resolve the dataset source and check its options against the source's signature."""
    options = dict(dataset)
    if (source := options.pop("source", None)) is None:
        raise TaskFileError(f"{file.where('dataset')}: the key 'source' is missing.")
    try:
        factory = plugins.datasets[str(source)].load()
        options = checked_options(f"dataset {source!r}", factory, options, complete=False)
    except UsageError as error:
        raise TaskFileError(f"{file.where('dataset')}: task {name!r}: {error}") from None
    base = file.path.parent
    options = {
        key: base / value.expanduser() if isinstance(value, Path) else value for key, value in options.items()
    }
    return {"source": str(source), "options": options, "factory": factory}


def with_options(task: Task, changes: Mapping[str, str]) -> Task:
    """Return the task with dataset options changed from the command line; paths count from here."""
    what = f"--data for task {task.name!r}"
    typed = checked_options(what, task.factory, {**task.options, **changes}, complete=False)
    typed = {k: Path.cwd() / v.expanduser() if isinstance(v, Path) else v for k, v in typed.items()}
    return replace(task, options=typed)
