"""The backend ``diffusers``: prompts become pictures, each by a generator of its own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from diffusers import AutoPipelineForText2Image, DiffusionPipeline
from diffusers.utils import logging

from unisandbox.batching import Batches
from unisandbox.errors import BackendError, UsageError
from unisandbox.loading import (
    Precision,
    checkpoint,
    device_label,
    device_named,
    digest,
    needed,
    number_format,
    one_line,
    precision,
    versions,
)
from unisandbox.model_backends.diffusers.rewriter import Rewriter
from unisandbox.records import Fields, Generation, Image, Request

NAME = "diffusers"
ONE_BY_ONE: Mapping[str, Mapping[str, Any]] = {
    "GlmImagePipeline": {},  # seeds all rows by the first generator
    "Cosmos3OmniPipeline": {"num_frames": 1},  # draws the first prompt of a list only
}
"""Pipelines that take one prompt a call if each is to have its seed -> what such a call needs besides."""


class Diffusers:
    """Runs one pipeline, and asks the rewriter for words; see the package."""

    def __init__(
        self,
        model: str,
        pipeline: Any,
        settings: Mapping[str, Any],
        *,
        batch_size: int,
        rewriter: Rewriter | None = None,
    ) -> None:
        """Take a loaded pipeline that was ``checked``; ``settings`` go to its call."""
        self._model = model
        self._pipeline = pipeline
        self._settings = dict(settings)
        self._rewriter = rewriter
        self._takes = inspect.signature(pipeline.__call__).parameters
        self._alone = ONE_BY_ONE.get(type(pipeline).__name__)
        self._batches = Batches(NAME, batch_size if self._alone is None else 1, filled=True)
        self.batch_size = max(self._batches.size, rewriter.batch_size if rewriter else 0)
        self._readers = [
            part for name, part in pipeline.components.items() if name.startswith("tokenizer") and part
        ]
        self._warned = False
        self._weights = digest(
            (f"{name}.{inner}", weight)
            for name, part in sorted(pipeline.components.items())
            if isinstance(part, torch.nn.Module)
            for inner, weight in part.state_dict().items()
        )

    def describe(self) -> Fields:
        """What it is, how it draws, and on what."""
        defaults = {
            name: self._takes[name].default
            for name in ("num_inference_steps", "guidance_scale", "true_cfg_scale", "height", "width")
            if name in self._takes
        }
        wrote = self._rewriter.describe() if self._rewriter else {}
        return {
            "model": self._model,
            "pipeline": type(self._pipeline).__name__,
            "scheduler": type(getattr(self._pipeline, "scheduler", None)).__name__,
            "weights": "+".join(filter(None, (self._weights, str(wrote.get("weights", ""))))),
            "pictures": {**defaults, **self._settings},
            "thinking": "two calls" if self._rewriter else "none",
            "rewriter": wrote,
            "device": device_label(self._pipeline.device),
            "dtype": number_format(self._pipeline.dtype),
            "batch_size": self._batches.size,
            "versions": versions("torch", "diffusers", "transformers", "accelerate"),
        }

    def close(self) -> None:
        """End what the rewriter holds."""
        if self._rewriter:
            self._rewriter.close()

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Draw the pictures; have the words written."""
        words = [request for request in requests if request.prompt.output == "text"]
        if words and self._rewriter is None:
            raise UsageError(
                f"{NAME}: a pipeline only draws. Name a model that writes the words with rewriter=, or ask "
                "with --modes direct render gold planted."
            )
        if self._rewriter:
            yield from self._rewriter.write(words)
        pictures = [request for request in requests if request.prompt.output == "image"]
        yield from self._batches.over(pictures, self._draw)

    def _draw(self, requests: Sequence[Request]) -> list[Generation]:
        prompts = [request.prompt.text for request in requests]  # it remembers nothing: the last turn is all
        streams = [torch.Generator().manual_seed(request.seed) for request in requests]
        settings = dict(self._settings)
        if self._alone is None:
            if "negative_prompt" in settings:
                settings["negative_prompt"] = [settings["negative_prompt"]] * len(requests)
            drawn = self._pipeline(prompt=prompts, generator=streams, **settings)
        else:
            drawn = self._pipeline(prompt=prompts[0], generator=streams[0], **self._alone, **settings)
        pictures = drawn["images"] if "images" in drawn else drawn["video"]
        unsafe = drawn.get("nsfw_content_detected") or [False] * len(requests)
        return [
            Generation(request.key, finish="refused", notes={"reason": "the pipeline's safety checker"})
            if hidden
            else Generation(request.key, Image.from_pil(picture), notes=self._cut(request.prompt.text))
            for request, picture, hidden in zip(requests, pictures, unsafe, strict=True)
        ]

    def _cut(self, prompt: str) -> Fields:
        """Return a note when the prompt is longer than any of the text encoders reads."""
        spare = [reads.model_max_length - len(reads(prompt).input_ids) for reads in self._readers]
        if max(spare, default=0) >= 0:
            return {}
        most = max(reads.model_max_length for reads in self._readers)
        if not self._warned:
            self._warned = True
            print(
                f"warning: {NAME}: {self._model} reads {most} tokens; longer prompts are cut off there, as "
                "the log notes.",
                file=sys.stderr,
            )
        return {"prompt": f"cut off after {most} tokens"}


def checked(model: str, pipeline: Any, settings: Mapping[str, Any]) -> Any:
    """Return a pipeline; raises unless it draws from text alone, and takes these settings."""
    kind = type(pipeline).__name__
    takes = inspect.signature(pipeline.__call__).parameters
    needs = [
        name
        for name, parameter in takes.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    if set(needs) - {"prompt"} or not {"prompt", "generator"} <= set(takes):
        raise BackendError(
            f"{NAME}: model={model}: a {kind} does not draw from text alone: its call needs "
            f"{', '.join(needs) or 'no prompt'}. Name a text-to-image pipeline."
        )
    if "num_frames" in takes and kind not in ONE_BY_ONE:
        raise BackendError(f"{NAME}: model={model}: a {kind} makes videos. Name a text-to-image pipeline.")
    if wrong := [name for name in settings if name not in takes]:
        raise UsageError(
            f"{NAME}: model={model}: a {kind} takes no {', '.join(wrong)}. Leave the option out."
        )
    return pipeline


def load(
    model: str,
    settings: Mapping[str, Any],
    *,
    variant: str | None,
    revision: str | None,
    device: str,
    device_map: str | None,
    offload: bool,
    dtype: Precision,
) -> Any:
    """Load a pipeline from a folder or the hub, to be called with ``settings``; see the factory."""
    place = checkpoint(NAME, model, "model_index.json")
    if device_map is not None or offload:
        needed(NAME, "accelerate", "device_map=" if device_map else "offload=")
    target = device_named(NAME, device)
    fitting = precision(dtype, target)
    options: dict[str, Any] = {
        "dtype": torch.bfloat16 if fitting == "auto" else getattr(torch, fitting),
        "variant": variant,
        "revision": revision,
    }
    if device_map is not None:
        options["device_map"] = device_map
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with one_line(NAME, model):
        try:
            pipeline = AutoPipelineForText2Image.from_pretrained(place, **options)
        except ValueError as error:
            if "AutoPipeline can't find" not in str(error):
                raise
            pipeline = DiffusionPipeline.from_pretrained(place, **options)
    checked(model, pipeline, settings).set_progress_bar_config(disable=True)
    with one_line(NAME, model):
        if offload:
            pipeline.enable_model_cpu_offload(device=target)
        elif device_map is None:
            pipeline.to(target)
    return pipeline
