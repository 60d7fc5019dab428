"""Scenes are drawn where they fit, the same for the same seed, and what cannot be drawn is refused."""

import hashlib

import numpy as np
import pytest
from PIL import Image, ImageChops

from unisandbox.errors import DataError
from unisandbox.world.people import Person
from unisandbox.world.scene import MOST_OBJECTS, Scene, compose, sprite_side
from unisandbox.world.sprites import sprite

GIRL = Person("dark", "brown", "child", "female")


def corners(image: Image.Image, name: str, side: int) -> list[tuple[int, int]]:
    """Return every place at which a sprite lies on white, to the pixel."""
    ground = Image.new("RGB", (side, side), "white")
    ground.paste(sprite(name, side), mask=sprite(name, side))
    pixels, wanted = np.asarray(image), np.asarray(ground)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, wanted.shape)[:, :, 0]
    rows, columns = np.nonzero((windows == wanted).all(axis=(2, 3, 4)))
    return [(int(column), int(row)) for row, column in zip(rows, columns, strict=True)]


@pytest.mark.parametrize("size", [64, 96, 112, 128, 256, 512, 1024])
def test_a_picture_has_the_size_asked_for(size: int) -> None:
    for scene in (Scene(), Scene(("cup",) * MOST_OBJECTS), Scene(person=GIRL)):
        image = compose(scene, size)
        assert (image.size, image.mode) == ((size, size), "RGB")


@pytest.mark.parametrize("count", [1, 2, 6, 7, 12])
@pytest.mark.parametrize("lattice", [None, 8])
def test_every_object_is_drawn_whole_and_apart(count: int, lattice: int | None) -> None:
    side = sprite_side(64, count)
    for seed in range(5):
        found = corners(compose(Scene(("ball",) * count), 64, seed, lattice=lattice), "ball", side)
        assert len(found) == count
        assert all(x % (lattice or 1) == 0 and y % (lattice or 1) == 0 for x, y in found)
        for index, (x, y) in enumerate(found):
            others = found[:index]
            assert all(max(abs(x - left), abs(y - top)) > side for left, top in others)


def test_the_same_seed_draws_the_same_picture() -> None:
    scene = Scene(("cup", "dog", "rose"), faults=("distorted", "noise_patch"))
    assert compose(scene, 64, 3).tobytes() == compose(scene, 64, 3).tobytes()
    assert compose(scene, 64, 3).tobytes() != compose(scene, 64, 4).tobytes()


def test_pictures_are_the_same_bytes_everywhere() -> None:
    picture = compose(Scene(("cup", "dog", "rose")), 64, 3)
    assert hashlib.sha256(picture.tobytes()).hexdigest()[:16] == "799f4f42b5a039b1"


def test_the_background_shows_wherever_nothing_is_drawn() -> None:
    for scene in (Scene(), Scene(("cup",)), Scene(person=GIRL)):
        assert compose(scene, 64, background=(235, 240, 250)).getpixel((0, 0)) == (235, 240, 250)


def test_an_empty_scene_is_plain() -> None:
    assert compose(Scene(), 64).getcolors() == [(64 * 64, (255, 255, 255))]


def test_places_are_spread_over_the_picture() -> None:
    covered = Image.new("L", (64, 64), 255)
    for seed in range(60):
        covered = ImageChops.darker(covered, compose(Scene(("ball",) * 4), 64, seed).convert("L"))
    assert (np.asarray(covered)[2:-2, 2:-2] < 250).mean() > 0.97


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        ({"objects": ("cupp",)}, "Unknown kind of object 'cupp'. Did you mean 'cup'"),
        ({"objects": ("cup",), "faults": ("blurred",)}, "Unknown fault 'blurred'"),
        ({"objects": ("cup",) * 13}, "A scene of 13 objects: at most 12"),
        ({"objects": ("cup",), "person": GIRL}, "give only one"),
        ({"faults": ("cropped",)}, "An empty scene cannot be 'cropped'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(scene: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        Scene(**scene)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize("size", [0, 63, 65, 100, 1040])
def test_sizes_that_sprites_do_not_divide_are_refused(size: int) -> None:
    with pytest.raises(DataError, match=f"A picture of {size} px: expected a multiple of 16 from 64 to 1024"):
        compose(Scene(), size)


def test_a_lattice_too_coarse_for_the_objects_is_refused() -> None:
    with pytest.raises(DataError, match=r"3 objects do not fit in 64 px on a lattice of 64 px: use a finer"):
        compose(Scene(("cup",) * 3), 64, lattice=64)
