"""The pipes: nothing blocks, nothing is lost, nothing stays behind. Every worker is a real process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support_command import ECHO, gone, write_worker
from unisandbox.model_backends.command.worker import Stopped, Worker

LONG = 60.0
SHORT = 0.1

Start = Callable[[str], Worker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a worker; all are ended with the test."""
    workers: list[Worker] = []

    def begin(body: str) -> Worker:
        script = write_worker(tmp_path, body)
        workers.append(Worker([sys.executable, str(script)], tmp_path / "log"))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.close(patience=0)


def said_at_the_end(worker: Worker) -> str:
    with pytest.raises(Stopped) as stopped:
        while True:
            worker.receive(LONG)
    return str(stopped.value)


def test_lines_go_out_and_come_in(start: Start) -> None:
    worker = start(ECHO)
    assert worker.receive(LONG)["protocol"] == 1
    worker.send({"key": "1", "turns": [{"text": "two\nlines, ☃"}]})
    assert worker.receive(LONG) == {"key": "1", "text": "two\nlines, ☃"}


def test_a_worker_that_reads_nothing_blocks_nobody(start: Start) -> None:
    worker = start("hello()\ntime.sleep(1000)")
    worker.receive(LONG)
    for _ in range(8):  # far more than a pipe holds
        worker.send({"text": "x" * 1_000_000})
    with pytest.raises(Stopped, match=r"^gave no answer for 0\.1 s \(timeout=\)\. It left no word$"):
        worker.receive(SHORT)
    worker.close(patience=SHORT)


def test_a_worker_that_writes_more_than_a_pipe_holds_is_not_blocked(start: Start) -> None:
    worker = start("""
print("y" * 5_000_000, file=sys.stderr)
for n in range(5):
    say(n=n, text="x" * 1_000_000)
""")
    assert [worker.receive(LONG)["n"] for _ in range(5)] == list(range(5))


def test_what_it_says_before_it_ends_arrives(start: Start) -> None:
    worker = start("say(n=1); say(n=2); os._exit(0)")
    assert [worker.receive(LONG)["n"] for _ in range(2)] == [1, 2]
    assert said_at_the_end(worker) == "ended with exit code 0. It left no word"


def test_its_last_words_are_quoted(start: Start) -> None:
    worker = start("print('one\\n\\ntwo\\nthree', file=sys.stderr)\nimport no_such_library")
    assert said_at_the_end(worker).endswith("ModuleNotFoundError: No module named 'no_such_library'")
    worker = start("print('\\x1b[31mred\\r' + 'z' * 300, file=sys.stderr); sys.exit(7)")
    said = said_at_the_end(worker)
    assert said.startswith("ended with exit code 7. Its last words: [31mred | zzz")
    assert said.endswith("zzz...") and "three" not in said  # these are another worker's


def test_a_signal_is_named(start: Start) -> None:
    worker = start("os.kill(os.getpid(), signal.SIGKILL)")
    assert said_at_the_end(worker).startswith("was killed by SIGKILL (out of memory?)")


def test_a_closed_output_is_an_end(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unisandbox.model_backends.command.worker.ENDING", SHORT)
    worker = start("hello(); os.close(1); time.sleep(1000)")
    assert said_at_the_end(worker).startswith("closed its output")


def test_an_end_is_seen_though_a_child_holds_the_output(start: Start) -> None:
    worker = start("""
import subprocess
child = subprocess.Popen(["sleep", "1000"])
say(child=child.pid)
os._exit(1)
""")
    child = worker.receive(LONG)["child"]
    assert said_at_the_end(worker).startswith("ended with exit code 1")
    worker.close(patience=0)
    assert gone(child)


@pytest.mark.parametrize("garbage", ["Loading 3/3", "5", "[" * 100_000, '{"key": ', "\\x00\\xff", "'quoted'"])
def test_chatter_goes_to_the_log_and_is_warned_of_once(
    start: Start, garbage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = garbage.encode().decode("unicode_escape").encode("latin-1")
    worker = start(f"sys.stdout.buffer.write(({shown!r} + b'\\n') * 3)\nsys.stdout.flush()\nhello()")
    assert worker.receive(LONG)["model"] == "test"
    assert (tmp_path / "log").read_bytes() == (shown + b"\n") * 3
    warning = capsys.readouterr().err
    assert warning.count("warning: model 'command': the worker printed what is no JSON object on stdout") == 1
    assert "print to stderr (docs/command.md)" in warning and warning.count("\n") == 1


def test_close_ends_the_input_and_waits(start: Start, tmp_path: Path) -> None:
    worker = start(
        """
hello()
for request in asked():
    pass
open("ended", "w").close()
""".replace("ended", str(tmp_path / "ended"))
    )
    worker.receive(LONG)
    worker.close(patience=LONG)
    assert (tmp_path / "ended").exists()
    assert said_at_the_end(worker).startswith("ended with exit code 0")
    worker.close()  # twice is once


@pytest.mark.parametrize("deaf", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_close_leaves_nothing_behind(start: Start, deaf: str) -> None:
    worker = start(f"""
import subprocess
{deaf}
child = subprocess.Popen(["sleep", "1000"])
say(own=os.getpid(), child=child.pid)
time.sleep(1000)
""")
    pids = worker.receive(LONG)
    worker.close(patience=SHORT)
    assert gone(pids["own"]) and gone(pids["child"])


def test_what_cannot_be_run(tmp_path: Path) -> None:
    script = tmp_path / "no_shebang"
    script.write_bytes(b"\x00\x01")
    script.chmod(0o755)
    with pytest.raises(OSError):
        Worker([str(script)], tmp_path / "log")
