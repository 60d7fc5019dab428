"""The autoencoder: that of diffusers, with the names that the weights of FLUX have.

Latents are scaled as the model was taught them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from unisandbox.model_backends.bagel.config import AutoencoderConfig

_NAMES = (
    (r"(mid)\.block_1", r"\1_block.resnets.0"),
    (r"(mid)\.block_2", r"\1_block.resnets.1"),
    (r"mid\.attn_1\.norm", "mid_block.attentions.0.group_norm"),
    (r"mid\.attn_1\.([qkv])\b", r"mid_block.attentions.0.to_\1"),
    (r"mid\.attn_1\.proj_out", "mid_block.attentions.0.to_out.0"),
    (r"(down|up)\.(\d+)\.block\.", r"\1_blocks.\2.resnets."),
    (r"down\.(\d+)\.downsample\.", r"down_blocks.\1.downsamplers.0."),
    (r"up\.(\d+)\.upsample\.", r"up_blocks.\1.upsamplers.0."),
    (r"nin_shortcut", "conv_shortcut"),
    (r"\bnorm_out", "conv_norm_out"),
)


class Autoencoder(nn.Module):
    """Turns a picture into latents, and back."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        levels = len(config.multipliers)
        self.inner: Any = AutoencoderKL(
            block_out_channels=tuple(config.base_channels * times for times in config.multipliers),
            layers_per_block=config.blocks,
            latent_channels=config.latent_channels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )

    def encode(self, pixels: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return latents (channels, height, width) of pixels (3, height, width) between -1 and 1.

        With ``noise`` they are drawn, as the authors do; without, they are the mean.
        """
        weight = next(self.inner.parameters())
        found = self.inner.encode(pixels[None].to(weight)).latent_dist
        latents: Tensor = found.mean if noise is None else found.sample(noise)
        return (latents[0].float() - self.config.shift) * self.config.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Return pixels (3, height, width), about -1 to 1, of latents (channels, height, width)."""
        weight = next(self.inner.parameters())
        put = (latents / self.config.scale + self.config.shift)[None].to(weight)
        pixels: Tensor = self.inner.decode(put).sample[0].float()
        return pixels


def renamed(weights: Mapping[str, Tensor], config: AutoencoderConfig) -> dict[str, Tensor]:
    """Return weights under the names, and in the shapes, that ``Autoencoder.inner`` has."""
    last = len(config.multipliers) - 1
    made = {}
    for name, weight in weights.items():
        for pattern, instead in _NAMES:
            name = re.sub(pattern, instead, name)
        name = re.sub(r"up_blocks\.(\d+)", lambda found: f"up_blocks.{last - int(found[1])}", name)
        is_attention = re.search(r"to_(q|k|v|out\.0)\.weight$", name)
        made[name] = weight.flatten(1) if is_attention and weight.dim() == 4 else weight
    return made
