"""The factory of ``diffusers``: its options, apart from the model, so that checking them loads no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from unisandbox.backend import Backend
from unisandbox.errors import UsageError
from unisandbox.loading import Precision, quiet


def diffusers(
    *,
    model: str,
    variant: str | None = None,
    revision: str | None = None,
    device: str = "auto",
    device_map: str | None = None,
    offload: bool = False,
    dtype: Precision = "auto",
    batch_size: Annotated[int, Field(ge=1)] = 4,
    steps: Annotated[int, Field(ge=1)] | None = None,
    guidance: float | None = None,
    true_cfg: float | None = None,
    height: Annotated[int, Field(ge=8)] | None = None,
    width: Annotated[int, Field(ge=8)] | None = None,
    negative_prompt: str | None = None,
    rewriter: str | None = None,
    rewriter_base_url: str | None = None,
    rewriter_api_key_env: str | None = None,
    rewriter_device: str = "auto",
    rewriter_dtype: Precision = "auto",
    rewriter_temperature: Annotated[float, Field(ge=0)] = 0.0,
    rewriter_max_tokens: Annotated[int, Field(ge=1)] = 1000,
) -> Backend:
    """Return the backend for the pipeline ``model``: a hub name, or a folder that ``save_pretrained`` wrote.

    ``variant`` names files of weights such as ``fp16``. ``offload`` keeps on the device only the part that
    works; ``device_map`` (``balanced``) spreads the parts over several devices. ``dtype=auto`` is bfloat16 on
    an accelerator and float32 on a CPU. ``batch_size`` is the most pictures at once; it is halved where
    memory runs out. ``guidance`` is the pipeline's ``guidance_scale``, ``true_cfg`` its ``true_cfg_scale``;
    what is left out is the pipeline's own default.

    ``rewriter`` is a language model that writes the words: a hub name or a folder for transformers, or, with
    ``rewriter_base_url``, the name of a model of an OpenAI-compatible server. Raises BackendError for what
    cannot be loaded or does not draw from text alone, UsageError for an option the pipeline does not take.
    """
    quiet()
    from unisandbox.model_backends.diffusers.backend import Diffusers, load
    from unisandbox.model_backends.diffusers.rewriter import Local, Rewriter, Served

    if rewriter_api_key_env and not rewriter_base_url:
        raise UsageError("diffusers: rewriter_api_key_env= is for a server: name it with rewriter_base_url=.")
    options = {
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "true_cfg_scale": true_cfg,
        "height": height,
        "width": width,
        "negative_prompt": negative_prompt,
    }
    settings = {name: value for name, value in options.items() if value is not None}
    pipeline = load(
        model,
        settings,
        variant=variant,
        revision=revision,
        device=device,
        device_map=device_map,
        offload=offload,
        dtype=dtype,
    )
    writes: Rewriter | None = None
    if rewriter_base_url:
        writes = Served(
            rewriter_base_url,
            model=rewriter,
            api_key_env=rewriter_api_key_env,
            temperature=rewriter_temperature,
            max_tokens=rewriter_max_tokens,
        )
    elif rewriter:
        writes = Local(
            rewriter,
            device=rewriter_device,
            dtype=rewriter_dtype,
            batch_size=batch_size,
            temperature=rewriter_temperature,
            max_tokens=rewriter_max_tokens,
        )
    return Diffusers(model, pipeline, settings, batch_size=batch_size, rewriter=writes)
