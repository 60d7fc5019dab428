"""Composes pictures whose truth is known: objects at random places or one portrait, sound or with faults."""

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from unisandbox.errors import DataError, unknown
from unisandbox.world.faults import FAULTS, GROUND_FAULTS, Layer
from unisandbox.world.people import Person
from unisandbox.world.portraits import portrait
from unisandbox.world.sprites import sprite
from unisandbox.world.vocabulary import kinds

MOST_OBJECTS = 12
SIZES = range(64, 1025, 16)
"""Sides a picture can have, in pixels."""
_ATTEMPTS = 1000


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows; raises DataError for what cannot be drawn."""

    objects: tuple[str, ...] = ()
    """A kind for each object, repeated for several of a kind; at most MOST_OBJECTS."""
    person: Person | None = None
    """Whose portrait fills the picture, instead of objects."""
    faults: tuple[str, ...] = ()
    """What is wrong with the picture, of FAULTS."""

    def __post_init__(self) -> None:
        for what, names, known in (("kind of object", self.objects, kinds()), ("fault", self.faults, FAULTS)):
            for name in names:
                if name not in known:
                    raise DataError(unknown(what, name, known))
        if len(self.objects) > MOST_OBJECTS:
            raise DataError(
                f"A scene of {len(self.objects)} objects: at most {MOST_OBJECTS} fit in a picture."
            )
        if self.person and self.objects:
            raise DataError(
                "A scene of objects and a person: a portrait fills the picture, so give only one."
            )
        if not self.person and not self.objects:
            for fault in set(self.faults) - set(GROUND_FAULTS):
                raise DataError(f"An empty scene cannot be {fault!r}: give it an object or a person.")


def sprite_side(size: int, count: int) -> int:
    """Return the side of each of count sprites in a picture of a size: 1/4 of it, or 3/16 for more than 6.

    >>> sprite_side(64, 6), sprite_side(512, 6), sprite_side(512, 7)
    (16, 128, 96)
    """
    return size // 4 if count <= 6 else size * 3 // 16


def compose(
    scene: Scene,
    size: int = 512,
    seed: int = 0,
    *,
    lattice: int | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
) -> Image.Image:
    """Draw a scene as an RGB image of size x size pixels; the seed decides the places and the faults.

    With a lattice, the corners of sprites lie on multiples of it, in pixels. Raises DataError for a size
    that is not a multiple of 16 from 64 to 1024, and for a lattice on which the objects do not fit.
    """
    if size not in SIZES:
        raise DataError(f"A picture of {size} px: expected a multiple of 16 from {SIZES[0]} to {SIZES[-1]}.")
    draws = random.Random(seed)
    layers = _layers(scene, size, draws, lattice or max(1, size // 256))
    for fault in scene.faults:
        layers = FAULTS[fault](layers, size, draws)
    picture = Image.new("RGB", (size, size), background)
    for layer in layers:
        picture.paste(layer.image, layer.corner, layer.image)
    return picture


def _layers(scene: Scene, size: int, draws: random.Random, step: int) -> list[Layer]:
    if scene.person:
        return [Layer(portrait(scene.person, size), (0, 0), scene.person)]
    side = sprite_side(size, len(scene.objects))
    corners = _corners(len(scene.objects), side, size, draws, step)
    return [
        Layer(sprite(name, side), corner, name) for name, corner in zip(scene.objects, corners, strict=True)
    ]


def _corners(count: int, side: int, size: int, draws: random.Random, step: int) -> list[tuple[int, int]]:
    """Return corners at random such that every two sprites are at least 3/16 of their side apart."""
    apart = -(-(side + -(-side * 3 // 16)) // step)
    cells = (size - side) // step + 1
    for _ in range(_ATTEMPTS):
        free = np.ones((cells, cells), dtype=bool)
        corners: list[tuple[int, int]] = []
        while len(corners) < count and free.any():
            places = np.flatnonzero(free)
            row, column = divmod(int(places[draws.randrange(len(places))]), cells)
            free[max(0, row - apart + 1) : row + apart, max(0, column - apart + 1) : column + apart] = False
            corners.append((column * step, row * step))
        if len(corners) == count:
            return corners
    raise DataError(
        f"{count} objects do not fit in {size} px on a lattice of {step} px: use a finer lattice."
    )
