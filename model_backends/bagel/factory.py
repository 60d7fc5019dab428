"""The factory of ``bagel``: its options, apart from the model, so that checking them loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from unisandbox.backend import Backend
from unisandbox.errors import UsageError
from unisandbox.loading import Precision, quiet

Time = Annotated[float, Field(ge=0, le=1)]


def bagel(
    *,
    path: Path,
    weights: str = "ema.safetensors",
    adapter: tuple[Path, ...] = (),
    device: str = "auto",
    device_map: Literal["auto", "balanced", "balanced_low_0", "sequential"] | None = None,
    max_memory: tuple[str, ...] = (),
    dtype: Precision = "auto",
    quantize: Literal["8bit", "4bit"] | None = None,
    batch_size: Annotated[int, Field(ge=1)] = 8,
    image_size: Annotated[int, Field(ge=1)] = 1024,
    instruction: Path | None = None,
    max_tokens: Annotated[int, Field(ge=1)] = 1000,
    text_temperature: Annotated[float, Field(ge=0)] = 0.0,
    num_timesteps: Annotated[int, Field(ge=2)] = 50,
    timestep_shift: Annotated[float, Field(gt=0)] = 3.0,
    cfg_text_scale: Annotated[float, Field(ge=1)] = 4.0,
    cfg_img_scale: Annotated[float, Field(ge=1)] = 1.0,
    cfg_interval: tuple[Time, Time] = (0.4, 1.0),
    cfg_renorm_type: Literal["global", "channel", "text_channel"] = "global",
    cfg_renorm_min: Time = 0.0,
    preset: Literal["stars", "injection"] | None = None,
) -> Backend:
    """Return the backend for the folder ``path``, which holds the files of BAGEL-7B-MoT.

    ``weights`` is the file in it; each ``adapter`` (a folder of peft's, such as a LoRA) is merged into them,
    in that order. ``device_map`` spreads the layers of the language model over several devices, in place of
    ``device``, in what memory is free or at most ``max_memory`` (``0:20GiB+1:20GiB+cpu:64GiB``); layers that
    fit nowhere are read from the disk. ``quantize`` keeps the matrices of layers in so many bits.
    ``batch_size`` is the most pictures at once, and a quarter of the most rows of words; it is halved where
    memory runs out. ``image_size`` is pixels a side. ``instruction`` is a text file with what tells it to
    think, in place of our words. Words are the likeliest ones at ``text_temperature`` 0, and at most
    ``max_tokens`` of a thought or an answer, the one that opens it counted. The other names are the authors':
    ``num_timesteps`` points in time, both ends counted, denser near the noise by ``timestep_shift``; guidance
    ``cfg_text_scale`` away from the context without the text and ``cfg_img_scale`` away from that without
    pictures (1: none), at the times of ``cfg_interval``; what keeps its length under guidance, and the least
    factor by which that shortens. The defaults are the settings of arXiv 2511.20561. With a ``preset`` it is
    trained as published there. Raises UsageError for a folder that lacks files, a size or a device that is
    not there, BackendError for weights that do not fit, the settings or the memory.
    """
    quiet()
    import torch

    from unisandbox.loading import device_named, precision
    from unisandbox.model_backends.bagel.backend import BagelBackend
    from unisandbox.model_backends.bagel.checkpoint import NAME, load
    from unisandbox.model_backends.bagel.devices import spread_over
    from unisandbox.model_backends.bagel.sampler import Sampling

    if max_memory and not device_map:
        raise UsageError(f"{NAME}: max_memory= limits what device_map= spreads: add device_map=auto.")
    spread = spread_over(NAME, device_map, max_memory) if device_map else None
    target = spread.home if spread else device_named(NAME, device)
    fitting = precision(dtype, target)
    loaded = load(
        path.expanduser(),
        weights,
        target,
        torch.bfloat16 if fitting == "auto" else getattr(torch, fitting),
        adapter,
        spread=spread,
        quantize=quantize,
    )
    sampling = Sampling(
        num_timesteps=num_timesteps,
        timestep_shift=timestep_shift,
        cfg_text_scale=cfg_text_scale,
        cfg_img_scale=cfg_img_scale,
        cfg_interval=cfg_interval,
        cfg_renorm_type=cfg_renorm_type,
        cfg_renorm_min=cfg_renorm_min,
    )
    return BagelBackend(
        loaded,
        path.name,
        sampling,
        image_size=image_size,
        batch_size=batch_size,
        max_tokens=max_tokens,
        text_temperature=text_temperature,
        instruction=_words(instruction) if instruction else None,
        preset=preset,
    )


def _words(path: Path) -> str:
    """Return what a text file says; raises UsageError."""
    try:
        words = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"bagel: instruction={path} cannot be read: {error}. Name a text file.") from None
    if not words:
        raise UsageError(f"bagel: instruction={path} says nothing. Leave it out for the default.")
    return words
