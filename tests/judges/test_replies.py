"""What real models reply is read as they mean it; what cannot be read is an error, not a wrong picture."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from unisandbox.catalog import Rubrics
from unisandbox.judge import View
from unisandbox.judges.replies import Reply, probability_of_yes, read_observation, read_yes
from unisandbox.plugins import installed
from unisandbox.records import Image, Observation

RUBRICS = Rubrics(installed().rubric_folders)
HERE = Path(__file__).parent
OBSERVED = [
    (rubric, reply, meant)
    for rubric, pairs in yaml.safe_load((HERE / "replies.yaml").read_text(encoding="utf-8")).items()
    for reply, meant in pairs
]
MATCHED = yaml.safe_load((HERE / "yes_or_no.yaml").read_text(encoding="utf-8"))


def read(rubric: str, text: str, **more: Any) -> Observation:
    return read_observation(View("k", RUBRICS[rubric], Image(b"")), Reply("k", text, **more))


def test_the_corpus_is_large() -> None:
    assert len(OBSERVED) >= 100 and len(MATCHED) >= 40


@pytest.mark.parametrize(("rubric", "reply", "meant"), OBSERVED)
def test_a_reply_is_read_as_it_is_meant(rubric: str, reply: str, meant: Any) -> None:
    seen = read(rubric, reply)
    assert seen.raw == (reply or None)
    if isinstance(meant, dict):
        assert (seen.slots, seen.malformed, seen.error) == (meant, None, None)
    else:
        how, _, reason = meant.partition(": ")
        said = seen.malformed if how == "rejected" else seen.error
        assert said is not None and reason in said, seen
        assert (seen.malformed is None) == (how == "error")


@pytest.mark.parametrize(("reply", "meant"), MATCHED.items())
def test_yes_and_no_are_read_as_they_are_meant(reply: str, meant: bool | None) -> None:
    assert read_yes(reply) is meant


@pytest.mark.parametrize("rubric", sorted(RUBRICS))
@given(text=st.text(max_size=60))
def test_any_reply_is_read_somehow(rubric: str, text: str) -> None:
    seen = read(rubric, text)
    assert bool(seen.error) + bool(seen.malformed) <= 1
    if not seen.error and not seen.malformed:
        assert set(seen.slots) == set(RUBRICS[rubric].slots)
    read_yes(text)


def test_a_failed_call_is_an_error_that_keeps_what_was_said() -> None:
    seen = read("object_count", "count: 3; obj", error="cut off after 8 tokens", notes={"model": "m"})
    assert (seen.error, seen.raw, seen.slots) == ("cut off after 8 tokens", "count: 3; obj", {})
    assert seen.notes == {"model": "m"}


def test_a_long_reply_is_quoted_in_one_short_line() -> None:
    error = read("object_count", "I see\na picture. " * 50).error
    assert error is not None and "\n" not in error and len(error) < 200


@pytest.mark.parametrize(
    ("tokens", "probability"),
    [
        ([("Yes", {"Yes": 0.0, "No": -100.0})], 1.0),
        ([("no", {"no": -0.6931472, "yes": -0.6931472})], 0.5),
        ([("**", {"**": 0.0}), ("Yes", {"Yes": -1.0, " yes": -1.0, "NO": -1.0})], 2 / 3),
        ([(" no", {" no": -0.1}), (".", {".": 0.0})], 0.0),
        ([("yes", {"yes": 0.0, "no": -9.0}), ("so", {}), ("no", {"no": 0.0, "yes": -99.0})], 0.0),
        ([("They", {"They": 0.0, "yes": -1.0})], None),
        ([("yes", {})], None),
        ([], None),
    ],
)
def test_the_probability_of_yes_is_that_where_the_verdict_stands(
    tokens: list[tuple[str, dict[str, float]]], probability: float | None
) -> None:
    assert probability_of_yes(tokens) == (
        None if probability is None else pytest.approx(probability, abs=1e-6)
    )
