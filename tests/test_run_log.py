"""The run folder: locked, append-only, and honest about every line it cannot use."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support_backends import Painter, picture
from tests.support_run import by_sample, lines, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox.api import resume
from unisandbox.errors import BackendError, RunFolderError
from unisandbox.records import Generation, Image, Request
from unisandbox.run_log import RunLog, read_lines

pytestmark = pytest.mark.usefixtures("words")

GENERATIONS, VERDICTS = Path("run/generations.jsonl"), Path("run/verdicts.jsonl")


def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the samples that the model is asked from now on."""
    samples: list[str] = []
    answer = Painter.answer

    def noting(self: Painter, request: Request) -> Generation:
        samples.append(request.sample_id)
        return answer(self, request)

    monkeypatch.setattr(Painter, "answer", noting)
    return samples


def contents(folder: Path = Path("run")) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_folder_holds_what_the_design_says() -> None:
    run_words(modes=["direct", "answer"])
    assert {path.name for path in Path("run").iterdir()} == {
        ".lock", "run.json", "generations.jsonl", "verdicts.jsonl", "images", "results.json"
    }  # fmt: skip
    line = next(
        line for line in lines("generations.jsonl") if line["mode"] == "direct" and line["sample"] == "s3"
    )
    assert line == {
        "key": line["key"],
        "task": "words",
        "mode": "direct",
        "model": "painter",
        "sample": "s3",
        "unit": "s3",
        "repeat": 0,
        "seed": line["seed"],
        "finish": "complete",
        "prompt": "Which is w3?",
        "image": picture(3).name,
    }
    assert {path.name for path in Path("run/images").iterdir()} == {picture(n).name for n in range(1, 7)}
    verdict = next(one for one in lines("verdicts.jsonl") if one["key"] == line["key"])
    assert verdict["judge"] == "reader" and verdict["rubric"] == "words" and verdict["raw"] == ["as seen"]
    assert (verdict["outcome"], verdict["observed"], verdict["target"]) == (
        "correct",
        {"answer": "w3"},
        {"answer": "w3"},
    )


def test_a_picture_is_written_once_with_its_own_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Painter, "answer", lambda self, request: Generation(request.key, Image(b"odd", ".webp"))
    )
    run_words(modes="direct")
    (path,) = Path("run/images").iterdir()
    assert path.read_bytes() == b"odd" and path.suffix == ".webp"


# --- one writer ---


def test_two_writers_are_refused_and_the_first_goes_on() -> None:
    with RunLog(Path("run")):
        with pytest.raises(RunFolderError, match=r"^run: another process is writing this run\. Wait for it"):
            run_words()
        with pytest.raises(RunFolderError, match="another process"):
            run_words(fresh=True)  # nor may it delete anything
    assert run_words().finished


def test_a_lock_left_by_a_killed_run_is_no_lock() -> None:
    Path("run").mkdir()
    Path("run/.lock").write_text("")
    assert run_words().finished


# --- what cannot be written ---


@pytest.mark.parametrize(
    "in_the_way", ["run", "run/images", "run/generations.jsonl", "run/verdicts.jsonl", "run/.lock"]
)
def test_something_in_the_way(in_the_way: str) -> None:
    path = Path(in_the_way)
    path.parent.mkdir(exist_ok=True)
    if path.suffix:
        path.mkdir()
    else:
        path.write_text("mine")
    if in_the_way == "run/.lock":
        path.unlink()
        path.mkdir()
    with pytest.raises(RunFolderError, match=r"^run: cannot be written: .+\. Choose another --out\.$"):
        run_words()
    assert path.is_dir() or path.read_text() == "mine"


def test_results_in_the_way() -> None:
    Path("run/results.json").mkdir(parents=True)
    with pytest.raises(RunFolderError, match="run: cannot be written"):
        run_words()
    with pytest.raises(RunFolderError, match="run: cannot be written"):
        run_words()  # now run.json is there, and the results were to be removed
    assert len(lines("generations.jsonl")) == 6


@dataclass
class Full:
    """A log file on a disk that has room for some bytes."""

    file: Any
    room: int

    def write(self, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written: int = self.file.write(data[: self.room])
        self.room -= written
        return written

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()


@pytest.mark.parametrize("name", ["generations.jsonl", "verdicts.jsonl"])
@pytest.mark.parametrize("room", [0, 100, 700])
def test_a_full_disk_keeps_what_is_written(name: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run_words(out="whole")
    open_ = RunLog._open

    def narrow(self: RunLog, wanted: str) -> Any:
        file = open_(self, wanted)
        return Full(file, room) if wanted == name else file

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "_open", narrow)
        with pytest.raises(
            RunFolderError, match=r"^run: the disk is full\. What is written is kept: free some"
        ):
            run_words()
    good = (
        len(lines(name))
        if (Path("run") / name).read_bytes().endswith(b"\n")
        else len(list(read_lines(Path("run") / name)))
    )
    samples = asked(monkeypatch)
    assert run_words().finished
    if name == "generations.jsonl":
        assert len(samples) == 6 - good
    assert Path("run/results.json").read_bytes() == Path("whole/results.json").read_bytes()


def test_a_full_disk_for_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def narrow(self: Path, data: Any) -> int:
        if picture(3).name in self.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", narrow)
        with pytest.raises(RunFolderError, match="run: the disk is full"):
            run_words(modes="direct")
    assert {line["sample"] for line in lines("generations.jsonl")} == {"s6", "s5", "s4"}
    assert run_words(modes="direct").finished


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB, where one may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = small_disk / "run"
    with pytest.raises(RunFolderError, match="the disk is full"):
        run_words(out=out, repeats=100)
    kept = len(list(read_lines(out / "generations.jsonl")))
    assert 0 < kept < 600
    moved = shutil.copytree(out, "moved")
    samples = asked(monkeypatch)
    results = run_words(out=moved, repeats=100)
    assert results.finished and len(samples) == 600 - kept
    run_words(out="whole", repeats=100)
    assert Path("moved/results.json").read_bytes() == Path("whole/results.json").read_bytes()


# --- a model that cannot be loaded ---


def unloadable(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(self: Painter) -> None:
        raise error

    patch.setattr(Painter, "__init__", fail)


def test_a_model_that_fails_before_it_is_asked_leaves_the_folder_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    with monkeypatch.context() as patch:
        unloadable(patch, OSError("no such weights"))
        for out in ("run", "mine", "deep/run"):
            with pytest.raises(BackendError, match="no such weights"):
                run_words(out=out)
    assert contents(Path("mine")) == {"mine/notes.txt": b"mine"}
    assert not Path("run").exists() and not Path("deep/run").exists()
    assert run_words(out="mine", seed=1).finished  # and is free for another matrix


def test_a_model_that_fails_where_something_was_asked_deletes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_words(modes="answer", shard="1/2")
    before = contents()
    for log in (GENERATIONS, VERDICTS):
        lines_ = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines_[:2]))
    kept = {path: data for path, data in contents().items() if path.endswith(".jsonl")}
    with monkeypatch.context() as patch:
        unloadable(patch, OSError("no such weights"))
        with pytest.raises(BackendError):
            run_words(modes="answer", shard="1/2")
    assert {path: data for path, data in contents().items() if path.endswith(".jsonl")} == kept
    run_words(modes="answer", shard="1/2")
    assert contents()["run/results.json"] == before["run/results.json"]


def test_a_run_stopped_while_its_model_is_loaded_can_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        unloadable(patch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run_words()
        unloadable(patch, OSError("no such weights"))
        with pytest.raises(BackendError):
            resume(Path("run"))
    assert resume(Path("run")).finished


# --- lines that cannot be used ---

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no JSON": lambda line: b"\x00\xff{" + line[5:],
    "cut": lambda line: line[:40] + b"\n",
    "no object": lambda line: b"[1, 2]\n",
    "no key": lambda line: line.replace(b'"key"', b'"kay"'),
    "no task": lambda line: line.replace(b'"task"', b'"tusk"'),
    "no end": lambda line: line.replace(b'"finish"', b'"fin"').replace(b'"outcome"', b'"out"'),
    "repeat in words": lambda line: line.replace(b'"repeat":0', b'"repeat":"once"'),
    "repeat below 0": lambda line: line.replace(b'"repeat":0', b'"repeat":-1'),
    "two lines in one": lambda line: line[:-1] + line,
}


def damage(path: Path, number: int, how: str) -> str:
    """Spoil one line of a log; return whose it was."""
    log = path.read_bytes().splitlines(keepends=True)
    sample: str = json.loads(log[number - 1])["sample"]
    log[number - 1] = DAMAGE[how](log[number - 1])
    path.write_bytes(b"".join(log))
    return sample


@pytest.mark.parametrize("how", DAMAGE)
def test_a_spoilt_generation_is_named_and_asked_again(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run_words()
    before = Path("run/results.json").read_bytes()
    sample = damage(GENERATIONS, 2, how)
    samples = asked(monkeypatch)
    assert run_words() == whole
    assert samples == [sample]
    assert capsys.readouterr().err == "warning: run/generations.jsonl:2: not a log line, left out\n"
    assert Path("run/results.json").read_bytes() == before


@pytest.mark.parametrize("how", DAMAGE)
def test_a_spoilt_verdict_is_named_and_judged_again(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run_words()
    before = Path("run/results.json").read_bytes()
    sample = damage(VERDICTS, 3, how)
    samples = asked(monkeypatch)
    assert run_words() == whole
    assert samples == [] and len(VERDICTS.read_bytes().splitlines()) == 7
    assert json.loads(VERDICTS.read_bytes().splitlines()[-1])["sample"] == sample
    assert capsys.readouterr().err == "warning: run/verdicts.jsonl:3: not a log line, left out\n"
    assert Path("run/results.json").read_bytes() == before


@pytest.mark.parametrize("path", [GENERATIONS, VERDICTS])
@pytest.mark.parametrize("left", [1, 40, -1])
def test_a_torn_last_line_is_dropped_and_done_again(
    path: Path, left: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run_words()
    log = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(log[:-1]) + log[-1][:left])
    samples = asked(monkeypatch)
    assert run_words() == whole
    assert samples == ([json.loads(log[-1])["sample"]] if path == GENERATIONS else [])
    assert path.read_bytes() == b"".join(log)  # the same line, written again
    assert capsys.readouterr().err == ""


def test_a_torn_first_line_longer_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "w3 " * 50_000
    monkeypatch.setattr(Painter, "answer", lambda self, request: Generation(request.key, text=long))
    run_words(limit=1)
    GENERATIONS.write_bytes(GENERATIONS.read_bytes()[:-10])
    assert run_words(limit=1).finished
    assert len(lines("generations.jsonl")) == 1


def test_lines_of_other_trials_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when somebody joins two logs: they are neither used nor lost."""
    run_words()
    strange = [{**line, "sample": "s99"} for line in lines("generations.jsonl")[:1]]
    strange += [{**line, "model": "other"} for line in lines("generations.jsonl")[:1]]
    strange += [{**line, "repeat": 7} for line in lines("generations.jsonl")[:1]]
    with GENERATIONS.open("a") as log:
        log.writelines(json.dumps(line) + "\n" for line in strange)
    samples = asked(monkeypatch)
    assert run_words().finished and samples == []
    assert len(lines("generations.jsonl")) == 9


@pytest.mark.parametrize(
    "notes",
    [{1: "a number as key"}, {"when": Path("here")}, {"broken": "\ud83d"}, {"rate": float("nan")}],
    ids=["number as key", "no JSON type", "half a character", "NaN"],
)
def test_whatever_a_model_notes_is_logged(notes: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Painter, "answer", lambda self, request: Generation(request.key, text="w1", notes=notes)
    )
    assert run_words().finished
    assert len(lines("generations.jsonl")) == 6 and len(list(read_lines(GENERATIONS))) == 6


def test_half_a_character_in_an_answer_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers cut JSON escapes of emoji in two, and Python takes the halves."""
    monkeypatch.setattr(
        Painter,
        "answer",
        lambda self, request: Generation(request.key, text=f"w{request.sample_id[1:]}\ud83d."),
    )
    assert run_words().finished
    assert by_sample("generations.jsonl")["s1"]["text"] == "w1?."


# --- another matrix ---


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"modes": ["answer", "render"]}, r"modes was \['answer'\] and is now \['answer', 'render'\]"),
        ({"models": "thinker"}, r"models was \['painter'\] and is now \['thinker'\]"),
        ({"models": "painter:right=0.5"}, r"models was \['painter'\] and is now \['painter:right=0.5'\]"),
        ({"judges": "rules"}, r"judges was \['reader'\] and is now \['rules'\]"),
        ({"seed": 1}, "seed was 0 and is now 1"),
        ({"repeats": 2}, "repeats was 1 and is now 2"),
        ({"limit": 2}, "limit was None and is now 2"),
    ],
)
def test_a_folder_of_another_matrix_is_refused(options: dict[str, Any], difference: str) -> None:
    run_words()
    before = contents()
    wanted = (
        rf"^run holds a run of another matrix: {difference}\. Choose another --out, or start over with --"
    )
    with pytest.raises(RunFolderError, match=wanted):
        run_words(**options)
    assert contents() == before


def test_a_changed_task_is_another_matrix() -> None:
    run_words()
    task = Path("words.yaml")
    task.write_text(task.read_text().replace("In words:", "Say:"))
    with pytest.raises(RunFolderError, match=r"tasks\.words\.fingerprint was '\w+' and is now '\w+'"):
        run_words()
    task.rename("others.yaml")
    with pytest.raises(RunFolderError, match=r"tasks\.words is gone"):
        run_words(tasks="others.yaml")


def test_what_does_not_decide_scores_may_change() -> None:
    run_words()
    assert run_words(batch_size=1, tries=1, min_coverage=0.5, tasks=Path("words.yaml").resolve()).finished


def test_fresh_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    run_words(modes="direct")
    samples = asked(monkeypatch)
    run_words(fresh=True)
    assert len(samples) == 6 and list(Path("run/images").iterdir()) == []
    assert {line["mode"] for line in lines("verdicts.jsonl")} == {"answer"}


def test_fresh_works_in_a_new_folder() -> None:
    assert run_words(fresh=True).finished


@pytest.mark.parametrize("name", ["images/holiday.jpg", "generations.jsonl", "results.json"])
def test_fresh_deletes_no_folder_but_a_run(name: str) -> None:
    mine = Path("run") / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine\n")
    with pytest.raises(
        RunFolderError, match=r"^run is not a run folder: it has no run\.json\. --fresh would delete"
    ):
        run_words(fresh=True)
    assert mine.read_text() == "mine\n"


def test_a_log_that_has_lost_its_run_json_is_not_taken_for_this_run() -> None:
    run_words()
    Path("run/run.json").unlink()
    before = contents()
    with pytest.raises(RunFolderError, match=r"^run holds a log, but no run\.json.*Choose another --out"):
        run_words(seed=1)
    assert contents() == before


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "cannot be read"), ("", "cannot be read"), ("[]", "cannot be read"), ("null", "cannot be read"),
     ("{}", "cannot be read"), ('{"format": 1, "matrix": 7}', "cannot be read")],
)  # fmt: skip
def test_a_spoilt_run_json_is_named(text: str, why: str) -> None:
    run_words()
    Path("run/run.json").write_text(text)
    before = contents()
    with pytest.raises(RunFolderError, match=rf"^run/run\.json {why}: .*Start over with --fresh"):
        run_words()
    assert contents() == before
    assert run_words(fresh=True).finished


@pytest.mark.parametrize("format_", [0, 2])
def test_another_log_format_is_not_guessed_at(format_: int) -> None:
    run_words()
    path = Path("run/run.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": format_}))
    before = contents()
    with pytest.raises(RunFolderError, match=rf"written in log format {format_}, this version reads 1"):
        run_words()
    assert contents() == before


# --- resuming ---


def test_a_finished_run_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_words(modes=["direct", "answer"])
    before = contents()
    samples = asked(monkeypatch)
    assert run_words(modes=["direct", "answer"]) == whole
    assert samples == [] and contents() == before


def test_secrets_never_reach_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    run_words(models="painter:api_key=sk-very-secret,right=0.5", modes=["direct", "cot"])
    assert b"painter:api_key=***,right=0.5" in Path("run/run.json").read_bytes()
    assert not any(b"very-secret" in data or "very-secret" in name for name, data in contents().items())
    out = capsys.readouterr()
    assert "very-secret" not in out.out + out.err


def never(self: Painter, requests: Sequence[Request]) -> Iterator[Generation]:
    raise AssertionError("the model is not to be asked")
    yield  # pragma: no cover


def cut(path: Path, keep: int) -> None:
    """Forget the last lines of a log, as a kill before they were written does."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:keep]))


@pytest.mark.parametrize("mode", ["answer", "direct", "cot"])
def test_verdicts_that_were_lost_are_made_from_the_log(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the outcome: correct, incorrect, and no answer, which no judge ever sees."""
    options = {"models": "painter:right=0.5,unanswered=0.5", "modes": mode, "repeats": 4}
    whole = run_words(**options)
    assert {"refused", "empty", "correct", "incorrect"} <= set(whole.cells[0].score.outcomes)
    before, verdicts = Path("run/results.json").read_bytes(), sorted(VERDICTS.read_bytes().splitlines())
    for keep in (0, 1, 11, 23):
        cut(VERDICTS, keep)
        with monkeypatch.context() as patch:
            patch.setattr(Painter, "generate", never)
            assert run_words(**options).finished
        assert Path("run/results.json").read_bytes() == before
        assert sorted(VERDICTS.read_bytes().splitlines()) == verdicts


def test_the_last_generation_of_a_trial_is_the_one_that_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error, then an answer, then a kill before its verdict."""
    with monkeypatch.context() as patch:
        patch.setattr(
            Painter, "answer", lambda self, request: Generation(request.key, finish="error", error="out")
        )
        assert run_words().cells[0].score.errors == 6
    run_words()
    before = Path("run/results.json").read_bytes()
    cut(VERDICTS, 0)
    monkeypatch.setattr(Painter, "generate", never)
    assert run_words().cells[0].score.value == 1.0
    assert Path("run/results.json").read_bytes() == before


@pytest.mark.parametrize("mode", ["direct", "caption"])
def test_a_picture_that_was_lost_before_it_was_judged_is_drawn_again(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_words(modes=mode)
    before = contents()
    cut(VERDICTS, 0)
    (Path("run/images") / picture(4).name).unlink()
    samples = asked(monkeypatch)
    assert run_words(modes=mode).finished
    assert samples == ["s4"]
    assert contents()["run/results.json"] == before["run/results.json"]
    assert contents()[f"run/images/{picture(4).name}"] == picture(4).data
