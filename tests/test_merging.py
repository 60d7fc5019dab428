"""Shards and merging: however a matrix was cut up, the bytes of its results are those of one run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tests.support_backends import Painter, write_task
from tests.support_run import by_sample, lines, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox import merge
from unisandbox.api import plan, resume, run, saved_options
from unisandbox.cli import main
from unisandbox.errors import RunFolderError, UnisandboxError, UsageError
from unisandbox.matrix import Shard
from unisandbox.records import Generation

MANY = {"modes": ["direct", "cot", "answer", "caption"], "models": "painter:right=0.5", "repeats": 2}


def shards(of: int, **options: Any) -> list[Path]:
    """Run every shard of a matrix in a folder of its own."""
    folders = [Path(f"shard{number}") for number in range(1, of + 1)]
    for number, folder in enumerate(folders, 1):
        run_words(**{**MANY, "out": folder, "shard": f"{number}/{of}", **options})
    return folders


def results(folder: str | Path) -> bytes:
    return (Path(folder) / "results.json").read_bytes()


@pytest.fixture
def unsharded(words: Path) -> bytes:
    """The results of the whole matrix, run at once."""
    run_words(**MANY)
    return results("run")


@pytest.mark.parametrize("of", [1, 2, 4, 6])
def test_the_merge_of_all_shards_has_the_results_of_one_run(unsharded: bytes, of: int) -> None:
    merged = merge(shards(of), "merged")
    assert merged.finished and results("merged") == unsharded
    for log in ("generations.jsonl", "verdicts.jsonl"):
        assert sorted(lines(log, "merged"), key=repr) == sorted(lines(log, "run"), key=repr)
    assert {path.name for path in Path("merged/images").iterdir()} == {
        path.name for path in Path("run/images").iterdir()
    }


def test_real_tasks_with_pairs_and_every_mode(in_tmp: Path) -> None:
    options: dict[str, Any] = {
        "tasks": ["math_2", "inverse_search"],
        "modes": "all",
        "models": ["oracle:transfer=0.5,renders=0.8", "oracle"],
        "limit": 5,
    }
    run(**options, out="whole")
    for number in (1, 2, 3):
        run(**options, out=f"shard{number}", shard=f"{number}/3")
    merge(["shard2", "shard3", "shard1"], "merged")
    assert results("merged") == results("whole")


def test_every_trial_is_in_one_shard_and_shards_are_equal(unsharded: bytes) -> None:
    folders = shards(4)
    keys = [{line["key"] for line in lines("generations.jsonl", folder)} for folder in folders]
    assert sum(map(len, keys)) == len(set().union(*keys)) == len(lines("generations.jsonl"))
    units = [len({line["unit"] for line in lines("generations.jsonl", folder)}) for folder in folders]
    assert sorted(units) == [1, 1, 2, 2]


def test_units_are_dealt_out_through_all_tasks(words: Path) -> None:
    """Tasks of one unit each do not all fall to the first shard; a task without units there is left out."""
    options: dict[str, Any] = {
        "tasks": ["math_1", "math_2", "inverse_search"],
        "limit": 1,
        "models": "oracle",
    }
    for number, task in enumerate(("math_1", "math_2", "inverse_search"), 1):
        run(**options, shard=f"{number}/3", out=f"shard{number}")
        assert {line["task"] for line in lines("generations.jsonl", f"shard{number}")} == {task}
    assert merge(["shard1", "shard2", "shard3"], "merged").finished


def test_any_order_and_once_more_gives_the_same_bytes(unsharded: bytes) -> None:
    logs = set()
    for number, order in enumerate(permutations(shards(3))):
        merge(order, f"merged{number}")
        assert results(f"merged{number}") == unsharded
        logs.add((Path(f"merged{number}") / "generations.jsonl").read_bytes())
    assert len(logs) == 1
    merge(order, "merged0")
    merge([*order, "merged1", "merged0"], "merged0")
    assert results("merged0") == unsharded
    assert {(Path("merged0") / "generations.jsonl").read_bytes()} == logs


def test_a_missing_shard_is_named_and_can_be_asked_in_the_merged_folder(
    unsharded: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = shards(4)
    assert main(["merge", *map(str, folders[1:3]), "-o", "merged", "--no-report"]) == 0
    said = capsys.readouterr().err
    assert "not among them: shard 1/4, 4/4." in said and "unisandbox resume merged" in said
    assert main(["merge", str(folders[3]), "-o", "merged", "--no-report"]) == 0
    assert "not among them: shard 1/4." in capsys.readouterr().err
    asked = count_requests(monkeypatch)
    assert resume(Path("merged")).finished
    assert results("merged") == unsharded
    assert set(asked) == {line["sample"] for line in lines("generations.jsonl", folders[0])}
    merge([folders[0]], "merged")  # by now it brings nothing new
    assert results("merged") == unsharded


def count_requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that every sample asked from here on is added to."""
    asked: list[str] = []
    answer: Callable[..., Generation] = Painter.answer

    def noted(self: Painter, request: Any) -> Generation:
        asked.append(request.sample_id)
        return answer(self, request)

    monkeypatch.setattr(Painter, "answer", noted)
    return asked


def test_an_error_gives_way_to_an_answer(unsharded: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            Painter, "answer", lambda self, request: Generation(request.key, finish="error", error="out")
        )
        run_words(**{**MANY, "out": "broken"})
    assert merge(["broken", "run"], "merged").coverage == 1
    assert results("merged") == unsharded
    assert results(merge(["run", "broken"], "merged2").folder) == unsharded


def test_a_shard_goes_on_after_a_stop_and_only_with_its_own_part(unsharded: bytes) -> None:
    (folder, _) = shards(2)
    before = results(folder)
    log = folder / "generations.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]))
    assert resume(folder).finished and results(folder) == before
    with pytest.raises(
        RunFolderError, match="holds a run of another matrix: shard was '1/2' and is now '2/2'"
    ):
        run_words(**{**MANY, "out": folder, "shard": "2/2"})
    assert plan(saved_options(folder)).shard == Shard(1, 2)


# --- what cannot be merged ---


def test_two_answers_to_one_trial_are_a_conflict(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_words(out="one")
    monkeypatch.setattr(Painter, "answer", lambda self, request: Generation(request.key, text="else"))
    run_words(out="two")
    key = by_sample("generations.jsonl", "one")["s1"]["key"]
    with pytest.raises(RunFolderError) as error:
        merge(["one", "two"], "merged")
    assert str(error.value) == (
        f"one and two each hold an answer for the trial {key} (words answer painter, sample s1, repeat 0), "
        "and they differ. Merge only one of the two."
    )
    assert not Path("merged/results.json").exists()


def test_two_verdicts_on_one_trial_are_a_conflict(words: Path) -> None:
    run_words(out="one")
    shutil.copytree("one", "two")
    log = Path("two/verdicts.jsonl")
    log.write_text(log.read_text().replace('"correct"', '"incorrect"', 1))
    with pytest.raises(
        RunFolderError, match=r"one and two each hold a verdict of 'reader' for the trial \w+ "
    ):
        merge(["one", "two"], "merged")


def test_what_a_model_notes_beside_its_answer_is_no_conflict(words: Path) -> None:
    run_words(out="one")
    shutil.copytree("one", "two")
    log = Path("two/generations.jsonl")
    log.write_text("".join(json.dumps({**line, "notes": {"s": 1}}) + "\n" for line in lines(log.name, "two")))
    assert merge(["one", "two"], "merged").finished


def test_a_folder_that_is_something_else_is_left_alone(words: Path) -> None:
    run_words(out="one")
    Path("home").mkdir()
    Path("home/letter.txt").write_text("dear")
    with pytest.raises(RunFolderError, match=r"home is not empty, and no run folder: it has no run.json"):
        merge(["one"], "home")
    assert [path.name for path in Path("home").iterdir()] == ["letter.txt"]
    run_words(out="other", seed=1)
    with pytest.raises(RunFolderError, match=r"other holds a run of another matrix: seed was 1 and is now 0"):
        merge(["one"], "other")
    with pytest.raises(RunFolderError, match=r"nowhere is not a run folder"):
        merge(["nowhere"], "merged")


def test_runs_of_different_matrices(words: Path) -> None:
    run_words(out="one")
    run_words(out="two", seed=1)
    with pytest.raises(
        RunFolderError,
        match="one and two are runs of different matrices: in the second, seed was 0 and is now 1",
    ):
        merge(["one", "two"], "merged")


def test_a_task_that_changed_since(words: Path) -> None:
    run_words(out="one")
    write_task(words.parent, rows=4)
    with pytest.raises(RunFolderError, match=r"one: its tasks or rubrics are others by now: tasks\.words"):
        merge(["one"], "merged")


def test_weights_must_be_the_same(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        said = {"weights": f"digest{number}"}
        monkeypatch.setattr(Painter, "describe", lambda self, said=said: said, raising=False)
        run_words(out=f"shard{number}", shard=f"{number}/2")
    with pytest.raises(
        RunFolderError, match=r"'painter' had other weights in shard2 \(digest2\) than in shard1"
    ):
        merge(["shard1", "shard2"], "merged")


@pytest.mark.parametrize("shard", ["0/4", "5/4", "a/b", "1", "1/0", "-1/4", "1/4/2", ""])
def test_a_shard_out_of_range(words: Path, shard: str) -> None:
    with pytest.raises(UsageError, match=r"--shard .*: expected I/N, a whole number I from 1 to N"):
        run_words(shard=shard)
    assert not Path("run").exists()


def test_more_shards_than_units(words: Path) -> None:
    with pytest.raises(UnisandboxError, match="--shard 9/9: nothing is left for it: there are 6 units"):
        run_words(shard="9/9")
