"""Shared fixtures: nothing a test does may reach the network or leave files outside its folder."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, so that ``runs/`` and relative paths land there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def published() -> Path:
    """The published test files, where they are at hand; the test is skipped, visibly, where not."""
    folder = ROOT.parent / "shared" / "reference" / "benchmark"
    if not folder.is_dir():
        pytest.skip("the published test files are not at hand")
    return folder
