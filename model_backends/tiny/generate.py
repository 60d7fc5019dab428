"""Writes and draws: many prompts of any lengths at once, every row with its own seeded draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unisandbox.model_backends.tiny.model import Cache, Transformer, padded
from unisandbox.model_backends.tiny.tokenizer import CELLS, END


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next word or patch is chosen."""

    temperature: float = 1.0
    """0 takes the likeliest."""
    least: float = 0.05
    """What is less likely than this share of the likeliest is never drawn."""


def choose(logits: Tensor, chance: Tensor, how: Sampling) -> Tensor:
    """Return one index a row of logits (rows, choices), decided by a number from 0 to 1 for each row."""
    if how.temperature == 0:
        return logits.argmax(-1)
    likely = (logits / how.temperature).softmax(-1)
    likely = likely.masked_fill(likely < how.least * likely.amax(-1, keepdim=True), 0)
    reached = likely.cumsum(-1)
    return (reached <= chance[:, None] * reached[:, -1:]).sum(-1).clamp_max(logits.shape[-1] - 1)


def chances(seeds: Sequence[int], count: int) -> Tensor:
    """Return the draws of every row, (rows, count): a seed gives its row the same ones in any company."""
    rows = [torch.rand(count, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


@torch.inference_mode()
def draw(model: Transformer, prompts: Sequence[Sequence[int]], seeds: Sequence[int], how: Sampling) -> Tensor:
    """Return the patch numbers of a picture for each prompt, (rows, CELLS)."""
    rows = torch.arange(len(prompts))
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    draws = chances(seeds, CELLS)
    cache = Cache(model.config, len(prompts), _room(int(lengths.max()) + CELLS))
    state = model(padded(prompts), cache)[rows, lengths - 1]
    entries = model.entries(patches=True).T
    numbers = torch.empty(len(prompts), CELLS, dtype=torch.long)
    for cell in range(CELLS):
        numbers[:, cell] = choose(state @ entries, draws[:, cell], how)
        if cell + 1 < CELLS:
            state = model.step(numbers[:, cell] + model.config.words, lengths + cell, cache)
    return numbers


@torch.inference_mode()
def write(
    model: Transformer, prompts: Sequence[Sequence[int]], seeds: Sequence[int], how: Sampling, most: int
) -> list[list[int]]:
    """Return the ids that each prompt is continued with, up to an end, which a text of `most` ids lacks."""
    rows = torch.arange(len(prompts))
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    draws = chances(seeds, most)
    cache = Cache(model.config, len(prompts), _room(int(lengths.max()) + most))
    state = model(padded(prompts), cache)[rows, lengths - 1]
    entries = model.entries(patches=False).T
    texts: list[list[int]] = [[] for _ in prompts]
    for count in range(most):
        ids = choose(state @ entries, draws[rows, count], how)
        for row, number in zip(rows.tolist(), ids.tolist(), strict=True):
            if texts[row][-1:] != [END]:
                texts[row].append(number)
        going = torch.tensor([texts[row][-1] != END for row in rows.tolist()])
        if not going.any() or count + 1 == most:
            break
        if 2 * going.sum() <= len(rows):  # most rows are done: go on with the others alone
            rows, ids = rows[going], ids[going]
            cache.keep(going)
        state = model.step(ids, lengths[rows] + count, cache)
    return texts


def _room(length: int) -> int:
    """Return a length of the cache: a few lengths only, so that sums are made in the same order."""
    return -(-length // 64) * 64
