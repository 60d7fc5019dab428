"""Measures how well the world's reader reads: exactness on sound scenes, misses on faulty ones, and speed.

python benchmarks/world.py                        # the figures of docs/world.md, a few minutes
python benchmarks/world.py --scenes 500 --faulty 200
python benchmarks/world.py --sheet docs/img/world.png
"""

import argparse
import io
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from unisandbox.world import Reading, Scene, all_people, compose, kinds, read
from unisandbox.world.faults import FAULTS
from unisandbox.world.scene import MOST_OBJECTS
from unisandbox.world.sprites import sprite

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
    """Return a scene of one, two or many kinds, or with a chance a portrait."""
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
    wrong: Counter[tuple[str, str]] = Counter()
    tried: Counter[tuple[str, str]] = Counter()
    for scene, size, change, exact in sound_pictures(count, seed):
        rows = (f"{size} px", "portraits" if scene.person else "objects", "all")
        for cell in product(rows, (change, "all")):
            tried[cell] += 1
            wrong[cell] += not exact
    share = wrong["all", "all"] / count
    columns = (*CHANGES, "all")
    table = Table("", *columns, title=f"Sound pictures not read exactly: {share:.3%} of {count}")
    for row in (*(f"{size} px" for size in SIZES), "objects", "portraits", "all"):
        table.add_row(row, *(f"{wrong[row, column]}/{tried[row, column]}" for column in columns))
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
    """Return the table of pictures read a second by one core."""
    table = Table("size", "objects", "portraits", "faulty", title="Pictures read a second, one core")
    draws = random.Random(seed)
    for size in (64, 512):
        rates = []
        for portraits, faulty in ((0.0, False), (1.0, False), (0.0, True)):
            faults = list(FAULTS) if faulty else [None]
            scenes = [random_scene(draws, portraits, draws.choice(faults)) for _ in range(200)]
            rates.append(rate([picture(scene, size, "as drawn", draws) for scene in scenes]))
        table.add_row(f"{size} px", *(f"{pictures:.0f}" for pictures in rates))
    return table


def rate(images: list[Image.Image]) -> float:
    """Return how many pictures are read a second of processor time, once the reader is warm."""
    for image in images:
        read(image)
    start = time.process_time()
    for image in images:
        read(image)
    return len(images) / (time.process_time() - start)


def sheet(path: Path) -> None:
    """Draw every kind with its name, some portraits, some scenes and every fault on one sheet."""
    names = list(kinds())
    people = all_people()[14::7]
    scenes = [Scene(tuple(names[i * 31 % len(names)] for i in range(count))) for count in (1, 3, 6, 7, 9, 12)]
    scenes += [Scene(("apple", "chair", "dog"), faults=(fault,)) for fault in FAULTS]
    scenes += [Scene(person=person) for person in people]
    columns, cell, tile, label = 15, 76, 178, 14
    rows, lines = -(-len(names) // columns), -(-len(scenes) // 6)
    page = Image.new("RGB", (columns * cell, rows * (cell + label) + lines * (tile + 4)), "#d8dde3")
    draw = ImageDraw.Draw(page)
    for index, name in enumerate(names):
        x, y = index % columns * cell, index // columns * (cell + label)
        draw.rectangle((x, y, x + cell - 2, y + cell + label - 2), fill="white")
        page.paste(sprite(name, cell - 8), (x + 3, y + 1), sprite(name, cell - 8))
        draw.text((x + 3, y + cell - 2), name, fill="black")
    for index, scene in enumerate(scenes):
        x, y = index % 6 * (columns * cell // 6) + 6, rows * (cell + label) + index // 6 * (tile + 4)
        page.paste(compose(scene, 512, index).resize((tile, tile), Image.Resampling.BOX), (x, y + 2))
    page.quantize(128).save(path, optimize=True)


def main() -> None:
    """Print the tables, or draw the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=5000, help="sound scenes (default 5000)")
    parser.add_argument("--faulty", type=int, default=2000, help="faulty scenes (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes (default 0)")
    parser.add_argument("--sheet", type=Path, help="only draw a contact sheet, to this file")
    arguments = parser.parse_args()
    if arguments.sheet:
        sheet(arguments.sheet)
        return
    console = Console()
    console.print(exactness(arguments.scenes, arguments.seed))
    console.print(false_fine(arguments.faulty, arguments.seed + 1))
    console.print(speed(arguments.seed))


if __name__ == "__main__":
    main()
