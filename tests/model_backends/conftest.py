"""Tiny checkpoints, each written once and only when a test asks for it."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def janus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support_local import save_janus

    return save_janus(tmp_path_factory.mktemp("janus"))


@pytest.fixture(scope="session")
def emu3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support_local import save_emu3

    return save_emu3(tmp_path_factory.mktemp("emu3"))


@pytest.fixture(scope="session")
def adapter(janus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support_local import save_adapter

    return save_adapter(janus, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support_local import save_pipeline

    return save_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="session")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support_local import save_writer

    return save_writer(tmp_path_factory.mktemp("writer"))


@pytest.fixture(scope="session")
def cosmos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support_local import save_cosmos

    return save_cosmos(tmp_path_factory.mktemp("cosmos"))
