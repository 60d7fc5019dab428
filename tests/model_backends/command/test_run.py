"""Whole runs with a worker: the scores they should give, through kills, Ctrl-C and resumption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tenacity

from tests.support_command import HEAD, gone
from tests.support_run import lines
from unisandbox.cli import main

DRAWING = """
import re
from unisandbox.world import Scene, compose, find_kind

def draw(request):
    number, noun = re.search(r"(\\d+) (.+),", text(request)).groups()
    if number == "3":
        raise ValueError("I cannot draw three.")
    number = min(int(number), 2)  # four comes out wrong
    compose(Scene(objects=(find_kind(noun).name,) * number), 128, request["seed"]).save(request["save_as"])

hello(weights="v1")
for request in asked():
    try:
        draw(request)
        say(key=request["key"], image=request["save_as"])
    except Exception as error:
        say(key=request["key"], error=str(error))
"""

SLOW = """
notes = os.open("calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
hello()
os.write(notes, f"pid {os.getpid()}\\n".encode())
for request in asked():
    os.write(notes, f"key {request['key']}\\n".encode())
    time.sleep(float(open("pause").read()))
    say(key=request["key"], text="2 cups")
"""

MATH = ["run", "--tasks", "math_1", "--out", "run", "--quiet"]


def write(body: str) -> None:
    Path("worker.py").write_text(HEAD + body)


def test_a_drawing_worker_gets_the_score_that_it_should(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenacity, "wait_exponential_jitter", lambda **_: tenacity.wait_none())
    write(DRAWING)
    model = "command:cmd=worker.py,draws=sandbox,timeout=60"
    code = main([*MATH, "--models", model, "--modes", "render", "--limit", "24"])
    generations = {line["sample"]: line for line in lines("generations.jsonl")}
    asked = {name: int(line["prompt"].split()[1]) for name, line in generations.items()}
    errors = [name for name, number in asked.items() if number == 3]
    right = [name for name, number in asked.items() if number in (1, 2)]
    assert errors and right and len(errors) + len(right) < 24
    assert code == 3  # what it could not draw is an error, never a wrong answer
    reason = f"Commonest error ({len(errors)} of {len(errors)}): WorkerError: I cannot draw three.."
    assert reason in capsys.readouterr().err
    (cell,) = json.loads(Path("run/results.json").read_text())["cells"]
    assert cell["score"]["n"] == 24 - len(errors)
    assert cell["score"]["value"] == pytest.approx(len(right) / (24 - len(errors)))
    (said,) = json.loads(Path("run/run.json").read_text())["backends"].values()
    assert (said["model"], said["weights"], said["in_flight"]) == ("test", "v1", 2)


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Start the harness, and let nothing of it live on."""
    Path("temporary").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "unisandbox", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(Path("temporary").resolve())},  # a killed harness leaves files
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def calls(kind: str) -> list[str]:
    noted = Path("calls").read_text().splitlines() if Path("calls").exists() else []
    return [line.split()[1] for line in noted if line.startswith(kind)]


def wait_for(number: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while len(calls("key")) < number and time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)
    assert process.poll() is None


ANSWER = [*MATH, "--models", "command:cmd=worker.py,in_flight=3", "--modes", "answer", "--limit", "40"]


def test_a_killed_run_goes_on_and_repeats_nothing(in_tmp: Path) -> None:
    write(SLOW)
    Path("pause").write_text("0.05")
    with started(*ANSWER) as process:
        wait_for(15, process)
        process.kill()
        process.wait()
    (worker,) = calls("pid")
    assert gone(int(worker))  # nobody asks any more, so it ends by itself
    before = calls("key")
    logged = [
        json.loads(line)["key"] for line in Path("run/generations.jsonl").read_bytes().split(b"\n")[:-1]
    ]
    assert logged and len(logged) < 40
    Path("pause").write_text("0")
    assert main(ANSWER) == 0
    again = calls("key")[len(before) :]
    assert not set(again) & set(logged)
    assert set(again) | set(logged) == {line["key"] for line in lines("generations.jsonl")}
    assert len(again) == len(set(again)) == 40 - len(logged)
    assert gone(int(calls("pid")[1]))


def test_ctrl_c_twice_ends_the_worker_too(in_tmp: Path) -> None:
    write(SLOW)
    Path("pause").write_text("1000")
    with started(*ANSWER) as process:
        wait_for(1, process)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "Finishing what is in flight" in process.stderr.readline()
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not list(Path("temporary").iterdir())
    assert gone(int(calls("pid")[0]))


def test_a_worker_that_dies_at_start_is_one_clear_line(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("worker.py").write_text("import no_such_library\n")
    assert main([*MATH, "--models", "command:cmd=worker.py,log=log", "--modes", "answer"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: model 'command': the worker ended with exit code 1. Its last words: ")
    assert error.endswith("No module named 'no_such_library'. It had not said hello yet (docs/command.md). "
                          "All it said: log\n")  # fmt: skip
    assert error.count("\n") == 1
