"""``unisandbox report`` and ``view`` at the command line, and the page that every run leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support_backends import Painter
from tests.support_report import two_runs
from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from unisandbox.cli import main
from unisandbox.records import Generation, Request

pytestmark = pytest.mark.usefixtures("words")

RUN = ["run", "--tasks", "words.yaml", "--models", "painter", "--judges", "reader", "--modes", "direct"]
Out = pytest.CaptureFixture[str]


def test_every_run_leaves_a_page(capsys: Out) -> None:
    assert main([*RUN, "--out", "run"]) == 0
    assert "Look at it: run/report.html" in capsys.readouterr().err
    assert "painter" in Path("run/report.html").read_text()


def test_no_page_where_none_is_wanted(capsys: Out) -> None:
    assert main([*RUN, "--out", "run", "--no-report", "--limit", "2"]) == 0
    assert "Look at it" not in capsys.readouterr().err and not Path("run/report.html").exists()
    assert main(["resume", "run", "--no-report"]) == 0
    assert not Path("run/report.html").exists()
    assert main(["resume", "run"]) == 0
    assert Path("run/report.html").exists()


def test_a_page_of_what_was_is_gone_while_a_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([*RUN, "--out", "run"]) == 0
    seen = []

    def answer(self: Painter, request: Request) -> Generation:
        seen.append(Path("run/report.html").exists())
        return real(self, request)

    real = Painter.answer
    monkeypatch.setattr(Painter, "answer", answer)
    assert main([*RUN, "--out", "run", "--fresh"]) == 0
    assert seen == [False] * 6 and Path("run/report.html").exists()


def test_a_page_that_cannot_be_written_fails_no_run(capsys: Out) -> None:
    run_words()
    Path("run/.report.html.part").mkdir()
    assert main(["resume", "run"]) == 0
    assert "warning: no report: run/report.html cannot be written: Is a directory" in capsys.readouterr().err


def test_the_latest_run_is_reported(capsys: Out) -> None:
    assert main([*RUN, "--no-report"]) == 0
    capsys.readouterr()
    assert main(["report"]) == 0
    page = capsys.readouterr().out.strip()
    assert page.startswith("runs/") and Path(page).name == "report.html" and Path(page).is_file()


def test_several_runs_need_a_place(capsys: Out) -> None:
    two_runs()
    assert main(["report", "before", "after"]) == 2
    assert capsys.readouterr().err == (
        "error: Of several runs the page needs a place of its own: add -o FILE.html\n"
    )
    assert main(["report", "before", "after", "-o", "both.html", "--embed"]) == 0
    assert "data:image/png" in Path("both.html").read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("report gone", "gone is not a run folder: it has no run.json."),
        ("report", "There is no run under runs/ yet."),
        ("report run -o no/x.html", "no/x.html cannot be written: No such file or directory."),
        ("view gone", "There is no folder gone. Name one with runs in it: unisandbox view RUNS_DIR"),
        ("view", "There is no folder runs."),
        ("view . --port 99999", "--port 99999: bind(): port must be 0-65535."),
    ],
)
def test_what_cannot_be_meant(line: str, message: str, capsys: Out) -> None:
    run_words()
    assert main(line.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}") and len(err.splitlines()) == 1


def test_a_port_that_is_taken(capsys: Out) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["view", ".", "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"error: --port {port}: Address already in use. Choose another, or 0 for any that is free.\n"
    )


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["view", "."]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: The viewer needs the package 'uvicorn': pip install 'unisandbox[view]'.")


def test_the_viewer_serves_until_it_is_stopped() -> None:
    pytest.importorskip("uvicorn", reason="the extra 'view' is not installed")
    from tests.support_view import ask

    run_words(out="runs/one")
    command = [sys.executable, "-m", "unisandbox", "view", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        assert process.stdout and process.stderr
        try:
            line = process.stdout.readline()
            assert line.endswith("/ shows runs. Ctrl-C ends it.\n")
            port = int(line.split("/")[2].split(":")[1])
            assert '"name":"one"' in ask(port, "/runs.json")[1]
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0 and process.stderr.read() == ""
        finally:
            process.kill()
