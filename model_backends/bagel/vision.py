"""The eye: a SigLIP that takes pictures of any shape (NaViT), and the connector to the language model.

Modules are named as the weights of the published checkpoint.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn
from transformers import SiglipVisionConfig
from transformers.activations import ACT2FN
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from unisandbox.model_backends.bagel.config import VisionConfig


class Embeddings(nn.Module):
    """Patches as vectors, with a learned position each."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Linear(3 * config.patch_size**2, config.hidden_size)
        self.position_embedding = nn.Embedding(config.side**2, config.hidden_size)

    def forward(self, patches: Tensor, positions: Tensor) -> Tensor:
        """Return (N, width) of patches (N, 3 x size x size) at positions (N,)."""
        embedded: Tensor = self.patch_embedding(patches) + self.position_embedding(positions)
        return embedded


class Encoder(nn.Module):
    """The layers."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        settings = SiglipVisionConfig(**asdict(config))
        settings._attn_implementation = "sdpa"
        self.layers = nn.ModuleList(SiglipEncoderLayer(settings) for _ in range(config.num_hidden_layers))


class Tower(nn.Module):
    """SigLIP without its pooling head."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, patches: Tensor, positions: Tensor) -> Tensor:
        """Return (N, width) of the patches of one picture."""
        seen = self.embeddings(patches, positions)[None]
        for layer in self.encoder.layers:
            seen = layer(seen, None)
        normed: Tensor = self.post_layernorm(seen)[0]
        return normed


class VisionModel(nn.Module):
    """The tower, under the name that its weights have."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.vision_model = Tower(config)


class Connector(nn.Module):
    """Two layers from the width of the eye to that of the language model."""

    def __init__(self, config: VisionConfig, width: int) -> None:
        super().__init__()
        self._activation = ACT2FN["gelu_pytorch_tanh"]
        self.fc1 = nn.Linear(config.hidden_size, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, seen: Tensor) -> Tensor:
        """Return (N, width)."""
        connected: Tensor = self.fc2(self._activation(self.fc1(seen)))
        return connected


class Places(nn.Module):
    """Fixed two-dimensional positions: sines and cosines of column and row, as in DiT (Peebles 2023)."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.side = side
        self.pos_embed = nn.Parameter(_sines(side, width), requires_grad=False)

    def at(self, height: int, width: int) -> Tensor:
        """Return the numbers (height x width,) of the places of a picture, line by line."""
        rows = torch.arange(height, device=self.pos_embed.device)[:, None] * self.side
        return (rows + torch.arange(width, device=self.pos_embed.device)).flatten()

    def forward(self, places: Tensor) -> Tensor:
        """Return the embeddings (N, width) of places (N,)."""
        return self.pos_embed[places]


def _sines(side: int, width: int) -> Tensor:
    """Return (side x side, width): half of it by column, half by row."""
    rates = 10000.0 ** -(np.arange(width // 4, dtype=np.float64) / (width / 4))
    angles = np.arange(side, dtype=np.float64)[:, None] * rates
    line = torch.tensor(np.concatenate([np.sin(angles), np.cos(angles)], 1), dtype=torch.float32)
    columns = line[None].expand(side, -1, -1)
    rows = line[:, None].expand(-1, side, -1)
    return torch.cat([columns, rows], -1).flatten(0, 1)


def patches(pixels: Tensor, size: int) -> Tensor:
    """Return (N, size x size x channels), line by line, of pixels (channels, height, width)."""
    channels, height, width = pixels.shape
    cut = pixels.reshape(channels, height // size, size, width // size, size)
    return cut.permute(1, 3, 2, 4, 0).reshape(-1, size * size * channels)


def whole(tokens: Tensor, height: int, width: int, size: int) -> Tensor:
    """Undo ``patches``: return (channels, height x size, width x size) of (height x width, values)."""
    grid = tokens.reshape(height, width, size, size, -1)
    return grid.permute(4, 0, 2, 1, 3).reshape(-1, height * size, width * size)
