"""What can be wrong with a picture: each fault spoils a composed scene so that nobody could miss it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

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
    """Warp one thing: the nodes of a 4 x 4 mesh inside it are pulled by about a sixth of its side."""

    def warp(layer: Layer) -> Image.Image:
        side = layer.image.width
        edges = [round(side * step / 4) for step in range(5)]
        nodes = {(x, y): (float(edges[x]), float(edges[y])) for x in range(5) for y in range(5)}
        for x in range(1, 4):
            for y in range(1, 4):
                dx, dy = (draws.choice((-1, 1)) * side * (0.13 + 0.07 * draws.random()) for _ in "xy")
                nodes[x, y] = (edges[x] + dx, edges[y] + dy)
        mesh = [
            (
                (edges[x], edges[y], edges[x + 1], edges[y + 1]),
                (*nodes[x, y], *nodes[x, y + 1], *nodes[x + 1, y + 1], *nodes[x + 1, y]),
            )
            for x in range(4)
            for y in range(4)
        ]
        # Premultiplied, so that transparent pixels bring no colour of their own.
        flat = layer.image.convert("RGBa")
        return flat.transform(flat.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR).convert("RGBA")

    return _with_one(layers, warp, draws)


def crop(layers: Layers, size: int, draws: random.Random) -> Layers:
    """Push the outermost thing 40 to 55 percent over an edge of the picture."""
    axis, sign = draws.randrange(2), draws.choice((-1, 1))
    # The outermost one: on its way out it meets no other.
    index = max(range(len(layers)), key=lambda i: sign * layers[i].corner[axis])
    layer = layers[index]
    over = round(layer.image.width * (0.4 + 0.15 * draws.random()))
    place = -over if sign < 0 else size - layer.image.width + over
    corner = (place, layer.corner[1]) if axis == 0 else (layer.corner[0], place)
    return [*layers[:index], replace(layer, corner=corner), *layers[index + 1 :]]


def occlude(layers: Layers, size: int, draws: random.Random) -> Layers:
    """Lay a bar, or another object, over the middle of one thing."""
    layer = draws.choice(layers)
    side = layer.image.width
    if isinstance(layer.subject, str) and draws.random() < 0.5:
        slip = [round(draws.choice((-1, 1)) * side * (0.2 + 0.2 * draws.random())) for _ in "xy"]
        other = draws.choice([name for name in kinds() if name != layer.subject])
        corner = (layer.corner[0] + slip[0], layer.corner[1] + slip[1])
        return [*layers, Layer(sprite(other, side), corner, other)]
    thick = round(side * (0.34 + 0.1 * draws.random()))
    colour = draws.choice(((70, 70, 78, 255), (120, 60, 140, 255), (40, 120, 110, 255), (150, 150, 158, 255)))
    shift = (side - thick) // 2 + round(side * 0.1 * (draws.random() - 0.5))
    if draws.random() < 0.5:
        bar, offset = Image.new("RGBA", (side, thick), colour), (0, shift)
    else:
        bar, offset = Image.new("RGBA", (thick, side), colour), (shift, 0)
    return [*layers, Layer(bar, (layer.corner[0] + offset[0], layer.corner[1] + offset[1]))]


def blend(layers: Layers, size: int, draws: random.Random) -> Layers:
    """Average one thing with another: an object of another category, a person different in every respect."""

    def average(layer: Layer) -> Image.Image:
        other = _unlike(layer, draws).convert("RGBa")
        return Image.blend(layer.image.convert("RGBa"), other, 0.4 + 0.2 * draws.random()).convert("RGBA")

    return _with_one(layers, average, draws)


def _unlike(layer: Layer, draws: random.Random) -> Image.Image:
    side, subject = layer.image.width, layer.subject
    if isinstance(subject, Person):
        return portrait(draws.choice([other for other in all_people() if _differs(other, subject)]), side)
    category = kinds()[subject].category if subject else None
    return sprite(draws.choice([kind.name for kind in kinds().values() if kind.category != category]), side)


def _differs(one: Person, other: Person) -> bool:
    return all(getattr(one, slot) != getattr(other, slot) for slot in Person.__slots__)


def halve(layers: Layers, size: int, draws: random.Random) -> Layers:
    """Leave out 40 to 60 percent of one thing, on one side of a straight cut."""

    def cut(layer: Layer) -> Image.Image:
        pixels = np.array(layer.image)
        rows, columns = np.indices(pixels.shape[:2])
        along = [columns, -columns, rows, -rows, rows + columns, rows - columns][draws.randrange(6)]
        drawn = along[pixels[..., 3] > 127]
        pixels[along > np.quantile(drawn, 0.4 + 0.2 * draws.random())] = 0
        return Image.fromarray(pixels)

    return _with_one(layers, cut, draws)


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
    index = draws.randrange(len(layers))
    changed = replace(layers[index], image=change(layers[index]))
    return [*layers[:index], changed, *layers[index + 1 :]]


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
