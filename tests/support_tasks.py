"""Small task files and everything that reads them, for tests of the core."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from unisandbox.catalog import Catalog
from unisandbox.plugins import Plugins, installed
from unisandbox.records import Sample
from unisandbox.task import Task

ROWS: Sequence[Mapping[str, Any]] = [
    {"id": "a", "question": "Draw as many cups as 2 + 1 comes to.", "count": 3, "object": "cup", "pair": "p"},
    {"id": "b", "question": "Draw as many dogs as 4 - 2 comes to.", "count": 2, "object": "dog", "pair": "p"},
    {"id": "c", "question": "Draw as many cups as 3 / 3 comes to.", "count": 1, "object": "cup", "pair": "q"},
]
TASK: Mapping[str, Any] = {
    "description": "Count and draw.",
    "dataset": {"source": "jsonl", "path": "rows.jsonl"},
    "prompts": {"direct": "{{ question }}"},
    "scoring": {
        "rubric": "object_count",
        "target": {"count": "{{ count }}", "object": "{{ object }}"},
    },
}


def changed(path: str, value: Any, of: Mapping[str, Any] = TASK) -> dict[str, Any]:
    """Return a task file with the value at a dotted path set, or deleted where it is None."""
    data: dict[str, Any] = deepcopy(dict(of))
    *way, last = path.split(".")
    node = data
    for key in way:
        node = node.setdefault(key, {})
    if value is None:
        del node[last]
    else:
        node[last] = value
    return data


def write_task(
    folder: Path,
    data: Mapping[str, Any] | str = TASK,
    rows: Sequence[Mapping[str, Any]] = ROWS,
    name: str = "counting",
) -> Path:
    """Write a task file and its rows; return the task file."""
    path = folder / f"{name}.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(dict(data), sort_keys=False))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_task(path: Path, name: str = "", plugins: Plugins | None = None) -> Task:
    """Read a task the way a run does; ``name`` chooses a variant."""
    catalog = Catalog(plugins or installed())
    found = catalog.select([str(path)])
    return catalog.task(next(listing for listing in found if name in ("", listing.name)))


def make_task(
    folder: Path, data: Mapping[str, Any] | str = TASK, rows: Sequence[Mapping[str, Any]] = ROWS
) -> Task:
    """Write a task and read it."""
    return read_task(write_task(folder, data, rows))


def with_samples(task: Task, samples: Sequence[Sample]) -> Task:
    """Return the task with other rows."""
    return replace(task, factory=lambda **_: [sample.fields for sample in samples], options={})


def shipped(*patterns: str) -> list[Task]:
    """Return the tasks that ship with their rows, which those of the published files do not."""
    catalog = Catalog(installed())
    names = [listing for listing in catalog.select(patterns or ("*",)) if listing.family != "published"]
    return [catalog.task(listing) for listing in names]
