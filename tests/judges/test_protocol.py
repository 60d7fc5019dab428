"""What judges that are models share: pairs are matched once, and memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from unisandbox.catalog import Rubrics
from unisandbox.errors import UsageError
from unisandbox.judge import Case, View
from unisandbox.judges.protocol import ModelJudge, Question
from unisandbox.judges.replies import Reply
from unisandbox.plugins import installed
from unisandbox.records import Image, Observation

RUBRICS = Rubrics(installed().rubric_folders)


class Parrot(ModelJudge):
    """Answers every question the same, and remembers what it was asked."""

    def __init__(self, says: str = "yes", **more: Any) -> None:
        super().__init__(**{"matcher": "model", "soft": False, **more})
        self.says = says
        self.asked: list[Question] = []

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        for question in reversed(questions):
            self.asked.append(question)
            yield Reply(question.key, self.says)


def case(key: str, seen: str, rubric: str = "object_identity") -> Case:
    return Case(key, RUBRICS[rubric], Observation(key, {"object": seen}), {"object": "cup"})


def test_the_same_pair_is_asked_once_whoever_saw_it() -> None:
    judge = Parrot()
    cases = [case("a", "dog"), case("b", "cup"), case("c", "dog")]
    assert {verdict.key for verdict in judge.match(cases)} == {"a", "b", "c"}
    assert len(judge.asked) == 2
    assert [verdict.key for verdict in judge.match([case("d", "dog")])] == ["d"]
    assert len(judge.asked) == 2


def test_a_pair_under_another_rubric_is_another() -> None:
    judge = Parrot()
    counted = Case(
        "b",
        RUBRICS["object_count"],
        Observation("b", {"count": 1, "object": "cup"}),
        {"count": 1, "object": "cup"},
    )
    assert len(list(judge.match([case("a", "cup"), counted]))) == len(judge.asked) == 2


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unisandbox.judges.protocol._REMEMBERED", 2)
    judge = Parrot()
    for seen in ("dog", "hat", "cat", "dog"):
        list(judge.match([case("a", seen)]))
    assert len(judge.asked) == 4 and len(judge._matched) == 2


def test_stage_one_sees_the_picture_and_stage_two_does_not() -> None:
    judge = Parrot("object: cup", soft=True)
    picture = Image(b"a picture")
    (seen,) = judge.observe([View("a", RUBRICS["object_identity"], image=picture)])
    (observed,) = judge.asked
    assert (observed.image, observed.logprobs) == (picture, False)
    judge.says = "yes"
    (verdict,) = judge.match([Case("a", RUBRICS["object_identity"], seen, {"object": "cup"})])
    assert (judge.asked[1].image, judge.asked[1].logprobs) == (None, True)
    assert (verdict.outcome, verdict.probability, verdict.raw) == ("correct", None, ("object: cup", "yes"))


def test_words_are_not_for_judges_that_read_pictures() -> None:
    (seen,) = Parrot().observe([View("a", RUBRICS["words"], text="a cup")])
    assert seen.error == "this judge reads pictures, not text"


def test_there_is_no_probability_without_a_second_call() -> None:
    with pytest.raises(UsageError, match=r"soft=true .*: add matcher=model"):
        Parrot(matcher="rules", soft=True)
