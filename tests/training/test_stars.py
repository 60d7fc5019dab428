"""STARS: every step leads to the next, nothing is done twice, and what must not be trained on is refused."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support_backends import write_task
from tests.support_learner import SKILL
from tests.support_learner import learner as learner
from unisandbox.backend import TrainSpec
from unisandbox.catalog import Catalog
from unisandbox.cli import main
from unisandbox.datasets.splits import split_of
from unisandbox.errors import DataError, RunFolderError, UsageError
from unisandbox.plugins import installed
from unisandbox.run_log import GENERATIONS
from unisandbox.task import with_options
from unisandbox.training.candidates import read_candidates
from unisandbox.training.examples import read
from unisandbox.training.stars import Line, Pipeline, Stars, StarsOptions, arms, load, refuse_overlap

PLAIN = StarsOptions(tasks=("math_1",), model="learner", prompts=24, candidates=2, limit=30)

pytestmark = pytest.mark.usefixtures("learner")


def stars(out: str = "out", **changes: Any) -> Stars:
    return Pipeline(replace(PLAIN, **changes), Path(out), told=lambda _: None, quiet=True).run()


def line(found: Stars, mode: str, on: str = "test", task: str = "math_1", arm: str = "union") -> Line:
    last = max(one.stage for one in found.lines if one.arm == arm)
    (one,) = (
        one
        for one in found.lines
        if (one.arm, one.stage, one.on) == (arm, last, on)
        and (one.contrast.task, one.contrast.mode) == (task, mode)
    )
    return one


def test_a_student_learns_what_was_accepted() -> None:
    found = stars()
    direct, cot = line(found, "direct").contrast, line(found, "cot").contrast
    assert direct.first is not None and direct.second is not None
    assert direct.first < 0.4 < 0.7 < direct.second and direct.significant
    assert cot.first == cot.second == 1.0
    assert line(found, "direct", "trained").contrast.n == 24
    taught = json.loads((found.folder / "union" / "1" / "student" / SKILL).read_text())
    assert taught["prompts"] == [e.prompt for e in read(found.folder / "union" / "1" / "accepted")]
    assert load(found.folder) == found


def test_the_same_command_does_nothing_twice() -> None:
    before = stars()
    logs = {path: path.read_bytes() for path in before.folder.rglob("*.jsonl")}
    calls = list(before.folder.rglob("calls"))
    assert stars() == before
    assert {path: path.read_bytes() for path in before.folder.rglob("*.jsonl")} == logs
    assert [path.read_text() for path in calls] == ["trained\n"]


def test_it_goes_on_where_it_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before training: the candidates are there and are not drawn again."""
    whole = stars("whole")
    with monkeypatch.context() as patched:
        patched.setattr("unisandbox.training.stars.train", _killed)
        with pytest.raises(KeyboardInterrupt):
            stars()
    drawn = Path("out") / "candidates" / "start-math_1" / GENERATIONS
    before = drawn.read_bytes()
    found = stars()
    assert drawn.read_bytes() == before
    changes = [replace(one, contrast=replace(one.contrast, model="")) for one in found.lines]
    assert changes == [replace(one, contrast=replace(one.contrast, model="")) for one in whole.lines]


def test_of_what_was_killed_the_finished_stages_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: dict[str, Any] = {"tasks": ("math_1", "math_2"), "curriculum": True}
    with monkeypatch.context() as patched:
        patched.setattr(Pipeline, "_accepted", _killed_at(2, Pipeline._accepted))
        with pytest.raises(KeyboardInterrupt):
            stars(**changes)
    so_far = load(Path("out"))
    assert not so_far.finished and list(so_far.rates) == ["curriculum/1"]
    assert {one.stage for one in so_far.lines} == {1}
    assert main(["stars", "show", "out"]) == 0
    shown = capsys.readouterr()
    assert "math_1  direct" in shown.out
    assert shown.err.endswith("Not finished: these are the stages so far.\n")
    whole = stars(**changes)
    assert whole.finished and load(whole.folder) == whole
    again = [replace(one, contrast=replace(one.contrast, corrected=None)) for one in whole.lines]
    before = [replace(one, contrast=replace(one.contrast, corrected=None)) for one in so_far.lines]
    assert again[: len(before)] == before


def _killed(*_: object, **__: object) -> str:
    raise KeyboardInterrupt


def _killed_at(number: int, step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a step that is killed when it is done for the so-manieth time."""
    calls = itertools.count(1)
    return lambda *given: _killed() if next(calls) == number else step(*given)


def test_another_plan_in_the_folder_is_refused() -> None:
    stars()
    with pytest.raises(RunFolderError, match="out holds another plan: prompts was 24 and is now 25"):
        stars(prompts=25)


def test_a_curriculum_goes_task_by_task_and_keeps_what_it_had() -> None:
    found = stars(tasks=("math_1", "math_2"), curriculum=True, spec=TrainSpec(steps=7))
    folder = found.folder / "curriculum"
    first, second = (read(folder / str(stage) / "accepted") for stage in (1, 2))
    assert second[: len(first)] == first and len(second) > len(first)
    assert (found.folder / "candidates" / "curriculum-1-math_2").is_dir()  # drawn by the last student
    assert json.loads((folder / "2" / "student" / SKILL).read_text())["steps"] == 7
    assert list(found.rates) == ["curriculum/1", "curriculum/2"]


def test_curriculum_and_union_have_the_same_budget() -> None:
    options = replace(PLAIN, tasks=("math_1", "math_2"), compare=True, rounds=2, spec=TrainSpec(steps=10))
    one_by_one, at_once = arms(options, options.tasks)
    assert one_by_one.stages == (("math_1",), ("math_1",), ("math_2",), ("math_2",))
    assert at_once.stages == (("math_1", "math_2"),) * 2
    assert len(one_by_one.stages) * one_by_one.steps == len(at_once.stages) * at_once.steps == 40


def test_arms_share_what_the_first_student_drew() -> None:
    found = stars(controls=("shuffled", "all"))
    assert {one.arm for one in found.lines} == {"union", "union-shuffled", "union-all"}
    assert [path.name for path in (found.folder / "candidates").iterdir()] == ["start-math_1"]
    prompts = [
        [example.prompt for example in read(found.folder / arm / "1" / "accepted")]
        for arm in ("union", "union-shuffled")
    ]
    assert sorted(prompts[0]) == sorted(prompts[1])


def test_what_is_held_out_is_not_learned_and_is_scored_apart() -> None:
    found = stars(hold_out=("object",), prompts=40)
    accepted = found.folder / "union" / "1" / "accepted" / "examples.jsonl"
    ids = {json.loads(text)["sample"] for text in accepted.read_text().splitlines()}
    drawn = found.folder / "candidates" / "start-math_1"
    objects = {one.sample: one.fields["object"] for one in read_candidates(drawn)}
    assert ids and all(split_of(objects[sample]) == "train" for sample in ids)
    new = line(found, "direct", "test, new object").contrast
    assert 0 < new.n < line(found, "direct").contrast.n


def test_more_tasks_are_evaluated_but_not_trained() -> None:
    found = stars(also=("mapping_1",))
    assert line(found, "direct", task="mapping_1").contrast.n == 30
    assert [path.name for path in (found.folder / "candidates").iterdir()] == ["start-math_1"]


# --- what is refused ---


def test_training_on_the_tested_split_is_refused() -> None:
    with pytest.raises(DataError, match="the training prompts are of the split 'test', which is tested"):
        stars(train_data=("split=test",))
    assert not Path("out").exists()


def test_a_training_prompt_that_is_tested_is_refused(learner: Path) -> None:
    """A task of one's own, whose rows say nothing of a split."""
    words = write_task(learner)
    other = learner / "other.jsonl"
    other.write_text('{"id": "t1", "number": 9, "other": 0, "question": "which  is W3?"}\n')
    catalog = Catalog(installed())
    (listing,) = catalog.select((str(words),))
    task = catalog.task(listing)
    with pytest.raises(DataError, match="the training prompt t1 is the test sample s3"):
        refuse_overlap(task, with_options(task, {"path": str(other)}))


def test_a_judge_that_accepts_nothing_stops_before_training() -> None:
    with pytest.raises(UsageError, match=r"accepted none of 48 candidates \(48 incorrect\).*\.png"):
        stars(model="learner:renders=0")
    assert not list(Path("out").rglob(SKILL))


def test_a_judge_that_accepts_everything_is_a_warning() -> None:
    said: list[str] = []
    Pipeline(PLAIN, Path("out"), told=said.append, quiet=True).run()
    assert any(text.startswith("warning: the judge accepted every candidate") for text in said)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"model": "oracle"}, "cannot be trained. Models that can be trained: .*learner"),
        ({"hold_out": ("objekt",)}, "Unknown field 'objekt'. Did you mean 'object'"),
        ({"curriculum": True}, "A curriculum takes at least two tasks"),
        ({"tasks": ("mathe",)}, "mathe"),
        ({"train_data": ("spilt=train",)}, "Unknown dataset option 'spilt'"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_done(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        stars(**changes)
    assert not Path("out").exists()


# --- the command line ---


def test_the_command_and_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "learner", "--prompts", "24", "--limit", "30", "--quiet", "--out", "out"]
    assert main(["stars", *words]) == 0
    shown = capsys.readouterr().out
    assert "math_1  direct" in shown and "kept" in shown
    assert main(["stars", "show", "out"]) == 0
    assert capsys.readouterr().out == shown
    assert main(["stars", "show", "out", "--format", "csv"]) == 0
    header, first, *_ = capsys.readouterr().out.splitlines()
    assert header.startswith("arm,stage,on,task,mode,before,after")
    assert first.startswith("union,1,test,math_1,direct,")
    assert main(["stars", "show", "out", "--format", "md"]) == 0
    assert capsys.readouterr().out.startswith("| arm ")


def test_step_by_step_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    whole = stars()
    assert (
        main(["stars", "sample", "--model", "learner", "--prompts", "24", "--quiet", "--out", "drawn"]) == 0
    )
    assert main(["stars", "filter", "drawn", "--out", "kept"]) == 0
    assert read(Path("kept")) == read(whole.folder / "union" / "1" / "accepted")
    assert main(["stars", "train", "kept", "--model", "learner", "--out", "student", "--quiet"]) == 0
    capsys.readouterr()
    words = ["--tasks", "math_1", "--limit", "30", "--quiet", "--out", "compared"]
    assert main(["stars", "evaluate", "learner", "learner:checkpoint=student", *words]) == 0
    expected = line(whole, "direct").contrast
    assert f"{expected.first:.2f}" in capsys.readouterr().out


def test_the_folder_of_the_whole_names_its_candidates(capsys: pytest.CaptureFixture[str]) -> None:
    folder = stars().folder
    assert main(["stars", "filter", str(folder), "--out", "again"]) == 2
    drawn = folder / "candidates" / "start-math_1"
    assert capsys.readouterr().err.endswith(f"{folder} is all of STARS. Its candidates: {drawn}.\n")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("--prompts 0", "--prompts 0: expected a whole number of at least 1"),
        ("--mix 1.5", "--mix 1.5: expected a number from 0 to 1"),
        ("--steps 0", "--steps 0: expected"),
        ("train nowhere --out x", "There is no nowhere"),
        ("show nowhere", "nowhere holds no finished stage of STARS"),
        ("filter nowhere --out x", "nowhere is not a run folder"),
        ("sample --model learner --out x --executor nowhere", "Unknown executor 'nowhere'. Known: local"),
    ],
)
def test_bad_words_are_one_line(words: str, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stars", *words.split()]) == 2
    said = capsys.readouterr().err
    assert fault in said and said.count("\n") == 1
