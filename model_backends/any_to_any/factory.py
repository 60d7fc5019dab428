"""The factory of ``any-to-any``: its options, apart from the model, so that checking them loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from unisandbox.backend import Backend
from unisandbox.loading import Precision, quiet


def any_to_any(
    *,
    model: str,
    adapter: tuple[Path, ...] = (),
    revision: str | None = None,
    device: str = "auto",
    device_map: str | None = None,
    dtype: Precision = "auto",
    batch_size: Annotated[int, Field(ge=1)] = 16,
    guidance_scale: Annotated[float, Field(ge=1)] | None = None,
    temperature: Annotated[float, Field(ge=0)] = 1.0,
    top_k: Annotated[int, Field(ge=0)] | None = None,
    text_temperature: Annotated[float, Field(ge=0)] = 0.0,
    max_tokens: Annotated[int, Field(ge=1)] = 1000,
    image_size: Annotated[int, Field(ge=8)] | None = None,
) -> Backend:
    """Return the backend for a ``model``: a hub name, or a folder as ``save_pretrained`` writes it.

    Each ``adapter`` (a folder of peft's, such as a LoRA) is merged into the weights, in that order.
    ``device_map`` (``auto``, ``balanced``, ...) spreads a model over several devices, in place of ``device``.
    ``batch_size`` is the most requests at once; it is halved where memory runs out. Pictures:
    ``guidance_scale`` 1 is none, ``temperature`` 0 is the likeliest token, ``top_k`` 0 is all tokens; left
    out, guidance and ``top_k`` are those that the family's authors publish (Janus: 5 and 0; Emu3: 3 and
    2048). Words are the likeliest ones at ``text_temperature`` 0, and at most ``max_tokens`` of a thought or
    an answer. ``image_size``, in pixels a side, is for Emu3, whose pictures have any size. Raises
    BackendError for a checkpoint that cannot be loaded or does not draw, UsageError for a folder or a device
    that is not there.
    """
    quiet()
    from unisandbox.model_backends.any_to_any.backend import AnyToAny
    from unisandbox.model_backends.any_to_any.families import NAME, Sampling, load
    from unisandbox.model_backends.any_to_any.rows import Rows

    family = load(
        model,
        adapters=adapter,
        revision=revision,
        device=device,
        device_map=device_map,
        dtype=dtype,
        sampling=Sampling(guidance_scale, temperature, top_k),
        image_size=image_size,
    )
    rows = Rows(
        family.model,
        family.processor.tokenizer,
        who=NAME,
        batch_size=batch_size,
        temperature=text_temperature,
        max_tokens=max_tokens,
    )
    return AnyToAny(family, rows)
