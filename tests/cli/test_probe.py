"""``unisandbox probe``, end to end with an untrained model."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.support_tiny import untrained
from unisandbox.cli import main
from unisandbox.model_backends.tiny.checkpoint import FILE, save
from unisandbox.probe import Place, Reading
from unisandbox.report.probes import LAYERS, plot, rich_table, shown_layers
from unisandbox.stats import Estimate

Out = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("untrained")
    save(untrained(width=32, layers=2), out / FILE, {})
    return f"tiny:checkpoint={out}"


def probe(*words: str) -> int:
    return main(["probe", "--samples", "40", *words])


def test_the_table_and_the_plot(
    model: str, in_tmp: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "130")
    assert probe("--models", model, "--after", "2", "-o", "probe.png") == 0
    out, err = capsys.readouterr()
    head, *lines = [line.split() for line in out.splitlines()]
    assert head == ["task", "slot", "at", "0", "1", "2", "95", "%", "guess", "shuffled", "n"]
    assert lines[0][:4] == ["math_1", "count", "answer", "0.25"] and lines[0][-1] == "40"
    assert [line[0] for line in lines[1:]] == ["direct", "direct", "render"] and lines[2][1] == "+2"
    assert "note: math_1: the slot 'object' is not read" in err and "The plot is in probe.png" in err
    assert Path("probe.png").read_bytes().startswith(b"\x89PNG")


def test_formats(model: str, in_tmp: Path, capsys: Out) -> None:
    def printed(form: str) -> str:
        words = ["--models", model, "--modes", "answer,direct", "--after", "--format", form]
        assert probe(*words) == 0
        return capsys.readouterr().out

    rows = json.loads(printed("json"))
    assert [(row["mode"], row["after"], row["layer"]) for row in rows] == [
        (mode, 0, layer) for mode in ("answer", "direct") for layer in (0, 1, 2)
    ]
    assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in rows)
    table = list(csv.DictReader(io.StringIO(printed("csv"))))
    assert list(table[0]) == list(rows[0]) and len(table) == len(rows)
    assert len(printed("md").splitlines()) == 4
    assert json.loads(printed("json")) == rows


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-o probe.bmp", "error: -o probe.bmp: a plot is written as .png, .pdf, .svg, as its name says."),
        ("-o nowhere/probe.png", "error: -o nowhere/probe.png: there is no folder nowhere."),
        ("--models oracle", "error: The model 'oracle' does not hand out its hidden states."),
        ("--modes draw", "error: Unknown mode 'draw'."),
        ("--after -3", "error: --after -3: expected a number of tokens."),
        ("--after 64", "error: tiny: after=64: a picture has 64 tokens"),
        ("--limit 0", "error: --limit 0: expected a whole number of at least 1."),
        ("--limit 8", "error: math_1: the slot 'count' is not read: only 0 of its 4 values"),
        ("--data colour=red", "error: --data colour=...: Unknown dataset option 'colour'."),
        ("--tasks maths", "error: Unknown task, family or pattern 'maths'."),
    ],
)
def test_bad_input(words: str, message: str, model: str, in_tmp: Path, capsys: Out) -> None:
    given = words.split()
    models = [] if "--models" in given else ["--models", model]
    assert probe(*models, *given) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith(message) and err.count("\n") == 1


# --- the report ---


def reading(layer: int, *, slot: str = "count", model: str = "m", place: Place = Place("answer")) -> Reading:  # noqa: B008
    return Reading("t", model, slot, place, layer, Estimate(0.5, 0.4, 0.6, 90), 0.25, 0.24, 4, 100)


@pytest.mark.parametrize(
    ("last", "most", "shown"),
    [
        (2, 9, [0, 1, 2]),
        (8, 9, list(range(9))),
        (8, 4, [2, 5, 8]),
        (32, 9, list(range(0, 33, 4))),
        (0, 4, [0]),
    ],
)
def test_deep_networks_show_some_layers_and_the_last(last: int, most: int, shown: list[int]) -> None:
    assert shown_layers([reading(layer) for layer in range(last + 1)], most) == shown


def test_several_models_have_a_column() -> None:
    readings = [reading(layer, model=model) for model in "ab" for layer in range(3)]
    assert [column.header for column in rich_table(readings).columns][:2] == ["task", "model"]
    assert LAYERS > 3


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_plots_of_the_same_are_the_same(suffix: str, tmp_path: Path) -> None:
    readings = [
        reading(layer, slot=slot, place=place)
        for slot in ("count", "object", "hair", "age")
        for place in (Place("answer"), Place("direct"), Place("direct", 16))
        for layer in range(4)
    ]
    for name in ("a", "b"):
        plot(readings, tmp_path / (name + suffix))
    first = (tmp_path / f"a{suffix}").read_bytes()
    assert first == (tmp_path / f"b{suffix}").read_bytes() and len(first) > 2000
