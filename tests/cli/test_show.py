"""``unisandbox show``: any part of a run's table, in any format, finished or not."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support_backends import Painter
from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from unisandbox.cli import main
from unisandbox.records import Generation, Request
from unisandbox.results import load_run

Out = pytest.CaptureFixture[str]
COLUMNS = [
    "task",
    "family",
    "mode",
    "model",
    "judge",
    "score",
    "low",
    "high",
    "n",
    "unscored",
    "errors",
    "chance",
]


@pytest.fixture(autouse=True)
def _run(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of two models, two modes and two judges, with an error, and a mode that one model cannot do."""

    def answer(self: Painter, request: Request) -> Generation:
        if request.sample_id == "s2" and request.mode == "answer":
            return Generation(request.key, finish="error", error="no [red]answer[/]")
        return real(self, request)

    real = Painter.answer
    with monkeypatch.context() as patch:
        patch.setattr(Painter, "answer", answer)
        run_words(
            models=["painter", "mute"],
            modes=["direct", "answer"],
            judges=["reader:batch=1", "reader:batch=2"],
        )


def shown(*words: str, capsys: Out) -> tuple[str, str]:
    assert main(["show", "run", *words]) == 0
    return capsys.readouterr()


def rows(*words: str, capsys: Out) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shown(*words, "--format", "json", capsys=capsys)[0])
    return found


def test_the_table_says_all_that_the_run_said(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out, err = shown(capsys=capsys)
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:6] == ["task", "model", "mode", "judge", "score", "95"]
    scores = lines[: lines.index(["first:", "reader:batch=1"])]
    assert sum("1.00" in line for line in scores) == 6
    assert "5/6" in out and "1 error" in out and "not supported: the model does not: writes text" in out
    assert "score: " in err and "note" not in err


def test_json_and_csv_hold_the_columns_of_to_pandas(capsys: Out) -> None:
    assert rows(capsys=capsys) == load_run("run").to_rows()
    text, _ = shown("--format", "csv", capsys=capsys)
    table = list(csv.DictReader(io.StringIO(text)))
    assert list(table[0]) == COLUMNS and len(table) == 7
    assert [row["score"] for row in table] == ["1.0"] * 6 + [""]
    assert {row["errors"] for row in table if row["mode"] == "answer" and row["judge"]} == {"1"}


def test_markdown_and_latex_are_tables(capsys: Out) -> None:
    lines = shown("--format", "md", capsys=capsys)[0].splitlines()
    assert len(lines) == 9 and len({line.count("|") for line in lines}) == 1
    assert set(lines[1]) <= set("|-: ")
    out, _ = shown("--format", "latex", capsys=capsys)
    assert out.startswith("\\begin{tabular}") and "\\toprule" in out and out.count("\\\\") == 8


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("", 7),
        ("--modes direct", 4),
        ("--modes direct answer", 7),
        ("--modes direct,answer", 7),
        ("--modes a*", 3),
        ("--models mute", 3),
        ("--models p* --modes answer", 2),
        ("--judges *batch=1", 3),
        ("--tasks words", 7),
        ("--tasks w* --models mute --modes direct --judges *2", 1),
    ],
)
def test_filters(line: str, number: int, capsys: Out) -> None:
    assert len(rows(*line.split(), capsys=capsys)) == number


def test_filters_that_leave_nothing(capsys: Out) -> None:
    assert main(["show", "run", "--tasks", "math_1"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: run: no cell matches the filters. It has: tasks words; modes direct, ")
    assert err.count("\n") == 1


def test_samples_are_one_row_a_trial_and_judge(capsys: Out) -> None:
    found = rows("--samples", capsys=capsys)
    assert len(found) == 6 * 2 * 2 + 5 * 2 + 1
    assert {row["outcome"] for row in found if "outcome" in row} == {"correct"}
    (failed,) = [row for row in found if "outcome" not in row]
    assert (failed["sample"], failed["finish"], failed["error"]) == ("s2", "error", "no [red]answer[/]")
    assert all(value == value for row in found for value in row.values())  # NaN is no JSON


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("--judges *batch=1", 6 + 6 + 5 + 1),
        ("--modes answer", 11),
        ("--models mute", 12),
        ("--models mute --judges *=2", 6),
    ],
)
def test_filters_of_samples(line: str, number: int, capsys: Out) -> None:
    found = rows("--samples", *line.split(), capsys=capsys)
    assert len(found) == number


def test_samples_as_csv(capsys: Out) -> None:
    text, _ = shown("--samples", "--format", "csv", capsys=capsys)
    table = list(csv.DictReader(io.StringIO(text)))
    assert len(table) == 35 and {"key", "sample", "outcome", "reason", "image"} - {"reason"} <= set(table[0])


@pytest.mark.parametrize("format_", ["table", "md", "latex"])
def test_samples_need_a_format_of_rows(format_: str, capsys: Out) -> None:
    assert main(["show", "run", "--samples", "--format", format_]) == 2
    assert "--samples gives one row a trial: add --format csv or --format json." in capsys.readouterr().err


def test_an_unfinished_run_is_shown_and_said_to_be(capsys: Out) -> None:
    Path("run/results.json").unlink()
    verdicts = Path("run/verdicts.jsonl")
    verdicts.write_bytes(b"".join(verdicts.read_bytes().splitlines(keepends=True)[:9]))
    out, err = shown(capsys=capsys)
    assert "note: run is not finished. To go on: unisandbox resume run" in err
    assert "1.00" in out


def test_a_run_of_nothing_yet_is_shown(capsys: Out) -> None:
    Path("run/results.json").unlink()
    for name in ("generations.jsonl", "verdicts.jsonl"):
        Path("run", name).write_text("")
    out, _ = shown(capsys=capsys)
    assert "0/6" in out
    assert rows("--samples", capsys=capsys) == []
    assert shown("--samples", "--format", "csv", capsys=capsys)[0] == "\n"
