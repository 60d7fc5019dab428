"""The log of a training: a line now and then, and nothing twice after a stop."""

import json
from pathlib import Path

import pytest

from unisandbox.training.record import LOG, Record


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def add(record: Record, steps: range) -> None:
    for number in steps:
        record.add(number, {"loss": float(number)}, tokens=7, rate=0.5)


def test_lines_are_means_of_ten_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Record(tmp_path, 25, 0) as record:
        add(record, range(25))
    lines = logged(tmp_path)
    assert [(line["step"], line["loss"], line["rate"]) for line in lines] == [
        (10, 4.5, 0.5), (20, 14.5, 0.5), (25, 22.0, 0.5)
    ]  # fmt: skip
    assert all(line["tokens_per_s"] > 0 for line in lines)
    assert "step 25/25  loss 22.000, " in capsys.readouterr().err


def test_what_came_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    with Record(tmp_path, 40, 0, shown=False) as record:
        add(record, range(30))
    with (tmp_path / LOG).open("a") as log:
        log.write('{"step": 3')
    with Record(tmp_path, 40, 15, shown=False) as record:
        add(record, range(15, 40))
    assert [line["step"] for line in logged(tmp_path)] == [10, 20, 30, 40]


def test_another_process_keeps_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Record(tmp_path, 10, 0, kept=False, shown=False) as record:
        add(record, range(10))
    assert not (tmp_path / LOG).exists() and capsys.readouterr().err == ""
