"""Writes rows to files for other pipelines: JSON lines, or the published schemas (arXiv 2511.20561)."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from unisandbox.datasets.files import id_fault
from unisandbox.datasets.splits import Row
from unisandbox.errors import DataError, UsageError, unknown
from unisandbox.world.people import Person

Layout = Literal["jsonl", "published"]

_Line = tuple[str, Row]  # file below the folder, object


def export_rows(
    rows: Sequence[Row], layout: Layout, folder: Path, task_name: str, family: str, *, overwrite: bool = False
) -> list[Path]:
    """Write the rows below `folder` and return the files written.

    "jsonl" writes TASK_NAME.jsonl, one row a line with all its fields. "published" writes what the
    published code reads: `test_reasoning/TASK_NAME.jsonl` for the families math and mapping,
    `test_knowledge/NAME.jsonl` and `test_knowledge/NAME_NAME.jsonl` for knowledge, and
    `knowledge_injection/NAME.jsonl` for what is taught. Mapping pairs and knowledge rows are
    numbered there, as that code needs whole numbers; plain numbers are kept.

    Files appear whole or not at all. Raises UsageError for a layout or family that is not known and,
    unless `overwrite`, where a file is already there; DataError for rows without a needed field.
    """
    if layout not in get_args(Layout):
        raise UsageError(unknown("layout", str(layout), get_args(Layout)))
    if fault := id_fault(task_name):
        raise UsageError(f"The task name {task_name!r} {fault}; it is to name a file.")
    if not rows:
        raise DataError(f"Task {task_name!r} has no rows to export.")
    files: dict[Path, list[Row]] = {}
    for name, line in _lines(rows, layout, task_name, family):
        files.setdefault(folder / name, []).append(line)
    there = [path for path in files if path.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise UsageError(f"{there[0]}{more} already there; choose another folder or allow overwriting.")
    _write(files)
    return list(files)


def _lines(rows: Sequence[Row], layout: str, task_name: str, family: str) -> Iterator[_Line]:
    if layout == "jsonl":
        return ((f"{task_name}.jsonl", row) for row in rows)
    if family not in _WRITERS:
        raise UsageError(f"The published layout is for some families. {unknown('family', family, _WRITERS)}")
    return _WRITERS[family](rows, task_name)


def _math(rows: Sequence[Row], task_name: str) -> Iterator[_Line]:
    for row in rows:
        key = row["answer"] if "answer" in row else _field(row, "count_phrase")
        line = {"Question": _field(row, "question"), "Answer": key, "id": row["id"]}
        yield f"test_reasoning/{task_name}.jsonl", line


def _mapping(rows: Sequence[Row], task_name: str) -> Iterator[_Line]:
    numbers = _numbers([_field(row, "pair") for row in rows])
    for row in rows:
        key = row["answer"] if "answer" in row else _field(row, "object")
        asked = {f"Question_{_field(row, 'side')}": _field(row, "question")}
        yield f"test_reasoning/{task_name}.jsonl", {"ID": str(numbers[row["pair"]]), **asked, "Answer": key}


def _knowledge(rows: Sequence[Row], task_name: str) -> Iterator[_Line]:
    numbers = _numbers([row["id"] for row in rows])
    for row in rows:
        number = numbers[row["id"]]
        question = _field(row, "question")
        if "target" in row:
            about = "_".join(row["names"]) if "names" in row else _field(row, "name")
            line = {"ID": number, "Question": question, "Answer": _knowledge_key(row)}
            yield f"test_knowledge/{about}.jsonl", line
        else:
            turns = (("human", question), ("gpt", _field(row, "answer")))
            conversation = [{"from": speaker, "value": text} for speaker, text in turns]
            line = {"id": number, "conversations": conversation}
            yield f"knowledge_injection/{_field(row, 'name')}.jsonl", line


_WRITERS: Mapping[str, Callable[[Sequence[Row], str], Iterator[_Line]]] = {
    "math": _math,
    "mapping": _mapping,
    "knowledge": _knowledge,
}


def _knowledge_key(row: Row) -> str:
    if "answer" in row:
        return str(row["answer"])
    target = row["target"]
    if "species" in target:
        return str(target["species"])
    phrase = Person(**target).phrase()
    return f"{phrase[0].upper()}{phrase[1:]}."


def _numbers(keys: Sequence[str]) -> dict[str, int]:
    """Return a number for every key: its own where all are plain numbers, else its place."""
    different = dict.fromkeys(keys)
    if all(key.isdecimal() and str(int(key)) == key for key in different):
        return {key: int(key) for key in different}
    return {key: place for place, key in enumerate(different, 1)}


def _field(row: Row, name: str) -> Any:
    if name not in row:
        raise DataError(f"Row {row['id']!r} has no field {name!r}, which the published layout needs.")
    return row[name]


def _write(files: Mapping[Path, Sequence[Row]]) -> None:
    """Write every file beside its place, then move all there."""
    beside = {path.with_name(f".{path.name}.{os.getpid()}"): path for path in files}
    try:
        for draft, path in beside.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in files[path])
        for draft, path in beside.items():
            draft.replace(path)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be written: {error.strerror}.") from None
    finally:
        for draft in beside:
            draft.unlink(missing_ok=True)
