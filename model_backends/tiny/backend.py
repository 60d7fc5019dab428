"""Backend ``tiny``: the model that ships with UniSandbox, asked as any other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open

from unisandbox.errors import BackendError
from unisandbox.model_backends.tiny.data import Part, context
from unisandbox.model_backends.tiny.generate import Sampling, draw, write
from unisandbox.model_backends.tiny.model import Config, Transformer
from unisandbox.model_backends.tiny.tokenizer import CELLS, END, IMAGE, TEXT, THINK, Tokenizer
from unisandbox.prompts import conclusion
from unisandbox.records import Generation, Image, Prompt, Request

WEIGHTS = Path(__file__).with_name("weights")
MOST_WORDS = 128
"""Ids of a thought or an answer; the longest that is right takes about a hundred."""


class Tiny:
    """One small transformer that reads, writes, draws and captions, in the sandbox's language only."""

    batch_size = 64

    def __init__(
        self,
        *,
        variant: Literal["injected", "base"] = "injected",
        checkpoint: Path | None = None,
        threads: Annotated[int, Field(ge=1, le=256)] = 1,
        temperature: Annotated[float, Field(ge=0, le=2)] = 1.0,
        least: Annotated[float, Field(ge=0, le=1)] = 0.05,
        thought: Literal["reissued", "same_turn"] = "reissued",
    ) -> None:
        """Load the weights.

        ``variant``: ``injected`` was taught the benchmark's people in words, ``base`` was not. ``checkpoint``:
        a folder that training wrote, instead. ``temperature`` and ``least`` are those of pictures; words are
        always the likeliest. ``thought``: how it comes before the picture; ``same_turn`` leaves out the turn
        that says its conclusion once more. Raises BackendError for weights that cannot be used.
        """
        torch.set_num_threads(threads)
        folder = checkpoint or WEIGHTS
        path = folder / ("model.safetensors" if checkpoint else f"{variant}.safetensors")
        self.tokenizer = load_tokenizer(folder)
        self.model = load_model(path, self.tokenizer)
        self._pictures, self._words = Sampling(temperature, least), Sampling(0)
        self._reissued = thought == "reissued"
        self._foreign: set[str] = set()
        self._about = {
            "weights": path.name if checkpoint is None else str(path),
            "threads": threads,
            "dtype": "float32",
            "temperature": temperature,
            "least": least,
            "thought": thought,
            "torch": torch.__version__,
        }

    def describe(self) -> Mapping[str, Any]:
        """Weights, threads and sampling."""
        return self._about

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Answer requests, text and pictures apart; a prompt that is too long is an error of its own."""
        self._warn(requests)
        ready: dict[str, list[tuple[Request, list[Part]]]] = {"text": [], "think": [], "image": []}
        for request in requests:
            prompt = request.prompt
            parts = self.parts(prompt)
            if len(context(parts, self.tokenizer)[0]) + 2 * MOST_WORDS + CELLS > self.model.config.context * 2:
                yield Generation(request.key, finish="error", error=_too_long(prompt))
                continue
            ready["think" if prompt.think and prompt.output == "image" else prompt.output].append((request, parts))
        for request, _, text, finish in self._write(ready["text"], TEXT):
            yield Generation(request.key, text=text, finish=finish)
        yield from self._draw([(request, parts, None) for request, parts in ready["image"]])
        yield from self._draw(
            [
                (request, [*parts, *self._thought(text)], text)
                for request, parts, text, _ in self._write(ready["think"], THINK)
            ]
        )
