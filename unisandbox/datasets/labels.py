"""Pictures that people have labelled: what each should show, and whether it does."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unisandbox.datasets.files import read_objects
from unisandbox.datasets.splits import Row
from unisandbox.errors import DataError, unknown
from unisandbox.records import Image
from unisandbox.rubric import Rubric

COLUMNS = ("file", "rubric", "label")
"""Beside them stands a column a slot."""
LABELS = {"yes": "right", "true": "right", "1": "right", "no": "wrong", "false": "wrong", "0": "wrong"}


def labelled(images: Path, labels: Path, rubrics: Mapping[str, Rubric]) -> list[Row]:
    """Return a row a labelled picture; ``labels`` is a CSV, or JSON lines where it ends in .jsonl or .json.

    Every line names a picture below ``images``, a rubric, what each of its slots should show, and whether the
    picture does: yes or no. JSON lines may hold the slots in an object ``target``. Columns of the rows: those
    of ``scenes``, but file and digest instead of scene. Raises DataError naming file and line.
    """
    read = _json_lines if labels.suffix in (".jsonl", ".json") else _csv_lines
    rows: list[Row] = []
    places: dict[str, str] = {}
    for number, line in read(labels):
        where = f"{labels}:{number}"
        row = _row(line, str(number), where, images, rubrics)
        said = str((row["digest"], row["rubric"], row["target"]))
        if (before := places.setdefault(said, where)) != where:
            raise DataError(f"{where}: the same picture and target stand at {before}.")
        rows.append(row)
    if not rows:
        raise DataError(f"{labels} holds no labels.")
    return rows


def _row(line: Row, number: str, where: str, images: Path, rubrics: Mapping[str, Rubric]) -> Row:
    slots = {slot for rubric in rubrics.values() for slot in rubric.slots}
    for column in line:
        if column not in (*COLUMNS, *slots):
            raise DataError(f"{where}: {unknown('column', str(column), (*COLUMNS, *slots))}")
    for column in COLUMNS:
        if line.get(column) in (None, ""):
            raise DataError(f"{where}: {column!r} is missing; expected {', '.join(COLUMNS)} and the slots.")
    if (name := line["rubric"]) not in rubrics:
        raise DataError(f"{where}: {unknown('rubric', str(name), rubrics)}")
    target = {slot: line[slot] for slot in line if slot in slots and line[slot] not in (None, "")}
    label = str(line["label"]).strip().lower()
    if label not in LABELS:
        raise DataError(f"{where}: the label is {line['label']!r}; expected yes or no.")
    return {
        "id": number,
        "rubric": name,
        "target": rubrics[name].target(target, where),
        "truth": LABELS[label],
        "kind": "",
        "file": line["file"],
        "digest": _digest(images / str(line["file"]), where),
    }


def _digest(path: Path, where: str) -> str:
    try:
        image = Image.from_file(path)
        image.pil()
    except OSError as error:  # not there, or no picture
        raise DataError(f"{where}: {path} cannot be read: {error.strerror or 'it is no picture'}.") from None
    return image.digest


def _csv_lines(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for line in reader:
                if None in line:
                    columns = len(reader.fieldnames or ())
                    raise DataError(f"{path}:{reader.line_num}: more values than the {columns} columns.")
                yield reader.line_num, {str(name): value for name, value in line.items()}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: no CSV in UTF-8: {error}.") from None


def _json_lines(path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in read_objects(path):
        target: Any = line.pop("target", {})
        if not isinstance(target, dict):
            raise DataError(f"{path}:{number}: 'target' is {target!r}; expected an object of slots.")
        yield number, {**line, **target}
