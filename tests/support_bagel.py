"""The tiny BAGEL of ``model_backends/bagel/parity.safetensors``: its numbers, and a folder of its weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as pil
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.model_backends.bagel.make_parity import INSTRUCTION, PROMPTS, write_tokenizer
from tests.support_local import asked, questions
from unisandbox.errors import BackendError, UsageError
from unisandbox.model_backends.bagel.factory import bagel
from unisandbox.prompts import with_thought
from unisandbox.records import Generation, Image, Prompt, Request
from unisandbox.specs import build

SMALL: Mapping[str, object] = {"image_size": 16, "num_timesteps": 8, "max_tokens": 12, "device": "cpu"}
"""Options of a run that takes seconds."""
PARITY = Path(__file__).parent / "model_backends" / "bagel" / "parity.safetensors"


@cache
def told() -> Any:
    """Return settings, thoughts and losses."""
    with safe_open(PARITY, "pt") as held:
        return json.loads(held.metadata()["told"])


@cache
def numbers() -> dict[str, Tensor]:
    """Return all tensors: weights, what was put in, and what came out."""
    return load_file(PARITY)


def part(prefix: str) -> dict[str, Tensor]:
    """Return the tensors below a prefix."""
    return {name.removeprefix(prefix): value for name, value in numbers().items() if name.startswith(prefix)}


def save_bagel(folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write a checkpoint in the published layout."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, prefix in (("ema", "ema/"), ("ae", "ae/")):
        weights = {key: value.to(dtype) for key, value in part(prefix).items()}
        save_file(weights, folder / f"{name}.safetensors")
    for name in ("llm", "vit"):
        (folder / f"{name}_config.json").write_text(json.dumps(told()[name]), encoding="utf-8")
    write_tokenizer(folder)
    return folder


def save_deeper(folder: Path, layers: int = 4) -> Path:
    """Write one whose last layer comes several times."""
    save_bagel(folder)
    weights, last = load_file(folder / "ema.safetensors"), told()["llm"]["num_hidden_layers"] - 1
    prefix = "language_model.model.layers."
    for name, value in part(f"ema/{prefix}{last}.").items():
        weights |= {f"{prefix}{layer}.{name}": value.clone() for layer in range(last, layers)}
    save_file(weights, folder / "ema.safetensors")
    settings = {**told()["llm"], "num_hidden_layers": layers}
    (folder / "llm_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def save_instruction(root: Path) -> Path:
    """Write an instruction after which some thoughts come to an end, for what lies beside it."""
    (root / "instruction.txt").write_text(INSTRUCTION, encoding="utf-8")
    return root


def loaded(folder: Path, **options: object) -> Any:
    """Return the backend of a folder, on a CPU."""
    given = {"path": folder, "instruction": folder.parent / "instruction.txt", **SMALL, **options}
    return build("bagel", bagel, {name: str(value) for name, value in given.items()})


def thinking(requests: Sequence[Request]) -> list[Request]:
    """Return requests as those that are thought about first."""
    return [
        Request(each.key, Prompt(each.prompt.turns, each.prompt.output, think=True), each.seed, "", "", "")
        for each in requests
    ]


def picture(seed: int = 0, width: int = 40, height: int = 30) -> Image:
    """Return random pixels."""
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.from_pil(pil.fromarray(levels))


def all_modes() -> list[Request]:
    """Return requests of every kind, of different lengths."""
    direct = [*questions()[:4], asked(PROMPTS[0], key="ends", seed=1)]
    others = [
        *(asked(each.prompt.text, key=f"answer {each.key}", output="text") for each in direct),
        asked("What is this?", key="caption", output="text", images=(picture(),)),
        asked("And this, in a word?", key="caption 2", output="text", images=(picture(1, 24, 24),)),
        asked(*with_thought("Draw 4 / 2 cups.", "4 / 2 = 2.\nDraw: two cups."), key="gold"),
        asked(*with_thought("Draw 4 / 2 hats.", "It is 7, I am sure of it.\nDraw: 7."), key="planted"),
        asked("Draw it again, in blue.", key="edit", images=(picture(2),)),
    ]
    musing = [Request(f"cot {each.key}", each.prompt, each.seed, "", "", "") for each in thinking(direct)]
    return [*direct, *others, *musing]


def far(one: Generation, other: Generation) -> int:
    """Return the largest difference of two pictures, in levels of 255."""
    assert one.image is not None and other.image is not None
    here, there = (np.asarray(each.image.pil(), np.int16) for each in (one, other) if each.image)
    return int(abs(here - there).max())


def broken(folder: Path, to: Path, name: str, change: Any) -> Path:
    """Return a copy of a checkpoint with changed weights."""
    shutil.copytree(folder, to)
    weights = load_file(folder / name)
    change(weights)
    save_file(weights, to / name)
    return to


def refusal(folder: Path, **options: object) -> str:
    """Return the one line that loading fails with."""
    with pytest.raises((BackendError, UsageError)) as caught:
        loaded(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
