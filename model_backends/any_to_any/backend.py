"""The backend ``any-to-any``: requests become rows of tokens, and what follows them becomes answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from unisandbox.backend import TrainSpec
from unisandbox.errors import BackendError
from unisandbox.loading import versions
from unisandbox.model_backends.any_to_any.families import NAME, Family
from unisandbox.model_backends.any_to_any.rows import Row, Rows
from unisandbox.records import Example, Fields, Generation, Image, Request


class AnyToAny:
    """Runs one model; see the package."""

    def __init__(self, family: Family, rows: Rows) -> None:
        """Take a loaded model, and what continues its rows."""
        self._family = family
        self._rows = rows
        self.batch_size = rows.appetite

    def describe(self) -> Fields:
        """What it is, how it samples, and on what."""
        family = self._family
        return {
            "model": family.model.config.name_or_path,
            "revision": getattr(family.model.config, "_commit_hash", None),
            "family": family.model.config.model_type,
            "weights": family.weights,
            "thinking": "two calls",
            "pictures": {
                "guidance_scale": family.sampling.guidance,
                "temperature": family.sampling.temperature,
                "top_k": family.sampling.top_k,
                "image_size": family.side or "the model's own",
            },
            **self._rows.describe(),
            "versions": versions("torch", "transformers", "accelerate", "peft"),
        }

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Answer all requests of a kind together. Raises BackendError once its weights were trained."""
        family = self._family
        if family.model.training:
            raise BackendError(f"{NAME}: these weights were trained. Load the student that came of them.")
        words = [request for request in requests if request.prompt.output == "text"]
        pictures = [request for request in requests if request.prompt.output == "image"]
        yield from self._rows.over(
            [Row(request, family.words(request.prompt.turns)) for request in words], self._rows.say
        )
        yield from self._rows.over(
            [Row(request, family.picture(request.prompt.turns)) for request in pictures], self._draw
        )

    def train(
        self, examples: Sequence[Example], spec: TrainSpec, out: Path, *, quiet: bool = False
    ) -> Mapping[str, str]:
        """Train adapters or all weights; ``spec.batch`` counts examples. Uses up the weights in memory."""
        from unisandbox.model_backends.any_to_any.train import teach

        return teach(self._family, examples, spec, out, quiet=quiet)

    @torch.inference_mode()
    def _draw(self, rows: Sequence[Row]) -> list[Generation]:
        from PIL import Image as pil

        drawn = self._family.draw(self._rows.together(rows), [row.request.seed for row in rows])
        return [
            Generation(row.request.key, Image.from_pil(pil.fromarray(pixels.numpy())))
            for row, pixels in zip(rows, self._family.pixels(drawn), strict=True)
        ]
