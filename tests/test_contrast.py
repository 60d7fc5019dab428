"""Contrasts: paired unit by unit where the task is the same, unpaired and said to be where not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support_backends import write_task
from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from tests.support_trials import trials
from unisandbox import contrast as module
from unisandbox.contrast import Contrast, as_family, between_modes, between_runs
from unisandbox.errors import UsageError
from unisandbox.stats import mcnemar, paired_difference
from unisandbox.trials import Trials


def contrast(first: str, second: str, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Contrast:
    """Compare direct (first) with cot (second) of one model."""
    monkeypatch.setattr(
        module, "read_trials", lambda _: [trials({"direct": first, "cot": second}, **settings)]
    )
    (found,) = between_modes("run")
    return found


def test_pairs_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    found = contrast("+ + + - - - - - - -", "- + + + + + + + - -", monkeypatch)
    assert (found.mode, found.first, found.second, found.n) == ("cot - direct", 0.3, 0.7, 10)
    assert found.difference == pytest.approx(0.4)
    assert found.gained == ("s3", "s4", "s5", "s6", "s7") and found.lost == ("s0",)
    assert found.p == found.corrected == mcnemar(5, 1)
    assert (found.low, found.high) == paired_difference(5, 1, 10)


def test_what_has_no_verdict_in_one_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = contrast("+ - . +", "+ + + .", monkeypatch)
    assert (found.n, found.first, found.second, found.gained) == (2, 0.5, 1.0, ("s1",))


def test_a_unit_passes_when_all_its_samples_do(monkeypatch: pytest.MonkeyPatch) -> None:
    found = contrast("+ - + +", "+ + - +", monkeypatch, units=["p", "p", "q", "q"])
    assert (found.n, found.gained, found.lost, found.difference) == (2, ("p",), ("q",), 0.0)


def test_nothing_to_compare_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found = contrast(". .", "+ -", monkeypatch)
    assert (found.difference, found.p, found.corrected) == (None, None, None)
    assert found.note == "no unit has a verdict in both" and not found.significant


@pytest.mark.parametrize("signs", ["+", "-"])
def test_no_difference_at_all_has_an_interval(signs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in (f"{signs} " * 9, f"{signs * 3} " * 9):  # one repeat, and three
        found = contrast(line, line, monkeypatch)
        assert (found.difference, found.p, found.gained, found.lost) == (0.0, 1.0, (), ())
        assert found.low is not None and found.high is not None and found.low < 0 < found.high


def test_repeats_are_paired_and_their_signs_flipped(monkeypatch: pytest.MonkeyPatch) -> None:
    found = contrast("--- " * 9 + "+++", "+++ " * 8 + "+-- " + "+++", monkeypatch)
    assert found.n == 10 and len(found.gained) == 8
    assert found.difference == pytest.approx((8 + 1 / 3) / 10)
    assert found.p == pytest.approx(2 / 2**9) and found.low is not None and found.low > 0.5
    some = contrast("-+ " * 5, "+. " * 5, monkeypatch)  # only the first repeat has a verdict in both
    assert (some.first, some.second) == (0.0, 1.0)


def test_a_family_is_corrected_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def table(name: str, second: str) -> Trials:
        return trials({"direct": "- " * 8, "cot": second}, task=name)

    monkeypatch.setattr(
        module, "read_trials", lambda _: [table("a", "+ " * 8), table("b", "+ " * 6 + "- - ")]
    )
    one, other = between_modes("run")
    assert (one.p, one.corrected) == (2 / 2**8, 4 / 2**8) and one.significant
    assert (other.p, other.corrected) == (2 / 2**6, 2 / 2**6) and other.significant
    assert as_family([]) == []


def test_worse_must_be_significant_and_more_than_allowed() -> None:
    worse = Contrast("t", "f", "direct", "m", "j", 0.9, 0.8, corrected=0.01)
    assert worse.worse_by(0.05) and not worse.worse_by(0.2)
    assert not replace(worse, corrected=0.2).worse_by(0.05)
    assert not replace(worse, first=0.8, second=0.9).worse_by(0.0)
    assert not replace(worse, first=None).worse_by(0.0)


def test_runs_are_paired_by_sample(words: Path) -> None:
    run_words(out="a", modes=["direct", "answer"])
    run_words(out="b", modes=["direct", "caption"], models="painter:right=0")
    (found,) = between_runs("a", "b")
    assert (found.mode, found.model, found.judge) == ("direct", "painter -> painter:right=0", "reader")
    assert (found.first, found.second, found.n, found.paired) == (1.0, 0.0, 6, True)
    assert found.lost == ("s1", "s2", "s3", "s4", "s5", "s6") and found.p == 2 / 2**6
    assert found.to_row()["p_holm"] == 2 / 2**6
    (same,) = between_runs("a", "a", mode=["answer"])
    assert (same.difference, same.p, same.model) == (0.0, 1.0, "painter")


def test_models_are_matched_by_label_where_there_are_several(words: Path) -> None:
    run_words(out="a", models=["painter", "mute"], modes="direct")
    run_words(out="b", models=["mute", "painter:right=0"], modes="direct")
    (found,) = between_runs("a", "b")
    assert found.model == "mute"
    assert {one.model for one in between_runs("a", "b", model=["painter*"])} == {"painter -> painter:right=0"}


def test_another_task_is_not_paired(words: Path) -> None:
    run_words(out="a", modes="direct")
    write_task(Path(), rows=4)
    run_words(out="b", modes="direct", models="painter:right=0")
    (found,) = between_runs("a", "b")
    assert not found.paired and found.note == "not paired: the task is not the same in both"
    assert (found.first, found.second, found.n, found.lost) == (1.0, 0.0, 4, ())
    assert found.p is not None and found.p < 0.01 and found.high is not None and found.high < 0


def test_other_seeds_are_paired_by_sample_and_said_to_differ(words: Path) -> None:
    run_words(out="a", modes="direct", repeats=2)
    run_words(out="b", modes="direct", repeats=3, seed=7, models="painter:right=0")
    (found,) = between_runs("a", "b")
    assert (found.note, found.paired) == ("paired by sample only: the seeds differ", True)
    assert (found.first, found.second, found.n, found.p) == (1.0, 0.0, 6, 2 / 2**6)


def test_other_judges_are_compared_and_said_to_differ(words: Path) -> None:
    run_words(out="a", modes="direct")
    run_words(out="b", modes="direct", judges="reader:batch=2")
    (found,) = between_runs("a", "b")
    assert (found.judge, found.note, found.n) == ("reader -> reader:batch=2", "judges differ", 6)


def test_runs_that_share_nothing(words: Path) -> None:
    run_words(out="a", modes="direct")
    run_words(out="b", modes="answer")
    with pytest.raises(UsageError, match="a and b have no task, mode, model and judge in common to compare"):
        between_runs("a", "b")
    with pytest.raises(UsageError, match="in common"):
        between_runs("a", "a", task=["other"])
