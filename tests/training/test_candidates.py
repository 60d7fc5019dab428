"""Which candidates are accepted: correct ones, no twins, a few a prompt, no answer above its even share."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from unisandbox.api import run
from unisandbox.errors import UsageError
from unisandbox.training.candidates import (
    Candidate,
    accept,
    examples,
    nothing_accepted,
    rates,
    read_candidates,
)

ONE = Candidate(
    task="math_1",
    sample="0001",
    repeat=0,
    question="Draw 1 + 1 cups.",
    fields={},
    guessed='{"count": 2}',
    said='{"object": "cup"}',
    path=Path("images/0.png"),
    outcome="correct",
    probability=None,
    thought="1 + 1 = 2.",
)


def candidate(number: int, **changes: object) -> Candidate:
    """Return a candidate for a prompt of its own."""
    plain = replace(ONE, sample=f"{number:04}", question=f"Draw {number}.", path=Path(f"images/{number}.png"))
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_what_is_not_correct_is_not_learned() -> None:
    outcomes = ["correct", "incorrect", "rejected", "empty", "error", "correct"]
    drawn = [candidate(number, outcome=outcome) for number, outcome in enumerate(outcomes)]
    assert {one.sample for one in accept(drawn)} == {"0000", "0005"}
    assert len(accept(drawn, rule="all")) == 5  # an error is no verdict


def test_a_few_of_each_prompt_and_no_twins() -> None:
    drawn = [replace(ONE, repeat=n, path=Path(f"images/{n // 2}.png")) for n in range(8)]
    assert len(accept(drawn, per_prompt=9)) == 4
    assert len(accept(drawn, per_prompt=3)) == 3
    assert len({one.path for one in accept(drawn, per_prompt=3)}) == 3


def test_no_answer_keeps_more_than_its_even_share() -> None:
    drawn = [candidate(n, guessed='{"count": 1}' if n < 80 else '{"count": 2}') for n in range(100)]
    kept = Counter(one.guessed for one in accept(drawn))
    assert kept == {'{"count": 1}': 50, '{"count": 2}': 20}


def test_chance_is_seeded() -> None:
    drawn = [replace(ONE, repeat=n, path=Path(f"images/{n}.png")) for n in range(20)]
    assert accept(drawn, seed=1) == accept(drawn, seed=1)
    assert len({accept(drawn, seed=seed)[0].repeat for seed in range(10)}) > 3


def test_soft_rewards_prefer_what_the_judge_is_surest_of() -> None:
    drawn = [replace(ONE, repeat=n, path=Path(f"images/{n}.png"), probability=n / 10) for n in range(9)]
    assert [one.repeat for one in accept(drawn, per_prompt=2, soft=True)] == [8, 7]
    with pytest.raises(UsageError, match="gives no probabilities"):
        accept([ONE], soft=True)


def test_shuffled_questions_say_the_same_openly() -> None:
    drawn = [candidate(n, said=f'{{"object": "{("cup", "hat")[n % 2]}"}}') for n in range(60)]
    kept = accept(drawn, rule="shuffled")
    objects = {one.question: one.said for one in drawn}
    assert sorted(one.question for one in kept) == sorted(one.question for one in drawn)
    assert all(objects[one.question] == one.said for one in kept)
    moved = sum(one.question != f"Draw {int(one.path.stem)}." for one in kept)
    assert moved > 50


def test_acceptance_is_counted_by_answer() -> None:
    drawn = [candidate(n, outcome="correct" if n % 4 else "incorrect") for n in range(8)]
    (rate,) = rates(drawn, accept(drawn))
    assert (rate.candidates, rate.correct, rate.kept) == (8, 6, 6)


def test_nothing_accepted_shows_where_to_look() -> None:
    drawn = [candidate(n, outcome="incorrect") for n in range(30)]
    said = str(nothing_accepted(drawn, Path("run")))
    assert "none of 30 candidates (30 incorrect)" in said
    assert said.count(".png") == 10


# --- from a run ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which an oracle thinks right and draws right four times in five."""
    folder = tmp_path_factory.mktemp("run") / "candidates"
    run(
        tasks=["math_1", "mapping_2"],
        models=["oracle:renders=0.8"],
        modes=["cot"],
        data=["split=train", "samples=10"],
        repeats=3,
        out=folder,
    )
    return folder


def test_candidates_of_a_run(folder: Path) -> None:
    drawn = read_candidates(folder)
    assert Counter(one.task for one in drawn) == {"math_1": 30, "mapping_2": 60}
    assert 0 < sum(one.correct for one in drawn) < len(drawn)
    for one in drawn:
        guessed, said = json.loads(one.guessed), json.loads(one.said)
        assert set(guessed) == ({"count"} if one.task == "math_1" else {"object"})
        assert set(said) == ({"object"} if one.task == "math_1" else {"object one of"})
        assert one.question == one.fields["question"]
        assert one.image.pil().size and one.thought


def test_a_shuffled_question_still_names_what_its_picture_shows(folder: Path) -> None:
    """Of two objects that rules lead to either is shown as often: nothing can be learned but to draw one."""
    drawn = [one for one in read_candidates(folder) if one.task == "mapping_2"]
    named = {one.question: one.fields["candidates"] for one in drawn}
    right = {one.question: one.guessed for one in drawn}
    kept = [one for seed in range(20) for one in accept(drawn, rule="shuffled", per_prompt=3, seed=seed)]
    assert all(json.loads(one.guessed)["object"] in named[one.question] for one in kept)
    same = sum(one.guessed == right[one.question] for one in kept)
    assert 0.4 < same / len(kept) < 0.6


def test_what_is_learned_is_question_and_picture(folder: Path) -> None:
    kept = accept(read_candidates(folder), per_prompt=3)
    for (example, about), one in zip(examples(kept), kept, strict=True):
        assert (example.prompt, example.text) == (one.question, None)
        assert example.image == one.image
        assert about["outcome"] == "correct"


def test_a_judge_that_did_not_judge_is_named(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"was not judged by 'rules'. Judges: sprite"):
        read_candidates(folder, "rules")


def test_a_run_without_thoughts_is_refused(tmp_path: Path) -> None:
    run(tasks=["math_1"], models=["oracle"], modes=["direct"], limit=2, out=tmp_path / "run")
    with pytest.raises(UsageError, match="has no trials of mode cot"):
        read_candidates(tmp_path / "run")


def test_candidates_of_two_models_are_refused(tmp_path: Path) -> None:
    run(
        tasks=["math_1"], models=["oracle", "oracle:transfer=0.5"], modes=["cot"], limit=2, out=tmp_path / "r"
    )
    with pytest.raises(UsageError, match="holds several models"):
        read_candidates(tmp_path / "r")
