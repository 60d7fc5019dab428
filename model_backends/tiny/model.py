"""The transformer: decoder only, one stream of words and patches, everything predicted by one head.

RMSNorm without weights, rotary positions, normalised queries and keys, squared ReLU, matrices that write to
the stream begin at zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Config:
    """The shape of a model."""

    vocabulary: int
    words: int
    """The first so many ids are words, the others patches."""
    width: int = 128
    layers: int = 6
    heads: int = 4
    context: int = 512

    def metadata(self) -> dict[str, str]:
        """Return the shape as safetensors keeps it."""
        return {name: str(value) for name, value in asdict(self).items()}


def rotations(config: Config) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (context, head width / 2)."""
    width = config.width // config.heads
    speed = 1000 ** -(torch.arange(0, width, 2) / width)
    angle = torch.arange(config.context)[:, None] * speed
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of features by its position's angles."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def norm(x: Tensor) -> Tensor:
    """Return x with a root mean square of one."""
    return F.rms_norm(x, (x.shape[-1],))


class Cache:
    """Keys and values of every row so far: (layers, rows, heads, context, head width) each."""

    def __init__(self, config: Config, rows: int, context: int) -> None:
        shape = (config.layers, rows, config.heads, context, config.width // config.heads)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]


class Block(nn.Module):
    """Attention, then a two-layer network, each added to the stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def split(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (rows, heads, length, head width)."""
        rows, length, width = x.shape
        shape = (rows, length, 3, self.heads, width // self.heads)
        q, k, v = self.qkv(norm(x)).view(shape).permute(2, 0, 3, 1, 4)
        return rotate(norm(q), cos, sin), rotate(norm(k), cos, sin), v

    def add(self, x: Tensor, seen: Tensor) -> Tensor:
        """Add to the stream what attention brought, then what the network makes of it."""
        x = x + self.out(seen.transpose(1, 2).reshape(x.shape))
        hidden: Tensor = self.down(F.relu(self.up(norm(x))).square())
        return x + hidden


class Transformer(nn.Module):
    """Ids to the hidden state that predicts what follows each."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.layers))
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        for table in (self.embedding, self.head):
            nn.init.normal_(table.weight, std=0.02)
        for name, table in zip(("cos", "sin"), rotations(config), strict=True):
            self.register_buffer(name, table, persistent=False)

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Return hidden states (rows, length, width) of ids that begin at position 0; may fill a cache."""
        length = ids.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        x = norm(self.embedding(ids))
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            q, k, v = block.split(x, cos, sin)
            if cache:
                cache.keys[layer, :, :, :length], cache.values[layer, :, :, :length] = k, v
            x = block.add(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return norm(x)

    def step(self, ids: Tensor, at: Tensor, cache: Cache) -> Tensor:
        """Return hidden states (rows, width) of one more id a row, each at its own position."""
        rows = torch.arange(len(ids))
        cos, sin = self.cos[at][:, None, None], self.sin[at][:, None, None]
        unseen = torch.arange(cache.keys.shape[3]) > at[:, None]
        mask = torch.zeros(unseen.shape).masked_fill_(unseen, -torch.inf)[:, None, None]
        x = norm(self.embedding(ids[:, None]))
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            q, k, v = block.split(x, cos, sin)
            keys, values = cache.keys[layer], cache.values[layer]
            keys[rows, :, at], values[rows, :, at] = k[:, :, 0], v[:, :, 0]
            weights = (q @ keys.transpose(-1, -2) * q.shape[-1] ** -0.5 + mask).softmax(-1)
            x = block.add(x, weights @ values)
        return norm(x)[:, 0]

    def losses(self, ids: Tensor, learn: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses of all words and of all patches to be learned; both arguments (rows, length)."""
        wanted = learn[:, 1:]
        targets = ids[:, 1:][wanted]
        states = self(ids[:, :-1])[wanted]
        words = targets < self.config.words
        losses = [
            F.cross_entropy(states[chosen] @ self.entries(patches).T, targets[chosen] - start, reduction="none")
            for chosen, patches, start in ((words, False, 0), (~words, True, self.config.words))
        ]
        return losses[0], losses[1]

    def entries(self, patches: bool) -> Tensor:
        """Return the part of the head that predicts words, or patches: it is known which of them comes next."""
        words = self.config.words
        return self.head.weight[words:] if patches else self.head.weight[:words]


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Return rows of ids as one tensor, filled up at the end with 0."""
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
