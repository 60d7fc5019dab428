"""What every sprite and portrait looks like at the reader's working size, wherever between pixels it lies."""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unisandbox.world.people import all_people
from unisandbox.world.portraits import portrait
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
    """Return the largest difference (...) of each pixel (..., 3), whatever its channel."""
    size = np.abs(ink)
    return np.maximum(np.maximum(size[..., 0], size[..., 1]), size[..., 2])


def window_side(side: int) -> int:
    """Return the side of the window round a centre of ink that holds any sprite of a side whole."""
    return side + 4


def middle(length: int, phase: int) -> float:
    """Return where a template has its centre of ink, in pixels from the start of its window of a length."""
    return length / 2 + (phase - (PHASES - 1) / 2) / PHASES


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


@lru_cache(maxsize=64)
def templates(side: int, phase: tuple[int, int], background: Colour) -> Templates:
    """Return the templates of sprites of a side, at a phase (down, right) each of 0 to PHASES - 1."""
    bank = _bank(side)[phase]
    ground = np.array(background, dtype=np.float32)
    ink = to_luma_chroma(bank[..., 3:].astype(np.float32) / 255 * ground - bank[..., :3])
    flat = ink.reshape(len(ink), -1)
    return Templates(ink, flat, np.einsum("ij,ij->i", flat, flat))


@cache
def portraits() -> tuple[Floats, Floats]:
    """Return all portraits (people, WORK, WORK, 3) on black, and how opaque (WORK, WORK, 1) each is."""
    bank = np.stack([np.asarray(portrait(person, WORK).convert("RGBa")) for person in all_people()])
    return to_luma_chroma(bank[..., :3]), bank[0, ..., 3:].astype(np.float32) * np.float32(1 / 255)


@cache
def _bank(side: int) -> dict[tuple[int, int], NDArray[np.uint8]]:
    """Return premultiplied RGBA (kinds, window, window, 4) for each phase."""
    cells = np.stack([_centred(sprite(name, CELL).convert("RGBa"), side) for name in kinds()])
    steps = range(PHASES)
    return {
        (down, right): _averaged(cells, window_side(side), down, right) for down in steps for right in steps
    }


def _centred(picture: Image.Image, side: int) -> NDArray[np.uint16]:
    """Return a sprite at PHASES pixels for one, its centre of ink half of one before a window's middle."""
    cell = np.asarray(picture.resize((side * _FINE, side * _FINE), Image.Resampling.HAMMING))
    ink = cell[..., 3:].astype(np.float32) - cell[..., :3]
    y, x = centre(np.maximum(strength(ink) - FAINT, 0))
    room = (window_side(side) + 2) * _FINE
    step = _FINE // PHASES
    top, left = round((room - step) / 2 - y), round((room - step) / 2 - x)
    window = np.zeros((room, room, 4), dtype=np.uint16)
    window[top : top + len(cell), left : left + len(cell)] = cell
    return _sums(window, step)


def _averaged(cells: NDArray[np.uint16], length: int, down: int, right: int) -> NDArray[np.uint8]:
    """Return cells moved by a phase and brought to working size."""
    top, left = (PHASES + PHASES // 2 - 1 - phase for phase in (down, right))
    part = cells[:, top : top + length * PHASES, left : left + length * PHASES]
    return ((_sums(part, PHASES) + _FINE**2 // 2) // _FINE**2).astype(np.uint8)


def _sums(pixels: NDArray[np.uint16], step: int) -> NDArray[np.uint16]:
    """Return the sums of blocks of step x step pixels (..., height, width, channels)."""
    offsets = range(step)
    total = np.zeros_like(pixels[..., ::step, ::step, :])
    for down in offsets:
        for right in offsets:
            total += pixels[..., down::step, right::step, :]
    return total
