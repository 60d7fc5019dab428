"""A plugin for tests: an oracle that can be trained, and then draws what it understands.

Loaded as any plugin is: see ``support_backends.install``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from unisandbox.backend import TrainSpec
from unisandbox.hookspecs import RegisterModel, hookimpl
from unisandbox.model_backends.oracle import Oracle
from unisandbox.records import Example

SKILL = "skill.json"


class Learner(Oracle):
    """Draws right without thinking in a tenth of the cases, and in more once it has learned."""

    def __init__(self, *, checkpoint: Path | None = None, renders: float = 1.0) -> None:
        learned = json.loads((checkpoint / SKILL).read_text())["prompts"] if checkpoint else []
        super().__init__(transfer=0.9 if learned else 0.1, renders=renders)

    def train(
        self, examples: Sequence[Example], spec: TrainSpec, out: Path, *, quiet: bool = False
    ) -> Mapping[str, str]:
        """Remember the prompts, once."""
        out.mkdir(parents=True, exist_ok=True)
        if not (out / SKILL).exists():
            told = {
                "prompts": [example.prompt for example in examples],
                "steps": spec.steps,
                "seed": spec.seed,
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
