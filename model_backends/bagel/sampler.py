"""The sampler: a rectified flow from noise to a picture, guided away from less context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unisandbox.model_backends.bagel.context import Context, Row
from unisandbox.model_backends.bagel.model import Bagel

Renorm = Literal["global", "channel", "text_channel"]
Velocity = Callable[[Tensor, float, bool], tuple[Tensor, ...]]
"""Of latents (rows, N, values) at a time; guided: of each branch, else only of the first."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How pictures are drawn. The defaults are those of arXiv 2511.20561; names are the authors'."""

    num_timesteps: int = 50
    """Points in time, both ends counted: one more than steps."""
    timestep_shift: float = 3.0
    """More of the points near the noise, the greater it is; 1: evenly spread."""
    cfg_text_scale: float = 4.0
    """Guidance away from the context without the text; 1: none, of either kind."""
    cfg_img_scale: float = 1.0
    """Guidance away from the context without pictures, and without the thought; 1: none."""
    cfg_interval: tuple[float, float] = (0.4, 1.0)
    """Times between which there is guidance."""
    cfg_renorm_type: Renorm = "global"
    """What keeps its length under guidance: a picture, each token, or each token under that by text alone."""
    cfg_renorm_min: float = 0.0
    """The least factor by which that shortens; 1: not at all."""

    @property
    def branches(self) -> int:
        """How many contexts a guided step looks at."""
        if self.cfg_text_scale <= 1:
            return 1
        return 2 + (self.cfg_img_scale > 1)


def times(sampling: Sampling) -> Tensor:
    """Return the points in time, from 1 (noise) to 0 (picture), in float32."""
    even = torch.linspace(1, 0, sampling.num_timesteps)
    return sampling.timestep_shift * even / (1 + (sampling.timestep_shift - 1) * even)


def flow(velocity: Velocity, noise: Tensor, sampling: Sampling) -> Tensor:
    """Follow the velocity from noise (rows, N, values) to latents, by Euler's method, in float32."""
    points = times(sampling)
    low, high = sampling.cfg_interval
    is_guided = (points > low) & (points <= high) & (sampling.branches > 1)
    latents = noise
    for now, after, guidance in zip(points, points[1:], is_guided, strict=False):
        found = velocity(latents, now.item(), bool(guidance))
        latents = latents - (guided(found, sampling) if guidance else found[0]) * (now - after).item()
    return latents


def guided(found: tuple[Tensor, ...], sampling: Sampling) -> Tensor:
    """Return the velocity (rows, N, values) that guidance makes of those with all, without text and so on."""
    with_all, without_text, *without_pictures = found
    made = _away(with_all, without_text, sampling.cfg_text_scale)
    if sampling.cfg_renorm_type == "text_channel":
        made = _shortened(made, with_all, (-1,), sampling.cfg_renorm_min)
    for less in without_pictures:
        made = _away(made, less, sampling.cfg_img_scale)
    if sampling.cfg_renorm_type == "text_channel":
        return made
    sizes = (-2, -1) if sampling.cfg_renorm_type == "global" else (-1,)
    return _shortened(made, with_all, sizes, sampling.cfg_renorm_min)


def _away(given: Tensor, less: Tensor, scale: float) -> Tensor:
    return less + (given - less) * scale


def _shortened(made: Tensor, like: Tensor, sizes: tuple[int, ...], least: float) -> Tensor:
    """Give it at most the length that another has, over some dimensions."""
    wanted, found = (torch.linalg.vector_norm(each, dim=sizes, keepdim=True) for each in (like, made))
    factor: Tensor = (wanted / (found + 1e-8)).clamp(least, 1.0)
    return made * factor


def draw(
    model: Bagel,
    branches: Sequence[Sequence[Row]],
    noise: Tensor,
    size: tuple[int, int],
    sampling: Sampling,
    columns: int = 0,
) -> Tensor:
    """Return the latents (rows, height x width, values) that follow from rows, and from noise of that shape.

    ``branches`` are the rows with all, those without the text and, where ``sampling`` has three, those
    without pictures. ``size`` is height and width in tokens.
    """
    rows = [row for branch in branches[: sampling.branches] for row in branch]
    context = Context(model, rows, columns)
    some, every = (context.canvas(number, noise.shape[1]) for number in (len(noise), len(rows)))

    def velocity(latents: Tensor, time: float, is_guided: bool) -> tuple[Tensor, ...]:
        found = context.velocity(every if is_guided else some, latents, time, *size)
        return tuple(found.view(-1, *noise.shape))

    return flow(velocity, noise.to(model.device), sampling)
