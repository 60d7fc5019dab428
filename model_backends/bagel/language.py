"""The language model: a Qwen2 with two experts, one for what is understood and one for what is drawn.

Each expert has its own projections, norms and MLP in every layer; attention is shared (mixture of
transformers). Text and pictures seen go to the first, latents to the second. Modules are named as the weights
of the published checkpoint; those of the second expert end in ``_moe_gen``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP

from unisandbox.model_backends.bagel.config import LanguageConfig

SPARE = 256
"""Columns by which a cache grows."""
Expert = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tokens of one pass stand: in ``rows``, each padded to ``columns``.

    Tokens (T, width) are those of the first expert, then those of the second; padding is no token.
    """

    rows: int
    columns: int
    understood: int
    """How many tokens are for the first expert."""
    place: Tensor
    """(T,) of each token: row x columns + column."""
    positions: Tensor
    """(T,) of each token, for the rotary embedding."""
    mask: Tensor | None
    """(rows, 1, columns or 1, columns read before + columns): what sees what; None: all sees all."""

    def spread(self, tokens: Tensor) -> Tensor:
        """Return tokens (T, ...) as rows (rows, columns, ...), with zeros where there is none."""
        empty = tokens.new_zeros(self.rows * self.columns, *tokens.shape[1:])
        return empty.index_copy(0, self.place, tokens).view(self.rows, self.columns, *tokens.shape[1:])

    def gather(self, grid: Tensor) -> Tensor:
        """Undo ``spread``."""
        return grid.flatten(0, 1)[self.place]

    def to(self, device: torch.device | int | str) -> Layout:
        """Return it on a device; accelerate asks for this where layers lie on several."""
        place, positions = self.place.to(device), self.positions.to(device)
        mask = None if self.mask is None else self.mask.to(device)
        return replace(self, place=place, positions=positions, mask=mask)


class Cache:
    """Keys and values of what rows have read, layer by layer."""

    def __init__(self, layers: int, rows: int = 1, length: int = 0) -> None:
        """Take how many columns stay; what is put behind them is overwritten by what is put next."""
        self._held: list[Tensor | None] = [None] * layers  # (2, rows, columns, heads, head width)
        self._rows = rows
        self.length = length

    def put(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        """Put new columns behind those that stay, and return all; fewer rows are the first ones."""
        both = torch.stack([keys, values])
        rows, end = both.shape[1], self.length + both.shape[2]
        held = self._room(layer, both, end)
        held[:, :rows, self.length : end] = both
        return held[:, :rows, :end].unbind()

    def take(self, row: int, other: Cache) -> None:
        """Put what another cache's only row has read at the front of a row."""
        for layer, read in enumerate(other._held):
            if read is not None:
                room = self._room(layer, read, self.length)
                room[:, row, : other.length] = read[:, 0, : other.length]

    def _room(self, layer: int, like: Tensor, columns: int) -> Tensor:
        held = self._held[layer]
        if held is None or held.shape[2] < columns:
            made = like.new_zeros(2, self._rows, columns + SPARE, *like.shape[3:])
            if held is not None:
                made[:, :, : self.length] = held[:, :, : self.length]
            held = self._held[layer] = made
        return held


def shared_out(tokens: Tensor, understood: int, first: Expert, second: Expert) -> Tensor:
    """Give the first ``understood`` tokens to one expert and the rest to the other."""
    if understood == len(tokens):
        return first(tokens)
    if understood == 0:
        return second(tokens)
    return torch.cat([first(tokens[:understood]), second(tokens[understood:])])


def attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Return what queries (rows, columns, heads, width) see of keys and values, which have fewer heads."""
    rows, columns, heads, width = queries.shape
    groups = heads // keys.shape[2]
    if mask is not None and mask.shape[2] > 1:
        keys, values = (each.repeat_interleave(groups, 2) for each in (keys, values))
        groups = 1
    # the queries of a group are taken for more queries of one head: nothing of a long context is copied
    grouped = queries.view(rows, columns, -1, groups, width).permute(0, 2, 3, 1, 4).flatten(2, 3)
    seen = scaled_dot_product_attention(grouped, keys.transpose(1, 2), values.transpose(1, 2), mask)
    return seen.view(rows, -1, groups, columns, width).permute(0, 3, 1, 2, 4).flatten(2, 3)


class Norm(nn.RMSNorm):
    """A norm that takes any number format, as autocast has several, and gives that of its weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (..., width)."""
        return super().forward(x.to(self.weight.dtype))


class Attention(nn.Module):
    """Grouped-query attention with normalised queries and keys, over the tokens of both experts."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        width, head = config.hidden_size, config.head_size
        wide, narrow = config.num_attention_heads * head, config.num_key_value_heads * head
        self._head = head
        for expert in ("", "_moe_gen"):
            self.add_module(f"q_proj{expert}", nn.Linear(width, wide))
            self.add_module(f"k_proj{expert}", nn.Linear(width, narrow))
            self.add_module(f"v_proj{expert}", nn.Linear(width, narrow))
            self.add_module(f"o_proj{expert}", nn.Linear(wide, width, bias=False))
            self.add_module(f"q_norm{expert}", Norm(head, eps=config.rms_norm_eps))
            self.add_module(f"k_norm{expert}", Norm(head, eps=config.rms_norm_eps))

    def forward(
        self, tokens: Tensor, layout: Layout, turns: tuple[Tensor, Tensor], cache: Cache | None, layer: int
    ) -> Tensor:
        """Return what each token (T, width) attends to; ``turns`` are the rotary cosines and sines."""
        queries, keys, values = (
            self._both(f"{name}_proj", tokens, layout).view(len(tokens), -1, self._head) for name in "qkv"
        )
        queries = layout.spread(_turned(self._both("q_norm", queries, layout), turns))
        keys = layout.spread(_turned(self._both("k_norm", keys, layout), turns))
        values = layout.spread(values)
        if cache is not None:
            keys, values = cache.put(layer, keys, values)
        seen = layout.gather(attention(queries, keys, values, layout.mask))
        return self._both("o_proj", seen.flatten(1), layout)

    def _both(self, name: str, tokens: Tensor, layout: Layout) -> Tensor:
        first, second = self.get_submodule(name), self.get_submodule(f"{name}_moe_gen")
        return shared_out(tokens, layout.understood, first, second)


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and beside what came in."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.self_attn = Attention(config)
        self.mlp = Qwen2MLP(config)
        self.mlp_moe_gen = Qwen2MLP(config)
        self.input_layernorm = Norm(width, eps=eps)
        self.input_layernorm_moe_gen = Norm(width, eps=eps)
        self.post_attention_layernorm = Norm(width, eps=eps)
        self.post_attention_layernorm_moe_gen = Norm(width, eps=eps)

    def forward(
        self, tokens: Tensor, layout: Layout, turns: tuple[Tensor, Tensor], cache: Cache | None, layer: int
    ) -> Tensor:
        """Return tokens (T, width)."""
        n = layout.understood
        normed = shared_out(tokens, n, self.input_layernorm, self.input_layernorm_moe_gen)
        tokens = tokens + self.self_attn(normed, layout, turns, cache, layer)
        return tokens + shared_out(
            tokens,
            n,
            lambda these: self.mlp(self.post_attention_layernorm(these)),
            lambda these: self.mlp_moe_gen(self.post_attention_layernorm_moe_gen(these)),
        )


class Core(nn.Module):
    """Embeddings of words, the layers, and the last norm of each expert."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self._config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = Norm(config.hidden_size, eps=config.rms_norm_eps)
        self.norm_moe_gen = Norm(config.hidden_size, eps=config.rms_norm_eps)
        self.gradient_checkpointing = False
        """Compute layers again on the way back, for less memory in training."""

    def forward(self, tokens: Tensor, layout: Layout, cache: Cache | None = None) -> Tensor:
        """Return the last hidden states (T, width) of embedded tokens (T, width)."""
        turns, home = _turns(layout.positions, self._config), tokens.device
        for number, layer in enumerate(self.layers):
            if self.gradient_checkpointing and self.training:
                tokens = checkpoint(layer, tokens, layout, turns, cache, number, use_reentrant=False)
            else:
                tokens = layer(tokens, layout, turns, cache, number)
        return shared_out(tokens.to(home), layout.understood, self.norm, self.norm_moe_gen)


class LanguageModel(nn.Module):
    """The core, with the head that gives the scores of words."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.model = Core(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)


def _turns(positions: Tensor, config: LanguageConfig) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (T, 1, head width) of the rotary embedding (Su et al. 2021), in float32."""
    steps = torch.arange(0, config.head_size, 2, device=positions.device, dtype=torch.float32)
    angles = positions[:, None].float() / config.rope_theta ** (steps / config.head_size)
    angles = torch.cat([angles, angles], -1)[:, None]
    return angles.cos(), angles.sin()


def _turned(heads: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate heads (T, heads, head width) by their positions."""
    first, second = heads.chunk(2, -1)
    cosines, sines = turns
    return (heads * cosines + torch.cat([-second, first], -1) * sines).to(heads.dtype)
