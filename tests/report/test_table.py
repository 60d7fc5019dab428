"""The table: numbers are never cut, what is left out stands beside them, and exports parse back."""

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from unisandbox.records import Score
from unisandbox.report.table import (
    EXPORTED,
    beside,
    columns,
    corrected,
    counted,
    export,
    interval,
    rich_table,
    row,
    rows_as,
)
from unisandbox.results import Cell, Results
from unisandbox.stats import Estimate

NOTHING = Score(None, None, None, 0, 0, None, None, {})


def score(value: float = 0.5, n: int = 250, unscored: int = 0, **outcomes: int) -> Score:
    low, high = max(0.0, value - 0.06), min(1.0, value + 0.06)
    total = n + unscored
    right = value * n
    return Score(value, low, high, n, unscored, right / total, (right + unscored) / total, outcomes)


def cell(task: str = "math_1", mode: str = "direct", model: str = "oracle", **other: Any) -> Cell:
    given: dict[str, Any] = {"judge": "sprite", "score": score(), "chance": 0.25, "guess": "always 4"}
    return Cell(task=task, family="math", mode=mode, model=model, **{**given, **other})


def gap(mode: str = "caption", model: str = "oracle") -> Cell:
    return cell(
        mode=mode, model=model, judge="", score=NOTHING, chance=0.0, note="not supported: the model does not"
    )


def results(*cells: Cell) -> Results:
    return Results(Path("runs/x"), cells)


def printed(made: Results, width: int = 80, terminal: bool = False) -> str:
    text = io.StringIO()
    Console(
        file=text, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None
    ).print(rich_table(made, width))
    return text.getvalue()


MODELS = ("bagel:path=weights/BAGEL-7B-MoT,device=cuda", "oracle:transfer=0.1,cannot_compute=%+^")
WIDE = results(
    *(
        cell(task, mode, model, score=score(value, 225, 25, error=25, correct=200, rejected=3, truncated=2))
        for task in ("forward_retrieval", "inverse_search")
        for model in MODELS
        for mode, value in (("direct", 0.875), ("planted", 0.125))
    )
)


# --- what stands in a row ---


def test_an_interval_is_written_with_two_places() -> None:
    assert interval(score(0.5)) == "[0.44, 0.56]"
    assert interval(score(1.0)) == "[0.94, 1.00]"
    assert interval(NOTHING) == ""


def test_units_say_of_how_many_when_not_all_are_scored() -> None:
    assert counted(score(n=250)) == "250"
    assert counted(score(n=225, unscored=25)) == "225/250"
    assert counted(score(n=0, unscored=25)) == "0/25"


@pytest.mark.parametrize(
    ("given", "notes"),
    [
        (score(), ""),
        (score(correct=125, incorrect=125), ""),
        (score(0.5, 90, 10, error=10), "10 errors: 0.45-0.55"),
        (score(0.5, 90, 10), "unfinished: 0.45-0.55"),
        (Score(None, None, None, 0, 10, None, None, {"error": 10}), "10 errors"),
        (score(rejected=3), "3 rejected"),
        (score(rejected=3, empty=2, refused=1, truncated=4), "3 rejected; 2 empty; 1 refused; 4 truncated"),
        (score(0.5, 90, 10, error=10, empty=1), "10 errors: 0.45-0.55; 1 empty"),
    ],
)
def test_what_is_not_in_a_score_stands_beside_it(given: Score, notes: str) -> None:
    assert beside(cell(score=given)) == notes


def test_a_mode_that_cannot_be_asked_says_why_and_has_no_number() -> None:
    shown = columns([cell(), gap()])
    texts = dict(zip(shown, row(gap(), shown), strict=True))
    assert texts == {
        "task": "math_1", "mode": "caption", "score": "-", "95 %": "", "n": "0", "guess": "",
        "": "not supported: the model does not",
    }  # fmt: skip


def test_models_and_judges_stand_where_they_differ() -> None:
    always = ["score", "95 %", "n", "guess", ""]
    assert columns([cell(), cell(mode="answer", judge="rules")]) == ["task", "mode", *always]
    assert columns([cell(), cell(model="other")]) == ["task", "model", "mode", *always]
    assert columns([cell(), cell(judge="eye")]) == ["task", "mode", "judge", *always]
    assert columns([]) == ["task", "mode", *always]


# --- the terminal ---


def numbers_of(made: Results) -> list[str]:
    """Return every number that the table must show, unbroken."""
    shown = columns(made.cells)
    wanted = [row(one, shown)[shown.index(name)] for one in made for name in ("score", "95 %", "n", "guess")]
    return [number for number in wanted if number not in ("", "-")]


def by_judges(made: Results, *judges: str) -> Results:
    """Return the results with a row for each judge, the first of which is corrected for its errors."""
    figures = (Estimate(0.85, 0.64, 0.95, 225), Estimate(None, reason="it guesses"))
    return results(
        *(
            replace(one, judge=judge, corrected=figure)
            for one in made
            for judge, figure in zip(judges, figures, strict=False)
        )
    )


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize(
    "made",
    [WIDE, by_judges(WIDE, "sprite"), by_judges(WIDE, "sprite", "openai:model=Qwen2.5-VL-7B-Instruct")],
)
def test_numbers_are_never_cut_or_folded(made: Results, width: int) -> None:
    text = printed(made, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    found = Counter(re.findall(r"\[\d\.\d\d, \d\.\d\d\]|[\d./]+", text))
    for number, many in Counter(numbers_of(made)).items():
        assert found[number] >= many, number
    assert found["0.85"] == found["[0.64, 0.95]"] == sum(corrected(one)[:1] == "0" for one in made)
    for task in ("forward_retrieval", "inverse_search"):
        assert task in text


def test_what_does_not_fit_goes_below_the_table_once_each() -> None:
    lines = [line.strip() for line in printed(by_judges(WIDE, "sprite", "eye")).splitlines()]
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["forward_retrieval", "M1"],
        ["corrected", "0.85"],
        ["direct", "J2"],
        ["corrected", "-"],
    ]
    assert lines[-9:] == [
        "",
        f"M1 {MODELS[0]}",
        f"M2 {MODELS[1]}",
        "J1 sprite",
        "J2 eye",
        "[1] 25 errors: 0.79-0.89; 3 rejected; 2 truncated",
        "[2] 25 errors: 0.79-0.89; 3 rejected; 2 truncated; not corrected: it guesses",
        "[3] 25 errors: 0.11-0.21; 3 rejected; 2 truncated",
        "[4] 25 errors: 0.11-0.21; 3 rejected; 2 truncated; not corrected: it guesses",
    ]


def test_a_task_with_a_long_name_is_folded_last() -> None:
    (one,) = by_judges(results(cell("published_forward_retrieval", score=score(0.5, 225, 25))), "sprite")
    assert "published_forward_retrieval" in printed(results(one, replace(one, mode="planted")))
    assert max(map(len, printed(results(one, replace(one, model="x")), 66).splitlines())) <= 66


def test_what_is_long_is_folded_and_still_whole() -> None:
    squeezed = re.sub(r"\s", "", printed(results(cell(), cell(model="x" * 60))))
    assert "x" * 10 in squeezed
    assert squeezed.count("x") == 60


def test_a_wide_terminal_needs_nothing_below_the_table() -> None:
    made = by_judges(WIDE, "sprite")
    text = printed(made, 200)
    assert "[1]" not in text
    assert "M1" not in text
    assert text.count("0.85 [0.64, 0.95]") == len(made.cells)


def test_notes_get_a_column_only_when_there_are_any() -> None:
    assert len(rich_table(results(cell(), cell("math_2"))).columns) == 6
    assert len(rich_table(results(cell(), cell("math_2", score=score(rejected=2)))).columns) == 7
    assert "2 rejected" in printed(results(cell(score=score(rejected=2))))


def test_a_task_and_a_model_are_named_once_each() -> None:
    text = printed(WIDE, 200)
    assert text.count("forward_retrieval") == text.count("inverse_search") == 1
    assert text.count(MODELS[0]) == 2


def test_rows_stand_by_task_then_model_then_mode() -> None:
    cells = [
        cell("b", "cot", "m"),
        cell("b", "direct", "n"),
        cell("a", "render", "m"),
        cell("b", "direct", "m"),
    ]
    words = [line.split() for line in printed(results(*cells), 100).splitlines()[1:]]
    assert [line[: line.index("0.50")] if line else [] for line in words] == [
        ["b", "m", "direct"],
        ["cot"],
        ["n", "direct"],
        [],
        ["a", "m", "render"],
    ]


def test_words_in_square_brackets_are_no_markup() -> None:
    assert "[bold]x[/]" in printed(results(cell("[bold]x[/]")))
    assert "[red]" in printed(results(cell(), cell(note="[red]", score=NOTHING)))


def test_colours_are_for_terminals_only() -> None:
    made = results(cell(score=score(0.9)), cell(mode="cot", score=score(0.1)), cell(mode="render"))
    assert "\x1b" not in printed(made)
    coloured = printed(made, terminal=True)
    assert "\x1b" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == printed(made)


def test_colour_says_how_a_score_stands_to_guessing() -> None:
    made = results(
        cell(score=score(0.9)), cell(mode="cot", score=score(0.1)), cell(mode="render", score=score(0.25))
    )
    coloured = printed(made, terminal=True)
    assert re.search(r"\x1b\[1;32m *0\.90", coloured)
    assert re.search(r"\x1b\[1;31m *0\.10", coloured)
    assert re.search(r"\x1b\[1m *0\.25", coloured)


def test_an_empty_table_is_a_header() -> None:
    assert printed(results()).split() == ["task", "mode", "score", "95", "%", "n", "guess"]


# --- exports ---

AWKWARD = results(
    cell("math_1", model='oracle:cannot_compute=%+^,note="a|b"'),
    cell("math_2", model="x & y_z", score=score(0.5, 90, 10, error=10)),
    gap(model="x & y_z"),
)


@pytest.mark.parametrize("form", EXPORTED)
def test_every_cell_is_exported_once(form: str) -> None:
    text = export(AWKWARD, form)
    assert text
    assert not text.endswith("\n")
    assert text.count("math_2" if form != "latex" else r"math\_2") == 1


def test_csv_parses_back() -> None:
    rows = list(csv.DictReader(io.StringIO(export(AWKWARD, "csv"))))
    assert [one["model"] for one in rows] == [one.model for one in AWKWARD]
    assert [float(one["score"]) if one["score"] else None for one in rows] == [0.5, 0.5, None]
    assert rows[1]["errors"] == "10"
    assert list(rows[0]) == list(AWKWARD.to_rows()[0])


def test_json_parses_back() -> None:
    assert json.loads(export(AWKWARD, "json")) == AWKWARD.to_rows()


def test_markdown_parses_back() -> None:
    lines = export(AWKWARD, "md").splitlines()
    table = [[part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert {len(line) for line in table} == {8}
    assert table[0] == ["task", "model", "mode", "score", "95 %", "n", "guess", "notes"]
    assert all(set(part) <= set("-:") for part in table[1])
    assert [line[0] for line in table[2:]] == ["math_1", "math_1", "math_2"]
    assert [line[3] for line in table[2:]] == ["0.50", "-", "0.50"]
    assert table[4][-1] == "10 errors: 0.45-0.55"


def test_latex_is_a_booktabs_table_with_everything_escaped() -> None:
    text = export(AWKWARD, "latex")
    assert text.startswith(r"\begin{tabular}")
    for word in (r"\toprule", r"\midrule", r"\bottomrule", r"x \& y\_z", r"95 \%", r"cannot\_compute=\%+"):
        assert word in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    for line in body.strip().splitlines():
        assert line.rstrip().endswith(r"\\")
        assert len(re.findall(r"(?<!\\)&", line)) == 7
        assert not re.search(r"(?<!\\)[%_#$]", line)


def test_rows_of_different_columns_make_one_csv() -> None:
    rows: list[dict[str, Any]] = [{"a": 1}, {"b": 2, "a": 'x,"y"\nz'}]
    assert list(csv.DictReader(io.StringIO(rows_as(rows, "csv")))) == [
        {"a": "1", "b": ""},
        {"a": 'x,"y"\nz', "b": "2"},
    ]
    assert rows_as([], "csv") == ""
    assert json.loads(rows_as([{"a": "é"}], "json")) == [{"a": "é"}]
