"""Rows: requests as tokens, put together into batches, and continued in words."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import GenerationMixin, LogitsProcessorList

from unisandbox.batching import Batches
from unisandbox.loading import device_label, number_format
from unisandbox.model_backends.any_to_any.sampling import Seeded
from unisandbox.records import Fields, Generation, Request

Inputs = dict[str, Tensor]
_PADDED = ("input_ids", "attention_mask")
_SHORTEST = 64
"""In half precision rows are as long as a power of two of tokens, at least so many."""


@dataclass(frozen=True, slots=True)
class Row:
    """A request, and what is put into the model for it: tensors whose first size is 1."""

    request: Request
    inputs: Inputs

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return self.inputs["input_ids"].shape[1]


class Rows:
    """A loaded model that continues rows, so that an answer follows from its request alone.

    In float32 the company of a row changes nothing but the last digits. In half precision it would change
    tokens, so there batches have one size, and rows a length that they do not take from their company.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, who: str, batch_size: int, temperature: float, max_tokens: int
    ) -> None:
        """Take a model and its tokenizer; temperature and ``max_tokens`` are those of words."""
        self.model = model
        self._tokenizer = tokenizer
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._rounds = model.dtype != torch.float32
        self._batches = Batches(who, batch_size, filled=self._rounds)
        _forget_sampling(model, tokenizer)

    @property
    def appetite(self) -> int:
        """How many rows it likes: several batches where only rows of a length share one."""
        return self._batches.size * (4 if self._rounds else 1)

    def describe(self) -> Fields:
        """How it writes, and on what."""
        model = self.model
        return {
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "words": {"temperature": self._temperature, "max_tokens": self._max_tokens},
            "device": device_label(model.device),
            "device_map": {name: str(at) for name, at in getattr(model, "hf_device_map", {}).items()},
            "dtype": number_format(model.dtype),
            "batch_size": self._batches.size,
        }

    def over(
        self, rows: Sequence[Row], work: Callable[[Sequence[Row]], Sequence[Generation]]
    ) -> Iterator[Generation]:
        """Yield the generations of all rows, in batches."""
        yield from self._batches.over(rows, work, alike=self._shape)

    @torch.inference_mode()
    def say(self, rows: Sequence[Row]) -> list[Generation]:
        """Continue rows in words; ``truncated`` are those that did not end by themselves."""
        inputs = self.together(rows)
        seeds = [row.request.seed for row in rows]
        sampled = [Seeded(seeds, self._temperature)] if self._temperature else []
        # not model.generate(): that of Janus drops processors of words
        settings: dict[str, Any] = {
            **inputs,
            "max_new_tokens": self._max_tokens,
            "do_sample": False,
            "guidance_scale": None,
            "logits_processor": LogitsProcessorList(sampled),
        }
        continued: Any = GenerationMixin.generate(self.model, **settings)
        written = continued[:, inputs["input_ids"].shape[1] :].cpu()
        ends = torch.tensor(self.model.generation_config.eos_token_id).reshape(-1)
        texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        ended = torch.isin(written, ends).any(1).tolist()
        return [
            Generation(row.request.key, text=text.strip(), finish="complete" if whole else "truncated")
            for row, text, whole in zip(rows, texts, ended, strict=True)
        ]

    def together(self, rows: Sequence[Row]) -> Inputs:
        """Pad rows on the left, where nothing follows, and put them below each other on the device."""
        length = self._length(rows[0]) or max(row.length for row in rows)
        fill = {"input_ids": self.model.generation_config.pad_token_id, "attention_mask": 0}

        def whole(row: Row, name: str) -> Tensor:
            if name in _PADDED:
                return pad(row.inputs[name], (length - row.length, 0), value=fill[name])
            return row.inputs[name]

        return {
            name: self._fitting(torch.cat([whole(row, name) for row in rows if name in row.inputs]))
            for name in dict.fromkeys(name for row in rows for name in row.inputs)
        }

    def _fitting(self, tensor: Tensor) -> Tensor:
        dtype = self.model.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self.model.device, dtype)

    def _shape(self, row: Row) -> Hashable:
        """Return what rows must share to be put together."""
        pictures = (tensor.shape[1:] for name, tensor in row.inputs.items() if name not in _PADDED)
        return (self._length(row), *pictures)

    def _length(self, row: Row) -> int:
        """Return the length that a row is padded to, or 0: that of its company."""
        return max(_SHORTEST, 1 << (row.length - 1).bit_length()) if self._rounds else 0


def _forget_sampling(model: Any, tokenizer: Any) -> None:
    """Leave nothing of a checkpoint's own sampling: what is no option of ours would be in no log."""
    settings = model.generation_config
    settings.do_sample, settings.temperature, settings.top_p, settings.top_k = False, None, None, None
    settings.repetition_penalty = None
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if getattr(settings, name) is None:
            setattr(settings, name, getattr(tokenizer, name))
    if settings.pad_token_id is None:
        settings.pad_token_id = torch.tensor(settings.eos_token_id).reshape(-1)[0].item()
