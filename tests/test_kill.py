"""A run that is killed or interrupted at any moment ends as if it never had been.

Real processes: ``kill -9`` at random moments, and Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from tests.support_backends import install_copy, write_task

UNISANDBOX = [sys.executable, "-m", "unisandbox"]
KILLS = 20
MODES = ["direct", "cot", "answer", "refined", "caption"]
SAMPLES = 40


class Runs:
    """A task, a plugin, and runs of them: each in a process and a folder of its own, as ``run`` in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "PYTHONPATH": str(install_copy(folder / "site"))}
        write_task(folder, SAMPLES)

    def __getitem__(self, name: str) -> Run:
        (self._folder / name).mkdir(exist_ok=True)
        return Run(self._folder / name, self._environment)


class Run:
    """One run, in however many starts."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder / "run"
        self._settings: dict[str, Any] = {"cwd": folder, "env": environment, "text": True}
        self._calls, self._pause = folder / "calls", folder / "pause"

    @contextmanager
    def started(
        self, pause: float = 0.0, judge_pause: float = 0.0, modes: Sequence[str] = MODES
    ) -> Iterator[subprocess.Popen[str]]:
        """Start it; it does not outlive the block. The pauses are no part of what is run."""
        self._pause.write_text(f"{pause} {judge_pause}")
        with subprocess.Popen(
            self._command(modes), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **self._settings
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def finish(self, *words: str, modes: Sequence[str] = MODES) -> subprocess.CompletedProcess[str]:
        """Let it run to the end, by the same command or by another."""
        self._pause.write_text("0 0")
        command = [*UNISANDBOX, *words] if words else self._command(modes)
        return subprocess.run(command, capture_output=True, timeout=60, check=False, **self._settings)

    def _command(self, modes: Sequence[str]) -> list[str]:
        model = "painter:right=0.7,unanswered=0.2,batch=6,calls=calls,pauses=pause"
        judge = "reader:batch=5,calls=calls,pauses=pause"
        words = ["run", "--tasks", "../words.yaml", "--models", model, "--judges", judge, "--out", "run"]
        return [*UNISANDBOX, *words, "--modes", *modes]

    def calls(self) -> list[tuple[str, ...]]:
        """Return what model and judge were given so far: key, or picture, and kind."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [tuple(line.split()) for line in lines]

    def asked(self) -> Counter[tuple[str, ...]]:
        """Return how often the model was given what."""
        return Counter(call for call in self.calls() if call[1] != "view")

    def logged(self, name: str = "generations.jsonl") -> set[str]:
        """Return the keys of the whole lines of a log; a torn last one is nothing."""
        path = self.folder / name
        whole = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []
        return {orjson.loads(line)["key"] for line in whole}

    def wait_for_calls(self, process: subprocess.Popen[str], number: int, seconds: float = 30.0) -> None:
        """Wait until so many calls are noted, so many seconds are over, or the process has ended."""
        end = time.monotonic() + seconds
        while len(self.calls()) < number and time.monotonic() < end and process.poll() is None:
            time.sleep(0.002)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_kill_9_at_any_moment_loses_what_was_in_flight_and_nothing_else(runs: Runs) -> None:
    whole, killed = runs["whole"], runs["killed"]
    assert whole.finish().returncode == 0
    expected = whole.asked()
    random = Random(2511)
    for kill in range(KILLS):
        before = killed.calls()
        with killed.started(pause=0.004, judge_pause=0.002) as process:
            start_up = random.uniform(0, 0.4)  # some are killed in it
            killed.wait_for_calls(
                process, len(before) + random.randrange(1, 36), 30 if kill % 4 else start_up
            )
            time.sleep(random.uniform(0, 0.01))
            assert process.poll() is None
            process.kill()
            process.wait()
        logged = killed.logged()
        in_flight = {call for call in killed.calls()[len(before) :] if call[0] not in logged}
        expected += Counter(call for call in in_flight if call[1] != "view")

    last = killed.finish()
    assert last.returncode == 0 and "warning" not in last.stderr
    assert killed.asked() == expected  # nothing was asked again but what was in flight at a kill
    assert sum(expected.values()) > sum(whole.asked().values())
    compare(killed, whole)


def compare(run: Run, whole: Run) -> None:
    """Assert that an interrupted run ended with the bytes of one that was not."""
    assert (run.folder / "results.json").read_bytes() == (whole.folder / "results.json").read_bytes()
    for name in ("generations.jsonl", "verdicts.jsonl"):
        found, wanted = ((one.folder / name).read_bytes().splitlines() for one in (run, whole))
        assert sorted(found) == sorted(wanted)  # so each trial has exactly one
        assert len(set(found)) == len(found) == len(MODES) * SAMPLES
    pictures = {path.name: path.read_bytes() for path in (whole.folder / "images").iterdir()}
    assert {path.name: path.read_bytes() for path in (run.folder / "images").glob("[!.]*")} == pictures


def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on(runs: Runs) -> None:
    whole, stopped = runs["whole"], runs["stopped"]
    assert whole.finish().returncode == 0
    with stopped.started(pause=0.01) as process:
        stopped.wait_for_calls(process, 15)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Finishing what is in flight. Press Ctrl-C again to stop at once." in err
    assert "Stopped before the end. To go on: unisandbox resume run" in err
    assert "Traceback" not in err and "direct" in out  # the table of what there is
    assert orjson.loads((stopped.folder / "results.json").read_bytes())["finished"] is False
    logged = stopped.logged()
    assert {key for key, _ in stopped.asked()} == logged  # all that was in flight is there,
    assert len(logged) % 6 == 0 and 12 <= len(logged) < len(MODES) * SAMPLES
    assert stopped.logged("verdicts.jsonl") == logged  # and judged

    resumed = stopped.finish("resume", "run")
    assert resumed.returncode == 0 and "Stopped" not in resumed.stderr
    assert stopped.asked() == whole.asked()
    compare(stopped, whole)


@pytest.mark.parametrize("slow", ["model", "judge"])
def test_a_second_ctrl_c_ends_at_once(slow: str, runs: Runs) -> None:
    whole, stopped = runs["whole"], runs["stopped"]
    pauses = {"pause": 30.0} if slow == "model" else {"judge_pause": 30.0}
    with stopped.started(modes=["answer"], **pauses) as process:
        stopped.wait_for_calls(process, 1 if slow == "model" else SAMPLES + 1)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        for line in process.stderr:
            if "Finishing what is in flight" in line:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)  # far less than the pause
    assert process.returncode == 130
    assert "Interrupted. What is done is kept. To go on: unisandbox resume " in err
    assert "Traceback" not in err
    assert orjson.loads((stopped.folder / "results.json").read_bytes())["finished"] is False
    assert whole.finish(modes=["answer"]).returncode == 0
    assert stopped.finish(modes=["answer"]).returncode == 0
    assert (stopped.folder / "results.json").read_bytes() == (whole.folder / "results.json").read_bytes()


def test_a_second_process_is_refused_and_the_first_goes_on(runs: Runs) -> None:
    run = runs["both"]
    with run.started(pause=0.2, modes=["answer"]) as process:
        run.wait_for_calls(process, 1)
        second = run.finish("resume", "run")
        assert second.returncode == 2
        assert (
            second.stderr
            == "error: run: another process is writing this run. Wait for it, or choose another --out.\n"
        )
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Saved in run" in err
