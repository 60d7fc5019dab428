"""Runs of the tiny plugin of ``support_backends``, for tests.

Test files take the fixtures over by ``from tests.support_run import plugins as plugins, words as words``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tenacity

from tests.support_backends import install, write_task
from unisandbox.api import run
from unisandbox.plugins import installed
from unisandbox.results import Results


@pytest.fixture
def plugins(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder with this plugin installed; return where more can be ``install``-ed."""
    site = install(in_tmp / "site", "tests.support_backends")
    monkeypatch.syspath_prepend(site)
    installed.cache_clear()
    yield site
    installed.cache_clear()


@pytest.fixture
def words(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the task ``words.yaml`` of six samples; failures are retried without a wait."""
    monkeypatch.setattr(tenacity, "wait_exponential_jitter", lambda **_: tenacity.wait_none())
    return write_task(plugins.parent)


def run_words(**options: Any) -> Results:
    """Run the task ``words`` in the folder ``run``: mode ``answer``, model ``painter``, judge ``reader``."""
    given = {"tasks": "words.yaml", "models": "painter", "judges": "reader", "modes": "answer", "out": "run"}
    return run(**{**given, **options})


def lines(name: str, run: str | Path = "run") -> list[dict[str, Any]]:
    """Return the good lines of a log."""
    return [json.loads(line) for line in (Path(run) / name).read_bytes().splitlines()]


def by_sample(name: str, run: str | Path = "run") -> dict[str, dict[str, Any]]:
    """Return the last line of each sample."""
    return {line["sample"]: line for line in lines(name, run)}
