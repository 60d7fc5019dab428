"""What was composed is read back exactly, through all that happens to files; anything else is malformed."""

import io
import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from unisandbox.world import Reading, Scene, all_people, compose, kinds, read
from unisandbox.world.faults import FAULTS

NAMES = list(kinds())
SIZES = (64, 96, 128, 256, 512, 1024)


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return Image.open(file)


def noisy(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image) + np.random.default_rng(1).normal(0, 4, (*image.size, 3))
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def some_objects(draws: random.Random, count: int) -> tuple[str, ...]:
    names = [draws.choice(NAMES) for _ in range(draws.choice((1, 2, 12)))]
    return tuple(draws.choice(names) for _ in range(count))


@pytest.mark.parametrize("size", [64, 512])
def test_every_kind_is_read(size: int) -> None:
    for seed, name in enumerate(NAMES):
        assert read(compose(Scene((name,)), size, seed)) == Reading(objects={name: 1})


@pytest.mark.parametrize("size", SIZES)
def test_any_number_of_objects_is_read(size: int) -> None:
    draws = random.Random(size)
    for count in range(13):
        objects = some_objects(draws, count)
        assert read(compose(Scene(objects), size, count)) == Reading(objects=dict(Counter(objects)))


@pytest.mark.parametrize("size", [64, 128])
def test_every_portrait_is_read(size: int) -> None:
    for person in all_people():
        assert read(compose(Scene(person=person), size)) == Reading(person=person)


@pytest.mark.parametrize("size", [64, 96, 256])
@pytest.mark.parametrize("change", [jpeg, noisy])
def test_coding_and_noise_do_not_matter(size: int, change: object) -> None:
    assert callable(change)
    draws = random.Random(size)
    for seed in range(12):
        objects, person = some_objects(draws, seed), draws.choice(all_people())
        assert read(change(compose(Scene(objects), size, seed))).objects == Counter(objects)
        assert read(change(compose(Scene(person=person), size))).person == person


@pytest.mark.parametrize("method", ["BOX", "BILINEAR", "BICUBIC", "LANCZOS"])
def test_the_size_does_not_matter(method: str) -> None:
    draws = random.Random(method)
    for seed in range(8):
        side = draws.randint(64, 1024)
        objects = some_objects(draws, draws.randint(1, 12))
        image = compose(Scene(objects), 1024, seed).resize((side, side), Image.Resampling[method])
        assert read(image).objects == Counter(objects)


def test_the_shade_of_a_light_ground_does_not_matter() -> None:
    draws = random.Random(0)
    for seed in range(40):
        ground = (draws.randint(230, 255), draws.randint(230, 255), draws.randint(230, 255))
        objects, person = some_objects(draws, draws.randint(0, 12)), draws.choice(all_people())
        assert read(compose(Scene(objects), 64, seed, background=ground)).objects == Counter(objects)
        assert read(compose(Scene(person=person), 64, background=ground)).person == person


def test_the_mode_of_an_image_does_not_matter() -> None:
    image = compose(Scene(("cup", "dog")), 64)
    clear = Image.fromarray(
        np.dstack([np.asarray(image), np.where(np.asarray(image).min(2) > 254, 0, 255)]).astype(np.uint8)
    )
    for same in (image.convert("RGBA"), clear, image.quantize(256)):
        assert read(same).objects == {"cup": 1, "dog": 1}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_picture_is_malformed(fault: str) -> None:
    draws = random.Random(fault)
    for seed in range(30):
        scene = Scene(some_objects(draws, draws.randint(1, 12)), faults=(fault,))
        reading = read(compose(scene, draws.choice(SIZES[:4]), seed))
        assert reading.malformed
        assert (reading.objects, reading.person) == (None, None)
    for seed in range(6):
        assert read(compose(Scene(person=draws.choice(all_people()), faults=(fault,)), 128, seed)).malformed


def test_a_reading_says_where_something_is_wrong() -> None:
    image = compose(Scene(), 256)
    image.paste("black", (180, 30, 220, 60))
    assert read(image).malformed == "no whole, known object 78% from the left and 20% from the top"


def test_what_is_no_sandbox_picture_is_malformed() -> None:
    grid = np.arange(256.0)
    pictures = {
        "dark": np.full((256, 256), 40.0),
        "grey": np.full((256, 256), 200.0),
        "slope": np.tile(grid, (256, 1)),
        "faint slope": np.tile(225 + grid / 10, (256, 1)),
        "noise": np.random.default_rng(0).uniform(0, 255, (256, 256)),
        "stripes": np.tile(np.where(grid % 16 < 8, 255.0, 0.0), (256, 1)),
        "box": np.pad(np.full((200, 200), 90.0), 28, constant_values=255),
        "spots": np.where((grid[:, None] % 32 < 8) & (grid[None] % 32 < 8), 0.0, 255.0),
    }
    for name, pixels in pictures.items():
        assert read(Image.fromarray(pixels.astype(np.uint8))).malformed, name


def test_a_scene_without_its_colours_or_upside_down_is_malformed() -> None:
    image = compose(Scene(("apple", "dog", "car")), 256)
    assert read(image.convert("L")).malformed
    assert read(image.rotate(180)).malformed
    assert read(compose(Scene(person=all_people()[0]), 128).rotate(90)).malformed


@pytest.mark.parametrize("size", [(64, 128), (200, 100), (40, 40), (1, 1)])
def test_a_picture_of_a_wrong_shape_is_malformed(size: tuple[int, int]) -> None:
    malformed = read(Image.new("RGB", size, "white")).malformed
    assert malformed == f"{size[0]} x {size[1]} px: not square, or smaller than 48 px"


def test_a_plain_light_picture_shows_nothing() -> None:
    for size in (48, 64, 100, 777):
        assert read(Image.new("RGB", (size, size), (240, 250, 235))) == Reading(objects={})
