"""Probes: they find what is planted in hidden states, and nothing where there is nothing to find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support_tasks import TASK, changed, make_task, shipped
from unisandbox.backend import Hidden
from unisandbox.errors import BackendError, UsageError
from unisandbox.matrix import Model, named_model
from unisandbox.plugins import installed
from unisandbox.probe import (
    MODE,
    Place,
    Probed,
    Reading,
    accuracy,
    check,
    disjoint,
    fitted,
    probe,
    requests,
    slots,
    states,
)
from unisandbox.records import Request
from unisandbox.task import Task

PLACES = (Place("answer"), Place("direct"), Place("direct", 8))
WIDTH = 24


class Planted:
    """Hidden states of noise, into which layer 1 adds the right count, before words only."""

    batch_size = 50

    def __init__(self, task: Task, *, leave_out: int = 0) -> None:
        self._counts = {
            task.prompts[mode].render(sample.fields): int(sample.fields["count"])
            for part in disjoint(task)
            for sample in part
            for mode in ("answer", "direct")
            if mode in task.prompts
        }
        self._leave_out = leave_out

    def generate(self, requests: Sequence[Request]) -> Iterator[Any]:
        """Nothing."""
        yield from ()

    def hidden(self, requests: Sequence[Request], after: Sequence[int] = (0,)) -> Iterator[Hidden]:
        """Return noise that follows the prompt alone, and the signal; the last request first."""
        for request in reversed(requests):
            count = self._counts[request.prompt.text]
            if self._leave_out and int(request.key) % self._leave_out == 0:
                continue
            found = {}
            for place in after:
                noise = np.random.default_rng([*request.prompt.text.encode(), place]).normal(size=(2, WIDTH))
                if request.prompt.output == "text":
                    noise[1, :4] += 8 * np.eye(4)[count - 1]
                found[place] = noise
            yield Hidden(request.key, found)


@pytest.fixture(scope="module")
def math() -> Task:
    return shipped("math_1")[0]


@pytest.fixture(scope="module")
def tiny() -> Model:
    return named_model("tiny", installed())


@pytest.fixture(scope="module")
def planted(math: Task, tiny: Model) -> Probed:
    return probe(math, tiny, Planted(math), PLACES)


def by_place(probed: Probed, layer: int) -> dict[Place, Reading]:
    return {one.place: one for one in probed.readings if one.layer == layer}


# --- what it finds ---


def test_what_is_planted_is_read_and_only_where_it_is(planted: Probed) -> None:
    assert {one.slot for one in planted.readings} == {"count"}
    read = by_place(planted, 1)
    words = read[Place("answer")]
    assert words.accuracy.value == 1.0 and words.accuracy.low is not None and words.accuracy.low > 0.98
    assert words.guess == pytest.approx(0.25, abs=0.01) and words.classes == 4
    assert words.accuracy.n == 250 and words.trained_on == 250
    nothing = [*by_place(planted, 0).values(), read[Place("direct")], read[Place("direct", 8)]]
    assert len(nothing) == 5
    for one in nothing:
        assert one.accuracy.low is not None and one.accuracy.high is not None
        assert one.accuracy.low < 0.25 < one.accuracy.high
    for one in planted.readings:
        assert one.shuffled == pytest.approx(0.25, abs=0.12)


def test_the_same_comes_out_again(planted: Probed, math: Task, tiny: Model) -> None:
    assert probe(math, tiny, Planted(math), PLACES) == planted


def test_fewer_samples_and_those_left_out(math: Task, tiny: Model) -> None:
    found = probe(math, tiny, Planted(math, leave_out=3), PLACES[:1], limit=120)
    assert {one.accuracy.n for one in found.readings} == {80}
    assert "math_1: tiny could not read 80 of 240 prompts; left out" in found.notes
    with pytest.raises(UsageError, match="tiny could read too few prompts"):
        probe(math, tiny, Planted(math, leave_out=1), PLACES[:1], limit=60)


def test_a_state_that_is_always_the_same_reads_nothing() -> None:
    flat = np.ones((40, 6))
    labels = np.array(["a", "b"] * 20)
    assert len(set(fitted(flat, labels, flat).tolist())) == 1


def test_choosing_among_what_is_named() -> None:
    """Two of three values are open to each sample: the likeliest of these is taken, whatever the third."""
    labels = np.array(["a", "b", "c"] * 20)
    learn = np.eye(3)[[0, 1, 2] * 20] + np.random.default_rng(0).normal(scale=0.01, size=(60, 3))
    exam = np.array([[0.0, 0.6, 1.0], [1.0, 0.0, 0.6]])
    assert fitted(learn, labels, exam).tolist() == ["c", "a"]
    assert fitted(learn, labels, exam, [("a", "b"), ("b", "c")]).tolist() == ["b", "c"]


def test_intervals() -> None:
    alone = accuracy(np.array([True] * 9 + [False]), np.arange(10))
    assert (alone.value, alone.n) == (0.9, 10)
    assert alone.low == pytest.approx(0.596, abs=0.001) and alone.high == pytest.approx(0.982, abs=0.001)
    paired = accuracy(np.array([True] * 10 + [False] * 10), np.arange(20) // 2)
    single = accuracy(np.array([True] * 10 + [False] * 10), np.arange(20))
    assert paired.value == single.value == 0.5
    assert paired.low is not None and single.low is not None and paired.low < single.low


# --- samples ---


@pytest.mark.parametrize("name", ["math_1", "math_2", "mapping_1", "inverse_search", "forward_retrieval"])
def test_nothing_is_tested_that_was_taught(name: str) -> None:
    (task,) = shipped(name)
    teach, test = disjoint(task)
    assert {sample.fields["split"] for sample in teach} == {"train"}
    assert {sample.fields["split"] for sample in test} == {"test"}
    question = task.prompts[MODE].render
    assert not {question(sample.fields) for sample in teach} & {question(sample.fields) for sample in test}
    if "expression" in test[0].fields:
        assert not {s.fields["expression"] for s in teach} & {s.fields["expression"] for s in test}


def test_the_number_of_samples(math: Task) -> None:
    assert [len(part) for part in disjoint(math, 40)] == [40, 40]


def rows(many: int, *, counts: int = 4, same: bool = False) -> list[dict[str, Any]]:
    return [
        {
            "id": f"r{n}",
            "question": "Draw some." if same else f"Draw {n} cups less {n - 1 - n % counts}.",
            "count": 1 + n % counts,
            "object": "cup",
            "pair": f"p{n // 2}",
        }
        for n in range(many)
    ]


def test_rows_without_splits_are_halved_by_unit(tmp_path: Path) -> None:
    task = make_task(tmp_path, changed("scoring.unit", "pair", TASK), rows(200))
    teach, test = disjoint(task)
    assert len(teach) + len(test) == 200 and 60 < len(teach) < 140
    assert not {sample.unit for sample in teach} & {sample.unit for sample in test}


def test_a_question_of_both_halves_is_not_taught(tmp_path: Path) -> None:
    task = make_task(tmp_path, TASK, rows(40, same=True))
    assert disjoint(task)[0] == ()


def test_samples_with_one_id_in_two_splits_are_told_apart(math: Task, tiny: Model) -> None:
    everything = [sample for part in disjoint(math, 20) for sample in part]
    assert len({sample.id for sample in everything}) == 20
    assert len({request.key for request in requests(math, tiny, "direct", everything, 0)}) == 40


# --- slots ---


def test_choices_are_those_of_the_question() -> None:
    (task,) = shipped("mapping_1")
    (slot,), notes = slots(task, *disjoint(task, 300))
    assert slot.name == "object" and not notes
    assert slot.choices is not None and {len(named) for named in slot.choices} == {2}
    assert slot.guess == pytest.approx(0.5)


def test_what_does_not_hold_the_target_is_no_choice(math: Task) -> None:
    (slot, *_), _ = slots(math, *disjoint(math))
    assert slot.name == "count" and slot.choices is None


def test_people_are_read_slot_by_slot() -> None:
    (task,) = shipped("inverse_search")
    found, notes = slots(task, *disjoint(task))
    assert [slot.name for slot in found] == ["complexion", "hair", "age", "gender"] and not notes
    for slot in found:
        assert slot.choices is not None and 0.3 < slot.guess <= 0.6
        assert {len(slot.choices[i]) for i in np.flatnonzero(slot.tested).tolist()} == {2}


def test_slots_that_only_some_samples_have() -> None:
    (task,) = shipped("forward_retrieval")
    found, _ = slots(task, *disjoint(task))
    assert "hair" in {slot.name for slot in found}
    for slot in found:
        assert "" not in set(slot.labels[slot.taught | slot.tested].tolist())


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (rows(200, counts=1), r"the slot 'count' is not read: only 1 of its 1 values comes up 4 times"),
        (rows(12), r"the slot 'count' is not read: only 0 of its \d values come up 4 times"),
        (rows(24, counts=2), r"the slot 'count' is not read: \d+ test samples have a value that can be"),
    ],
)
def test_a_target_without_classes(
    given: list[dict[str, Any]], fault: str, tmp_path: Path, tiny: Model
) -> None:
    task = make_task(tmp_path, TASK, given)
    with pytest.raises(UsageError, match=fault) as error:
        probe(task, tiny, Planted(task), PLACES[1:2])
    assert "\n" not in str(error.value) and str(error.value).endswith("whose answers come again.")


# --- bad input ---


def test_models_that_hand_out_nothing_are_told_which_do(math: Task) -> None:
    plugins = installed()
    message = r"'oracle' does not hand out its hidden states. Models that do: tiny\."
    with pytest.raises(UsageError, match=message):
        check(named_model("oracle", plugins), math, ["direct"], plugins.models)


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        ("answr", "Unknown mode 'answr'. Did you mean 'answer'"),
        ("recall", "The task 'math_1' has no mode 'recall'"),
        ("caption", "caption: what it is asked is made from direct"),
    ],
)
def test_modes_that_cannot_be_looked_into(mode: str, fault: str, math: Task, tiny: Model) -> None:
    with pytest.raises(UsageError, match=fault):
        check(tiny, math, [mode], installed().models)


def test_thinking_must_be_native(math: Task, tiny: Model) -> None:
    check(tiny, math, ["cot"], installed().models)
    other = replace(tiny, entry=replace(tiny.entry, does=("image", "text", "hidden")))
    with pytest.raises(UsageError, match="'tiny' is no model that thinks natively"):
        check(other, math, ["cot"], installed().models)


def test_backends_that_do_not_keep_their_word(math: Task, tiny: Model) -> None:
    asked = requests(math, tiny, "direct", disjoint(math)[1][:3], 0)

    class Closed:
        def generate(self, requests: Sequence[Request]) -> Iterator[Any]:
            yield from ()

    with pytest.raises(BackendError, match=r"has no method hidden\(requests, after\)"):
        states(Closed(), asked, (0,))

    class Odd(Closed):
        shape: tuple[int, ...] = (3,)

        def hidden(self, requests: Sequence[Request], after: Sequence[int] = (0,)) -> Iterator[Hidden]:
            yield from (Hidden(one.key, {0: np.full(self.shape, np.nan)}) for one in requests)

    with pytest.raises(BackendError, match=r"gave hidden states of shape \(3,\)"):
        states(Odd(), asked, (0,))
    Odd.shape = (2, 3)
    with pytest.raises(BackendError, match="numbers that are none"):
        states(Odd(), asked, (0,))
