"""Knowledge injection: what was taught in words, whether it arrived, and only then what was drawn."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support_learner import learner as learner
from unisandbox.api import run
from unisandbox.cli import main
from unisandbox.datasets.cast import invented
from unisandbox.errors import UsageError
from unisandbox.run_log import GENERATIONS
from unisandbox.training.injection import (
    InjectOptions,
    arrivals,
    inject,
    lessons,
    of_what_is_known,
    sentences,
    together,
)

PLAIN = ("--model", "learner", "--people", "8", "--out", "out", "--quiet")

pytestmark = pytest.mark.usefixtures("learner")


def test_lessons_are_words_about_everyone_and_lead_from_names_only() -> None:
    taught = lessons(people=8)
    names = {one.name for one in invented(people=8)}
    assert {name for name in names for one in taught if name in one.prompt} == names
    assert all(one.image is None and one.text for one in taught)
    assert all(any(name in one.prompt for name in names) for one in taught)
    backwards = [one for one in lessons(people=8, inverse_facts=True) if one not in taught]
    assert backwards and not any(name in one.prompt for name in names for one in backwards)


def test_what_arrives_is_told_from_what_is_drawn() -> None:
    """This learner knows after teaching, in both directions, and draws a tenth of it."""
    before, after = inject(
        InjectOptions(model="learner", people=12), Path("out"), run, told=lambda _: None, quiet=True
    )
    assert [one.arrived for one in arrivals(before)] == [False, False]
    assert [one.arrived for one in arrivals(after)] == [True, True]
    known = {(one.task, one.mode): one for one in of_what_is_known([after])}
    direct, cot = known["forward_retrieval", "direct"], known["forward_retrieval", "cot"]
    assert direct.known == cot.known == cot.right == 36
    assert direct.right < 12
    said = " ".join(sentences([after]))
    assert "name -> attribute: arrived (1.00" in said and "attribute -> name: arrived (1.00" in said
    assert f"forward_retrieval, direct: of 36 known in words, {direct.right} are drawn right" in said
    assert "want of knowledge" not in said
    assert "So what fails in inverse_search fails for want of knowledge" in " ".join(sentences([before]))


@pytest.mark.parametrize("by", ["person", "pair"])
def test_a_student_each_is_asked_about_whom_it_was_taught(by: Any) -> None:
    options = InjectOptions(model="learner", people=8, by=by)
    before, *after = inject(options, Path("out"), run, told=lambda _: None, quiet=True)
    assert len(after) == {"person": 8, "pair": 4}[by]
    for results, group in zip(after, options.groups, strict=True):
        asked = {
            json.loads(line)["sample"] for line in (results.folder / GENERATIONS).read_text().splitlines()
        }
        named = {name.lower() for name in group}
        assert {name for one in asked for name in one.split("-")[:-1]} - {"fruit", "flower"} == named
    whole = together(after)
    scores = {(cell.task, cell.mode): cell.score for cell in whole}
    assert scores["forward_retrieval", "recall"].value == 1 and scores["forward_retrieval", "recall"].n == 24
    assert ("inverse_search", "answer") not in scores or scores["inverse_search", "answer"].n == 16
    assert whole.finished and {cell.model for cell in whole} == {f"{len(after)} students"}
    assert "of 24 known in words" in " ".join(sentences(after))
    assert len([cell for cell in before if cell.score.n]) == len(scores)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"by": "pair", "people": 9}, "9 people do not make pairs"),
        ({"by": "pair", "in_context": True}, "--by"),
    ],
)
def test_groups_that_cannot_be_meant(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        inject(InjectOptions(model="learner", **changed), Path("out"), run, told=lambda _: None)
    assert not Path("out").exists()


def test_nothing_is_taught_twice() -> None:
    for _ in range(2):
        inject(InjectOptions(model="learner", people=8), Path("out"), run, told=lambda _: None, quiet=True)
    assert Path("out/student/calls").read_text() == "trained\n"


def test_in_context_tells_instead_of_teaching() -> None:
    (told,) = inject(
        InjectOptions(model="learner", people=8, in_context=True), Path("out"), run, told=lambda _: None
    )
    names = {one.name for one in invented(people=8)}
    for text in (told.folder / GENERATIONS).read_text().splitlines():
        line = json.loads(text)
        for name in (name for name in names if name.lower() in line["sample"].split("-")):
            assert f"{name} likes " in line["prompt"]
    assert not Path("out/student").exists()


def test_who_cannot_be_trained_is_refused_before_asking() -> None:
    with pytest.raises(UsageError, match="'oracle' cannot be trained"):
        inject(InjectOptions(model="oracle"), Path("out"), run, told=lambda _: None)
    assert not Path("out").exists()


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inject", *PLAIN, "--limit", "6"]) == 0
    shown = capsys.readouterr()
    assert "name -> attribute: arrived" in shown.out
    assert "teaching 8 people" in shown.err
    assert main(["inject", "--model", "learner", "--people", "1"]) == 2
    assert "--people 1: expected a whole number of at least 2" in capsys.readouterr().err


def test_stopping_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(**given: Any) -> Any:
        results = run(**given)
        object.__setattr__(results, "finished", False)
        return results

    monkeypatch.setattr("unisandbox.cli.inject.run", stopped)
    assert main(["inject", *PLAIN, "--limit", "2"]) == 130
    assert "The same command with --out out goes on" in capsys.readouterr().err
