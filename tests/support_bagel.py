"""The tiny BAGEL of ``model_backends/bagel/parity.safetensors``: its numbers, and a folder of its weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.model_backends.bagel.make_parity import write_tokenizer

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
