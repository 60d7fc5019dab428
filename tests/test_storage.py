"""Runs on an object store: mirrored there, taken up on another machine, never two writers at once.

The stores are fsspec's own ``memory://`` and ``file://``; losing a machine is losing its ``runs`` folder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.support_backends import Painter
from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from unisandbox import merge, storage
from unisandbox.api import judge_again
from unisandbox.cli import main
from unisandbox.errors import BackendError, RunFolderError, UsageError
from unisandbox.records import Generation, Request
from unisandbox.storage import local, spool_of

URL = "memory://bucket/night"
MANY = {"modes": ["direct", "cot", "answer", "caption"], "models": "painter:right=0.5"}


@pytest.fixture(autouse=True)
def empty_store() -> Iterator[None]:
    MemoryFileSystem.store.clear()
    yield
    MemoryFileSystem.store.clear()


@pytest.fixture
def expected(words: Path) -> bytes:
    """The results of the same run on the local disk."""
    run_words(**MANY)
    return Path("run/results.json").read_bytes()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answers take a moment and new lines are sent often; return what was asked, sample by sample."""
    monkeypatch.setattr(storage, "EVERY", 0.02)
    return noted(monkeypatch, 0.02)


def noted(monkeypatch: pytest.MonkeyPatch, pause: float = 0.0) -> list[str]:
    asked: list[str] = []
    answer = Painter.answer

    def late(self: Painter, request: Request) -> Generation:
        time.sleep(pause)
        asked.append(request.key)
        return answer(self, request)

    monkeypatch.setattr(Painter, "answer", late)
    return asked


def stored(name: str, url: str = URL) -> bytes:
    """Return a file of the store, a log joined from its parts."""
    system, root = fsspec.core.url_to_fs(url)
    parts = sorted(system.find(f"{root}/{name}"))
    return b"".join(system.cat_file(part) for part in parts)


def parts_of(log: str) -> list[str]:
    return sorted(MemoryFileSystem().find(f"/bucket/night/{log}"))


def lose_the_machine() -> None:
    shutil.rmtree("runs")


def test_everything_is_in_the_store_and_the_results_are_the_same(expected: bytes, slow: list[str]) -> None:
    results = run_words(**MANY, out=URL)
    assert results.folder == spool_of(URL) and results.finished
    assert stored("results.json") == expected == (results.folder / "results.json").read_bytes()
    for log in ("generations.jsonl", "verdicts.jsonl"):
        assert stored(log) == (results.folder / log).read_bytes()
        assert len(parts_of(log)) > 1
    pictures = {path.name for path in Path("run/images").iterdir()}
    assert {path.rpartition("/")[2] for path in parts_of("images")} == pictures


def test_a_file_system_like_any_other(expected: bytes, in_tmp: Path) -> None:
    url = f"file://{in_tmp}/shared/night"
    run_words(**MANY, out=url)
    lose_the_machine()
    assert (in_tmp / "shared/night/results.json").read_bytes() == expected
    run_words(**MANY, out=url)
    assert (in_tmp / "shared/night/results.json").read_bytes() == expected


def test_on_another_machine_it_goes_on_where_it_was_sent(
    expected: bytes, slow: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_words(**MANY, out=URL)
    everything = stored("generations.jsonl")
    for log in ("generations.jsonl", "verdicts.jsonl"):  # as far as a machine came that was lost
        for part in parts_of(log)[2:]:
            MemoryFileSystem().rm(part)
    MemoryFileSystem().rm("/bucket/night/results.json")
    kept = stored("generations.jsonl").count(b"\n")
    assert 0 < kept < everything.count(b"\n")
    lose_the_machine()
    slow.clear()
    run_words(**MANY, out=URL)
    assert stored("results.json") == expected
    assert len(set(slow)) == everything.count(b"\n") - kept
    assert sorted(stored("generations.jsonl").splitlines()) == sorted(everything.splitlines())


def test_of_pictures_drawn_before_only_those_needed_are_fetched(words: Path, slow: list[str]) -> None:
    run_words(modes=["direct", "cot"], out=URL)
    lose_the_machine()
    run_words(modes=["direct", "cot"], out=URL)
    assert list((spool_of(URL) / "images").iterdir()) == []
    for part in parts_of("verdicts.jsonl"):
        MemoryFileSystem().rm(part)
    lose_the_machine()
    slow.clear()
    assert run_words(modes=["direct", "cot"], out=URL).coverage == 1
    assert slow == [] and list((spool_of(URL) / "images").iterdir())


def test_a_spool_that_was_not_sent_to_the_end_is_not_lost(
    expected: bytes, slow: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after ``kill -9``: the machine is there, the last seconds are in the spool alone."""
    run_words(**MANY, out=URL)
    for log in ("generations.jsonl", "verdicts.jsonl"):
        MemoryFileSystem().rm(parts_of(log)[-1])
    slow.clear()
    run_words(**MANY, out=URL)
    assert slow == [] and stored("results.json") == expected
    assert stored("generations.jsonl") == (spool_of(URL) / "generations.jsonl").read_bytes()


def test_a_spool_that_others_went_on_from_is_brought_up_to_date(expected: bytes, slow: list[str]) -> None:
    run_words(**MANY, out=URL)
    for log in ("generations.jsonl", "verdicts.jsonl"):
        path = spool_of(URL) / log
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    slow.clear()
    run_words(**MANY, out=URL)
    assert slow == [] and stored("results.json") == expected


def test_a_second_writer_is_found_out(
    words: Path, slow: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = Painter.answer

    def other(self: Painter, request: Request) -> Generation:
        """Another machine begins the same run in the meantime."""
        system = MemoryFileSystem()
        system.pipe_file("/bucket/night/generations.jsonl/000000000000", b"theirs\n")
        return answer(self, request)

    monkeypatch.setattr(Painter, "answer", other)
    monkeypatch.setattr(storage, "EVERY", 30.0)
    with pytest.raises(RunFolderError, match=f"{URL}: another process is writing this run"):
        run_words(out=URL)
    assert stored("generations.jsonl") == b"theirs\n"


def test_a_store_that_fails_is_tried_again_and_loses_nothing(
    expected: bytes, slow: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:

        def refuse(self: MemoryFileSystem, path: str, *args: Any, **options: Any) -> None:
            raise PermissionError("the key has expired")

        patch.setattr(MemoryFileSystem, "pipe_file", refuse)
        with pytest.raises(
            RunFolderError, match=r"cannot be reached: PermissionError: the key has expired\. What"
        ):
            run_words(**MANY, out=URL)
    assert capsys.readouterr().err.count("warning: memory://bucket/night cannot be reached") == 1
    slow.clear()
    run_words(**MANY, out=URL)
    assert slow == [] and stored("results.json") == expected


def test_fresh_starts_over_there_too(expected: bytes) -> None:
    run_words(out=URL, seed=7)
    with pytest.raises(RunFolderError, match="holds a run of another matrix"):
        run_words(**MANY, out=URL)
    run_words(**MANY, out=URL, fresh=True)
    assert stored("results.json") == expected
    assert stored("generations.jsonl").count(b"\n") == 24


def test_commands_that_read_runs_read_them_there(expected: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    words = "run --tasks words.yaml --modes direct cot answer caption --models painter:right=0.5"
    assert main([*words.split(), "--judges", "reader", "--quiet", "--out", URL]) == 0
    assert stored("report.html").startswith(b"<!doctype html>")
    lose_the_machine()
    capsys.readouterr()
    assert main(["show", URL, "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert main(["compare", URL, "run"]) == 0
    lose_the_machine()
    assert main(["merge", URL, "-o", "merged", "--no-report"]) == 0
    assert Path("merged/results.json").read_bytes() == expected
    assert {p.name for p in Path("merged/images").iterdir()} == {p.name for p in Path("run/images").iterdir()}
    assert main(["resume", URL, "--quiet"]) == 0
    assert merge([URL], "merged").finished


def test_judging_again_is_sent_too(words: Path) -> None:
    run_words(out=URL)
    judge_again(local(URL), ["reader:batch=2"])
    assert b"reader:batch=2" in stored("run.json") and b"reader:batch=2" in stored("verdicts.jsonl")


def test_a_model_that_cannot_be_loaded_leaves_nothing_there(
    words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = MemoryFileSystem().exists

    def fail(self: Painter) -> None:
        until = time.monotonic() + 10
        while not there("/bucket/night/run.json") and time.monotonic() < until:
            time.sleep(0.01)
        raise OSError("no such weights" if there("/bucket/night/run.json") else "nothing was sent")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "EVERY", 0.02)
        patch.setattr(Painter, "__init__", fail)
        with pytest.raises(BackendError, match="no such weights"):
            run_words(out=URL)
    assert not there("/bucket/night/run.json")
    assert run_words(out=URL, seed=1).finished


def test_a_run_on_the_local_disk_never_asks_fsspec(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "Mirror", lambda url: pytest.fail("a mirror"))
    run_words(**MANY)
    assert main(["show", "run"]) == 0


def test_a_url_that_nothing_knows(words: Path) -> None:
    with pytest.raises(UsageError, match=r"^nowhere://bucket/night: Protocol not known: nowhere"):
        run_words(out="nowhere://bucket/night")


def test_a_url_without_a_run(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", URL]) == 2
    assert capsys.readouterr().err == f"error: {URL} is not a run folder: it has no run.json.\n"
