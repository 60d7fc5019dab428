"""The weights that ship do what the model card says of them, on a part of the test split."""

from functools import cache
from pathlib import Path

import pytest

from unisandbox.api import run
from unisandbox.model_backends.tiny import checkpoint
from unisandbox.model_backends.tiny.backend import WEIGHTS
from unisandbox.model_backends.tiny.documents import INJECTION, SHARES
from unisandbox.results import Results

UNITS = 40


@cache
def _scores(folder: Path) -> dict[tuple[str, str], float]:
    results = run(
        tasks=("math", "mapping", "knowledge"),
        models="tiny",
        modes=("direct", "cot", "render", "answer", "caption", "recall"),
        limit=UNITS,
        out=folder,
    )
    assert results.coverage == 1
    return {(cell.task, cell.mode): float(cell.score.value or 0) for cell in results.cells}
