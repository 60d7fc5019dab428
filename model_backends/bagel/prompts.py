"""Prompts: what a request becomes for BAGEL, as the published pipeline asks it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unisandbox.model_backends.bagel.checkpoint import Loaded
from unisandbox.model_backends.bagel.context import Latent, Piece, Row, Seen, Text
from unisandbox.model_backends.bagel.vision import patches
from unisandbox.records import Image, Prompt, Turn

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

DRAWING = (
    "Before you draw, think about what the picture has to show. Write your thoughts between <think> and "
    "</think>, then draw: <think> your thoughts </think> the picture"
)
"""What stands before a question that is thought about and then drawn."""
ANSWERING = (
    "Before you answer, think the question through. Write your thoughts between <think> and </think>, then "
    "give the answer: <think> your thoughts </think> the answer"
)
"""The same where the answer is words."""
SMALLEST_SEEN, SMALLEST_KNOWN = 224, 512
"""Pixels of the shorter side that pictures put in are brought to, to be seen and to be drawn from."""


class Prompts:
    """Turns requests into rows of one model."""

    def __init__(self, loaded: Loaded, instruction: str | None = None) -> None:
        """Take a model with all its parts, and what tells it to think in place of our words."""
        self._instruction = instruction
        self._tokenizer = loaded.tokenizer
        self._frame = loaded.model.frame
        self._config = loaded.model.config
        self._autoencoder = loaded.autoencoder

    def answer(self, prompt: Prompt) -> Row:
        """Return what is read before an answer in words."""
        pieces = (piece for turn in prompt.turns for piece in (*self._seen(turn), self._said(turn)))
        return (*self._system(ANSWERING, prompt.think), *pieces)

    def thinking(self, prompt: Prompt) -> Row:
        """Return what is read before a thought about a picture."""
        return self.picture(prompt)[0]

    def picture(self, prompt: Prompt, thought: str | None = None) -> tuple[Row, Row, Row]:
        """Return what a picture follows from: all, that without texts, and that without pictures and thought.

        What tells it to think is no text of the prompt: guidance leads away from a context that has it.
        """
        system = self._system(DRAWING, prompt.think)
        pictures = [(*self._known(turn), *self._seen(turn)) for turn in prompt.turns]
        said = [self._said(turn) for turn in prompt.turns]
        pieces = (piece for before, text in zip(pictures, said, strict=True) for piece in (*before, text))
        return (
            (*system, *pieces, *([self.text(thought)] if thought is not None else [])),
            (*system, *(piece for some in pictures for piece in some)),
            (*system, *said),
        )

    def text(self, words: str) -> Text:
        """Return words with their frame."""
        return self._frame.text(self._tokenizer.encode(words, add_special_tokens=False))

    def seen(self, picture: PilImage) -> Seen:
        """Return a picture to look at, first brought to the size of one that is drawn, as the authors do."""
        sight, size = self._config.vision, self._config.vision.patch_size
        pixels = _pixels(fitted(self._drawn_size(picture), sight.side * size, SMALLEST_SEEN, size))
        return Seen(pixels.shape[1] // size, pixels.shape[2] // size, patches(pixels, size))

    def known(self, picture: PilImage, noise: torch.Generator | None = None) -> Latent:
        """Return a picture as clean latents: their mean or, with ``noise``, drawn."""
        size = self._config.latent_patch_size
        latents = self._autoencoder.encode(_pixels(self._drawn_size(picture)), noise)
        return Latent(latents.shape[1] // size, latents.shape[2] // size, patches(latents, size))

    def _drawn_size(self, picture: PilImage) -> PilImage:
        stride = self._config.stride
        return fitted(picture, self._config.max_latent_size * stride, SMALLEST_KNOWN, stride)

    def _system(self, words: str, think: bool) -> Row:
        return (self.text(self._instruction or words),) if think else ()

    def _said(self, turn: Turn) -> Piece:
        return self.text(f"<think>{turn.text}</think>" if turn.thought else turn.text)

    def _seen(self, turn: Turn) -> Iterable[Piece]:
        return (self.seen(image.pil()) for image in turn.images)

    def _known(self, turn: Turn) -> Iterable[Piece]:
        return (self.known(image.pil()) for image in turn.images)


def fitted(picture: PilImage, largest: int, smallest: int, stride: int) -> PilImage:
    """Bring a picture into sizes that are multiples of ``stride``, its shape kept as far as that allows.

    The longer side is at most ``largest``; the shorter one at least ``smallest``, unless the longer one would
    be too long then.
    """
    from PIL.Image import Resampling

    width, height = picture.size
    scale = max(min(largest / max(width, height), 1.0), smallest / min(width, height))
    width, height = _multiples(width, height, scale, stride)
    if max(width, height) > largest:
        width, height = _multiples(width, height, largest / max(width, height), stride)
    return picture.resize((width, height), Resampling.BICUBIC)


def _multiples(width: int, height: int, scale: float, stride: int) -> tuple[int, int]:
    wide, high = (max(stride, round(round(side * scale) / stride) * stride) for side in (width, height))
    return wide, high


def _pixels(picture: PilImage) -> Tensor:
    """Return (3, height, width) between -1 and 1."""
    scaled = np.asarray(picture.convert("RGB"), np.float32) / 127.5 - 1
    return torch.tensor(scaled).permute(2, 0, 1)


def from_pixels(pixels: Tensor) -> Image:
    """Return a picture of pixels (3, height, width) from -1 to 1."""
    from PIL import Image as pil

    levels = ((pixels * 0.5 + 0.5).clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu()
    return Image.from_pil(pil.fromarray(levels.numpy()))
