"""The sizes of a BAGEL: from its two files of settings, and from the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import isqrt
from typing import Any

Shapes = Mapping[str, Sequence[int]]
"""Name of a weight -> its shape."""


@dataclass(frozen=True, slots=True)
class LanguageConfig:
    """The Qwen2 of both experts (``llm_config.json``)."""

    vocab_size: int = 152064
    hidden_size: int = 3584
    intermediate_size: int = 18944
    num_hidden_layers: int = 28
    num_attention_heads: int = 28
    num_key_value_heads: int = 4
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e6
    hidden_act: str = "silu"

    @property
    def head_size(self) -> int:
        """Width of an attention head."""
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The SigLIP that sees (``vit_config.json``); its last layer is not used."""

    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_hidden_layers: int = 26
    num_attention_heads: int = 16
    patch_size: int = 14
    image_size: int = 980
    layer_norm_eps: float = 1e-6
    hidden_act: str = "gelu_pytorch_tanh"

    @property
    def side(self) -> int:
        """Patches a side that there are positions for."""
        return self.image_size // self.patch_size


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """The autoencoder of FLUX, which turns pictures into latents and back."""

    base_channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2
    """Residual blocks a level, on the way down; one more on the way up."""
    latent_channels: int = 16
    scale: float = 0.3611
    shift: float = 0.1159

    @property
    def downsample(self) -> int:
        """Pixels a side of a latent."""
        return 1 << (len(self.multipliers) - 1)


@dataclass(frozen=True, slots=True)
class BagelConfig:
    """All of it; the defaults are BAGEL-7B-MoT."""

    language: LanguageConfig = LanguageConfig()
    vision: VisionConfig = VisionConfig()
    autoencoder: AutoencoderConfig = AutoencoderConfig()
    latent_patch_size: int = 2
    """Latents a side of a token."""
    max_latent_size: int = 64
    """Tokens a side that there are positions for."""

    @property
    def latent_width(self) -> int:
        """Values of a token of a picture."""
        return self.latent_patch_size**2 * self.autoencoder.latent_channels

    @property
    def stride(self) -> int:
        """Pixels a side of a token of a picture that is drawn."""
        return self.autoencoder.downsample * self.latent_patch_size


def read_config(
    llm: Mapping[str, Any], vit: Mapping[str, Any], learned: Shapes, fixed: Shapes
) -> BagelConfig:
    """Return the sizes by the two files of settings; those that stand in none, by the shapes of weights.

    Those of ``ema.safetensors`` are ``learned``, those of ``ae.safetensors`` ``fixed``. What a file does not
    tell is as in BAGEL-7B-MoT.
    """
    vision = _known(vit, VisionConfig)
    if "num_hidden_layers" in vision:
        vision["num_hidden_layers"] -= 1
    autoencoder = _autoencoder(fixed)
    usual = BagelConfig()
    sizes = {"latent_patch_size": usual.latent_patch_size, "max_latent_size": usual.max_latent_size}
    if into := learned.get("vae2llm.weight"):
        sizes["latent_patch_size"] = isqrt(into[1] // autoencoder.latent_channels)
    if places := learned.get("latent_pos_embed.pos_embed"):
        sizes["max_latent_size"] = isqrt(places[0])
    return BagelConfig(
        LanguageConfig(**_known(llm, LanguageConfig)), VisionConfig(**vision), autoencoder, **sizes
    )


def _known(settings: Mapping[str, Any], kind: type) -> dict[str, Any]:
    return {each.name: settings[each.name] for each in fields(kind) if each.name in settings}


def _autoencoder(shapes: Shapes) -> AutoencoderConfig:
    """Read the sizes off the encoder's first matrices, and off what the decoder takes."""
    widths = [
        shapes[name][0]
        for level in range(9)
        if (name := f"encoder.down.{level}.block.0.conv1.weight") in shapes
    ]
    into, out = shapes.get("encoder.conv_in.weight"), shapes.get("decoder.conv_in.weight")
    if not widths or into is None or out is None:
        return AutoencoderConfig()
    return AutoencoderConfig(
        base_channels=into[0],
        multipliers=tuple(width // into[0] for width in widths),
        blocks=sum(f"encoder.down.0.block.{block}.conv1.weight" in shapes for block in range(9)),
        latent_channels=out[1],
    )
