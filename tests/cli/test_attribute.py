"""``unisandbox attribute`` and ``run --attribution``: the table, what it says in words, every format."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from unisandbox.attribution import attribute
from unisandbox.cli import main
from unisandbox.results import load_run

Out = pytest.CaptureFixture[str]
RUN = ["run", "--tasks", "words.yaml", "--models", "thinker:right=0.5", "--judges", "reader", "--out", "run"]


@pytest.fixture(autouse=True)
def _wide(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")


@pytest.fixture
def _run() -> None:
    run_words(modes="all", models=["thinker:right=0.5", "mute:right=0"], repeats=2)


def test_run_with_attribution_asks_every_mode_and_prints_the_causes(capsys: Out) -> None:
    assert main([*RUN, "--attribution"]) == 0
    out, err = capsys.readouterr()
    assert {cell.mode for cell in load_run("run")} == {
        "direct", "cot", "answer", "render", "refined", "gold", "planted", "caption"
    }  # fmt: skip
    (cell,) = attribute("run")
    assert out.count("rendering") >= 1 and "gap to independence" in out
    assert cell.sentence()[:60] in " ".join(out.split())
    assert "failures: direct pictures that failed" in err
    assert main(["resume", "run"]) == 0
    assert "gap to independence" in capsys.readouterr().out


def test_a_config_file_can_ask_for_attribution(capsys: Out) -> None:
    Path("run.yaml").write_text("attribution: true\n")
    assert main([*RUN, "--config", "run.yaml"]) == 0
    assert "gap to independence" in capsys.readouterr().out
    Path("run.yaml").write_text("attribution: perhaps\n")
    assert main([*RUN, "--config", "run.yaml"]) == 2
    assert (
        "run.yaml:1: attribution: attribution='perhaps': expected true or false." in capsys.readouterr().err
    )


@pytest.mark.usefixtures("_run")
def test_the_table_has_every_figure_once_a_cell(capsys: Out) -> None:
    assert main(["attribute", "run"]) == 0
    out, err = capsys.readouterr()
    table, _, reading = out.rpartition("\n\n")
    assert table.splitlines()[0].split()[:5] == ["task", "model", "of", "figure", "value"]
    for name in ("rendering", "reasoning", "recovered by cot", "direct passes", "follows planted text"):
        assert sum(name in line for line in table.splitlines()) == 2, name
    assert "needs recall: not in this task" in table and "needs answer: the model does not" in table
    assert reading.startswith("thinker:right=0.5 on words answers")
    assert "nan" not in out.lower() and "Not asked" not in err


@pytest.mark.usefixtures("_run")
def test_rows_as_csv_and_json(capsys: Out) -> None:
    assert main(["attribute", "run", "--format", "json", "--models", "thinker*"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == [row for row in attribute("run").to_rows() if row["model"] == "thinker:right=0.5"]
    assert main(["attribute", "run", "--format", "csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(table) == 2 * len(rows) and list(table[0]) == list(rows[0])
    assert all(row["value"] or row["reason"] for row in table)


@pytest.mark.usefixtures("_run")
def test_markdown_has_the_reading_and_latex_is_a_table(capsys: Out) -> None:
    assert main(["attribute", "run", "--format", "md"]) == 0
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert lines[-1] == attribute("run").reading() and lines[-2] == ""
    assert len({line.count("|") for line in lines[:-2]}) == 1
    assert main(["attribute", "run", "--format", "latex"]) == 0
    assert capsys.readouterr().out.startswith("\\begin{tabular}")


@pytest.mark.usefixtures("_run")
def test_failed_samples_with_their_causes(capsys: Out) -> None:
    assert main(["attribute", "run", "--samples", "--format", "json", "--models", "mute*"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["sample"] for row in rows] == [f"s{n}" for n in range(1, 7)]
    assert {(row["cause"], row["failed"]) for row in rows} == {("rendering", 1.0)}


@pytest.mark.usefixtures("_run")
def test_corrected_figures_stand_beside_the_raw_ones(capsys: Out) -> None:
    assert main(["attribute", "run", "--models", "thinker*", "--accuracy", "reader=95/100,90/100"]) == 0
    out = capsys.readouterr().out
    assert "words (corrected)" in out and out.count("rendering") == 2
    assert "On words it (corrected for the judge) answers" in " ".join(out.split())


@pytest.mark.usefixtures("_run")
def test_numbers_are_whole_however_narrow_the_terminal(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    def numbers() -> list[str]:
        assert main(["attribute", "run", "--accuracy", "reader=95/100,90/100"]) == 0
        table = capsys.readouterr().out.rpartition("\n\n")[0]
        return re.findall(r"-?\d\.\d\d\s+\[-?\d\.\d\d, -?\d\.\d\d\]\s+[\d.]+", table)

    wide = numbers()
    monkeypatch.setenv("COLUMNS", "80")
    assert [line.split() for line in numbers()] == [line.split() for line in wide] and len(wide) > 20


def test_modes_that_were_not_asked_are_named(capsys: Out) -> None:
    run_words(modes=["direct", "answer", "render"])
    assert main(["attribute", "run"]) == 0
    out, err = capsys.readouterr()
    assert "needs cot: not asked" in out
    assert "Not asked: caption, cot, gold, planted, recall, refined. A run with --attribution asks" in err


def test_an_unfinished_run_is_attributed_and_said_to_be(capsys: Out) -> None:
    run_words(modes="all")
    Path("run/results.json").unlink()
    for name in ("generations.jsonl", "verdicts.jsonl"):
        Path("run", name).write_text("")
    assert main(["attribute", "run"]) == 0
    out, err = capsys.readouterr()
    assert "note: run is not finished" in err
    assert "no direct picture failed" in out and "nan" not in out.lower()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nowhere", "error: nowhere is not a run folder: it has no run.json."),
        ("run --models x*", "error: run: nothing matches the filters; there are 2 cells without them."),
        (
            "run --samples",
            "error: --samples gives one row a failed sample: add --format csv or --format json.",
        ),
        ("run --accuracy reader", "error: --accuracy 'reader': expected JUDGE=PASSED/RIGHT,FAILED/WRONG"),
        ("run --accuracy reder=1/1,1/1", "error: run: Unknown judge 'reder'. Did you mean 'reader'?"),
    ],
)
@pytest.mark.usefixtures("_run")
def test_bad_input(line: str, message: str, capsys: Out) -> None:
    assert main(["attribute", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith(message) and err.count("\n") == 1
