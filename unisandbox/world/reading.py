"""Reads a picture from its pixels alone: its objects and how many, or whose portrait, or why it is malformed.

The picture is brought to a small working size by averaging areas. What differs from the light, plain ground
is ink. Each connected piece of ink is laid under the sprite of every kind, to a fraction of a pixel, and the
nearest is taken. The picture is well formed if drawing what was found leaves no ink unexplained.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from unisandbox.world.people import Person, all_people
from unisandbox.world.scene import sprite_side
from unisandbox.world.templates import (
    FAINT,
    PHASES,
    WORK,
    Colour,
    Floats,
    centre,
    kind_names,
    middle,
    portraits,
    strength,
    templates,
    to_luma_chroma,
    window_side,
)

DARKEST_GROUND = 215
"""A ground darker than this in any channel is not the light, plain one of a sandbox picture."""
MOST_FLAW = 70.0
"""The most unexplained ink in a square of FLAW_SIDE pixels of a picture that still reads as well formed."""
FLAW_SIDE = 9
"""Pixels of the working size."""
PORTRAIT = 40
"""A piece of ink this wide and high is read as a portrait."""
SMALLEST = 5
"""A piece of ink smaller than this is no object: it is part of one, or a flaw."""
MOST_PIECES = 32
"""A picture of more pieces of ink is read no further."""

_INKED = 16.0  # how far from the ground a pixel is ink: above noise, ringing and colour bleeding
_MARGIN = 12  # round the picture, so that a window fits round any centre of ink
_SLACK = np.array([5.0, 8.0, 8.0], dtype=np.float32)  # noise and coding errors, of brightness and colour
_SLOPE = np.array([0.1, 0.2, 0.2], dtype=np.float32)  # more at edges: blur and fractions of a pixel
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
    """Read a picture of any mode; one that is not square or smaller than 48 px is malformed.

    >>> read(Image.new("RGB", (64, 64), "white")).objects
    {}
    """
    width, height = image.size
    if min(width, height) < 48 or abs(width - height) > 0.02 * width:
        return Reading(malformed=f"{width} x {height} px: not square, or smaller than 48 px")
    pixels = _shrunk(image)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(edge, axis=0)
    if ground.min() < DARKEST_GROUND or (strength(edge - ground) > 2 * _INKED).mean() > 0.3:
        return Reading(malformed="the ground is not light and plain")
    sheet = _Sheet.of(ground - pixels, (round(ground[0]), round(ground[1]), round(ground[2])))
    if any(_extent(box) >= PORTRAIT for box in sheet.boxes.values()):
        return _read_portrait(pixels, ground)
    # A larger picture is averaged down, and its noise with it.
    return _read_objects(sheet, _SLACK if width < 2 * WORK else _SLACK / np.float32(2))


def _shrunk(image: Image.Image) -> Floats:
    """Return a picture at working size (WORK, WORK, 3), every pixel the exact average of its area."""
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    height, width, _ = pixels.shape
    rows = (_areas(height) @ pixels.reshape(height, -1)).reshape(WORK, width, 3)
    averaged: Floats = np.matmul(_areas(width), rows)
    return averaged


@lru_cache(maxsize=32)
def _areas(side: int) -> Floats:
    """Return the share (WORK, side) of each of side pixels in each of WORK."""
    edges = np.linspace(0, side, WORK + 1)[:, None]
    pixels = np.arange(side)
    shared = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return (shared.clip(0) * (WORK / side)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The ink of a picture at working size, with a margin, and the pieces of it that may be objects."""

    ink: Floats  # brightness and colour differences
    weight: Floats  # how much ink, for centres
    labels: NDArray[np.int32]  # the number of the piece each pixel belongs to, 0 for none
    boxes: dict[int, Box]  # by number
    background: Colour

    @classmethod
    def of(cls, rgb: Floats, background: Colour) -> "_Sheet":
        rgb = np.pad(rgb, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)))
        ink = to_luma_chroma(rgb)
        labels, count = ndimage.label(strength(ink) > _INKED, _NEIGHBOURS)
        found = [(box[0], box[1]) for box in ndimage.find_objects(labels)]
        large = {number: box for number, box in enumerate(found, 1) if _extent(box) >= SMALLEST}
        boxes = {number: box for number, box in large.items() if not _inside_another(box, large.values())}
        # The rest lose their number: they are seen in every window, and may be parts of a sprite.
        numbers = np.zeros(count + 1, dtype=np.int32)
        numbers[list(boxes)] = list(boxes)
        return cls(ink, np.maximum(strength(rgb) - FAINT, 0), numbers[labels], boxes, background)


def _extent(box: Box) -> int:
    height, width = (int(along.stop - along.start) for along in box)
    return max(height, width)


def _inside_another(box: Box, boxes: Iterable[Box]) -> bool:
    """Return whether a piece lies in the box round another one, as the hands of a clock do in its rim."""
    return any(
        other != box and all(o.start <= b.start and b.stop <= o.stop for o, b in zip(other, box, strict=True))
        for other in boxes
    )


def _read_objects(sheet: _Sheet, slack: Floats) -> Reading:
    if len(sheet.boxes) > MOST_PIECES:
        return Reading(malformed=f"{len(sheet.boxes)} pieces of ink, more than any scene has objects")
    names, drawn = [], np.zeros_like(sheet.ink)
    for number in sheet.boxes:
        kind, window, ink = _nearest(sheet, number)
        names.append(kind_names()[kind])
        drawn[window] += ink
    flaw, place = _worst_flaw(sheet.ink, drawn, slack)
    # Less is missing of a small sprite when the same part of it is.
    if flaw > MOST_FLAW * sprite_side(WORK, len(sheet.boxes)) / sprite_side(WORK, 1):
        y, x = ((at - _MARGIN) / WORK for at in place)
        return Reading(malformed=f"no whole, known object {x:.0%} from the left and {y:.0%} from the top")
    return Reading(objects=dict(sorted(Counter(names).items())))


def _nearest(sheet: _Sheet, number: int) -> tuple[int, Box, Floats]:
    """Return the kind nearest to a piece of ink, and the window and ink that draw it where it lies."""
    side = sprite_side(WORK, len(sheet.boxes))
    length = window_side(side)
    box = sheet.boxes[number]
    y, x = centre(sheet.weight[box] * (sheet.labels[box] == number))
    at = (box[0].start + y, box[1].start + x)
    for _ in range(2):  # again from where it is found to lie, if that is elsewhere
        (top, down), (left, right) = (_placed(coordinate, length) for coordinate in at)
        window = np.s_[top : top + length, left : left + length]
        others = (sheet.labels[window] != number) & (sheet.labels[window] != 0)
        ink = np.where(others[..., None], 0, sheet.ink[window])
        bank = templates(side, (down, right), sheet.background)
        kind = int(np.argmin(bank.energy - 2 * (bank.flat @ ink.ravel())))
        (dy, dx), drawn = _slid(bank.ink[kind], ink)
        if max(abs(dy), abs(dx)) < 1 / PHASES:
            break
        at = (top + middle(length, down) + dy, left + middle(length, right) + dx)
    return kind, window, drawn


def _placed(coordinate: float, length: int) -> tuple[int, int]:
    """Return the start of the window, and the phase, that put a template's centre of ink at a coordinate."""
    start, phase = divmod(round((coordinate - middle(length, 0)) * PHASES), PHASES)
    return min(max(start, 0), WORK + 2 * _MARGIN - length), phase


def _slid(drawn: Floats, ink: Floats) -> tuple[Place, Floats]:
    """Return by how much (y, x) ink lies off what is drawn, to first order, and what is drawn moved there."""
    y, x = np.zeros_like(drawn), np.zeros_like(drawn)
    y[1:-1], x[:, 1:-1] = (drawn[:-2] - drawn[2:]) / 2, (drawn[:, :-2] - drawn[:, 2:]) / 2
    slopes = np.stack([y.ravel(), x.ravel()])
    slip = np.linalg.solve(slopes @ slopes.T, slopes @ (ink - drawn).ravel()).clip(-1.5, 1.5)
    return (float(slip[0]), float(slip[1])), drawn + slip[0] * y + slip[1] * x


def _read_portrait(pixels: Floats, ground: Floats) -> Reading:
    bank, opaque = portraits()
    drawn = to_luma_chroma(pixels - ground * (1 - opaque))
    nearest = int(((bank - drawn) ** 2).reshape(len(bank), -1).sum(axis=1).argmin())
    if _worst_flaw(drawn, bank[nearest], _SLACK)[0] > MOST_FLAW:
        return Reading(malformed="a large shape that is no whole portrait")
    return Reading(person=all_people()[nearest])


def _worst_flaw(ink: Floats, drawn: Floats, slack: Floats) -> tuple[float, tuple[int, int]]:
    """Return how much ink what is drawn leaves unexplained at most, and in the square round which pixel."""
    # Blurred first: noise and ringing change sign from pixel to pixel, what is missing does not.
    rest = np.abs(_blurred(ink - drawn)) - slack - _SLOPE * _blurred(_steepness(drawn))
    flaws = ndimage.uniform_filter(np.maximum(rest, 0) @ _WEIGHT, FLAW_SIDE) * FLAW_SIDE**2
    y, x = np.unravel_index(int(flaws.argmax()), flaws.shape)
    return float(flaws[y, x]), (int(y), int(x))


def _blurred(ink: Floats) -> Floats:
    return ndimage.uniform_filter(ink, (3, 3, 1))


def _steepness(drawn: Floats) -> Floats:
    """Return the largest step down or up, plus the largest left or right, from each pixel to the next."""
    down, right = np.abs(np.diff(drawn, axis=0)), np.abs(np.diff(drawn, axis=1))
    vertical, horizontal = np.zeros_like(drawn), np.zeros_like(drawn)
    vertical[1:] = down
    np.maximum(vertical[:-1], down, out=vertical[:-1])
    horizontal[:, 1:] = right
    np.maximum(horizontal[:, :-1], right, out=horizontal[:, :-1])
    return vertical + horizontal
