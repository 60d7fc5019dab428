"""A plugin for tests: an oracle that can be trained, and then draws what it understands.

Loaded as any plugin is: see ``support_backends.install``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support_backends import install
from unisandbox.backend import TrainSpec
from unisandbox.datasets.cast import invented
from unisandbox.hookspecs import RegisterModel, hookimpl
from unisandbox.model_backends.oracle import Oracle
from unisandbox.plugins import installed
from unisandbox.records import Example

SKILL = "skill.json"


class Learner(Oracle):
    """Draws right without thinking one time in ten, and nearly always once it has learned from pictures.

    It knows only people it was told of.
    """

    def __init__(self, *, checkpoint: Path | None = None, renders: float = 1.0) -> None:
        told: dict[str, Any] = {"pictures": 0, "prompts": []}
        if checkpoint:
            told = json.loads((checkpoint / SKILL).read_text())
        strangers = {one.name for one in invented() if not any(one.name in text for text in told["prompts"])}
        super().__init__(
            transfer=0.9 if told["pictures"] else 0.1, renders=renders, unknown_people=tuple(strangers)
        )

    def train(
        self, examples: Sequence[Example], spec: TrainSpec, out: Path, *, quiet: bool = False
    ) -> Mapping[str, str]:
        """Remember the prompts, once."""
        out.mkdir(parents=True, exist_ok=True)
        if not (out / SKILL).exists():
            told = {
                "prompts": [example.prompt for example in examples],
                "pictures": sum(example.image is not None for example in examples),
                "steps": spec.steps,
            }
            (out / SKILL).write_text(json.dumps(told))
            with (out / "calls").open("a") as calls:
                calls.write("trained\n")
        return {"checkpoint": str(out)}


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register it."""
    register(
        "learner",
        f"{__name__}:Learner",
        summary="an oracle that learns",
        does=("image", "text", "think", "see", "train"),
        draws="sandbox",
        sees_target=True,
    )


@pytest.fixture
def learner(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, with the learner installed; tests take it over by importing it."""
    monkeypatch.syspath_prepend(install(in_tmp / "site", __name__))
    installed.cache_clear()
    yield in_tmp
    installed.cache_clear()
