"""Looking inside: is the right answer readable from what a model holds just before it speaks, or draws?

For every layer a linear probe (ridge regression, Alain & Bengio 2016) is taught on samples of the train split
to read one slot of the target off the hidden state, and is tested on samples of the test split. Beside its
accuracy stand what guessing scores and what the same probe learns from shuffled labels, so that neither what
a probe can learn by heart nor an uneven target is taken for knowledge of the model.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from unisandbox.asking import Asked, make_request
from unisandbox.backend import Backend, Transparent
from unisandbox.datasets.splits import split_of
from unisandbox.errors import BackendError, UsageError, unknown
from unisandbox.guesses import listed
from unisandbox.matrix import Ask, Model
from unisandbox.modes import ABILITIES, MODES, lacking
from unisandbox.plugins import ModelEntry
from unisandbox.records import Request, Sample
from unisandbox.rubric import say
from unisandbox.stats import SEED, Estimate, share, wilson
from unisandbox.task import Task, with_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Labels = NDArray[np.str_]

MODE = "direct"
"""Whose target is read, in whatever mode the model is asked: what the picture must show."""

BATCH = 64
"""Requests at once, for backends that do not say what they like."""

LEAST = 4
"""Samples of a class that a probe must have seen to read it."""

FEWEST = 20
"""Test samples without which nothing is read."""

SHUFFLES = 5
"""Probes taught on shuffled labels, of which the mean is shown."""

PENALTIES = tuple(10.0**power for power in range(-1, 7))
"""Ridge penalties to choose from, on the train samples alone (leaving one out, in closed form)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hidden state is taken from."""

    mode: str
    after: int = 0
    """Tokens of the picture that the model has drawn by then."""

    @property
    def short(self) -> str:
        """As in tables: ``direct``, ``direct +16``."""
        return f"{self.mode} +{self.after}" if self.after else self.mode

    @property
    def label(self) -> str:
        """In words, as in plots.

        >>> Place("answer").label, Place("direct", 16).label
        ('answer: before the words', 'direct: after 16 tokens')
        """
        if self.after:
            return f"{self.mode}: after {self.after} tokens"
        return f"{self.mode}: before the {'words' if MODES[self.mode].output == 'text' else 'picture'}"


@dataclass(frozen=True, slots=True)
class Reading:
    """How well one slot is read at one place, in one layer."""

    task: str
    model: str
    slot: str
    place: Place
    layer: int
    """0 is the embedding."""
    accuracy: Estimate
    """Share of test samples read right, with its 95 % interval (over units)."""
    guess: float
    """What the best guess without looking scores on the same samples."""
    shuffled: float
    """What probes taught on shuffled labels score, on average."""
    classes: int
    trained_on: int

    def to_row(self) -> dict[str, Any]:
        """Return a flat mapping."""
        row = {name: getattr(self, name) for name in ("task", "model", "slot")}
        row |= {**asdict(self.place), "layer": self.layer}
        row |= {name: getattr(self.accuracy, name) for name in ("value", "low", "high", "n")}
        return {**row, **{n: getattr(self, n) for n in ("guess", "shuffled", "classes", "trained_on")}}


@dataclass(frozen=True, slots=True)
class Probed:
    """What was read of one task and model, and what could not be."""

    readings: tuple[Reading, ...]
    notes: tuple[str, ...]


# --- samples ---


def disjoint(task: Task, samples: int | None = None) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Return samples to teach probes on, and others to test them on; no question is in both.

    They are the splits ``train`` and ``test`` of the task's dataset; ``samples`` is the number of rows of
    each, where the task file names one. A dataset without splits is halved, by unit.
    """
    if samples is not None and "samples" in task.options:
        task = with_options(task, {"samples": str(samples)})
    if "split" in task.source_options:
        teach, test = (with_options(task, {"split": split}).samples for split in ("train", "test"))
    else:
        rows = task.samples
        teach, test = (tuple(s for s in rows if split_of(s.unit) == split) for split in ("train", "test"))
    asked = {_question(task, sample) for sample in test}
    return tuple(sample for sample in teach if _question(task, sample) not in asked), test


def _question(task: Task, sample: Sample) -> str:
    return task.prompts[MODE].render(sample.fields)


# --- what is read ---


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of the target, over all samples: those to learn from first, then those to be tested on."""

    name: str
    labels: Labels
    """The right value of each sample (samples,)."""
    taught: NDArray[np.bool_]
    tested: NDArray[np.bool_]
    choices: Sequence[tuple[str, ...]] | None
    """For each sample the values that its question names, where the right one is always among them."""
    guess: float


def slots(task: Task, teach: Sequence[Sample], test: Sequence[Sample]) -> tuple[list[Slot], list[str]]:
    """Return the slots that can be read, and why others cannot."""
    import numpy as np

    everything = [*teach, *test]
    targets = [task.target(MODE, sample) for sample in everything]
    found, faults = [], []
    for name in dict.fromkeys(name for target in targets for name in target):
        labels = np.array([say({name: target[name]}) if name in target else "" for target in targets])
        choices = _choices(task, everything, name, labels)
        slot = _slot(name, labels, np.arange(len(everything)) < len(teach), choices)
        if isinstance(slot, str):
            faults.append(f"{task.name}: the slot {name!r} is not read: {slot}")
        else:
            found.append(slot)
    return found, faults


def _slot(
    name: str,
    labels: Labels,
    teach: NDArray[np.bool_],
    choices: Sequence[tuple[str, ...]] | None,
) -> Slot | str:
    """Return a slot without the samples that cannot be read, or why there is none."""
    import numpy as np

    counts = Counter(labels[teach & (labels != "")].tolist())
    known = {label for label, count in counts.items() if count >= LEAST}
    if len(known) < 2:
        return (
            f"only {len(known)} of its {len(counts)} values come{'s' * (len(known) == 1)} up {LEAST} times "
            f"or more in {int(teach.sum())} train samples"
        )
    fit = np.isin(labels, sorted(known))
    if choices is not None:
        fit &= np.array([teach[i] or (len(c) > 1 and known.issuperset(c)) for i, c in enumerate(choices)])
    taught, tested = fit & teach, fit & ~teach
    if tested.sum() < FEWEST:
        return (
            f"{int(tested.sum())} test samples have a value that can be learnt from the train samples; "
            f"{FEWEST} are needed"
        )
    commonest = counts.most_common(1)[0][0]
    guess = float(np.mean(labels[tested] == commonest))
    if choices is not None:
        guess = max(guess, float(np.mean([1 / len(choices[i]) for i in np.flatnonzero(tested).tolist()])))
    return Slot(name, labels, taught, tested, choices, guess)


def _choices(
    task: Task, samples: Sequence[Sample], name: str, labels: Labels
) -> list[tuple[str, ...]] | None:
    """Return what the question names for a slot (``guesses.among``), if the right value is always there."""
    among = task.scoring[MODE].guesses.among
    listing = among.get(name, among.get("target"))
    if listing is None:
        return None
    found = []
    for sample, label in zip(samples, labels, strict=True):
        canonical = task.rubric(MODE, sample).slots[name].canonical if label else str
        items = listed(sample.fields, listing, f"{task.name}: guesses.among.{name}")
        values = [item.get(name) if isinstance(item, Mapping) else item for item in items]
        found.append(tuple(dict.fromkeys(say({name: canonical(value)}) for value in values)))
        if label and label not in found[-1]:
            return None
    return found


# --- hidden states ---


def check(model: Model, task: Task, modes: Sequence[str], entries: Mapping[str, ModelEntry]) -> None:
    """Raise UsageError for a model that hands out nothing, or a mode that cannot be looked into."""
    if "hidden" not in model.does:
        open_ = sorted(name for name, entry in entries.items() if "hidden" in entry.abilities({}))
        raise UsageError(
            f"The model {model.label!r} does not hand out its hidden states. "
            f"Models that do: {', '.join(open_) or 'none is installed'}."
        )
    for name in (MODE, *modes):
        if name not in MODES:
            raise UsageError(unknown("mode", name, MODES))
        if name not in task.modes:
            raise UsageError(f"The task {task.name!r} has no mode {name!r}. It has: {', '.join(task.modes)}.")
        if MODES[name].after:
            raise UsageError(
                f"{name}: what it is asked is made from {MODES[name].after}; it is not looked into."
            )
        gap = lacking(MODES[name], model.does) | ({"think"} if name == "cot" else set())
        if gap := gap - model.does:
            what = ", ".join(ABILITIES[ability] for ability in sorted(gap))
            raise UsageError(f"{name}: {model.label!r} is no model that {what}.")


def requests(task: Task, model: Model, mode: str, samples: Sequence[Sample], seed: int) -> list[Request]:
    """Return the requests that a run makes for these samples, numbered.

    Samples of two splits may have one id, and so one key.
    """
    ask = Ask(task, MODES[mode], model, (), tuple(samples), 1, seed)
    made = (make_request(ask, ask.trial(index), None) for index in range(len(samples)))
    asked = [one.request for one in made if isinstance(one, Asked)]
    return [replace(request, key=str(number)) for number, request in enumerate(asked)]


def states(
    backend: Backend,
    asked: Sequence[Request],
    after: Sequence[int],
    told: Callable[[int], None] = lambda number: None,
) -> dict[int, list[Floats | None]]:
    """Return for each number of tokens the hidden states (layers + 1, width), in the order asked.

    None where the model left a request out. ``told`` is told how many are done. Raises BackendError for a
    backend that has no such method, or yields what is none.
    """
    if not isinstance(backend, Transparent):
        raise BackendError(
            f"{type(backend).__name__} is registered as a model that hands out hidden states, and has no "
            "method hidden(requests, after)."
        )
    import numpy as np

    size = getattr(backend, "batch_size", BATCH)
    numbers = {request.key: number for number, request in enumerate(asked)}
    found: dict[int, list[Floats | None]] = {place: [None] * len(asked) for place in after}
    for start in range(0, len(asked), size):
        batch = asked[start : start + size]
        for hidden in backend.hidden(batch, after):
            for place in after:
                state = np.asarray(hidden.states[place])
                if state.ndim != 2 or not np.isfinite(state).all():
                    raise BackendError(
                        f"{type(backend).__name__} gave hidden states of shape {state.shape}, or with "
                        "numbers that are none; expected (layers + 1, width)."
                    )
                found[place][numbers[hidden.key]] = state
        told(len(batch))
    return found


# --- probes ---


def probe(
    task: Task,
    model: Model,
    backend: Backend,
    places: Sequence[Place],
    *,
    samples: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    told: Callable[[int], None] = lambda number: None,
) -> Probed:
    """Read the target of a task at these places, in every layer.

    ``samples`` rows of each split are used where the task names a number, at most ``limit`` of each. Raises
    UsageError when no slot of the target can be read.
    """
    import numpy as np

    teach, test = (part[:limit] for part in disjoint(task, samples))
    readable, notes = slots(task, teach, test)
    if not readable:
        raise UsageError("; ".join(notes) + ". Give more --samples, or a task whose answers come again.")
    everything = [*teach, *test]
    read: dict[Place, list[Floats | None]] = {}
    for mode in dict.fromkeys(place.mode for place in places):
        after = [place.after for place in places if place.mode == mode]
        asked = requests(task, model, mode, everything, seed)
        for number, found in states(backend, asked, after, told).items():
            read[Place(mode, number)] = found
    there = np.array([all(found[i] is not None for found in read.values()) for i in range(len(everything))])
    if missing := int((~there).sum()):
        notes.append(f"{task.name}: {model.label} could not read {missing} of {len(there)} prompts; left out")
    units = np.unique([sample.unit for sample in everything], return_inverse=True)[1]
    readings = [
        reading
        for slot in readable
        for place in places
        for reading in _readings(task.name, model.label, slot, place, read[place], there, units)
    ]
    if not readings:
        raise UsageError(f"{task.name}: {model.label} could read too few prompts to be probed.")
    return Probed(tuple(readings), tuple(notes))


def _readings(
    task: str,
    model: str,
    slot: Slot,
    place: Place,
    found: Sequence[Floats | None],
    there: NDArray[np.bool_],
    units: NDArray[np.intp],
) -> Iterator[Reading]:
    """Yield a reading a layer."""
    import numpy as np

    taught, tested = slot.taught & there, slot.tested & there
    if tested.sum() < FEWEST or len(set(slot.labels[taught])) < 2:
        return
    learn = np.stack([state for i, state in enumerate(found) if taught[i] and state is not None])
    exam = np.stack([state for i, state in enumerate(found) if tested[i] and state is not None])
    labels, right = slot.labels[taught], slot.labels[tested]
    choices = None if slot.choices is None else [slot.choices[i] for i in np.flatnonzero(tested).tolist()]
    generator = np.random.Generator(np.random.PCG64(SEED))
    shuffled = [generator.permutation(labels) for _ in range(SHUFFLES)]
    for layer in range(learn.shape[1]):
        passed = fitted(learn[:, layer], labels, exam[:, layer], choices) == right
        control = [
            float(np.mean(fitted(learn[:, layer], wrong, exam[:, layer], choices) == right))
            for wrong in shuffled
        ]
        yield Reading(
            task,
            model,
            slot.name,
            place,
            layer,
            accuracy(passed, units[tested]),
            slot.guess,
            float(np.mean(control)),
            len(set(labels.tolist())),
            len(labels),
        )


def fitted(
    learn: Floats, labels: Labels, exam: Floats, choices: Sequence[tuple[str, ...]] | None = None
) -> Labels:
    """Return what a probe taught on (samples, width) and their labels reads from other (samples, width).

    With ``choices`` it takes the likeliest of these alone. States are standardised first.
    """
    import numpy as np
    from sklearn.linear_model import RidgeClassifierCV  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=PENALTIES))
    with (
        warnings.catch_warnings()
    ):  # a state that is alike for all samples, as an embedding is, tells nothing
        warnings.simplefilter("ignore", RuntimeWarning)
        classifier.fit(learn.astype(np.float64), labels)
        scores = classifier.decision_function(exam.astype(np.float64))
    classes: Labels = classifier.classes_
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], 1)
    if choices is not None:
        open_ = np.array([[label in named for label in classes] for named in choices])
        scores = np.where(open_, scores, -np.inf)
    found: Labels = classes[scores.argmax(1)]
    return found


def accuracy(passed: NDArray[np.bool_], units: NDArray[np.intp]) -> Estimate:
    """Return the share that passed; its interval is Wilson's, or, where units hold several, over units."""
    import numpy as np

    sizes = np.bincount(units)
    if sizes.max() > 1:
        part = np.bincount(units, weights=passed).astype(np.float64)
        return share(part[sizes > 0], sizes.astype(np.float64)[sizes > 0], float(len(passed)))
    low, high = wilson(float(passed.sum()), len(passed))
    return Estimate(float(passed.mean()), low, high, len(passed))
