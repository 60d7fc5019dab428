"""Exported rows: the schemas others read, a faithful way back, and no file lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from unisandbox.datasets.arithmetic import arithmetic
from unisandbox.datasets.characters import characters
from unisandbox.datasets.export import export_rows
from unisandbox.datasets.files import jsonl
from unisandbox.datasets.published import Part, published
from unisandbox.errors import DataError, UsageError

PAIRS: list[dict[str, Any]] = [
    {"id": "p-a", "pair": "p", "side": "A", "question": "Which is %?", "object": "umbrella"},
    {"id": "p-b", "pair": "p", "side": "B", "question": "Which is é?", "object": "scissors"},
    {"id": "q-a", "pair": "q", "side": "A", "question": "Which is 7?", "object": "cup"},
    {"id": "q-b", "pair": "q", "side": "B", "question": "Which is 8?", "object": "chair"},
]


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_jsonl_layout_keeps_every_field(tmp_path: Path) -> None:
    rows = characters(view="forward", people=8)
    (path,) = export_rows(rows, "jsonl", tmp_path / "new", "forward", "knowledge")
    assert path == tmp_path / "new" / "forward.jsonl"
    assert jsonl(path=path) == rows


def test_math_is_written_in_the_published_schema_and_read_back(tmp_path: Path) -> None:
    rows = arithmetic(operations=2, samples=40)
    (path,) = export_rows(rows, "published", tmp_path, "math_2", "math")
    assert [list(line) for line in lines(path)] == [["Question", "Answer", "id"]] * 40
    back = published(folder=tmp_path, part="math_2")
    for key in ("id", "question", "count", "object", "count_phrase"):
        assert [row[key] for row in back] == [row[key] for row in rows]


def test_mapping_is_written_in_the_published_schema_and_read_back(tmp_path: Path) -> None:
    (path,) = export_rows(PAIRS, "published", tmp_path, "mapping_1", "mapping")
    assert lines(path)[:2] == [
        {"ID": "1", "Question_A": "Which is %?", "Answer": "umbrella"},
        {"ID": "1", "Question_B": "Which is é?", "Answer": "scissors"},
    ]
    back = published(folder=tmp_path, part="mapping1")
    assert [(row["pair"], row["side"]) for row in back] == [("1", "A"), ("1", "B"), ("2", "A"), ("2", "B")]
    for key in ("question", "object"):
        assert [row[key] for row in back] == [row[key] for row in PAIRS]
    assert [row["other"] for row in back] == ["scissors", "umbrella", "chair", "cup"]


@pytest.mark.parametrize("view", ["forward", "inverse"])
def test_knowledge_is_written_a_file_for_each_person_or_pair_and_read_back(tmp_path: Path, view: Any) -> None:
    rows = characters(view=view, people=10)
    paths = export_rows(rows, "published", tmp_path, f"knowledge_{view}", "knowledge")
    assert len(paths) == 10
    assert all(type(line["ID"]) is int for path in paths for line in lines(path))
    back = {row["question"]: row for row in published(folder=tmp_path, part=view)}
    assert sorted(int(row["id"]) for row in back.values()) == list(range(1, len(rows) + 1))
    for row in rows:
        again = back[row["question"]]
        for key in ("target", "resolved", "rubric", *(("name", "asks") if view == "forward" else ("names",))):
            assert again[key] == row[key], key


def test_teaching_is_written_as_conversations_and_read_back(tmp_path: Path) -> None:
    rows = characters(view="teaching", people=8)
    paths = export_rows(rows, "published", tmp_path, "teaching", "knowledge")
    assert lines(paths[0])[0] == {
        "id": 1,
        "conversations": [
            {"from": "human", "value": rows[0]["question"]},
            {"from": "gpt", "value": rows[0]["answer"]},
        ],
    }
    back = published(folder=tmp_path, part="teaching")
    told = sorted((row["name"], row["question"], row["answer"]) for row in rows)
    assert sorted((row["name"], row["question"], row["answer"]) for row in back) == told
    assert '"关于' in paths[0].read_text("utf-8")


@pytest.mark.parametrize("part", ["math_1", "mapping2", "forward", "inverse", "teaching"])
def test_published_rows_survive_the_way_out_and_back(tmp_path: Path, part: Part) -> None:
    benchmark = Path(__file__).parents[3] / "shared" / "reference" / "benchmark"
    if not benchmark.is_dir():
        pytest.skip("the published test files are not beside the repository")
    rows = published(folder=benchmark, part=part, view="all")
    export_rows(rows, "published", tmp_path, part, "published")
    assert published(folder=tmp_path, part=part, view="all") == rows


def test_a_file_already_there_is_kept_unless_overwriting_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("mine")
    with pytest.raises(UsageError, match=r"t\.jsonl already there"):
        export_rows(PAIRS, "jsonl", tmp_path, "t", "mapping")
    assert (tmp_path / "t.jsonl").read_text() == "mine"
    export_rows(PAIRS, "jsonl", tmp_path, "t", "mapping", overwrite=True)
    assert lines(tmp_path / "t.jsonl") == PAIRS
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


def test_nothing_is_written_where_one_of_many_files_is_already_there(tmp_path: Path) -> None:
    rows = characters(view="forward", people=8)
    last = tmp_path / "test_knowledge" / f"{rows[-1]['name']}.jsonl"
    last.parent.mkdir()
    last.write_text("mine")
    with pytest.raises(UsageError, match="already there"):
        export_rows(rows, "published", tmp_path, "forward", "knowledge")
    assert list(last.parent.iterdir()) == [last]


def test_a_failing_write_leaves_nothing_behind(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [*PAIRS, {"id": "x", "bad": {1, 2}}]
    with pytest.raises(TypeError):
        export_rows(rows, "jsonl", tmp_path, "t", "mapping")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        export_rows(PAIRS, "jsonl", tmp_path / "file", "t", "mapping")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "csv"}, "Unknown layout 'csv'"),
        ({"task_name": "../up"}, r"task name '../up' starts with '\.'"),
    ],
)
def test_bad_arguments_are_usage_errors(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    asked = {"layout": "jsonl", "task_name": "t", "family": "mapping"} | arguments
    with pytest.raises(UsageError, match=message):
        export_rows(PAIRS, folder=tmp_path, **asked)


def test_rows_of_no_published_schema_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"Task 't' of family 'own' has no published schema.* count_phrase, "
    ):
        export_rows([{"id": "a", "question": "?"}], "published", tmp_path, "t", "own")
    with pytest.raises(DataError, match="'t' has no rows"):
        export_rows([], "jsonl", tmp_path, "t", "math")
    assert not list(tmp_path.iterdir())
