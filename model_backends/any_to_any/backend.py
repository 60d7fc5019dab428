"""The backend ``any-to-any``: requests become batches of rows, and what follows them becomes answers."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import GenerationMixin, LogitsProcessorList

from unisandbox.batching import Batches
from unisandbox.loading import device_label, number_format, versions
from unisandbox.model_backends.any_to_any.families import NAME, Family, Inputs
from unisandbox.model_backends.any_to_any.sampling import Seeded
from unisandbox.records import Fields, Finish, Generation, Image, Request

_SHORTEST = 64
"""In half precision rows are as long as a power of two of tokens, at least so many."""
_PADDED = ("input_ids", "attention_mask")


@dataclass(frozen=True, slots=True)
class _Row:
    request: Request
    inputs: Inputs

    @property
    def length(self) -> int:
        return self.inputs["input_ids"].shape[1]


class AnyToAny:
    """Runs one model; see the package."""

    def __init__(self, family: Family, *, batch_size: int, temperature: float, max_tokens: int) -> None:
        """Take a loaded model; ``temperature`` is that of words."""
        self._family = family
        self._model = family.model
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._rounds = self._model.dtype != torch.float32
        self._batches = Batches(NAME, batch_size, filled=self._rounds)
        # only rows of a length share a batch, so several batches at once leave fewer of them short
        self.batch_size = batch_size * (4 if self._rounds else 1)

    def describe(self) -> Fields:
        """What it is, how it samples, and on what."""
        sampling = self._family.sampling
        return {
            "model": self._model.config.name_or_path,
            "revision": getattr(self._model.config, "_commit_hash", None),
            "family": self._model.config.model_type,
            "weights": self._family.weights,
            "parameters": sum(parameter.numel() for parameter in self._model.parameters()),
            "thinking": "two calls",
            "pictures": {
                "guidance_scale": sampling.guidance,
                "temperature": sampling.temperature,
                "top_k": sampling.top_k,
                "image_size": self._family.side or "the model's own",
            },
            "words": {"temperature": self._temperature, "max_tokens": self._max_tokens},
            "device": device_label(self._model.device),
            "device_map": {name: str(at) for name, at in getattr(self._model, "hf_device_map", {}).items()},
            "dtype": number_format(self._model.dtype),
            "batch_size": self._batches.size,
            "versions": versions("torch", "transformers", "accelerate", "peft"),
        }

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Answer all requests of a kind together."""
        family = self._family
        for output, read, answer in (("text", family.words, self._say), ("image", family.picture, self._draw)):
            rows = [
                _Row(request, read(request.prompt.turns))
                for request in requests
                if request.prompt.output == output
            ]
            yield from self._batches.over(rows, answer, alike=self._shape)

    def _shape(self, row: _Row) -> Hashable:
        """Return what rows must share to be put together."""
        pictures = [rows.shape[1:] for name, rows in row.inputs.items() if name not in _PADDED]
        return (self._length(row), *pictures)

    def _length(self, row: _Row) -> int:
        """Return how long a row is made, decided by nothing but its request; 0: as long as its company."""
        return max(_SHORTEST, 1 << (row.length - 1).bit_length()) if self._rounds else 0

    @torch.inference_mode()
    def _say(self, rows: Sequence[_Row]) -> list[Generation]:
        inputs = self._together(rows)
        seeds = [row.request.seed for row in rows]
        sampled = [Seeded(seeds, self._temperature)] if self._temperature else []
        # past Janus's own generate(), which drops processors of words
        written = GenerationMixin.generate(
            self._model,
            **inputs,
            max_new_tokens=self._max_tokens,
            do_sample=False,
            guidance_scale=None,
            logits_processor=LogitsProcessorList(sampled),
        )[:, inputs["input_ids"].shape[1] :].cpu()
        ends = torch.tensor(self._model.generation_config.eos_token_id).reshape(-1)
        texts = self._family.processor.tokenizer.batch_decode(written, skip_special_tokens=True)
        finished = torch.isin(written, ends).any(1).tolist()
        return [
            Generation(row.request.key, text=text.strip(), finish=_finish(done))
            for row, text, done in zip(rows, texts, finished, strict=True)
        ]

    @torch.inference_mode()
    def _draw(self, rows: Sequence[_Row]) -> list[Generation]:
        from PIL import Image as pil

        drawn = self._family.draw(self._together(rows), [row.request.seed for row in rows])
        return [
            Generation(row.request.key, Image.from_pil(pil.fromarray(pixels.numpy())))
            for row, pixels in zip(rows, self._family.pixels(drawn), strict=True)
        ]

    def _together(self, rows: Sequence[_Row]) -> Inputs:
        """Pad rows on the left, where nothing that follows stands, and put the pictures behind each other."""
        length = self._length(rows[0]) or max(row.length for row in rows)
        fill = {"input_ids": self._model.generation_config.pad_token_id, "attention_mask": 0}

        def whole(row: _Row, name: str) -> Tensor:
            if name in _PADDED:
                return pad(row.inputs[name], (length - row.length, 0), value=fill[name])
            return row.inputs[name]

        names = {name: None for row in rows for name in row.inputs}
        return {
            name: self._fitting(torch.cat([whole(row, name) for row in rows if name in row.inputs]))
            for name in names
        }

    def _fitting(self, rows: Tensor) -> Tensor:
        dtype = self._model.dtype if rows.is_floating_point() else rows.dtype
        return rows.to(self._model.device, dtype)


def _finish(done: bool) -> Finish:
    return "complete" if done else "truncated"
