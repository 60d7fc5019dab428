"""Writes rows to files for other pipelines: JSON lines, or the published schemas (arXiv 2511.20561)."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

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
    published code reads, as the fields of the rows show: `test_reasoning/TASK_NAME.jsonl` for math
    and mapping, `test_knowledge/NAME.jsonl` and `test_knowledge/NAME_NAME.jsonl` for knowledge,
    `knowledge_injection/NAME.jsonl` for what is taught. Mapping pairs and knowledge rows are
    numbered there, as that code needs whole numbers; ids that are plain numbers are kept.

    All files are complete before the first appears. Raises UsageError for an unknown layout, rows
    that fit no published schema and, unless `overwrite`, where a file is already there; DataError
    where there is nothing to write, or no place to write it.
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
        raise UsageError(f"{there[0]}{more} already there. Choose another folder, or --overwrite it.")
    _write(files)
    return list(files)


def _lines(rows: Sequence[Row], layout: str, task_name: str, family: str) -> Iterator[_Line]:
    if layout == "jsonl":
        return ((f"{task_name}.jsonl", row) for row in rows)
    for needed, write in _SCHEMAS.items():
        if needed <= rows[0].keys():
            return write(rows, task_name)
    raise UsageError(
        f"Task {task_name!r} of family {family!r} has no published schema: those are for rows with "
        f"{'; or '.join(', '.join(sorted(needed)) for needed in _SCHEMAS)}."
    )


def _math(rows: Sequence[Row], task_name: str) -> Iterator[_Line]:
    for row in rows:
        line = {
            "Question": row["question"],
            "Answer": row.get("answer", row["count_phrase"]),
            "id": row["id"],
        }
        yield f"test_reasoning/{task_name}.jsonl", line


def _mapping(rows: Sequence[Row], task_name: str) -> Iterator[_Line]:
    numbers = _numbers([row["pair"] for row in rows])
    for row in rows:
        asked = {f"Question_{row['side']}": row["question"]}
        line = {"ID": str(numbers[row["pair"]]), **asked, "Answer": row.get("answer", row["object"])}
        yield f"test_reasoning/{task_name}.jsonl", line


def _knowledge(rows: Sequence[Row], task_name: str) -> Iterator[_Line]:
    numbers = _numbers([row["id"] for row in rows])
    for row in rows:
        about = "_".join(row["names"]) if "names" in row else row["name"]
        key = row["answer"] if "answer" in row else _knowledge_key(row["target"])
        line = {"ID": numbers[row["id"]], "Question": row["question"], "Answer": key}
        yield f"test_knowledge/{about}.jsonl", line


def _teaching(rows: Sequence[Row], task_name: str) -> Iterator[_Line]:
    numbers = _numbers([row["id"] for row in rows])
    for row in rows:
        turns = (("human", row["question"]), ("gpt", row["answer"]))
        conversation = [{"from": speaker, "value": text} for speaker, text in turns]
        line = {"id": numbers[row["id"]], "conversations": conversation}
        yield f"knowledge_injection/{row['name']}.jsonl", line


_SCHEMAS: Mapping[frozenset[str], Callable[[Sequence[Row], str], Iterator[_Line]]] = {
    frozenset({"question", "count_phrase"}): _math,
    frozenset({"question", "pair", "side", "object"}): _mapping,
    frozenset({"question", "target", "names"}): _knowledge,
    frozenset({"question", "target", "name"}): _knowledge,
    frozenset({"question", "answer", "name"}): _teaching,
}
"""By the fields a row must have, how it is written."""


def _knowledge_key(target: Mapping[str, str]) -> str:
    if "species" in target:
        return target["species"]
    phrase = Person(**target).phrase()
    return f"{phrase[0].upper()}{phrase[1:]}."


def _numbers(keys: Sequence[str]) -> dict[str, int]:
    """Return a number for every key: its own where all are plain numbers, else its place."""
    different = dict.fromkeys(keys)
    if all(key.isdecimal() and str(int(key)) == key for key in different):
        return {key: int(key) for key in different}
    return {key: place for place, key in enumerate(different, 1)}


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
        for draft in filter(Path.exists, beside):
            draft.unlink()
