"""``unisandbox compare`` and ``power``; the contrast and the warning that ``run`` prints."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from unisandbox.cli import main

Out = pytest.CaptureFixture[str]


@pytest.fixture
def _runs(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    run_words(out="a", modes=["direct", "answer"])
    run_words(out="b", modes=["direct", "answer"], models="painter:right=0")


@pytest.mark.usefixtures("_runs")
def test_the_table_and_what_flipped(capsys: Out) -> None:
    assert main(["compare", "a", "b"]) == 0
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["task", "mode", "first", "second", "change", "95", "%", "p", "Holm", "n"]
    assert lines[1][:7] == ["words", "direct", "1.00", "0.00", "-1.00", "[-1.00,", "-0.29]"]
    assert lines[1][7:] == ["0.031", "0.062", "6"]
    assert "words direct painter -> painter:right=0: lost s1 s2 s3 s4 s5 s6" in out
    assert "corrected for all rows together" in " ".join(err.split())


@pytest.mark.usefixtures("_runs")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("a b --fail-if-worse 0.05", 0),  # two rows of six samples: not significant after correction
        ("a b --fail-if-worse 0.05 --modes direct", 1),
        ("a b --fail-if-worse 0.99 --modes direct", 1),
        ("b a --fail-if-worse 0 --modes direct", 0),
        ("a a --fail-if-worse 0", 0),
        ("a a b --fail-if-worse 0.05 --modes direct", 1),
        ("a b --modes direct", 0),
    ],
)
def test_the_gate(line: str, code: int, capsys: Out) -> None:
    assert main(["compare", *line.split()]) == code
    assert ("worse: words direct" in capsys.readouterr().err) == (code == 1)


@pytest.mark.usefixtures("_runs")
def test_formats(capsys: Out) -> None:
    def printed(*words: str) -> str:
        assert main(["compare", "a", "b", *words]) == 0
        return capsys.readouterr().out

    rows = json.loads(printed("--format", "json"))
    assert [row["mode"] for row in rows] == ["direct", "answer"] and rows[0]["lost"] == "s1 s2 s3 s4 s5 s6"
    table = list(csv.DictReader(io.StringIO(printed("--format", "csv"))))
    assert table[0]["lost"] == "s1 s2 s3 s4 s5 s6" and list(table[0]) == list(rows[0])
    assert len(printed("--format", "md").splitlines()) == 4
    assert printed("--format", "latex").startswith("\\begin{tabular}")
    flips = json.loads(printed("--samples", "--format", "json", "--modes", "answer"))
    assert [row["unit"] for row in flips] == [f"s{n}" for n in range(1, 7)]
    assert {row["flipped"] for row in flips} == {"lost"}
    assert main(["compare", "a", "b", "a", "--format", "json", "--modes", "direct"]) == 0
    several = json.loads(capsys.readouterr().out)
    assert [(row["first_run"], row["second_run"], row["difference"]) for row in several] == [
        ("a", "b", -1.0),
        ("a", "a", 0.0),
    ]
    assert main(["compare", "a", "b", "a"]) == 0
    out = capsys.readouterr().out
    assert "a -> b\n" in out and "\n\na -> a\n" in out


@pytest.mark.usefixtures("_runs")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a", "error: a: with which run is it to be compared? unisandbox compare RUN_A RUN_B"),
        ("a nowhere", "error: nowhere is not a run folder: it has no run.json."),
        ("a b --tasks other", "error: a and b have no task, mode, model and judge in common to compare."),
        ("a b --fail-if-worse 5", "error: --fail-if-worse 5: expected a share from 0 to 1, such as 0.05"),
        ("a b --samples", "error: --samples gives one row a flipped unit: add --format csv"),
    ],
)
def test_bad_input(line: str, message: str, capsys: Out) -> None:
    assert main(["compare", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith(message) and err.count("\n") == 1


def test_power(capsys: Out) -> None:
    assert main(["power", "--effect", "0.1", "--discordance", "0.2", "--n", "100"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "155 units show a difference of 10 points between two modes or runs, when 20 % of them pass in one "
        "only (power 0.8, two-sided alpha 0.05).",
        "100 units show it with power 0.61; the smallest they show is 12.4 points.",
    ]
    assert main(["power", "--discordance", "0.2", "--n", "3"]) == 0
    assert "they show none at all" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", ["--effect 0.5", "--effect 0", "--discordance 2", "--power 1", "--n 0", "--effect -0.1"]
)
def test_power_of_what_cannot_be(line: str, capsys: Out) -> None:
    assert main(["power", *line.split()]) == 2
    assert capsys.readouterr().err.startswith("error: --")


def test_a_run_prints_what_thinking_changes_and_warns_of_few(
    words: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    run = ["run", "--tasks", "words.yaml", "--models", "thinker", "--judges", "reader", "--out", "run"]
    assert main([*run, "--limit", "4"]) == 0
    out, err = capsys.readouterr()
    assert "cot - direct" in out and "+0.00" in out
    assert "note: --limit 4 shows no difference for certain; 10 points take 234 units" in err
    assert main([*run[:-1], "other", "--modes", "direct", "--limit", "100"]) == 0
    out, err = capsys.readouterr()
    assert "cot - direct" not in out and "--limit 100 shows only differences of 15 points or more" in err
    assert main([*run[:-1], "third", "--limit", "234"]) == 0
    assert "note: --limit" not in capsys.readouterr().err
