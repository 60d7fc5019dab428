"""BAGEL: all parts that learn together, and what becomes of text, pictures and noise on their way in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn

from unisandbox.model_backends.bagel.config import BagelConfig
from unisandbox.model_backends.bagel.context import Latent, Picture, Row, Text, layout_of, placed
from unisandbox.model_backends.bagel.language import LanguageModel, Layout
from unisandbox.model_backends.bagel.vision import Connector, Places, VisionModel

FREQUENCIES = 256
"""Cosines and sines of a time."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The four tokens that stand around texts and pictures."""

    text_start: int
    text_end: int
    image_start: int
    image_end: int

    def text(self, ids: Sequence[int]) -> Text:
        """Return words with their frame."""
        return Text((self.text_start, *ids, self.text_end))


class TimeEmbedder(nn.Module):
    """The time between picture (0) and noise (1) as a vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, times: Tensor) -> Tensor:
        """Return (N, width) of times (N,)."""
        half = FREQUENCIES // 2
        rates = torch.exp(-log(10000) * torch.arange(half, device=times.device, dtype=torch.float32) / half)
        angles = times.float()[:, None] * rates
        waves = torch.cat([angles.cos(), angles.sin()], -1)
        embedded: Tensor = self.mlp(waves.to(next(self.mlp.parameters()).dtype))
        return embedded


class Bagel(nn.Module):
    """The modules are named as the weights of the published checkpoint."""

    def __init__(self, config: BagelConfig, frame: Frame) -> None:
        """Build it with random weights."""
        super().__init__()
        width = config.language.hidden_size
        self.config = config
        self.frame = frame
        self.language_model = LanguageModel(config.language)
        self.vit_model = VisionModel(config.vision)
        self.connector = Connector(config.vision, width)
        self.vit_pos_embed = Places(config.vision.side, width)
        self.time_embedder = TimeEmbedder(width)
        self.vae2llm = nn.Linear(config.latent_width, width)
        self.llm2vae = nn.Linear(width, config.latent_width)
        self.latent_pos_embed = Places(config.max_latent_size, width)

    @property
    def device(self) -> torch.device:
        """Where words are put in."""
        return self.language_model.model.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        return self.language_model.model.embed_tokens.weight.dtype

    def forward(self, rows: Sequence[Row]) -> tuple[Tensor, Layout]:
        """Return the last hidden states (T, width) of whole rows, and where they stand."""
        layout = layout_of(rows, self.device)
        hidden: Tensor = self.language_model.model(self.embed(rows, layout), layout)
        return hidden, layout

    def embed(self, rows: Sequence[Row], layout: Layout) -> Tensor:
        """Return the tokens (T, width) of rows, in the order of their layout."""
        ids = torch.zeros(layout.rows, layout.columns, dtype=torch.long)
        for row, column, _, piece in placed(rows):
            if isinstance(piece, Text):
                ids[row, column : column + piece.length] = torch.tensor(piece.ids)
            else:
                ids[row, column] = self.frame.image_start
                ids[row, column + piece.length - 1] = self.frame.image_end
        grid = self.words(ids.to(self.device))
        for row, column, _, piece in placed(rows):
            if isinstance(piece, Picture):
                grid[row, column + 1 : column + piece.length - 1] = self._picture(piece)
        return layout.gather(grid)

    def words(self, ids: Tensor) -> Tensor:
        """Return the embeddings of tokens."""
        embedded: Tensor = self.language_model.model.embed_tokens(ids)
        return embedded

    def put_in(self, latents: Tensor, height: int, width: int, times: Tensor) -> Tensor:
        """Return the tokens (rows, height x width, width) of latents (rows, ..., values) at times (rows,)."""
        places: Tensor = self.latent_pos_embed(self.latent_pos_embed.at(height, width))
        embedded: Tensor = self.vae2llm(latents.to(self.device, self.dtype))
        moments: Tensor = self.time_embedder(times.to(self.device))
        return embedded + moments[:, None] + places

    def _picture(self, piece: Picture) -> Tensor:
        if isinstance(piece, Latent):
            return self.put_in(piece.values[None], piece.height, piece.width, torch.tensor([piece.time]))[0]
        places = self.vit_pos_embed.at(piece.height, piece.width)
        seen = self.vit_model.vision_model(piece.values.to(self.device, self.dtype), places)
        embedded: Tensor = self.connector(seen) + self.vit_pos_embed(places)
        return embedded
