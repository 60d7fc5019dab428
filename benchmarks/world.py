"""Measures how well the world's reader reads: exactness on sound scenes, misses on faulty ones, and speed.

python benchmarks/world.py                        # the figures of docs/world.md, a few minutes
python benchmarks/world.py --scenes 500 --faulty 200
python benchmarks/world.py --sheet docs/img/world.png
"""

import io
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image
from rich.table import Table

from unisandbox.world import Reading, Scene, all_people, compose, kinds, read
from unisandbox.world.faults import FAULTS
from unisandbox.world.scene import MOST_OBJECTS

SIZES = (64, 96, 128, 256, 512, 1024)
FILTERS = ("BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS")
WHITE = (255, 255, 255)

Change = Callable[[Image.Image, random.Random], Image.Image]


def jpeg(image: Image.Image, draws: random.Random) -> Image.Image:
    """Return what JPEG at quality 85, its colours halved as usual, leaves of a picture."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return Image.open(file)


def noise(image: Image.Image, draws: random.Random) -> Image.Image:
    """Add normal noise of 4 levels to every channel of every pixel."""
    pixels = np.asarray(image) + np.random.default_rng(draws.getrandbits(32)).normal(0, 4, (*image.size, 3))
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def resized(image: Image.Image, draws: random.Random) -> Image.Image:
    """Bring a picture to any side from 64 to 1024 px with any of the usual filters."""
    side = draws.randint(64, 1024)
    return image.resize((side, side), Image.Resampling[draws.choice(FILTERS)])


def same(image: Image.Image, draws: random.Random) -> Image.Image:
    """Leave a picture alone."""
    return image


def everything(image: Image.Image, draws: random.Random) -> Image.Image:
    """Resize, add noise and store as JPEG."""
    return jpeg(noise(resized(image, draws), draws), draws)


CHANGES: dict[str, Change] = {
    "as drawn": same,
    "tinted ground": same,
    "JPEG 85": jpeg,
    "noise 4": noise,
    "resized": resized,
    "all of these": everything,
}


def random_scene(draws: random.Random, portraits: float, fault: str | None = None) -> Scene:
    """Return a scene of one or several kinds, or with a chance a portrait; with a fault, of at least one object."""
    faults = (fault,) if fault else ()
    if draws.random() < portraits:
        return Scene(person=draws.choice(all_people()), faults=faults)
    count = draws.randint(1 if fault else 0, MOST_OBJECTS)
    names = [draws.choice(list(kinds())) for _ in range(draws.choice((1, 2, MOST_OBJECTS)))]
    return Scene(tuple(draws.choice(names) for _ in range(count)), faults=faults)


def picture(scene: Scene, size: int, change: str, draws: random.Random) -> Image.Image:
    """Compose a scene and change the picture."""
    tinted = change in ("tinted ground", "all of these")
    ground = (draws.randint(230, 255), draws.randint(230, 255), draws.randint(230, 255)) if tinted else WHITE
    image = compose(scene, size, draws.getrandbits(32), background=ground)
    return CHANGES[change](image, draws)


def right(scene: Scene, reading: Reading) -> bool:
    """Return whether a reading is exactly what a sound scene shows."""
    if scene.person:
        return reading.person == scene.person
    return reading.objects == Counter(scene.objects)


def sound_pictures(count: int, seed: int) -> Iterator[tuple[Scene, int, str, bool]]:
    """Yield sound scenes, sizes, changes, and whether each was read exactly."""
    draws = random.Random(seed)
    for _ in range(count):
        scene, size, change = random_scene(draws, 0.1), draws.choice(SIZES), draws.choice(list(CHANGES))
        yield scene, size, change, right(scene, read(picture(scene, size, change, draws)))


def faulty_pictures(count: int, seed: int) -> Iterator[tuple[str, int, str, bool]]:
    """Yield faults, sizes, changes, and whether each picture was wrongly read as well formed."""
    draws = random.Random(seed)
    for _ in range(count):
        fault, size, change = draws.choice(list(FAULTS)), draws.choice(SIZES), draws.choice(list(CHANGES))
        scene = random_scene(draws, 0.1, fault)
        yield fault, size, change, read(picture(scene, size, change, draws)).malformed is None


def exactness(count: int, seed: int) -> Table:
    """Return the table of sound pictures not read exactly, by size and change."""
    wrong: Counter[tuple[object, str]] = Counter()
    tried: Counter[tuple[object, str]] = Counter()
    for scene, size, change, exact in sound_pictures(count, seed):
        for row in (f"{size} px", "portraits" if scene.person else "objects", "all"):
            for column in (change, "all"):
                tried[row, column] += 1
                wrong[row, column] += not exact
    share = wrong["all", "all"] / count
    table = Table("", *CHANGES, "all", title=f"Sound pictures not read exactly: {share:.3%} of {count}")
    for row in dict.fromkeys(row for row, _ in sorted(tried, key=str)):
        table.add_row(
            str(row), *(f"{wrong[row, column]}/{tried[row, column]}" for column in (*CHANGES, "all"))
        )
    return table


def false_fine(count: int, seed: int) -> Table:
    """Return the table of faulty pictures read as well formed, by fault."""
    missed: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for fault, _size, _change, fine in faulty_pictures(count, seed):
        tried[fault] += 1
        missed[fault] += fine
    table = Table(
        "fault",
        "read as fine",
        title=f"Faulty pictures read as fine: {missed.total() / count:.3%} of {count}",
    )
    for fault in FAULTS:
        table.add_row(fault, f"{missed[fault]}/{tried[fault]}")
    return table


def speed(seed: int) -> Table:
    """Return the table of pictures read a second by one core: half objects, half portraits, all sound or all faulty."""
    table = Table("size", "objects", "portraits", "faulty", title="Pictures read a second, one core")
    draws = random.Random(seed)
    for size in (64, 512):
        rows = []
        for portraits, faults in ((0.0, [None]), (1.0, [None]), (0.0, list(FAULTS))):
            scenes = [random_scene(draws, portraits, draws.choice(faults)) for _ in range(200)]
            images = [picture(scene, size, "as drawn", draws) for scene in scenes]
            for image in images:
                read(image)
            start = time.process_time()
            for image in images:
                read(image)
            rows.append(f"{len(images) / (time.process_time() - start):.0f}")
        table.add_row(f"{size} px", *rows)
    return table
