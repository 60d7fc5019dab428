"""Weights in 8 or 4 bits, through bitsandbytes: the matrices of both experts, in every layer, and no others.

LLM.int8 (arXiv 2208.07339), or NF4 (arXiv 2305.14314) without its second quantisation. All other weights keep
their number format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unisandbox.loading import needed

Bits = Literal["8bit", "4bit"]
BYTES: Mapping[Bits, float] = {"8bit": 1, "4bit": 0.5 + 4 / 64}
"""What a weight takes; of 4 bits 64 share a number in float32."""


def quantized(who: str, model: nn.Module, layers: nn.Module, bits: Bits, dtype: torch.dtype) -> None:
    """Put others in the place of a model's matrices in ``layers``; they quantise the weights they are given.

    Raises BackendError without bitsandbytes.
    """
    for package in ("accelerate", "bitsandbytes"):
        needed(who, package, f"quantize={bits}")
    from transformers import BitsAndBytesConfig
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear

    settings = BitsAndBytesConfig(
        load_in_8bit=bits == "8bit",
        load_in_4bit=bits == "4bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
    )
    replace_with_bnb_linear(layers, quantization_config=settings)
    setattr(model, f"is_loaded_in_{bits}", True)  # what peft asks for
    for module in layers.modules():  # else weights that have answered on a processor cannot learn any more
        setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010


def held(old: nn.Parameter, value: Tensor, device: torch.device) -> nn.Parameter:
    """Return a weight on a device, as the parameter in whose place it comes keeps it."""
    if type(old) is nn.Parameter:
        return nn.Parameter(value.to(device), requires_grad=old.requires_grad)
    # those of bitsandbytes quantise when they are moved, with the settings that are their attributes
    made: Any = type(old)(value, requires_grad=False, **vars(old)).to(device)
    return made  # type: ignore[no-any-return]
