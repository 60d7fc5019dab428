"""Whatever cause is planted in the oracle comes out of the modes it must, and of no others."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from tests.support_tasks import shipped
from unisandbox.asking import Asked, Patience, generate, make_request
from unisandbox.building import load_backend
from unisandbox.errors import BackendError, UsageError
from unisandbox.judge import Case, Judge, View
from unisandbox.judges.rules import Rules
from unisandbox.judges.sprite import Sprite
from unisandbox.matrix import Ask, Matrix, resolve
from unisandbox.model_backends.oracle import Oracle, mistaken, scene_of
from unisandbox.modes import MODES
from unisandbox.plugins import installed
from unisandbox.prompts import conclusion
from unisandbox.records import Generation, Prompt, Request, Sample, Turn, Verdict
from unisandbox.task import Task
from unisandbox.world import Person, kinds
from unisandbox.world.scene import MOST_OBJECTS

TASKS = {task.name: task for task in shipped()}
UNITS = 6
JUDGES: Mapping[str, Judge] = {"sprite": Sprite(), "rules": Rules()}
IMAGES = {name for name, mode in MODES.items() if mode.output == "image"}

PROMPT = Prompt((Turn("user", "Draw."),), "image")
SAMPLE = Sample("s", {}, "s")

Answers = dict[str, list[tuple[Sample, Generation, Verdict]]]
"""By mode."""


def plan(task: Task, spec: str, limit: int, repeats: int = 1, modes: str = "all") -> Matrix:
    return resolve(
        [task],
        installed(),
        models=[spec],
        judges=[],
        modes=modes.split(),
        seed=1,
        repeats=repeats,
        limit=limit,
    )


@cache
def ask(name: str, spec: str = "oracle", limit: int = UNITS, repeats: int = 1, modes: str = "all") -> Answers:
    """Ask an oracle about a task, as a run does, and have the real judges judge it."""
    matrix = plan(TASKS[name], spec, limit, repeats, modes)
    backend = load_backend(matrix.models[0])
    made: dict[str, dict[int, Generation]] = {}
    answers: Answers = {}
    for one in matrix.asks:
        before = made.get(one.mode.after or "", {})
        asked = [make_request(one, one.trial(index), before.get(index)) for index in range(one.trials)]
        assert all(isinstance(request, Asked) for request in asked)
        done = generate(backend, [a for a in asked if isinstance(a, Asked)], Patience("o", BackendError, 1))
        by_key = {generation.key: generation for generation in done}
        made[one.mode.name] = {index: by_key[one.trial(index).key] for index in range(one.trials)}
        answers[one.mode.name] = [verdict(one, index, g) for index, g in made[one.mode.name].items()]
    return answers


def verdict(one: Ask, index: int, generation: Generation) -> tuple[Sample, Generation, Verdict]:
    """Judge one generation with the judge that the matrix chose."""
    task, mode, sample = one.task, one.mode.name, one.trial(index).sample
    judge = JUDGES[one.judges[0].label]
    rubric = task.rubric(mode, sample)
    text = generation.text if generation.image is None else None
    view = View(generation.key, rubric, generation.image, text, task.names(mode, sample))
    (seen,) = judge.observe([view])
    (found,) = judge.match([Case(generation.key, rubric, seen, task.target(mode, sample))])
    return sample, generation, found


def failing(answers: Answers) -> set[str]:
    """Return the modes in which every answer is wrong; in the others every one must be right."""
    outcomes = {mode: {found.outcome for _, _, found in each} for mode, each in answers.items()}
    assert all(len(different) == 1 for different in outcomes.values()), outcomes
    return {mode for mode, (outcome,) in outcomes.items() if outcome != "correct"}


@pytest.fixture(params=list(TASKS))
def name(request: pytest.FixtureRequest) -> str:
    task: str = request.param
    return task


def test_without_a_cause_everything_is_right_in_every_mode(name: str) -> None:
    answers = ask(name)
    assert set(answers) == set(TASKS[name].modes)
    assert failing(answers) == set()


@pytest.mark.parametrize(
    ("spec", "fails"),
    [
        ("oracle:renders=0", IMAGES | {"caption"}),
        ("oracle:knows=0", {"direct", "cot", "answer", "recall", "refined", "caption"}),
        ("oracle:reasons=0", {"direct", "cot", "answer", "refined", "caption"}),
        ("oracle:transfer=0", {"direct", "caption"}),
        ("oracle:transfer=0,transfer_cot=0", {"direct", "cot", "caption"}),
        ("oracle:elicits=0", {"cot", "refined"}),
        ("oracle:follows=0", {"gold", "planted"}),
        ("oracle:sees=0", {"caption"}),
    ],
)
def test_a_planted_cause_fails_exactly_the_modes_it_must(name: str, spec: str, fails: set[str]) -> None:
    assert failing(ask(name, spec, limit=2)) == fails & set(TASKS[name].modes)


def test_a_thought_says_what_the_picture_is_drawn_from(name: str) -> None:
    for spec in ("oracle", "oracle:elicits=0"):
        for sample, generation, _ in ask(name, spec, limit=UNITS if spec == "oracle" else 2)["cot"]:
            rubric, target = TASKS[name].rubric("cot", sample), TASKS[name].target("cot", sample)
            read = rubric.read(conclusion(generation.thought or ""))
            assert read
            right = all(target[slot] == value for slot, value in read.items())
            assert right == (spec == "oracle"), generation.thought


def test_only_thinking_modes_come_with_a_thought(name: str) -> None:
    for mode, answers in ask(name).items():
        assert all((generation.thought is not None) == (mode == "cot") for _, generation, _ in answers)


def test_a_wrong_picture_is_a_sound_one_of_something_else(name: str) -> None:
    """A cause must look like a wrong answer, not like a picture that breaks the rules."""
    for _, _, found in ask(name, "oracle:renders=0", limit=2)["render"]:
        assert found.outcome == "incorrect"
        assert found.observed


@pytest.mark.parametrize("rate", [0.3, 0.7])
def test_a_rate_is_how_often_it_happens(rate: float) -> None:
    drawn = ask("math_1", f"oracle:renders={rate},size=64", 60, 3, "render")["render"]
    share = sum(found.outcome == "correct" for _, _, found in drawn) / len(drawn)
    assert abs(share - rate) < 3 * (rate * (1 - rate) / len(drawn)) ** 0.5


def test_what_is_not_known_is_not_known_in_any_mode_or_repeat() -> None:
    answers = ask("mapping_2", "oracle:knows=0.5,size=64", 6, 2, "recall answer direct")
    wrong = {
        mode: [sample.id for sample, _, found in answers[mode] if found.outcome != "correct"]
        for mode in ("recall", "answer", "direct")
    }
    assert wrong["recall"] == wrong["answer"] == wrong["direct"]
    assert set(map(wrong["recall"].count, wrong["recall"])) == {2}
    assert 0 < len(wrong["recall"]) < len(answers["recall"])


def test_transfer_is_drawn_anew_for_every_repeat() -> None:
    direct = ask("math_1", "oracle:transfer=0.5,size=64", 12, 2, "direct")["direct"]
    by_sample: dict[str, set[str]] = {}
    for sample, _, found in direct:
        by_sample.setdefault(sample.id, set()).add(found.outcome)
    assert {len(outcomes) for outcomes in by_sample.values()} == {1, 2}


def test_people_operators_hops_and_kinds_can_be_out_of_reach() -> None:
    people = TASKS["inverse_search"].samples[0].fields["names"]
    some = ask("inverse_search", f"oracle:unknown_people={people[0].upper()},size=64", 1)
    assert {"direct", "answer", "recall", "cot"} <= failing(some)
    assert "render" not in failing(some)

    operators = {str(sample.fields["operators"]) for sample in TASKS["math_1"].samples}
    assert len(operators) > 1
    operator = TASKS["math_1"].samples[0].fields["operators"][0]
    for sample, _, found in ask("math_1", f"oracle:cannot_compute={operator},size=64", 12, modes="answer")[
        "answer"
    ]:
        assert (found.outcome == "correct") == (operator not in sample.fields["operators"])

    assert "answer" in failing(ask("mapping_3", "oracle:cannot_compute=3hops,size=64", 1))
    assert failing(ask("mapping_3", "oracle:cannot_compute=2hops,size=64", 1)) == set()

    kind = TASKS["mapping_1"].samples[0].fields["object"]
    for sample, _, found in ask("mapping_1", f"oracle:cannot_draw={kind},size=64", 3, modes="render")[
        "render"
    ]:
        assert (found.outcome == "correct") == (sample.fields["object"] != kind)


def test_an_answer_does_not_depend_on_the_batch_it_comes_in() -> None:
    (one, *_) = plan(TASKS["math_2"], "oracle:transfer=0.5,size=64", 4).asks
    backend = Oracle(transfer=0.5, size=64)
    asked = [make_request(one, one.trial(index), None) for index in range(one.trials)]
    requests = [a.request for a in asked if isinstance(a, Asked)]
    together = {generation.key: generation.image for generation in backend.generate(requests[::-1])}
    for request in requests:
        (alone,) = backend.generate([request])
        assert alone.image == together[request.key]


# --- mistakes ---


@pytest.mark.parametrize("count", range(1, MOST_OBJECTS + 1))
def test_a_mistake_in_a_count_can_be_drawn_and_so_can_a_mistake_in_that(count: int) -> None:
    for seed in range(8):
        slots: Mapping[str, Any] = {"count": count, "object": "cup"}
        request = Request("k", PROMPT, seed, "t", "s", "direct", target=slots)
        wrong = mistaken(request)
        twice = mistaken(request, of=wrong)
        assert wrong["count"] != count
        assert twice["count"] != wrong["count"]
        for each in (wrong, twice):
            assert 0 < each["count"] <= MOST_OBJECTS
            assert len(scene_of(each).objects) == each["count"]


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ({"object": "cup"}, {}),
        ({"object": "cup"}, {"other": "dog"}),
        ({"object": "cup"}, {"other": "cup"}),
        ({"category": "fruit", "species": "pear"}, {}),
        ({"complexion": "dark", "hair": "white", "age": "child", "gender": "male"}, {}),
        ({"name": "zemira"}, {"names": ["Zemira", "Tolvan"]}),
        ({"kinds": ["apple", "rose"]}, {}),
        ({"kinds": ["apple", "apple"]}, {}),
        ({"answer": "paris"}, {}),
    ],
)
def test_a_mistake_differs_and_is_of_the_same_kind(target: dict[str, Any], fields: dict[str, Any]) -> None:
    sample = Sample("s", fields, "s")
    wrong = mistaken(Request("k", PROMPT, 1, "t", "s", "direct", sample=sample, target=target))
    assert set(wrong) == set(target)
    assert wrong != target
    for slot in ("object", "species"):
        if slot in target and not fields:
            assert kinds()[str(wrong[slot])].category == kinds()[target[slot]].category
    if "hair" in target:
        Person(**wrong)
    if "name" in target:
        assert wrong["name"] == "Tolvan"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("renders=2", "option renders='2': input should be less than or equal to 1."),
        ("transfer=-0.1", "option transfer='-0.1': input should be greater than or equal to 0."),
        ("cannot_draw=cpu", "cannot_draw: Unknown kind of object 'cpu'. Did you mean 'cup'"),
        ("size=32", "option size='32': input should be greater than or equal to 64."),
        ("size=100", "option size='100': input should be a multiple of 16."),
        ("trasnfer=1", "Unknown option 'trasnfer'. Did you mean 'transfer'"),
    ],
)
def test_causes_that_cannot_be_meant_are_refused(options: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_backend(plan(TASKS["math_1"], f"oracle:{options}", 1).models[0])
    assert message in str(caught.value)


def test_it_says_what_is_planted() -> None:
    said = Oracle(transfer=0.25, cannot_draw=("Mugs",), unknown_people=("Zemira",)).describe()
    assert (said["transfer"], said["renders"], said["size"]) == (0.25, 1.0, 128)
    assert (said["cannot_draw"], said["unknown_people"]) == (["cup"], ["zemira"])


@pytest.mark.parametrize(
    "target", [{"object": "widget"}, {"count": 13, "object": "cup"}, {"answer": "Paris"}]
)
def test_a_target_the_sandbox_cannot_draw_fails_alone(target: dict[str, Any]) -> None:
    request = Request("k", PROMPT, 1, "t", "s", "direct", sample=SAMPLE, target=target)
    requests = [request, Request("l", PROMPT, 1, "t", "s", "direct", sample=SAMPLE, target={"object": "cup"})]
    failed, drawn = Oracle().generate(requests)
    assert failed.finish == "error"
    assert str(failed.error).startswith("the sandbox cannot draw ")
    assert (drawn.finish, drawn.image is not None) == ("complete", True)
