"""``unisandbox data export``: the rows of a task, in files for other pipelines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support_backends import write_task
from unisandbox.cli import main

pytestmark = pytest.mark.usefixtures("in_tmp")
Out = pytest.CaptureFixture[str]


def read(path: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_rows_are_written_whole_and_the_files_named(capsys: Out) -> None:
    assert main(["data", "export", "--task", "math_1", "exported"]) == 0
    assert capsys.readouterr() == ("exported/math_1.jsonl\n", "")
    rows = read("exported/math_1.jsonl")
    assert len(rows) == 250 and {"id", "question", "count", "object"} <= rows[0].keys()


def test_exported_rows_are_a_dataset_again(capsys: Out) -> None:
    path = write_task(Path("mine"))
    assert main(["data", "export", "--task", str(path), "exported"]) == 0
    assert read("exported/words.jsonl") == read("mine/rows.jsonl")


@pytest.mark.parametrize(
    "data",
    [["--data", "samples=9,seed=4,split=train"], ["--data", "samples=9", "--data", "seed=4,split=train"]],
)
def test_dataset_options(data: list[str], capsys: Out) -> None:
    assert main(["data", "export", "--task", "math_2", *data, "exported"]) == 0
    assert len(read("exported/math_2.jsonl")) == 9


def test_the_published_layout(capsys: Out) -> None:
    assert main(["data", "export", "--task", "math_2", "--layout", "published", "exported"]) == 0
    (path,) = Path("exported").rglob("*.jsonl")
    assert path == Path("exported/test_reasoning/math_2.jsonl") and len(read(str(path))) == 250


def test_own_tasks_from_a_folder(capsys: Out) -> None:
    write_task(Path("mine"))
    assert main(["data", "export", "--include-path", "mine", "--task", "words", "exported"]) == 0
    assert len(read("exported/words.jsonl")) == 6


def test_nothing_is_replaced_unasked(capsys: Out) -> None:
    write_task(Path("mine"))
    words = ["data", "export", "--task", "mine/words.yaml"]
    mine = Path("exported/words.jsonl")
    mine.parent.mkdir()
    mine.write_text("mine\n")
    assert main([*words, "exported"]) == 2
    assert "exported/words.jsonl already there." in capsys.readouterr().err and mine.read_text() == "mine\n"
    assert main([*words, "--overwrite", "exported"]) == 0
    assert len(read(str(mine))) == 6


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--task", "math_9"], "error: Unknown task, family or pattern 'math_9'. Did you mean"),
        (["--task", "math_*"], "error: --task math_*: expected one task, found math_1, math_2, math_3."),
        (
            ["--task", "math_1", "--data", "smaples=3"],
            "Unknown dataset option 'smaples'. Did you mean 'samples'?",
        ),
        (["--task", "math_1", "--data", "samples=many"], "samples='many'"),
        (["--task", "math_1", "--layout", "xml"], "invalid choice: 'xml'"),
        (["--task", "words.yaml", "--layout", "published"], "has no published schema"),
        (["--task", "none.yaml"], "error: none.yaml: cannot be read: "),
        (["--task", "math_1", "--include-path", "nowhere"], "error: --include-path nowhere: no such folder."),
    ],
)
def test_what_cannot_be_exported(words: list[str], says: str, capsys: Out) -> None:
    write_task(Path())
    assert main(["data", "export", *words, "exported"]) == 2
    out, err = capsys.readouterr()
    assert says in err and out == "" and "Traceback" not in err
    assert not Path("exported").exists()


def test_a_folder_that_cannot_be_written(capsys: Out) -> None:
    Path("exported").write_text("mine")
    assert main(["data", "export", "--task", "math_1", "exported"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "exported" in err and "Traceback" not in err
    assert Path("exported").read_text() == "mine"
