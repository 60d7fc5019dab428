"""The judge of words: it fills slots by the rubric's rules and compares them by the same."""

from collections.abc import Mapping
from typing import Any

import pytest

from unisandbox.catalog import Rubrics
from unisandbox.judge import Case, Judge, View, match_by_rules
from unisandbox.judges.rules import Rules
from unisandbox.plugins import installed
from unisandbox.records import Observation, Outcome

RUBRICS = Rubrics(installed().rubric_folders)


def judged(text: str | None, rubric: str, target: Mapping[str, Any], names: tuple[str, ...] = ()) -> str:
    judge = Rules()
    found = list(judge.observe([View("k", RUBRICS[rubric], text=text, names=names)]))
    assert [one.key for one in found] == ["k"]
    made = RUBRICS[rubric].target(target, "here")
    (verdict,) = judge.match([Case("k", RUBRICS[rubric], found[0], made)])
    return verdict.outcome


def test_it_is_a_judge() -> None:
    assert isinstance(Rules(), Judge)


@pytest.mark.parametrize(
    ("text", "rubric", "target", "outcome"),
    [
        ("There are **two** mugs.", "object_count", {"count": 2, "object": "cup"}, "correct"),
        ("There are three mugs.", "object_count", {"count": 2, "object": "cup"}, "incorrect"),
        ("Two or three mugs.", "object_count", {"count": 2, "object": "cup"}, "incorrect"),
        ("Bikes", "object_identity", {"object": "bicycle"}, "correct"),
        ("Zemira.", "name", {"name": "zemira"}, "correct"),
        ("Tolvan.", "name", {"name": "zemira"}, "incorrect"),
        ("Zemira or Tolvan.", "name", {"name": "zemira"}, "incorrect"),
        ("Peach", "species", {"category": "fruit", "species": "peach"}, "correct"),
        (
            "category: flower; species: peach",
            "species",
            {"category": "fruit", "species": "peach"},
            "incorrect",
        ),
        ("Something sweet", "species", {"category": "fruit", "species": "peach"}, "incorrect"),
        ("pears and apples", "two_kinds", {"kinds": "pear, apple"}, "correct"),
        ("apples and pears", "two_kinds", {"kinds": "pear, apple"}, "incorrect"),
        ("", "words", {"answer": "Paris"}, "incorrect"),
        (None, "words", {"answer": "Paris"}, "incorrect"),
    ],
)
def test_answers_are_judged(text: str | None, rubric: str, target: dict[str, Any], outcome: Outcome) -> None:
    assert judged(text, rubric, target, ("Zemira", "Tolvan")) == outcome


def test_answers_are_told_apart_by_their_keys() -> None:
    rubric = RUBRICS["words"]
    views = [View(word, rubric, text=word) for word in ("x", "y", "z")]
    assert {one.key: one.slots["answer"] for one in Rules().observe(views)} == {"x": "x", "y": "y", "z": "z"}


@pytest.mark.parametrize(
    ("observation", "outcome", "reason"),
    [
        (Observation("k", error="no reply"), "error", "no reply"),
        (Observation("k", malformed="two people"), "rejected", "two people"),
        (Observation("k", {"answer": "Paris"}), "correct", ""),
        (Observation("k", {"answer": "Rome"}), "incorrect", "answer: rome instead of paris"),
        (Observation("k", {"answer": "Paris"}, error="cut off"), "error", "cut off"),
        (Observation("k"), "incorrect", "answer: nothing instead of paris"),
    ],
)
def test_stage_two_never_takes_an_error_for_a_wrong_answer(
    observation: Observation, outcome: Outcome, reason: str
) -> None:
    verdict = match_by_rules(Case("k", RUBRICS["words"], observation, {"answer": "paris"}))
    assert (verdict.key, verdict.outcome, verdict.reason) == ("k", outcome, reason)
    assert verdict.observed == observation.slots


def test_the_judges_own_words_are_kept() -> None:
    spoken = Observation("k", {"answer": "Paris"}, raw="answer: Paris")
    assert match_by_rules(Case("k", RUBRICS["words"], spoken, {"answer": "paris"})).raw == ("answer: Paris",)
    silent = Observation("k", {"answer": "Paris"})
    assert match_by_rules(Case("k", RUBRICS["words"], silent, {"answer": "paris"})).raw == ()
