"""How far runs are: counted as logs grow, whatever state a folder is in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support_backends import Painter
from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from unisandbox.records import Generation, Request
from unisandbox.view.progress import Follower, Runs

pytestmark = pytest.mark.usefixtures("words")


def test_a_run_is_followed_as_it_grows() -> None:
    run_words(modes=["direct", "answer"], repeats=2)
    folder = Path("run")
    logs = {name: (folder / name).read_bytes() for name in ("generations.jsonl", "verdicts.jsonl")}
    for name in logs:
        (folder / name).write_bytes(b"")
    follower = Follower(folder)
    assert (one := follower.progress()).asked == 0 and (one.to_ask, one.to_judge) == (24, 24)
    half = {name: text[: len(text) // 2] for name, text in logs.items()}  # in the middle of a line
    for name, text in half.items():
        (folder / name).write_bytes(text)
    one = follower.progress()
    assert one.asked == half["generations.jsonl"].count(b"\n") and one.state == "running"
    os.utime(folder / "run.json", (1, 1))
    for name in logs:
        os.utime(folder / name, (1, 1))
    assert follower.progress().state == "stopped"
    for name, text in logs.items():
        (folder / name).write_bytes(text)
    one = follower.progress()
    assert (one.asked, one.judged, one.errors, one.state) == (24, 24, 0, "finished")
    assert (one.name, one.tasks, one.models) == ("run", ("words",), ("painter",))


def test_a_run_started_over_is_counted_anew() -> None:
    run_words()
    follower = Follower(Path("run"))
    assert follower.progress().asked == 6
    run_words(limit=2, fresh=True)
    assert (follower.progress().asked, follower.progress().state) == (2, "finished")


def test_errors_are_counted_until_they_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(self: Painter, request: Request) -> Generation:
        failed = request.sample_id == "s2"
        return Generation(request.key, finish="error", error="no") if failed else real(self, request)

    real = Painter.answer
    with monkeypatch.context() as patch:
        patch.setattr(Painter, "answer", answer)
        run_words(tries=1)
    follower = Follower(Path("run"))
    assert (one := follower.progress()).errors == 1 and (one.asked, one.judged) == (6, 5)
    assert one.state == "finished"
    run_words()
    assert ((one := follower.progress()).errors, one.judged) == (0, 6)


def test_a_folder_that_cannot_be_read_says_why_and_hides_no_other() -> None:
    run_words(out="runs/good")
    Path("runs/bad").mkdir()
    Path("runs/bad/run.json").write_text("{")
    Path("runs/nothing").mkdir()
    found = {one.name: one for one in Runs(Path("runs")).progress()}
    assert set(found) == {"good", "bad"} and found["good"].state == "finished"
    assert found["bad"].state == "broken" and "run.json cannot be read" in found["bad"].problem


def test_a_run_by_itself_is_shown_alone() -> None:
    run_words(out="runs/one")
    assert list(Runs(Path("runs/one")).folders()) == ["one"]
    assert Runs(Path("runs/one/images")).folders() == {}
