"""Results: the same scores from memory, file and logs; a run cut short never looks better than it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from unisandbox import load_run, run
from unisandbox.errors import RunFolderError
from unisandbox.records import Score
from unisandbox.results import Cell, Results

SCORE = Score(0.5, 0.1, 0.9, 4, 1, 0.4, 0.6, {"correct": 2, "incorrect": 2, "error": 1})


def cell(task: str = "math_1", mode: str = "direct", model: str = "oracle", **other: Any) -> Cell:
    given = {
        "family": task.split("_")[0],
        "judge": "sprite",
        "score": SCORE,
        "chance": 0.25,
        "guess": "always",
    }
    return Cell(task=task, mode=mode, model=model, **{**given, **other})


CELLS = (
    cell(),
    cell(mode="cot", model="oracle:transfer=0.1"),
    cell("math_2"),
    cell("mapping_1", judge="eye"),
    cell(
        "mapping_1",
        "answer",
        judge="",
        score=Score(None, None, None, 0, 0, None, None, {}),
        note="not supported",
    ),
)


@pytest.fixture
def pairs(in_tmp: Path) -> Results:
    """Six pairs of questions with two repeats each, half of them right, answered in words."""
    return run(
        tasks="mapping_1", models="oracle:reasons=0.5", modes="answer", limit=6, repeats=2, out=in_tmp / "run"
    )


def without_note(results: Results) -> list[dict[str, Any]]:
    return [row for row, one in zip(results.to_rows(), results, strict=True) if one.supported]


# --- choosing ---


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        ({}, 5),
        ({"task": []}, 5),
        ({"task": ["math_1"]}, 2),
        ({"task": ["math"]}, 3),
        ({"task": ["math_*", "mapping"]}, 5),
        ({"mode": ["direct"]}, 3),
        ({"model": ["oracle"]}, 4),
        ({"model": ["oracle:*"]}, 1),
        ({"judge": ["eye"]}, 1),
        ({"task": ["math"], "mode": ["cot"]}, 1),
        ({"task": ["none"]}, 0),
    ],
)
def test_cells_are_chosen_by_globs(patterns: dict[str, list[str]], count: int) -> None:
    assert len(Results(Path("x"), CELLS).only(**patterns).cells) == count


def test_a_choice_remembers_where_it_comes_from() -> None:
    chosen = Results(Path("x"), CELLS, finished=False).only(mode=["cot"])
    assert (chosen.folder, chosen.finished) == (Path("x"), False)


def test_coverage_is_the_smallest_of_what_could_be_asked() -> None:
    full = cell(score=Score(1.0, 0.5, 1.0, 5, 0, 1.0, 1.0, {}))
    assert Results(Path("x"), (full, cell())).coverage == 0.8
    assert Results(Path("x"), (full, CELLS[-1])).coverage == 1.0
    assert Results(Path("x"), ()).coverage == 1.0


def test_rows_hold_what_a_table_needs() -> None:
    assert Results(Path("x"), CELLS).to_rows()[0] == {
        "task": "math_1", "family": "math", "mode": "direct", "model": "oracle", "judge": "sprite",
        "score": 0.5, "low": 0.1, "high": 0.9, "n": 4, "unscored": 1, "errors": 1, "chance": 0.25,
    }  # fmt: skip
    frame = Results(Path("x"), CELLS).to_pandas()
    assert frame.shape == (5, 12)
    assert frame["score"].isna().sum() == 1


# --- folders ---


def test_a_finished_run_is_read_back_as_it_was(pairs: Results) -> None:
    assert pairs.finished
    again = load_run(pairs.folder)
    assert again == pairs
    assert load_run(str(pairs.folder)) == pairs


def test_pairs_are_scored_whole(pairs: Results) -> None:
    (one,) = pairs
    assert (one.score.n, one.score.unscored, sum(one.score.outcomes.values())) == (12, 0, 24)
    frame = pairs.samples()
    whole = frame.assign(right=frame["outcome"] == "correct").groupby(["unit", "repeat"])["right"].all()
    assert one.score.value == pytest.approx(whole.mean())
    assert 0 < whole.mean() < (frame["outcome"] == "correct").mean()


def test_scores_from_the_logs_are_those_of_the_run(pairs: Results) -> None:
    (pairs.folder / "results.json").unlink()
    again = load_run(pairs.folder)
    assert again.cells == pairs.cells
    assert not again.finished


def test_half_a_pair_is_open_and_not_right(pairs: Results) -> None:
    (pairs.folder / "results.json").unlink()
    for name in ("generations.jsonl", "verdicts.jsonl"):
        path = pairs.folder / name
        kept = [line for line in path.read_bytes().splitlines(True) if not _second(json.loads(line))]
        path.write_bytes(b"".join(kept))
    (one,) = load_run(pairs.folder)
    assert (one.score.n, one.score.unscored, one.score.value) == (0, 12, None)


def test_only_the_pair_that_is_not_whole_is_open(pairs: Results) -> None:
    (pairs.folder / "results.json").unlink()
    path = pairs.folder / "generations.jsonl"
    last = json.loads(path.read_bytes().splitlines()[-1])["sample"]
    for name in ("generations.jsonl", "verdicts.jsonl"):
        path = pairs.folder / name
        kept = [line for line in path.read_bytes().splitlines(True) if json.loads(line)["sample"] != last]
        path.write_bytes(b"".join(kept))
    (one,) = load_run(pairs.folder)
    assert (one.score.n, one.score.unscored) == (10, 2)


def test_lines_of_repeats_that_are_not_of_this_run_do_not_count(pairs: Results) -> None:
    (pairs.folder / "results.json").unlink()
    for name in ("generations.jsonl", "verdicts.jsonl"):
        path = pairs.folder / name
        extra = {**json.loads(path.read_bytes().splitlines()[0]), "repeat": 2, "key": "other"}
        path.write_bytes(path.read_bytes() + json.dumps(extra).encode() + b"\n")
    assert load_run(pairs.folder).cells == pairs.cells


def test_results_that_cannot_be_read_are_computed_again_with_a_warning(
    pairs: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    (pairs.folder / "results.json").write_text(
        json.dumps({"format": 1, "finished": True, "cells": [{"task": "x"}]})
    )
    assert load_run(pairs.folder).cells == pairs.cells
    told = capsys.readouterr().err
    assert told.startswith("warning: ")
    assert "results.json cannot be read: not a cell: " in told


def test_what_is_not_judged_yet_is_open(pairs: Results) -> None:
    (pairs.folder / "results.json").unlink()
    path = pairs.folder / "verdicts.jsonl"
    lines = path.read_bytes().splitlines(True)
    last = json.loads(lines[-1])
    path.write_bytes(b"".join(lines[:-1]))
    (one,) = load_run(pairs.folder)
    assert (one.score.n, one.score.unscored) == (11, 1)
    assert last["outcome"] in ("correct", "incorrect")


def test_an_error_that_was_asked_again_counts_no_more(pairs: Results) -> None:
    (pairs.folder / "results.json").unlink()
    path = pairs.folder / "generations.jsonl"
    lines = path.read_bytes().splitlines(True)
    failed = {**json.loads(lines[0]), "finish": "error", "error": "no answer"}
    path.write_bytes(json.dumps(failed).encode() + b"\n" + b"".join(lines))
    assert load_run(pairs.folder).cells == pairs.cells
    path.write_bytes(b"".join(lines) + json.dumps(failed).encode() + b"\n")
    verdicts = pairs.folder / "verdicts.jsonl"
    kept = [
        line for line in verdicts.read_bytes().splitlines(True) if json.loads(line)["key"] != failed["key"]
    ]
    verdicts.write_bytes(b"".join(kept))
    (one,) = load_run(pairs.folder)
    assert (one.score.unscored, one.score.errors) == (1, 1)


def test_samples_stand_beside_their_verdicts(pairs: Results) -> None:
    frame = pairs.samples()
    assert len(frame) == 24
    assert frame["key"].is_unique
    for column in (
        "task",
        "sample",
        "unit",
        "repeat",
        "seed",
        "prompt",
        "text",
        "outcome",
        "observed",
        "target",
    ):
        assert frame[column].notna().all(), column
    right = frame["observed"].map(str) == frame["target"].map(str)
    assert (right == (frame["outcome"] == "correct")).all()


def test_samples_without_a_verdict_are_shown_all_the_same(pairs: Results) -> None:
    (pairs.folder / "verdicts.jsonl").write_bytes(b"")
    frame = pairs.samples()
    assert len(frame) == 24
    assert "outcome" not in frame


def test_modes_a_model_cannot_do_stay_in_the_results(in_tmp: Path) -> None:
    unsupported = Results(in_tmp, CELLS).only(mode=["answer"]).cells[0]
    assert not unsupported.supported
    (in_tmp / "run.json").write_text(json.dumps({"matrix": {}, "asks": [], "options": {}}))
    (in_tmp / "results.json").write_text(json.dumps(Results(in_tmp, CELLS).to_json()))
    assert load_run(in_tmp) == Results(in_tmp, CELLS)


def test_results_hold_no_times(pairs: Results, in_tmp: Path) -> None:
    again = run(
        tasks="mapping_1",
        models="oracle:reasons=0.5",
        modes="answer",
        limit=6,
        repeats=2,
        out=in_tmp / "other",
    )
    assert (again.folder / "results.json").read_bytes() == (pairs.folder / "results.json").read_bytes()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is not a run folder: it has no run.json."),
        ({"run.json": "{"}, "run.json cannot be read: "),
        ({"run.json": '{"format": 99}'}, "written in log format 99, this version reads 1."),
    ],
)
def test_a_folder_that_is_no_run_is_refused(in_tmp: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (in_tmp / name).write_text(text)
    with pytest.raises(RunFolderError) as caught:
        load_run(in_tmp)
    assert message in str(caught.value)


def _second(line: dict[str, Any]) -> bool:
    """Whether a log line is that of the second question of its pair."""
    return str(line["sample"]).lower().endswith("b")
