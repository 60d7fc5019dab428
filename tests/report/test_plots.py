"""Charts: the data they show is that of the table, and files are what papers take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report.test_table import cell, results, score
from tests.support_report import ALL, two_runs
from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from unisandbox.attribution import attribute
from unisandbox.calibration import COMPOSED, Calibration, Rates, Tally, read_calibrations
from unisandbox.cli import main
from unisandbox.contrast import Contrast
from unisandbox.report import charts
from unisandbox.report.plots import FILLS, KINDS, LOOKS
from unisandbox.run_log import CALIBRATION
from unisandbox.training.stars import Line, Stars, load, save

Out = pytest.CaptureFixture[str]


def test_gap_rows_hold_the_scores_and_what_they_come_to() -> None:
    made = results(
        cell(mode="answer", judge="rules", score=score(0.8)),
        cell(mode="direct", score=score(0.2)),
        cell(mode="render", score=score(0.5)),
        cell(mode="gold", score=score(0.5)),
    )
    (row,) = charts.gap(made)
    assert [(mark.mode, mark.value, mark.chance) for mark in row.marks] == [
        ("direct", 0.2, 0.25), ("render", 0.5, 0.25), ("answer", 0.8, 0.25),
    ]  # fmt: skip
    assert row.judge == "sprite" and row.expected == pytest.approx(0.4) and row.direct == 0.2
    assert charts.gap(results(cell(mode="answer", judge="rules")))[0].expected is None


def test_every_judge_of_pictures_has_a_row_and_shares_the_judge_of_words() -> None:
    made = results(
        cell(judge="a", score=score(0.3)),
        cell(judge="b", score=score(0.4)),
        cell(mode="answer", judge="rules"),
    )
    rows = charts.gap(made)
    assert [(row.judge, [mark.value for mark in row.marks]) for row in rows] == [
        ("a", [0.3, 0.5]), ("b", [0.4, 0.5]),
    ]  # fmt: skip
    assert charts.titles(rows) == ["math_1\na", "math_1\nb"]
    assert charts.titles(rows[:1]) == ["math_1"]


def test_the_parts_of_a_bar_fill_it(words: Path) -> None:
    run_words(modes=ALL, models="painter:right=0.5")
    (bar,) = charts.bars(attribute("run"))
    assert sum(part.value for part in bar.parts) == pytest.approx(1)
    assert [part.start for part in bar.parts] == pytest.approx(
        [sum(part.value for part in bar.parts[:n]) for n in range(len(bar.parts))]
    )
    run_words(modes=["direct"], models="painter:right=0.5", out="bare")
    assert charts.bars(attribute("bare")) == []


def test_every_mode_and_cause_has_its_look() -> None:
    from unisandbox.attribution import CAUSES

    assert set(LOOKS) == set(charts.GAP_MODES) and len(set(LOOKS.values())) == len(LOOKS)
    assert set(FILLS) == set(CAUSES)


def ran() -> Path:
    run_words(modes=ALL, models="painter:right=0.5")
    return Path("run")


def trained() -> Path:
    """Two stages of an arm, the first of which is no longer shown."""
    lines = [
        Line("union", stage, on, Contrast("math_1", "math", mode, "m", "sprite", 0.2, after), 0.25)
        for stage, on, mode, after in (
            (1, "test", "direct", 0.3),
            (2, "test", "direct", 0.6),
            (2, "test", "cot", 0.9),
            (2, "trained", "direct", 0.8),
        )
    ]
    folder = Path("stars")
    folder.mkdir(exist_ok=True)
    save(Stars(folder, {}, tuple(lines)))
    return folder


def calibrated() -> Path:
    rates = Rates("print", Tally(passed=9, incorrect=1), {"count": Tally(passed=2, incorrect=7, rejected=1)})
    folder = Path("known")
    folder.mkdir(exist_ok=True)
    found = Calibration("reader", {}, COMPOSED, "2026-01-01", {"object_count": rates}, folder)
    (folder / CALIBRATION).write_text(json.dumps(found.to_json()))
    return folder


def test_stars_rows_hold_the_last_stage_on_the_test_split(words: Path) -> None:
    (row,) = charts.stars(load(trained()))
    assert (row.task, row.model, row.judge) == ("math_1", "union", "sprite")
    assert [(one.mode, one.before, one.after) for one in row.changes] == [
        ("direct", 0.2, 0.6),
        ("cot", 0.2, 0.9),
    ]


def test_rates_rows_hold_both_rates(words: Path) -> None:
    (known,) = read_calibrations(calibrated())
    (row,) = charts.rates(known)
    assert (row.task, row.model) == ("object_count", "reader")
    assert [(name, rate.value) for name, rate in row.rates] == [("sensitivity", 0.9), ("specificity", 0.8)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("suffix", "magic"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_files_are_written_the_same_every_time(
    kind: str, suffix: str, magic: bytes, words: Path, capsys: Out
) -> None:
    folder = {"stars": trained, "calibration": calibrated}.get(kind, ran)()
    found = []
    for name in ("a", "b"):
        path = Path(f"{name}.{suffix}")
        assert main(["plot", str(folder), "--kind", kind, "-o", str(path)]) == 0
        found.append(path.read_bytes())
    assert found[0].startswith(magic) and found[0] == found[1]
    assert capsys.readouterr().out.splitlines() == [f"a.{suffix}", f"b.{suffix}"]


def test_sizes_of_one_column_and_two(words: Path) -> None:
    run_words(modes=["direct"])
    for columns, inches in ((1, 3.35), (2, 6.9)):
        assert main(["plot", "run", "--columns", str(columns), "-o", "x.svg"]) == 0
        assert f'width="{72 * inches:g}pt"' in Path("x.svg").read_text()


def test_several_runs_and_filters(words: Path, capsys: Out) -> None:
    two_runs()
    assert main(["plot", "before", "after", "-o", "x.svg", "--tasks", "w*"]) == 0
    assert "<!-- before -->" in (text := Path("x.svg").read_text()) and "<!-- after -->" in text
    assert main(["plot", "before", "-o", "x.svg", "--tasks", "math_1"]) == 2
    assert "error: There is nothing to draw: no cell with a score in direct, cot" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run -o x.gif", "-o x.gif: a plot is written as .png, .pdf, .svg, as its name says."),
        ("run -o no/x.pdf", "-o no/x.pdf: there is no folder no."),
        ("run --kind attribution -o x.pdf", "nothing was asked in mode 'direct'"),
        ("gone -o x.pdf", "gone is not a run folder: it has no run.json."),
        ("run --kind stars -o x.pdf", "run holds no finished stage of STARS"),
        ("run --kind calibration -o x.pdf", "run holds no calibration"),
    ],
)
def test_what_cannot_be_drawn(line: str, message: str, words: Path, capsys: Out) -> None:
    run_words()
    assert main(["plot", *line.split()]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.splitlines()) == 1
