"""The Python API: the same run, the same scores, and frames that people can work with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import unisandbox
from tests.support_backends import Painter, picture
from tests.support_run import lines, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox.api import execute, latest_folder, make_options, new_folder, plan, resume, saved_options
from unisandbox.errors import RunFolderError, UsageError
from unisandbox.modes import MODES
from unisandbox.records import Generation
from unisandbox.results import Results, collect, load_run
from unisandbox.run_log import AskState, RunLog

pytestmark = pytest.mark.usefixtures("words")

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
MIXED: dict[str, Any] = {
    "models": ["painter:right=0.6,unanswered=0.2", "mute"],
    "modes": [mode for mode in MODES if mode != "recall"],
    "judges": ["reader:batch=1", "reader:batch=2"],
    "repeats": 3,
}


def test_the_public_names_are_there() -> None:
    for name in unisandbox.__all__:
        assert getattr(unisandbox, name) is not None
    assert not hasattr(unisandbox, "runn")


def test_run_returns_its_cells() -> None:
    results = unisandbox.run(
        tasks=["words.yaml"],
        models=["painter"],
        judges=["reader"],
        modes=["direct", "answer"],
        out=Path("run"),
    )
    assert isinstance(results, Results) and results.folder == Path("run") and results.finished
    assert [(cell.task, cell.mode, cell.model, cell.judge) for cell in results] == [
        ("words", "direct", "painter", "reader"),
        ("words", "answer", "painter", "reader"),
    ]
    score = results.cells[0].score
    assert (score.value, score.n, score.unscored, score.high) == (1.0, 6, 0, 1.0)
    assert results.cells[0].chance == pytest.approx(1 / 6)


def test_run_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    run_words()
    assert capsys.readouterr() == ("", "")


def test_one_word_is_as_good_as_a_list() -> None:
    assert run_words(modes="direct,answer").cells == run_words(modes=["answer", "direct"]).cells


def test_a_new_run_goes_below_runs(in_tmp: Path) -> None:
    results = run_words(out=None)
    assert results.folder.parent == Path("runs") and (in_tmp / results.folder / "results.json").exists()
    assert results.folder.name.endswith("-words.yaml")
    assert latest_folder() == results.folder
    assert run_words(out=None).folder != results.folder  # also within the same second


def test_names_of_folders_are_safe_and_short() -> None:
    options = make_options({"tasks": ["../../my dir/a.yaml", "math_*" * 40]})
    name = new_folder(options).name
    assert "/" not in name and "*" not in name and len(name) < 80


# --- frames ---


def test_to_pandas_has_exactly_these_columns() -> None:
    frame = run_words(modes=["direct", "answer"]).to_pandas()
    assert list(frame.columns) == COLUMNS
    assert list(frame.itertuples(index=False, name=None)) == [
        (
            "words",
            "words",
            mode,
            "painter",
            "reader",
            1.0,
            pytest.approx(0.61, abs=0.01),
            1.0,
            6,
            0,
            0,
            pytest.approx(1 / 6),
        )
        for mode in ("direct", "answer")
    ]


def test_rows_and_json_say_the_same() -> None:
    results = run_words(**MIXED)
    rows = results.to_rows()
    assert [list(row) for row in rows] == [COLUMNS] * len(rows)
    for row, cell in zip(rows, results, strict=True):
        assert (row["score"], row["low"], row["high"]) == (cell.score.value, cell.score.low, cell.score.high)
        assert (row["n"], row["unscored"], row["errors"]) == (
            cell.score.n,
            cell.score.unscored,
            cell.score.errors,
        )
    saved = json.loads((results.folder / "results.json").read_text())
    assert len(saved["cells"]) == len(rows) and saved["finished"] is True


def test_samples_is_one_row_a_trial_and_judge() -> None:
    results = run_words(modes=["direct", "answer"], judges=["reader:batch=1", "reader:batch=2"], repeats=2)
    frame = results.samples()
    assert len(frame) == 2 * 6 * 2 * 2
    assert not frame.duplicated(["key", "judge"]).any()
    assert {"task", "mode", "model", "sample", "unit", "repeat", "seed", "prompt", "judge", "outcome"} <= set(
        frame
    )
    one = frame[(frame["mode"] == "direct") & (frame["sample"] == "s3") & (frame["repeat"] == 1)]
    assert set(one["judge"]) == {"reader:batch=1", "reader:batch=2"}
    assert set(one["image"]) == {picture(3).name} and set(one["outcome"]) == {"correct"}
    assert one.iloc[0]["observed"] == {"answer": "w3"}


def test_samples_has_the_last_word_on_each_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            Painter, "answer", lambda self, request: Generation(request.key, finish="error", error="out")
        )
        frame = run_words().samples()
        assert len(frame) == 6 and set(frame["error"]) == {"out"}
    frame = run_words().samples()
    assert len(frame) == 6 and set(frame["finish"]) == {"complete"} and set(frame["outcome"]) == {"correct"}


def test_samples_of_nothing_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Painter, "generate", _stopped)
    with pytest.raises(KeyboardInterrupt):
        run_words()
    assert load_run("run").samples().empty
    assert load_run("run").cells[0].score.unscored == 6


# --- load_run ---


@pytest.mark.parametrize("folder", [Path("run"), "run"], ids=["path", "string"])
def test_load_run_returns_what_run_returned(folder: Path | str) -> None:
    results = run_words(**MIXED)
    assert load_run(folder) == results


def test_a_killed_run_has_the_same_scores_from_its_logs() -> None:
    """Every kind of outcome, pictures and words, repeats, two judges, and modes a model does not support."""
    results = run_words(**MIXED)
    Path("run/results.json").unlink()
    from_logs = load_run("run")
    assert from_logs.cells == results.cells and not from_logs.finished


def test_the_order_of_a_log_does_not_matter() -> None:
    """Not even to the bootstrap: models answer in any order."""
    results = run_words(**MIXED)
    Path("run/results.json").unlink()
    for name in ("generations.jsonl", "verdicts.jsonl"):
        path = Path("run") / name
        path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))
    assert load_run("run").cells == results.cells


@pytest.mark.parametrize("kept", [0, 1, 5, 40, 100])
def test_a_run_killed_half_way_is_scored_on_what_there_is(kept: int) -> None:
    """The same as the runner would count, from what it loads at the next start."""
    run_words(**MIXED)
    for name in ("generations.jsonl", "verdicts.jsonl"):
        path = Path("run") / name
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    Path("run/results.json").unlink()
    matrix = plan(saved_options(Path("run")))
    states = {ask.id: AskState(ask) for ask in matrix.asks}
    with RunLog(Path("run")) as log:
        log.load(states)
    assert load_run("run") == collect(Path("run"), matrix, states)


def _stopped(self: Any, items: Sequence[Any]) -> Iterator[Any]:
    raise KeyboardInterrupt
    yield  # pragma: no cover


def test_a_spoilt_results_file_is_made_anew_from_the_logs(capsys: pytest.CaptureFixture[str]) -> None:
    results = run_words()
    for text in ("{", "[]", '{"cells": [{"task": 1}], "finished": true}', ""):
        Path("run/results.json").write_text(text)
        assert load_run("run").cells == results.cells
        assert capsys.readouterr().err.startswith("warning: run/results.json cannot be read: ")


def test_a_folder_that_is_no_run_is_named() -> None:
    with pytest.raises(RunFolderError, match=r"^nowhere is not a run folder: it has no run\.json\.$"):
        load_run("nowhere")


# --- resume ---


def test_resume_goes_on_with_the_options_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**MIXED, "seed": 5, "limit": 4, "tries": 1, "batch_size": 3, "min_coverage": 0.25}
    whole = run_words(**options, out="whole")
    with monkeypatch.context() as patch:
        patch.setattr(Painter, "generate", _stopped)
        with pytest.raises(KeyboardInterrupt):
            run_words(**options)
    assert resume(Path("run")).cells == whole.cells
    kept = saved_options(Path("run"))
    assert (kept.seed, kept.limit, kept.tries, kept.batch_size, kept.min_coverage) == (5, 4, 1, 3, 0.25)
    assert kept.out == Path("run") and not kept.fresh


def test_resume_with_a_secret_asks_for_it() -> None:
    run_words(models="painter:api_key=sk-1")
    with pytest.raises(
        UsageError, match=r"run: an option that is a secret is not kept\. Give the whole command"
    ):
        resume(Path("run"))
    assert run_words(models="painter:api_key=sk-2").finished  # a new key is the same model


# --- options ---


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "math_1"}, "Unknown option 'task'. Did you mean 'tasks'"),
        ({"repeats": 0}, "repeats=0: expected a whole number of at least 1."),
        ({"repeats": True}, "repeats=True: expected a whole number"),
        ({"repeats": None}, "repeats=None: expected a whole number"),
        ({"limit": 0}, "limit=0: expected a whole number of at least 1."),
        ({"limit": "5"}, "limit='5': expected a whole number"),
        ({"limit": 2.5}, "limit=2.5: expected a whole number"),
        ({"seed": -1}, "seed=-1: expected a whole number of at least 0."),
        ({"batch_size": 0}, "batch_size=0: expected a whole number of at least 1."),
        ({"tries": 0}, "tries=0: expected a whole number of at least 1."),
        ({"min_coverage": 1.5}, "min_coverage=1.5: expected a share from 0 to 1."),
        ({"min_coverage": "high"}, "min_coverage='high': expected a share"),
        ({"min_coverage": None}, "min_coverage=None: expected a share"),
        ({"fresh": True}, "--fresh starts over in a folder that --out names"),
        ({"fresh": "no", "out": "x"}, "fresh='no': expected true or false."),
        ({"tasks": 5}, "tasks=5: expected words."),
        ({"models": {"oracle": 1}}, "models={'oracle': 1}: expected words."),
        ({"modes": ["direct", 1]}, "modes=['direct', 1]: expected words."),
        ({"out": 5}, "out=5: expected a path."),
        ({"out": ["a"]}, "out=['a']: expected a path."),
        ({"tasks": []}, "No task is named. They are listed by: unisandbox tasks"),
        ({"tasks": " , "}, "No task is named."),
        ({"models": [], "tasks": "words.yaml"}, "No model is named. They are listed by: unisandbox models"),
        ({"modes": [], "tasks": "words.yaml"}, "No mode is named."),
    ],
)
def test_options_that_cannot_be_meant(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        unisandbox.run(**given)
    assert str(caught.value).startswith(message)


def test_nothing_given_is_the_default() -> None:
    assert make_options({}) == make_options({"judges": None, "limit": None, "out": None, "data": ""})


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from unisandbox.runner import Silent

    told: list[str] = []
    monkeypatch.setattr(Silent, "asking", lambda self, ask: told.append(ask.label))
    execute(make_options({"tasks": "words.yaml", "models": "painter", "modes": "answer", "out": "run"}))
    assert told == ["words answer painter"]
    assert {line["judge"] for line in lines("verdicts.jsonl")} == {"rules"}
