"""Rows from the user's own files: every fault named with file and line, small in memory."""

import json
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unisandbox.datasets.files import hub, id_fault, jsonl
from unisandbox.errors import DataError, UsageError


def write(path: Path, *lines: Any) -> Path:
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("".join(text + "\n" for text in texts), "utf-8")
    return path


def test_rows_keep_all_fields_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {"id": "a", "n": [1, {"x": None}]}, "", "  ", {"id": 7, "q": "√2"})
    assert jsonl(path=path) == [{"id": "a", "n": [1, {"x": None}]}, {"id": "7", "q": "√2"}]


def test_a_byte_order_mark_and_a_missing_last_newline_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(b'\xef\xbb\xbf{"id": "a"}\r\n{"id": "b"}')
    assert jsonl(path=tmp_path / "r.jsonl") == [{"id": "a"}, {"id": "b"}]


def test_rows_without_ids_are_numbered(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {"q": "x"}, "", {"q": "y"})
    assert jsonl(path=path) == [{"q": "x", "id": "1"}, {"q": "y", "id": "2"}]


def test_another_field_can_be_the_id(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {"ID": 3, "id": "other"})
    assert jsonl(path=path, id_field="ID") == [{"ID": 3, "id": "3"}]


def test_fields_choose_and_rename(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {"id": "a", "Question": "x", "Answer": "y"})
    rows = jsonl(path=path, fields={"question": "Question", "again": "Question"})
    assert rows == [{"question": "x", "again": "x", "id": "a"}]
    with pytest.raises(DataError, match=r"r\.jsonl:1: Unknown field 'Questoin'\. Did you mean 'Question'"):
        jsonl(path=path, fields={"question": "Questoin"})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [{"id": "a"}, "", '{"id": "b"'],
            r"r\.jsonl:3: line contains invalid json.*expected one JSON object",
        ),
        ([{"id": "a"}, "[1]"], r"r\.jsonl:2: line is not an object"),
        (["null"], r"r\.jsonl:1: line contains null"),
        ([{"id": "a"}, {"id": "b"}, {"id": "a"}], r"r\.jsonl:3: the id 'a' is already used at .*r\.jsonl:1"),
        ([{"id": 1}, {"id": "1"}], "the id '1' is already used"),
        ([{"id": "a"}, {"q": "x"}], r"r\.jsonl:2: no field 'id'"),
        ([{"q": "x"}, {"id": "a"}], r"r\.jsonl:1: no field 'id'"),
        ([{"id": "a/b"}], r"r\.jsonl:1: 'id' is 'a/b', which contains '/'"),
        ([{"id": "a\\b"}], "which contains"),
        ([{"id": ".."}], r"which starts with '\.'"),
        ([{"id": ""}], "which is empty"),
        ([{"id": "a\n"}], "which contains"),
        ([{"id": 1.5}], r"'id' is 1\.5; expected a string or a whole number"),
        ([{"id": True}], "'id' is True; expected a string"),
    ],
)
def test_faults_are_named_with_file_and_line(tmp_path: Path, lines: Sequence[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        jsonl(path=write(tmp_path / "r.jsonl", *lines))


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(b'{"id": "a"}\n{"id": "\xff"}\n')
    with pytest.raises(DataError, match=r"r\.jsonl:2: line is not valid utf-8"):
        jsonl(path=tmp_path / "r.jsonl")


def test_a_named_id_field_that_no_row_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"r\.jsonl:1: no field 'key'"):
        jsonl(path=write(tmp_path / "r.jsonl", {"id": "a"}), id_field="key")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read: No such file"):
        jsonl(path=tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        jsonl(path=tmp_path)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert jsonl(path=write(tmp_path / "r.jsonl")) == []


@pytest.mark.parametrize("sample_id", ["a", "12-A", "x.y_z", "0", "n" * 128])
def test_ids_that_name_a_file_everywhere(sample_id: str) -> None:
    assert id_fault(sample_id) is None


@pytest.mark.parametrize(
    "sample_id", ["", ".", "..", ".a", "-a", "a..b", "a/b", "C:x", "a b", "é", 129 * "n"]
)
def test_ids_that_do_not(sample_id: str) -> None:
    assert id_fault(sample_id)


def test_a_row_takes_less_than_600_bytes(tmp_path: Path) -> None:
    question = "Draw as many {} as there are days in {} weeks, and leave everything else out of the picture."
    rows = [
        {"id": f"task-{i:05d}", "question": question.format("cups", i), "answer": f"{i % 5} cups"}
        for i in range(5000)
    ]
    path = write(tmp_path / "r.jsonl", *rows)
    del rows
    tracemalloc.start()
    try:
        found = jsonl(path=path)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / len(found) < 600
    assert found[0]["answer"] is found[5]["answer"]


# --- hub ---


def test_hub_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'unisandbox\[hub\]'"):
        hub(path="someone/something")


def test_hub_hands_its_arguments_on_and_names_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(path: str, name: str | None, **options: Any) -> None:
        raise FileNotFoundError(f"{path} {name} {options['split']} {options['revision']}\nmore")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(
        DataError, match=r"Dataset 'who/what', split 'dev', could not be loaded: who/what en dev v1$"
    ):
        hub(path="who/what", name="en", split="dev", revision="v1")


def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: Any) -> dict[str, Any]:
    """Return the arguments that load a file written here through the real library, offline."""
    pytest.importorskip("datasets", reason="the extra 'hub' is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return {"path": "json", "split": "train", "data_files": str(write(tmp_path / "r.jsonl", *lines))}


@pytest.mark.filterwarnings("default")
def test_hub_reads_a_local_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [{"key": 1, "q": "x", "facts": {"n": [1, 2]}}, {"key": 2, "q": "y", "facts": {"n": []}}]
    arguments = local(tmp_path, monkeypatch, *lines)
    assert hub(**arguments, id_field="key") == [{**lines[0], "id": "1"}, {**lines[1], "id": "2"}]
    assert hub(**arguments, fields={"question": "q"})[1] == {"question": "y", "id": "2"}
    with pytest.raises(DataError, match="Dataset 'json': Unknown column 'p'"):
        hub(**arguments, fields={"question": "p"})


@pytest.mark.filterwarnings("default")
def test_hub_names_columns_that_are_not_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = local(tmp_path, monkeypatch, {"id": "a", "when": "2025-11-26T00:00:00"})
    with pytest.raises(
        DataError, match=r"column 'when' holds .*timestamp.*name the columns to keep in 'fields'"
    ):
        hub(**arguments)
    assert hub(**arguments, fields={}) == [{"id": "a"}]
