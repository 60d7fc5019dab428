"""Reads a picture from its pixels alone: which objects it shows and how many, or whose portrait, or that it is malformed.

The picture is brought to a small working size by averaging areas. What differs from the light, plain ground is
ink; each connected piece of ink is laid under every sprite, aligned to a fraction of a pixel, and the nearest
one is taken. A picture is well formed when drawing what was found leaves no ink unexplained.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from unisandbox.world.people import Person
from unisandbox.world.scene import sprite_side
from unisandbox.world.templates import (
    FAINT,
    PHASES,
    WORK,
    Colour,
    Floats,
    centre,
    kind_names,
    portraits,
    strength,
    templates,
    to_luma_chroma,
    window_side,
)

DARKEST_GROUND = 215
"""A ground darker than this in any channel is not the light, plain one of a sandbox picture."""
MOST_FLAW = 50.0
"""The most unexplained ink in a square of FLAW_SIDE pixels of a picture that still reads as well formed."""
FLAW_SIDE = 9
PORTRAIT = 40
"""A piece of ink this wide and high is read as a portrait."""
SMALLEST = 5
"""A piece of ink smaller than this is no object: it is part of one, or a flaw."""
MOST_PIECES = 32

_INKED = 16.0  # how far from the ground a pixel is ink: above noise, ringing and colour bleeding
_MARGIN = 12  # round the picture, so that a window fits round any centre of ink
_SLACK = np.array([12.0, 16.0, 16.0], dtype=np.float32)  # of brightness and colour: noise and coding errors
_SLOPE = np.array([0.3, 0.4, 0.4], dtype=np.float32)  # more at edges: blur and fractions of a pixel
_WEIGHT = np.array([1.0, 0.5, 0.5], dtype=np.float32)
_NEIGHBOURS = np.ones((3, 3), dtype=bool)

Box = tuple[slice, slice]
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a picture shows: exactly one of the three is set."""

    objects: Mapping[str, int] | None = None
    """How many of each kind, by name; empty for a plain picture without anything on it."""
    person: Person | None = None
    """Whose portrait it is."""
    malformed: str | None = None
    """Why it is not a well-formed picture of the sandbox."""


def read(image: Image.Image) -> Reading:
    """Read a picture: square, at least 48 px, of any mode."""
    width, height = image.size
    if min(width, height) < 48 or abs(width - height) > 0.02 * width:
        return Reading(malformed=f"{width} x {height} px: not square, or smaller than 48 px")
    pixels = _shrunk(image)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(edge, axis=0)
    if ground.min() < DARKEST_GROUND or (strength(edge - ground) > 2 * _INKED).mean() > 0.3:
        return Reading(malformed="the ground is not light and plain")
    sheet = _Sheet.of(ground - pixels, (round(ground[0]), round(ground[1]), round(ground[2])))
    if any(_extent(box) >= PORTRAIT for box in sheet.boxes):
        return _read_portrait(pixels, ground)
    return _read_objects(sheet)


def _shrunk(image: Image.Image) -> Floats:
    """Return a picture at working size (WORK, WORK, 3), every pixel the exact average of its area."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    height, width, _ = pixels.shape
    rows = (_areas(height) @ pixels.reshape(height, -1)).reshape(WORK, width, 3)
    return np.matmul(_areas(width), rows)


@lru_cache(maxsize=32)
def _areas(side: int) -> Floats:
    """Return the share (WORK, side) of each of side pixels in each of WORK."""
    edges = np.linspace(0, side, WORK + 1)[:, None]
    pixels = np.arange(side)
    shared = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return (shared.clip(0) * (WORK / side)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The ink of a picture at working size, with a margin round it, and the pieces of it that may be objects."""

    ink: Floats  # brightness and colour differences
    weight: Floats  # how much ink, for centres
    labels: NDArray[np.int32]  # the number of the piece each pixel belongs to, 0 for none
    boxes: dict[int, Box]  # by number
    background: Colour

    @classmethod
    def of(cls, rgb: Floats, background: Colour) -> "_Sheet":
        rgb = np.pad(rgb, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)))
        ink = to_luma_chroma(rgb)
        labels, _ = ndimage.label(np.abs(ink).max(axis=-1) > _INKED, _NEIGHBOURS)
        found = enumerate(ndimage.find_objects(labels), 1)
        boxes = {number: box for number, box in found if _extent(box) >= SMALLEST}
        return cls(ink, np.maximum(strength(rgb) - FAINT, 0), labels, boxes, background)

    def window(self, number: int, top: int, left: int, side: int) -> Floats:
        """Return the ink in a window, without that of the other pieces."""
        box = np.s_[top : top + side, left : left + side]
        others = [other for other in np.unique(self.labels[box]) if other in self.boxes and other != number]
        return np.where(np.isin(self.labels[box], others)[..., None], 0, self.ink[box])


def _read_objects(sheet: _Sheet) -> Reading:
    if len(sheet.boxes) > MOST_PIECES:
        return Reading(malformed=f"{len(sheet.boxes)} pieces of ink")
    side = sprite_side(WORK, len(sheet.boxes))
    names, drawn = [], np.zeros_like(sheet.ink)
    for number in sheet.boxes:
        kind, window, ink = _nearest(sheet, number, side)
        names.append(kind)
        drawn[window] += ink
    flaw = _flaw(sheet.ink, drawn)
    if flaw:
        y, x = ((at - _MARGIN) / WORK for at in flaw)
        return Reading(malformed=f"no whole, known object {x:.0%} from the left, {y:.0%} from the top")
    return Reading(objects=dict(sorted(Counter(names).items())))


def _nearest(sheet: _Sheet, number: int, side: int) -> tuple[str, Box, Floats]:
    """Return the kind nearest to a piece of ink, and the window and ink that draw it where it lies."""
    box = sheet.boxes[number]
    y, x = centre(sheet.weight[box] * (sheet.labels[box] == number))
    y, x = y + box[0].start, x + box[1].start
    for _ in range(2):  # the second time from where the first one puts it
        (top, down), (left, right) = (_placed(at, side) for at in (y, x))
        bank = templates(side, (down, right), sheet.background)
        length = window_side(side)
        ink = sheet.window(number, top, left, length)
        kind = int(np.argmin(bank.energy - 2 * (bank.flat @ ink.ravel())))
        dy, dx = _slip(bank.ink[kind], ink)
        y, x = y + dy, x + dx
    return kind_names()[kind], np.s_[top : top + length, left : left + length], bank.ink[kind]
