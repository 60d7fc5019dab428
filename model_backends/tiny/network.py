"""The transformer: decoder-only, one vocabulary of words and image patches.

RMSNorm before each part (Zhang & Sennrich 2019, no gains), rotary positions (Su et al. 2021), normalised
queries and keys (Dehghani et al. 2023), squared ReLU (So et al. 2021), output matrices that start at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides the size of a network."""

    words: int
    """Text tokens; the image tokens follow them in the vocabulary."""
    codes: int
    """Image tokens."""
    width: int = 128
    layers: int = 8
    heads: int = 4
    context: int = 512
    """The most tokens it can read and write at once."""

    @property
    def vocabulary(self) -> int:
        """All tokens."""
        return self.words + self.codes


Pair = tuple[Tensor, Tensor]
"""Keys and values: (batch, heads, length, width / heads) each."""


class Cache:
    """Keys and values of what was read so far, for every layer: (batch, heads, context, width / heads)."""

    def __init__(self, shape: Shape, batch: int, context: int, like: Tensor) -> None:
        size = (batch, shape.heads, context, shape.width // shape.heads)
        self.keys = [like.new_zeros(size) for _ in range(shape.layers)]
        self.values = [like.new_zeros(size) for _ in range(shape.layers)]


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each added to what flows past."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attend = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.gather = nn.Linear(shape.width, shape.width, bias=False)
        self.expand = nn.Linear(shape.width, 4 * shape.width, bias=False)
        self.shrink = nn.Linear(4 * shape.width, shape.width, bias=False)
        nn.init.zeros_(self.gather.weight)
        nn.init.zeros_(self.shrink.weight)

    def forward(
        self,
        x: Tensor,
        turn: Tensor,
        mask: Tensor,
        kept: Pair | None,
        at: Tensor | None,
        before: Pair | None,
    ) -> tuple[Tensor, Pair]:
        """Return (batch, length, width) from the same, and its keys and values.

        ``turn`` holds the rotations of the positions, ``mask`` is added to the attention scores. With
        ``kept``, keys and values are written to its places ``at``, and all of it is read; what is ``before``
        is read too.
        """
        batch, length, width = x.shape
        kind = mask.dtype  # the number format that the matrix products are done in
        parts = _linear(_norm(x).to(kind), self.attend)
        parts = parts.view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        query, key = (_turned(_norm(part), turn) for part in (query, key))
        own = key, value
        if kept is not None and at is not None:
            rows = torch.arange(batch, device=x.device)[:, None]
            kept[0].transpose(1, 2)[rows, at] = key.transpose(1, 2)
            kept[1].transpose(1, 2)[rows, at] = value.transpose(1, 2)
            key, value = kept
        if before is not None:
            key, value = (torch.cat(pair, 2) for pair in zip(before, own, strict=True))
        scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(2, 3)) + mask
        seen = torch.matmul(scores.softmax(-1), value)
        x = x + _linear(seen.transpose(1, 2).reshape(batch, length, width), self.gather)
        inner = torch.relu(_linear(_norm(x).to(kind), self.expand)).square()
        return x + _linear(inner, self.shrink), own


class Network(nn.Module):
    """Embedding, blocks, head."""

    turns: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=0.02)
        half = shape.width // shape.heads // 2
        angles = torch.arange(shape.context)[:, None] * 1000.0 ** (-torch.arange(half) / half)
        self.register_buffer("turns", torch.stack([angles.cos(), angles.sin()]), persistent=False)

    def embedded(self, tokens: Tensor) -> Tensor:
        """Return what tokens (batch, length) enter the blocks as (batch, length, width)."""
        return _norm(self.embedding(tokens))

    def forward(
        self,
        x: Tensor,
        places: Tensor,
        mask: Tensor,
        *,
        cache: Cache | None = None,
        before: Sequence[Pair] = (),
        keep: list[Pair] | None = None,
        watch: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Return the last hidden state (batch, length, width) of what was embedded (batch, length, width).

        ``places`` (batch, length) are the positions of the tokens, and where the cache keeps them;
        ``mask`` (batch or 1, 1, length, keys) is 0 where a token may look and -inf where not. ``keep`` is
        given the keys and values of every block; those of others, ``before``, can be looked at as well.
        ``watch`` is shown the hidden states (batch, length, width) of the embedding and of every block in
        turn.
        """
        if watch:
            watch(x)
        turn = self.turns[:, places][:, :, None].to(mask.dtype)
        for number, block in enumerate(self.blocks):
            kept = (cache.keys[number], cache.values[number]) if cache else None
            x, own = block(x, turn, mask, kept, places if cache else None, before[number] if before else None)
            if keep is not None:
                keep.append(own)
            if watch:
                watch(x)
        return _norm(x)


def _norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:])


def _linear(x: Tensor, layer: nn.Linear) -> Tensor:
    return F.linear(x, layer.weight.to(x.dtype))


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate pairs (first and second half of the last dimension) by the angles of their positions."""
    cos, sin = turn
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
