"""Every task that ships, on all of its samples: prompts, thoughts, targets, and what guessing scores."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pytest

from tests.support_tasks import shipped
from unisandbox.catalog import Catalog
from unisandbox.modes import MODES
from unisandbox.plugins import installed
from unisandbox.prompts import conclusion
from unisandbox.records import Sample
from unisandbox.rubric import Rubric
from unisandbox.task import Task

TASKS = {task.name: task for task in shipped()}
LISTINGS = {listing.name: listing for listing in Catalog(installed())}


@pytest.fixture(params=list(TASKS))
def task(request: pytest.FixtureRequest) -> Task:
    return TASKS[request.param]


def test_the_benchmark_is_whole() -> None:
    assert {"math_1", "math_2", "math_3", "mapping_1", "mapping_2", "mapping_3"} <= set(TASKS)
    assert {"forward_retrieval", "inverse_search"} <= set(TASKS)


@pytest.mark.parametrize("name", list(LISTINGS))
def test_every_file_is_read_without_its_rows(name: str) -> None:
    listing = LISTINGS[name]
    task = Catalog(installed()).task(listing)
    assert (task.name, task.family) == (listing.name, listing.family)
    assert task.modes == tuple(mode for mode in MODES if mode in listing.modes)
    assert listing.description.endswith(".") or listing.description.endswith(").")


def test_every_prompt_and_target_of_every_sample_is_sound(task: Task) -> None:
    task.validate(samples=len(task.samples))


def test_every_mode_that_can_be_asked_is_offered(task: Task) -> None:
    expected = set(MODES) - ({"recall"} if task.family == "math" else set())  # arithmetic rests on no facts
    assert set(task.modes) == expected


def test_thinking_first_is_asked_of_the_very_same_question(task: Task) -> None:
    assert task.prompts["cot"].source == task.prompts["direct"].source
    assert '"Draw:"' in task.prompts["think"].source


def test_thoughts_end_in_the_answer_they_are_scored_by(task: Task) -> None:
    for mode in ("gold", "planted"):
        for sample in task.samples:
            said = conclusion(task.prompts[mode].render(sample.fields))
            assert said.startswith("Draw "), (sample.id, said)
            agree(task.rubric(mode, sample), said, task.target(mode, sample), sample)


def test_the_resolved_prompt_names_the_answer(task: Task) -> None:
    for sample in task.samples:
        agree(
            task.rubric("render", sample),
            task.prompts["render"].render(sample.fields),
            task.target("render", sample),
            sample,
        )


def agree(rubric: Rubric, words: str, target: Mapping[str, Any], sample: Sample) -> None:
    """Assert that words say the target, as far as it is said; "an apple" does not say that it is a fruit."""
    read = rubric.read(words)
    assert set(target) - set(read) <= {"category"}, (sample.id, words, read)
    assert read == {slot: target[slot] for slot in read}, (sample.id, words)


def test_a_planted_answer_is_never_the_right_one(task: Task) -> None:
    for sample in task.samples:
        assert task.rubric("planted", sample).name == task.rubric("direct", sample).name
        assert task.target("planted", sample) != task.target("direct", sample), sample.id


def test_all_pictures_but_planted_ones_have_one_right_answer(task: Task) -> None:
    for mode in ("cot", "render", "refined", "gold", "caption"):
        for sample in task.samples:
            assert task.target(mode, sample) == task.target("direct", sample)


def test_pairs_are_pairs(task: Task) -> None:
    sizes = Counter(Counter(sample.unit for sample in task.samples).values())
    assert set(sizes) == ({2} if task.family == "mapping" else {1})


# --- what guessing scores, by trying every guess ---


def guessed_always(task: Task, mode: str) -> float:
    """Return what the best answer scores that is given to every question asking for the same slots."""
    spec = task.scoring[mode].guesses
    if spec.constant == []:
        return 0.0
    targets = [task.target(mode, sample) for sample in task.samples]
    parts = [tuple((slot, str(target[slot])) for slot in (spec.constant or target)) for target in targets]
    groups: dict[tuple[str, ...], set[Any]] = defaultdict(set)
    for part in parts:
        groups[tuple(slot for slot, _ in part)].add(part)
    right_of = {part: [one == part for one in parts] for part in set(parts)}
    chosen = [max(group, key=lambda part: (sum(right_of[part]), str(part))) for group in groups.values()]
    return over_units(task.samples, [float(part in chosen) for part in parts])


def guessed_among(task: Task, mode: str) -> float:
    """Return what the best way scores of choosing at random among what each question names."""
    best = 0.0
    for slot, listing in task.scoring[mode].guesses.among.items():
        rates = []
        for sample in task.samples:
            fields, target = sample.fields, task.target(mode, sample)
            named = fields[listing] if isinstance(listing, str) else [fields[one] for one in listing]
            slots = task.rubric(mode, sample).slots
            if slot == "target":
                hits = [
                    all(slots[one].canonical(item[one]) == target[one] for one in slots) for item in named
                ]
            else:
                hits = [slots[slot].canonical(item) == target[slot] for item in named]
            rates.append(sum(hits) / len(hits))
        best = max(best, over_units(task.samples, rates))
    return best


def over_units(samples: Sequence[Sample], rates: Sequence[float]) -> float:
    """Return the expected share of units with nothing wrong, by going through every outcome of each."""
    units: dict[str, list[float]] = defaultdict(list)
    for sample, rate in zip(samples, rates, strict=True):
        units[sample.unit].append(rate)
    total = 0.0
    for chances in units.values():
        for outcome in product((True, False), repeat=len(chances)):
            weight = 1.0
            for right, chance in zip(outcome, chances, strict=True):
                weight *= chance if right else 1 - chance
            total += weight * all(outcome)
    return total / len(units)


def test_chance_is_what_the_best_guess_scores(task: Task) -> None:
    for mode in task.modes:
        always, among = guessed_always(task, mode), guessed_among(task, mode)
        found = {guess.strategy: guess.score for guess in task.guesses(mode)}
        if always:
            assert next(score for name, score in found.items() if name.startswith("always")) == pytest.approx(
                always
            )
        if among:
            assert max(s for name, s in found.items() if name.startswith("one of")) == pytest.approx(among)
        uniform = max((s for name, s in found.items() if name.startswith("any ")), default=0.0)
        assert task.chance(mode).score == pytest.approx(max(always, among, uniform))


@pytest.mark.parametrize(
    ("name", "mode", "low", "high"),
    [
        ("math_1", "direct", 0.25, 0.26),
        ("math_2", "answer", 0.25, 0.26),
        ("math_3", "direct", 0.2, 0.21),
        ("mapping_1", "direct", 0.25, 0.25),
        ("mapping_3", "planted", 0.25, 0.25),
        ("inverse_search", "direct", 0.5, 0.5),
        ("inverse_search", "answer", 0.5, 0.5),
        ("forward_retrieval", "direct", 0.02, 0.1),
    ],
)
def test_chance_is_as_the_files_say(name: str, mode: str, low: float, high: float) -> None:
    assert low <= TASKS[name].chance(mode).score <= high
