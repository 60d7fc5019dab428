"""What every sprite and portrait looks like at the reader's working size, wherever between pixels it lies."""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unisandbox.world.sprites import CELL, sprite
from unisandbox.world.vocabulary import kinds

Floats = NDArray[np.float32]
Colour = tuple[int, int, int]

WORK = 64
"""Side to which the reader brings every picture, in pixels."""
PHASES = 4
"""Steps in which a template is kept between one pixel and the next, along each axis."""
FAINT = 8.0
"""Ink up to this strength counts for nothing in a centre of ink: noise must not move it."""
_FINE = 8  # pixels of a rendered sprite for one pixel of the reader
_TO_LUMA_CHROMA = np.array(
    [[0.299, -0.169, 0.5], [0.587, -0.331, -0.419], [0.114, 0.5, -0.081]], dtype=np.float32
)


def to_luma_chroma(ink: NDArray[Any]) -> Floats:
    """Turn RGB differences (..., 3) into brightness and two colour differences: codecs spare the first."""
    return ink.astype(np.float32) @ _TO_LUMA_CHROMA


def strength(ink: Floats) -> Floats:
    """Return how far pixels (..., 3) lie from the ground, without regard to colour."""
    return np.abs(ink).max(axis=-1)


def window_side(side: int) -> int:
    """Return the side of the window round a centre of ink that holds any sprite of a side whole."""
    return side + 4


def centre(weight: Floats) -> tuple[float, float]:
    """Return the centre (y, x) of non-negative weights, in pixels from the top left corner."""
    total = float(weight.sum())
    y = float(weight.sum(axis=1) @ (np.arange(weight.shape[0]) + 0.5)) / total
    x = float(weight.sum(axis=0) @ (np.arange(weight.shape[1]) + 0.5)) / total
    return y, x


@cache
def kind_names() -> tuple[str, ...]:
    """Return the names of all kinds, in the order of the templates."""
    return tuple(kinds())


@dataclass(frozen=True, slots=True)
class Templates:
    """The ink of every kind at one place between pixels, on one background."""

    ink: Floats
    """Brightness and colour differences from the background: (kinds, window, window, 3)."""
    flat: Floats
    """The same: (kinds, window * window * 3)."""
    energy: Floats
    """Sum of squares for each kind."""


@lru_cache(maxsize=96)
def templates(side: int, phase: tuple[int, int], background: Colour) -> Templates:
    """Return the templates of sprites of a side, their centre of ink in the middle of the window plus a phase.

    Phase (0, 0) puts it 3/8 px above and left of the middle, and a step is 1/4 px.
    """
    bank = _bank(side)[phase]
    ground = np.array(background, dtype=np.float32)
    ink = to_luma_chroma(bank[..., 3:].astype(np.float32) / 255 * ground - bank[..., :3])
    flat = ink.reshape(len(ink), -1)
    return Templates(ink, flat, np.einsum("ij,ij->i", flat, flat))


@cache
def portraits() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return all portraits (people, WORK, WORK, 3) on black, and how opaque (WORK, WORK, 1) every one of them is."""
    bank = np.stack([np.asarray(portrait(person, WORK).convert("RGBa")) for person in all_people()])
    return to_luma_chroma(bank[..., :3]), bank[0, ..., 3:].astype(np.float32) / 255


@cache
def _bank(side: int) -> dict[tuple[int, int], NDArray[np.uint8]]:
    """Return premultiplied RGBA (kinds, window, window, 4) for each phase."""
    steps = range(PHASES)
    cells = [_centred(np.asarray(sprite(name, CELL).convert("RGBa")), side) for name in kinds()]
    return {(y, x): np.stack([_reduced(cell, y, x) for cell in cells]) for y in steps for x in steps}


def _centred(cell: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a sprite at _FINE times a side, its centre of ink in the middle of a window that is a pixel wider."""
    if side * _FINE != CELL:
        cell = np.asarray(Image.fromarray(cell, "RGBa").resize((side * _FINE,) * 2, Image.Resampling.HAMMING))
    ink = cell[..., 3:].astype(np.float32) - cell[..., :3]
    y, x = centre(np.maximum(strength(ink) - FAINT, 0))
    room = (window_side(side) + 2) * _FINE
    top, left = round(room / 2 - y), round(room / 2 - x)
    window = np.zeros((room, room, 4), dtype=np.uint8)
    window[top : top + len(cell), left : left + len(cell)] = cell
    return window


def _reduced(window: NDArray[np.uint8], y: int, x: int) -> NDArray[np.uint8]:
    """Return a window moved by a phase and brought to working size."""
    step = _FINE // PHASES
    top, left = (_FINE - step * phase + step * (PHASES - 1) // 2 for phase in (y, x))
    length = len(window) - 2 * _FINE
    part = window[top : top + length, left : left + length].astype(np.uint32)
    small = part.reshape(length // _FINE, _FINE, length // _FINE, _FINE, 4).sum(axis=(1, 3))
    return ((small + _FINE * _FINE // 2) // (_FINE * _FINE)).astype(np.uint8)
