"""The matrix: patterns -> tasks x modes x models x judges -> cells and trials. Nothing is asked here.

Generations do not depend on the judge, so a run asks a (task, mode, model) once, an ``Ask``, and every
judge of it makes one cell.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from unisandbox.errors import UsageError, unknown
from unisandbox.guesses import Guess
from unisandbox.modes import ABILITIES, MODES, Mode, lacking
from unisandbox.plugins import JudgeEntry, ModelEntry, Plugins
from unisandbox.records import Sample
from unisandbox.specs import Spec, parse_spec
from unisandbox.task import Task


@dataclass(frozen=True, slots=True)
class Model:
    """A model as named in a run."""

    spec: Spec
    entry: ModelEntry
    draws: str
    """``sandbox`` or ``any``; ``draws=`` on the command line overrides what the backend declares."""

    @property
    def label(self) -> str:
        """The column in every table."""
        return self.spec.label

    @property
    def options(self) -> dict[str, str]:
        """What its factory is called with."""
        return {key: value for key, value in self.spec.options.items() if key != "draws"}

    @property
    def does(self) -> frozenset[str]:
        """What it can do, with its options."""
        return frozenset(self.entry.abilities(self.options))


class NoJudge(UsageError):
    """None is named, and none is the default for what a model draws."""


@dataclass(frozen=True, slots=True)
class JudgeChoice:
    """A judge as named in a run."""

    spec: Spec
    entry: JudgeEntry

    @property
    def options(self) -> Mapping[str, str]:
        """What its factory is called with."""
        return self.spec.options

    @property
    def label(self) -> str:
        """The column in every table."""
        return self.spec.label


@dataclass(frozen=True, slots=True)
class Trial:
    """One sample of an ask, one repeat."""

    index: int
    """Its place in the ask: sample number times repeats, plus repeat."""
    sample: Sample
    repeat: int
    key: str
    seed: int


@dataclass(frozen=True)
class Ask:
    """One task x mode x model: what is generated once and judged by each of ``judges``."""

    task: Task
    mode: Mode
    model: Model
    judges: tuple[JudgeChoice, ...]
    samples: tuple[Sample, ...]
    repeats: int
    seed: int
    chances: dict[tuple[str, str], Guess] = field(default_factory=dict, compare=False, repr=False)
    """What is known by (task, mode), shared by the models of a matrix."""

    @property
    def label(self) -> str:
        """What progress displays call it."""
        return f"{self.task.name} {self.mode.name} {self.model.label}"

    @cached_property
    def id(self) -> tuple[str, str, str]:
        """What names it in the log."""
        return self.task.name, self.mode.name, self.model.label

    @property
    def remark(self) -> str:
        """What a reader must know of this column before reading a score."""
        unseen = self.mode.name == "direct" and "end_to_end" in self.model.does
        return "end to end: thinks unseen" if unseen else ""

    @property
    def trials(self) -> int:
        """How many there are."""
        return len(self.samples) * self.repeats

    @cached_property
    def unit_of(self) -> Sequence[int]:
        """The number of each sample's unit."""
        numbers: dict[str, int] = {}
        return array("l", (numbers.setdefault(sample.unit, len(numbers)) for sample in self.samples))

    @property
    def units(self) -> int:
        """How many units there are."""
        return max(self.unit_of) + 1

    @property
    def chance(self) -> Guess:
        """What the best trivial strategy scores on these samples."""
        key = self.task.name, self.mode.name
        if key not in self.chances:
            self.chances[key] = self.task.chance(self.mode.name, self.samples)
        return self.chances[key]

    def trial(self, index: int) -> Trial:
        """Return a trial by its number.

        The key hashes the task's fingerprint, sample, mode, model with its options, seed and repeat. The seed
        leaves mode and model out, so that contrasts between them are paired.
        """
        sample, repeat = self.samples[index // self.repeats], index % self.repeats
        key = hashlib.blake2b(self._prefix, digest_size=16)
        key.update(f"{sample.id}\0{repeat}".encode())
        seed = hashlib.blake2b(
            f"{self.seed}\0{self.task.name}\0{sample.id}\0{repeat}".encode(), digest_size=4
        )
        return Trial(
            index, sample, repeat, key.hexdigest(), int.from_bytes(seed.digest(), "big") & 0x7FFFFFFF
        )

    @cached_property
    def _prefix(self) -> bytes:
        return "\0".join(
            (self.task.fingerprint, self.mode.name, self.model.label, str(self.seed), "")
        ).encode()


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A mode that a model cannot be asked in."""

    task: str
    family: str
    mode: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several equal parts of a matrix: every ``of``-th unit, in all modes and for all models."""

    number: int
    """From 1."""
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/8``; raises UsageError for what is no such part."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--shard {text}: expected I/N, a whole number I from 1 to N, such as 1/8.")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class Matrix:
    """Everything a run will do."""

    asks: tuple[Ask, ...]
    unsupported: tuple[Unsupported, ...]
    added: tuple[str, ...]
    """Modes nobody asked for, needed by others."""
    seed: int
    repeats: int
    limit: int | None
    shard: Shard | None = None
    whole: Matrix | None = None
    """What this is a shard of."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks, each once."""
        return tuple({ask.task.name: ask.task for ask in self.asks}.values())

    @property
    def models(self) -> tuple[Model, ...]:
        """The models, each once."""
        return tuple({ask.model.label: ask.model for ask in self.asks}.values())

    @property
    def judges(self) -> tuple[JudgeChoice, ...]:
        """The judges, each once."""
        return tuple({judge.label: judge for ask in self.asks for judge in ask.judges}.values())

    def cells(self) -> Iterator[tuple[Ask, JudgeChoice]]:
        """Yield every cell."""
        for ask in self.asks:
            for judge in ask.judges:
                yield ask, judge

    def only(self, shard: Shard) -> Matrix:
        """Return one shard; raises UsageError when there are fewer units than shards.

        Units are dealt out in their order, through all tasks, so that shards are equal to one unit, and what
        a mode is made from is in the shard that asks it.
        """
        turn = count(1)
        kept: dict[str, tuple[Sample, ...]] = {}
        for name, samples in {ask.task.name: ask.samples for ask in self.asks}.items():
            number = {unit: next(turn) for unit in dict.fromkeys(sample.unit for sample in samples)}
            kept[name] = tuple(one for one in samples if (number[one.unit] - shard.number) % shard.of == 0)
        chances: dict[tuple[str, str], Guess] = {}
        asks = [replace(ask, samples=kept[ask.task.name], chances=chances) for ask in self.asks]
        if not any(kept.values()):
            raise UsageError(f"--shard {shard}: nothing is left for it: there are {next(turn) - 1} units.")
        return replace(self, asks=tuple(ask for ask in asks if ask.samples), shard=shard, whole=self)

    def describe(self) -> dict[str, Any]:
        """Return what must agree for a run folder to be continued."""
        if self.shard and self.whole:
            return {**self.whole.describe(), "shard": str(self.shard)}
        return {
            "tasks": {
                task.name: {"dataset": _plain(task.options), "fingerprint": task.fingerprint}
                for task in self.tasks
            },
            "modes": sorted({ask.mode.name for ask in self.asks}),
            "models": [model.label for model in self.models],
            "judges": [judge.label for judge in self.judges],
            "rubrics": {name: rubric.fingerprint for name, rubric in sorted(_rubrics(self.asks).items())},
            "seed": self.seed,
            "repeats": self.repeats,
            "limit": self.limit,
        }


def resolve(
    tasks: Sequence[Task],
    plugins: Plugins,
    *,
    models: Sequence[str],
    judges: Sequence[str],
    modes: Sequence[str],
    seed: int,
    repeats: int,
    limit: int | None,
) -> Matrix:
    """Resolve names into a matrix; raises UsageError for what is unknown or does not fit."""
    wanted = _modes(modes)
    added = _with_dependencies(wanted)
    chosen_models = list({(model := named_model(text, plugins)).label: model for text in models}.values())
    chosen_judges = list({(judge := named_judge(text, plugins)).label: judge for text in judges}.values())
    if not chosen_models:
        raise UsageError("No model is named. They are listed by: unisandbox models")
    asks: list[Ask] = []
    unsupported: list[Unsupported] = []
    chances: dict[tuple[str, str], Guess] = {}
    samples = {task.name: _first_units(task.samples, limit) for task in tasks}
    for model in chosen_models:
        for task in tasks:
            for mode in (MODES[name] for name in MODES if name in wanted and name in task.modes):
                if gap := lacking(mode, model.does):
                    reason = f"the model does not: {', '.join(ABILITIES[a] for a in sorted(gap))}"
                    unsupported.append(Unsupported(task.name, task.family, mode.name, model.label, reason))
                    continue
                chosen = _judges_for(mode, model, chosen_judges, plugins)
                asks.append(Ask(task, mode, model, chosen, samples[task.name], repeats, seed, chances))
    if not asks:
        raise UsageError(_nothing_to_do(tasks, wanted, unsupported))
    return Matrix(tuple(asks), tuple(unsupported), tuple(added), seed, repeats, limit)


def _modes(names: Sequence[str]) -> list[str]:
    wanted = [name.strip() for entry in names for name in entry.split(",") if name.strip()]
    if "all" in wanted:
        return list(MODES)
    for name in wanted:
        if name not in MODES:
            raise UsageError(unknown("mode", name, [*MODES, "all"]))
    if not wanted:
        raise UsageError(f"No mode is named. Modes: {', '.join(MODES)}.")
    return wanted


def _with_dependencies(wanted: list[str]) -> list[str]:
    """Add the modes that others are made from; return which were added."""
    added = []
    for name in list(wanted):
        before = MODES[name].after
        if before and before not in wanted:
            wanted.append(before)
            added.append(before)
    return added


def _first_units(samples: Sequence[Sample], limit: int | None) -> tuple[Sample, ...]:
    """Return the samples of the first ``limit`` units."""
    if limit is None:
        return tuple(samples)
    units = dict.fromkeys(sample.unit for sample in samples)
    kept = set(list(units)[:limit])
    return tuple(sample for sample in samples if sample.unit in kept)


def named_model(text: str, plugins: Plugins) -> Model:
    """Return a model by its name and options; raises UsageError for what is unknown."""
    model = model_of(parse_spec(text), plugins)
    if model.draws not in ("sandbox", "any"):
        raise UsageError(f"{text!r}: draws={model.draws}: expected sandbox or any.")
    return model


def model_of(spec: Spec, plugins: Plugins) -> Model:
    """Return the model of a spec, which unlike its label keeps secrets."""
    entry = plugins.models[spec.name]
    return Model(spec, entry, spec.options.get("draws", entry.draws))


def named_judge(text: str, plugins: Plugins) -> JudgeChoice:
    """Return a judge by its name and options; raises UsageError for what is unknown."""
    spec = parse_spec(text)
    return JudgeChoice(spec, plugins.judges[spec.name])


def _judges_for(
    mode: Mode, model: Model, chosen: Sequence[JudgeChoice], plugins: Plugins
) -> tuple[JudgeChoice, ...]:
    """Return who judges a mode of a model: the chosen judges that fit, or the default."""
    wanted = "text" if mode.output == "text" else model.draws
    fitting = tuple(judge for judge in chosen if _fits(judge.entry, wanted))
    if mode.output == "text" and not fitting:
        return (_default(wanted, model, plugins),)
    if unfit := [judge for judge in chosen if judge not in fitting]:
        only_text = all(set(judge.entry.reads) == {"text"} for judge in unfit)
        if mode.output == "text" or (only_text and fitting):
            return fitting
        raise UsageError(_misfit(unfit[0], model, plugins))
    return fitting or (_default(wanted, model, plugins),)


def _fits(judge: JudgeEntry, wanted: str) -> bool:
    return wanted in judge.reads or (wanted == "sandbox" and "any" in judge.reads)


def _default(wanted: str, model: Model, plugins: Plugins) -> JudgeChoice:
    defaults = [entry for entry in plugins.judges.values() if wanted in entry.default_for]
    if len(defaults) == 1:
        return JudgeChoice(Spec(defaults[0].name), defaults[0])
    if defaults:
        claims = " and ".join(f"{entry.name!r} (plugin {entry.plugin!r})" for entry in defaults)
        raise UsageError(f"{claims} are both the default for {wanted} answers. Name one: --judges")
    fitting = [entry.name for entry in plugins.judges.values() if _fits(entry, wanted)]
    fix = f"Name one: --judges {' or '.join(fitting)}." if fitting else "Install one that reads them."
    raise NoJudge(
        f"No judge is the default for the pictures of {model.label!r} (not the sandbox's own). {fix} "
        f"If they are sandbox pictures, say so: --models {model.spec.name}:...,draws=sandbox"
    )


def _misfit(judge: JudgeChoice, model: Model, plugins: Plugins) -> str:
    fitting = [entry.name for entry in plugins.judges.values() if _fits(entry, model.draws)]
    fix = f"Use --judges {' or '.join(fitting)}." if fitting else "No installed judge reads them."
    return (
        f"The judge {judge.label!r} reads {' and '.join(judge.entry.reads)} only, but {model.label!r} draws "
        f"{'pictures of any kind' if model.draws == 'any' else 'sandbox pictures'}: every picture would be "
        f"rejected. {fix}"
    )


def _nothing_to_do(tasks: Iterable[Task], wanted: Sequence[str], unsupported: Sequence[Unsupported]) -> str:
    if unsupported:
        return f"Nothing to ask: {unsupported[0].model!r}: {unsupported[0].reason}."
    offered = sorted({mode for task in tasks for mode in task.modes})
    return f"None of the tasks offers the modes {', '.join(wanted)}. They offer: {', '.join(offered)}."


def _rubrics(asks: Iterable[Ask]) -> dict[str, Any]:
    """Return the rubrics in use, as far as task files name them."""
    found = {}
    for task, mode in {(ask.task.name, ask.mode.name): (ask.task, ask.mode.name) for ask in asks}.values():
        for sample in task.samples:
            rubric = task.rubric(mode, sample)
            found[rubric.name] = rubric
            if "{{" not in task.scoring[mode].rubric.source:
                break
    return found


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as JSON; of paths the name, since rows count by content, wherever they lie."""
    named = {key: value.name if isinstance(value, Path) else value for key, value in options.items()}
    return {
        key: value if isinstance(value, (int, float, bool)) else str(value) for key, value in named.items()
    }
