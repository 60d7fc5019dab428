"""The verdicts of a run as arrays: the last word counts, in whatever order it was said."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import orjson
import pytest

from tests.support_backends import Painter, Reader
from tests.support_run import lines, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox.attribution import attribute
from unisandbox.errors import RunFolderError
from unisandbox.records import Generation, Request
from unisandbox.trials import Trials, read_trials

pytestmark = pytest.mark.usefixtures("words")


def only(folder: str = "run") -> Trials:
    (found,) = read_trials(folder)
    return found


def test_verdicts_by_mode_and_judge() -> None:
    run_words(modes=["direct", "answer"], models="painter:right=0", repeats=2)
    found = only()
    assert found.samples == ("s1", "s2", "s3", "s4", "s5", "s6") == found.units
    assert set(found.passed) == {("direct", "reader"), ("answer", "reader")}
    assert all(values.shape == (6, 2) and not values.any() for values in found.passed.values())
    assert (found.task, found.model, found.expected, found.seed) == ("words", "painter:right=0", 6, 0)
    assert found.absent == dict.fromkeys(
        ("cot", "recall", "render", "refined", "gold", "planted", "caption"), "not asked"
    )


def test_why_a_mode_is_absent() -> None:
    run_words(modes="all", models="mute")
    absent = only().absent
    assert absent["recall"] == "not in this task"
    assert absent["answer"] == "the model does not: writes text" and "direct" not in absent


def test_errors_have_no_verdict_until_they_are_put_right(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Painter, request: Request) -> Generation:
        failed = Generation(request.key, finish="error", error="no")
        return failed if request.sample_id == "s2" else real(self, request)

    real = Painter.answer
    with monkeypatch.context() as patch:
        patch.setattr(Painter, "answer", broken)
        run_words()
    values = only().passed["answer", "reader"][:, 0]
    assert np.isnan(values[1]) and np.nansum(values) == 5
    run_words()
    assert only().passed["answer", "reader"].sum() == 6


def test_a_judges_error_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(self: Reader, view: object) -> str:
        raise OSError("gone")

    monkeypatch.setattr(Reader, "read", unreadable)
    run_words()
    assert np.isnan(only().passed["answer", "reader"]).all()


def test_the_order_of_the_log_changes_nothing() -> None:
    run_words(modes="all", models="painter:right=0.5", repeats=2)
    before, causes = only(), attribute("run").to_rows()
    for name in ("generations.jsonl", "verdicts.jsonl"):
        shuffled = lines(name)
        random.Random(1).shuffle(shuffled)
        Path("run", name).write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in shuffled))
    after = only()
    assert after.samples == before.samples
    assert all(np.array_equal(after.passed[cell], before.passed[cell]) for cell in before.passed)
    assert attribute("run").to_rows() == causes


def test_an_unfinished_run_knows_how_much_is_missing() -> None:
    run_words()
    for name in ("generations.jsonl", "verdicts.jsonl"):
        path = Path("run", name)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    found = only()
    assert (len(found.samples), found.expected) == (2, 6)


def test_a_folder_that_is_no_run() -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        read_trials("nowhere")
