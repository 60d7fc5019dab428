"""What can be wrong with a picture: each fault spoils a composed scene so that nobody could miss it."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np
from PIL import Image, ImageDraw

from unisandbox.world.people import Person, all_people
from unisandbox.world.portraits import portrait
from unisandbox.world.sprites import sprite
from unisandbox.world.vocabulary import kinds


@dataclass(frozen=True, slots=True)
class Layer:
    """One thing of a picture, before they are put together."""

    image: Image.Image
    """Its RGBA pixels."""
    corner: tuple[int, int]
    """Where its top left corner lies, in pixels; may be outside the picture."""
    subject: str | Person | None = None
    """The kind or person it shows, if any."""


Layers = list[Layer]


def distort(layers: Layers, size: int, draws: random.Random) -> Layers:
    """Warp one thing: the inner nodes of a mesh laid over it are pulled by about a fifth of its side."""

    def warp(layer: Layer) -> Image.Image:
        # Premultiplied, so that transparent pixels bring no colour of their own.
        flat, mesh = layer.image.convert("RGBa"), _mesh(layer.image.width, draws)
        return flat.transform(flat.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR).convert(
            "RGBA"
        )

    return _with_one(layers, warp, draws)


def _mesh(side: int, draws: random.Random) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Return 4 x 4 boxes of a square, and for each the corners of what is drawn there instead."""
    edges = [round(side * step / 4) for step in range(5)]
    nodes = {(x, y): (float(edges[x]), float(edges[y])) for x in range(5) for y in range(5)}
    start = draws.random()
    for x, y in product(range(1, 4), repeat=2):
        # In fractions of a full turn: no row, column or diagonal of nodes goes one way, nor along one line.
        way = 2 * math.pi * (start + x * 5 / 8 + y / 4)
        reach = side * (0.18 + 0.08 * draws.random())
        nodes[x, y] = (edges[x] + reach * math.cos(way), edges[y] + reach * math.sin(way))
    return [
        (
            (edges[x], edges[y], edges[x + 1], edges[y + 1]),
            (*nodes[x, y], *nodes[x, y + 1], *nodes[x + 1, y + 1], *nodes[x + 1, y]),
        )
        for x, y in product(range(4), repeat=2)
    ]


def crop(layers: Layers, size: int, draws: random.Random) -> Layers:
    """Push the outermost thing over an edge of the picture, 40 to 55 percent of what is drawn of it."""
    axis, sign = draws.randrange(2), draws.choice((-1, 1))
    # The outermost one: on its way out it meets no other.
    index = max(_things(layers), key=lambda i: sign * layers[i].corner[axis])
    layer = layers[index]
    box = layer.image.getbbox() or (0, 0, 0, 0)
    first, last = box[axis], box[axis + 2]
    over = round((last - first) * (0.4 + 0.15 * draws.random()))
    place = -first - over if sign < 0 else size - last + over
    corner = (place, layer.corner[1]) if axis == 0 else (layer.corner[0], place)
    return _replaced(layers, index, replace(layer, corner=corner))


def occlude(layers: Layers, size: int, draws: random.Random) -> Layers:
    """Lay a bar, or another object, over 30 to 70 percent of one thing."""
    layer = layers[draws.choice(_things(layers))]
    while True:
        by_object = isinstance(layer.subject, str) and draws.random() < 0.5
        cover = _other(layer, draws) if by_object else _bar(layer, draws)
        if 0.3 <= _covered(layer, cover) <= 0.7:
            return [*layers, cover]


def _other(layer: Layer, draws: random.Random) -> Layer:
    side = layer.image.width
    x, y = (place + round(side * (draws.random() - 0.5)) for place in layer.corner)
    other = draws.choice([name for name in kinds() if name != layer.subject])
    return Layer(sprite(other, side), (x, y), other)


def _bar(layer: Layer, draws: random.Random) -> Layer:
    side = layer.image.width
    thick = round(side * (0.35 + 0.1 * draws.random()))
    shift = round((side - thick) * draws.random())
    colour = draws.choice(((70, 70, 78, 255), (120, 60, 140, 255), (40, 120, 110, 255), (150, 150, 158, 255)))
    shape, slip = ((side, thick), (0, shift)) if draws.random() < 0.5 else ((thick, side), (shift, 0))
    return Layer(Image.new("RGBA", shape, colour), (layer.corner[0] + slip[0], layer.corner[1] + slip[1]))


def _covered(layer: Layer, cover: Layer) -> float:
    """Return the share of what is drawn of a layer that lies under a cover."""
    drawn = np.asarray(layer.image.getchannel("A")) > 127
    over = Image.new("L", layer.image.size)
    x, y = (theirs - ours for theirs, ours in zip(cover.corner, layer.corner, strict=True))
    over.paste(cover.image.getchannel("A"), (x, y))
    return float((np.asarray(over)[drawn] > 127).mean())


def blend(layers: Layers, size: int, draws: random.Random) -> Layers:
    """Average one thing with one unlike it: a person with one who differs in every slot."""

    def average(layer: Layer) -> Image.Image:
        other = _unlike(layer, draws).convert("RGBa")
        return Image.blend(layer.image.convert("RGBa"), other, 0.4 + 0.2 * draws.random()).convert("RGBA")

    return _with_one(layers, average, draws)


def _unlike(layer: Layer, draws: random.Random) -> Image.Image:
    side, subject = layer.image.width, layer.subject
    if not isinstance(subject, Person):
        return sprite(draws.choice(_least_alike(str(subject))), side)
    slots = ("complexion", "hair", "age", "gender")
    unlike = [p for p in all_people() if all(getattr(p, slot) != getattr(subject, slot) for slot in slots)]
    return portrait(draws.choice(unlike), side)


@cache
def _least_alike(name: str) -> list[str]:
    """Return the half of all kinds that look least like one."""
    small = {kind: np.asarray(sprite(kind, 16).convert("RGBa"), dtype=np.int64) for kind in kinds()}
    alike = sorted(kinds(), key=lambda kind: int(np.abs(small[kind] - small[name]).sum()))
    return alike[len(alike) // 2 :]


def halve(layers: Layers, size: int, draws: random.Random) -> Layers:
    """Leave out 40 to 60 percent of one thing, on one side of a straight cut."""

    def part(layer: Layer) -> Image.Image:
        pixels = np.array(layer.image)
        down, right = draws.choice(((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1)))
        steps = np.arange(len(pixels))
        along = down * steps[:, None] + right * steps[None, :]
        cut = np.quantile(along[pixels[..., 3] > 127], 0.4 + 0.2 * draws.random())
        pixels[along > cut] = 0
        return Image.fromarray(pixels)

    return _with_one(layers, part, draws)


def scribble(layers: Layers, size: int, draws: random.Random) -> Layers:
    """Write two to four stray letters or digits somewhere."""
    height, text = size // 7, [draws.choice(list(_STROKES)) for _ in range(draws.randint(2, 4))]
    step, unit = round(height * 0.75), height / 10
    sheet = Image.new("RGBA", (step * len(text), height))
    draw = ImageDraw.Draw(sheet)
    colour = draws.choice(((20, 20, 20, 255), (150, 20, 20, 255), (20, 40, 140, 255)))
    for index, letter in enumerate(text):
        for stroke in _STROKES[letter]:
            points = [(round(index * step + (x + 1) * unit), round((y + 1) * unit)) for x, y in stroke]
            draw.line(points, fill=colour, width=max(1, round(1.6 * unit)))
    return [*layers, Layer(sheet, _anywhere(sheet, size, draws))]


# Straight strokes in a box 5 wide and 8 high: a font would differ between versions of its renderer.
_STROKES = {
    "A": (((0, 8), (2.5, 0), (5, 8)), ((1, 5), (4, 5))),
    "E": (((5, 0), (0, 0), (0, 8), (5, 8)), ((0, 4), (4, 4))),
    "F": (((5, 0), (0, 0), (0, 8)), ((0, 4), (4, 4))),
    "H": (((0, 0), (0, 8)), ((5, 0), (5, 8)), ((0, 4), (5, 4))),
    "K": (((0, 0), (0, 8)), ((5, 0), (0, 4), (5, 8))),
    "M": (((0, 8), (0, 0), (2.5, 4), (5, 0), (5, 8)),),
    "N": (((0, 8), (0, 0), (5, 8), (5, 0)),),
    "T": (((0, 0), (5, 0)), ((2.5, 0), (2.5, 8))),
    "W": (((0, 0), (1, 8), (2.5, 4), (4, 8), (5, 0)),),
    "X": (((0, 0), (5, 8)), ((5, 0), (0, 8))),
    "Z": (((0, 0), (5, 0), (0, 8), (5, 8)),),
    "2": (((0, 0), (5, 0), (5, 4), (0, 4), (0, 8), (5, 8)),),
    "3": (((0, 0), (5, 0), (5, 8), (0, 8)), ((1, 4), (5, 4))),
    "4": (((0, 0), (0, 4), (5, 4)), ((4, 0), (4, 8))),
    "7": (((0, 0), (5, 0), (2, 8)),),
}


def speckle(layers: Layers, size: int, draws: random.Random) -> Layers:
    """Put a patch of coloured noise somewhere."""
    grains = draws.randint(8, 12)
    pixels = np.frombuffer(draws.randbytes(grains * grains * 3), np.uint8).reshape(grains, grains, 3)
    side = grains * (size // 64) + grains * (size % 64) // 64
    patch = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST).convert("RGBA")
    return [*layers, Layer(patch, _anywhere(patch, size, draws))]


def _with_one(layers: Layers, change: Callable[[Layer], Image.Image], draws: random.Random) -> Layers:
    index = draws.choice(_things(layers))
    return _replaced(layers, index, replace(layers[index], image=change(layers[index])))


def _things(layers: Layers) -> list[int]:
    """Return the indices of the layers that show an object or a person."""
    return [index for index, layer in enumerate(layers) if layer.subject is not None]


def _replaced(layers: Layers, index: int, layer: Layer) -> Layers:
    return [*layers[:index], layer, *layers[index + 1 :]]


def _anywhere(image: Image.Image, size: int, draws: random.Random) -> tuple[int, int]:
    return draws.randrange(size - image.width + 1), draws.randrange(size - image.height + 1)


FAULTS: dict[str, Callable[[Layers, int, random.Random], Layers]] = {
    "distorted": distort,
    "cropped": crop,
    "occluded": occlude,
    "text": scribble,
    "blended": blend,
    "half_drawn": halve,
    "noise_patch": speckle,
}
"""Every fault of a picture: what it does to the layers of a picture of a size."""

GROUND_FAULTS = ("text", "noise_patch")
"""Faults that need no object or person to spoil."""
