"""Best of n: what a judge would choose, counted by hand."""

from pathlib import Path

import numpy as np
import pytest

from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from tests.support_trials import trials
from unisandbox import best_of as module
from unisandbox.api import run
from unisandbox.best_of import Best, best_of
from unisandbox.cli import main
from unisandbox.errors import UsageError
from unisandbox.stats import pass_at_k, wilson


def found(monkeypatch: pytest.MonkeyPatch, **lines: str) -> dict[tuple[str, str], Best]:
    """Return best of n by verifier and judge, from a line of repeats a sample for each judge."""
    table = trials({"direct": next(iter(lines.values()))}, units=None)
    passed = {
        ("direct", judge): np.array(
            [[{"+": 1.0, "-": 0.0, ".": np.nan}[sign] for sign in sample] for sample in line.split()]
        )
        for judge, line in lines.items()
    }
    object.__setattr__(table, "passed", passed)
    monkeypatch.setattr(module, "read_trials", lambda _: [table])
    return {(one.verifier, one.judge): one for one in best_of("run")}


def test_the_same_judge_counts_any_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    one = found(monkeypatch, a="--+ +-- --- -+-")["a", "a"]
    assert (one.of, one.n, one.first, one.best) == (3, 4, 0.25, 0.75)
    assert (one.low, one.high) == wilson(3, 4)


def test_another_judge_scores_what_the_verifier_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    """a takes the third, the first, the first for want of better, the second."""
    scored = found(monkeypatch, a="--+ +-- --- -+-", b="--+ -++ +-- -+-")
    assert scored["a", "b"].best == 0.75
    assert scored["b", "b"].best == 1.0


def test_a_sample_without_all_verdicts_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, a="+- -. --")["a", "a"].n == 2


def test_one_repeat_has_no_best(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, a="+ -") == {}


def test_a_run_reports_it_apart(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--tasks", "words.yaml", "--models", "painter:right=0.5", "--judges", "reader"]
    assert main([*command, "--modes", "direct", "--best-of", "4", "--out", "run", "--quiet"]) == 0
    (one,) = best_of("run")
    assert one.of == 4 and one.first < one.best
    shown = capsys.readouterr().out
    assert f"{one.best:.2f}" in shown.rpartition("best of 4")[2]
    plain = run_words(models=["painter:right=0.5"], modes=["direct"], repeats=4)
    (cell,) = plain
    assert cell.score.value is not None and cell.score.value < one.best  # the plain score is what it was
    assert pass_at_k(4, 0, 4) == 0


def test_repeats_that_say_something_else_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--best-of 4 draws as many generations.*--repeats says 3"):
        run(best_of=4, repeats=3)
    with pytest.raises(UsageError, match="best_of=1"):
        run(best_of=1)
