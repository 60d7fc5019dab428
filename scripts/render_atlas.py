"""Renders unisandbox/world/atlas.png: one 128 px sprite for each kind of object of vocabulary.yaml.

Emoji come from a colour emoji font (Noto Color Emoji, SIL OFL 1.1), the rest is drawn here.
The atlas is committed, so this runs only when the vocabulary or a drawing changes.

    python scripts/render_atlas.py /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

from unisandbox.world import kinds
from unisandbox.world.sketch import Point, Sketch, angles, turned
from unisandbox.world.sprites import ATLAS, CELL, COLUMNS, CONTENT

EMOJI_SIZE = 109  # the one size at which the font holds bitmaps
DRAWING_SIZE = 800  # drawings are made large, then reduced
# Pale sprites are darkened: they would fade into a light background.
TINTS = {"🐇": "#c99b6a", "🥄": "#b3bcc6", "⌚": "#cfd8e2", "💻": "#c4ced8"}
GREEN, DARK_GREEN = "#4c9a3a", "#35752a"


def petal(
    sketch: Sketch,
    base: Point,
    direction: float,
    length: float,
    width: float,
    fill: str,
    edge: str | None = None,
    point: float = 1.0,
) -> None:
    """Fill a petal from its base in a direction (degrees, 0 right, 90 down); point > 1 sharpens its tip."""
    half = [(t, math.sin(math.pi * t**point) ** 0.8 * width / 2) for t in (step / 40 for step in range(41))]
    outline = [(t * length, w) for t, w in half] + [(t * length, -w) for t, w in reversed(half)]
    sketch.shape(turned(outline, direction, base), fill, edge)


def _stem(sketch: Sketch, top: Point, bottom: Point = (52, 99)) -> None:
    middle = ((top[0] + bottom[0]) / 2 + 2, (top[1] + bottom[1]) / 2)
    sketch.line([top, middle, bottom], DARK_GREEN, 4)


def daisy(sketch: Sketch) -> None:
    _stem(sketch, (50, 50))
    petal(sketch, (52, 92), -35, 32, 13, GREEN, DARK_GREEN)
    petal(sketch, (52, 92), -145, 32, 13, GREEN, DARK_GREEN)
    for ring, length in ((0, 35), (360 / 28, 33)):
        for step in range(14):
            petal(sketch, (50, 36), ring + step * 360 / 14, length, 13, "#e4e6ff", "#6b76a8", 1.5)
    sketch.oval(50, 36, 13, 13, "#f7b500", "#d98a00")
    sketch.oval(47, 33, 6, 5, "#ffd23f")


def lily(sketch: Sketch) -> None:
    _stem(sketch, (50, 50))
    for direction in (-25, -155):
        petal(sketch, (51, 95), direction, 40, 10, GREEN, DARK_GREEN)
    for start, shade in ((30, "#e8701a"), (90, "#f98d2b")):
        for step in range(3):
            direction = start + step * 120
            petal(sketch, (50, 40), direction, 41, 25, shade, "#b8480c", 1.0)
            tip = turned([(31, 0)], direction, (50, 40))[0]
            sketch.line([(50, 40), tip], "#ffc47a", 2)
            for along, aside in ((13, 4), (13, -4), (19, 5), (19, -5), (25, 4), (25, -4)):
                x, y = turned([(along, aside)], direction, (50, 40))[0]
                sketch.oval(x, y, 1.3, 1.3, "#5a1d08")
    for direction in (-130, -100, -70, -40, -160):
        tip = turned([(20, 0)], direction, (50, 42))[0]
        sketch.line([(50, 42), tip], "#d8e08a", 1.6)
        sketch.oval(*tip, 3.4, 1.8, "#6b2a0c", turn=direction + 90)


def orchid(sketch: Sketch) -> None:
    sketch.line([(30, 99), (34, 80), (48, 62)], DARK_GREEN, 4)
    petal(sketch, (30, 97), -10, 52, 15, GREEN, DARK_GREEN)
    petal(sketch, (30, 97), -75, 34, 11, GREEN, DARK_GREEN)
    centre = (50, 40)
    for direction in (-90, 40, 140):
        petal(sketch, centre, direction, 39, 24, "#d9a3ea", "#9a55b5", 0.9)
    for direction in (-12, 192):
        petal(sketch, centre, direction, 46, 44, "#e7bdf4", "#9a55b5", 1.1)
        for turn in (-12, 0, 12):
            end = turned([(30, 0)], direction + turn, centre)[0]
            sketch.line([centre, end], "#c98ade", 1)
    petal(sketch, (50, 38), 90, 25, 21, "#b0157a", "#7d0c55", 1.3)
    sketch.oval(50, 41, 5.5, 5, "#ffd23f", "#d9920a")
    sketch.oval(50, 35, 4, 4, "#fdf0ff", "#9a55b5")


def carnation(sketch: Sketch) -> None:
    _stem(sketch, (50, 60))
    for direction in (-50, -130):
        petal(sketch, (52, 90), direction, 30, 6, GREEN, DARK_GREEN)
    sketch.shape([(38, 52), (62, 52), (56, 74), (46, 74)], GREEN, DARK_GREEN)
    shades = ("#e0568c", "#f07aa6", "#f99ac0", "#fdbbd6")
    for (y, rx, ry), shade in zip(
        ((34, 41, 29), (31, 33, 22), (28, 24, 15), (25, 14, 8)), shades, strict=True
    ):
        outline = []
        for step, angle in enumerate(angles(44)):
            reach = 1.0 if step % 2 else 0.84
            outline.append((50 + rx * reach * math.cos(angle), y + ry * reach * math.sin(angle)))
        sketch.shape(outline, shade, "#b52c64", 1.3)


def poppy(sketch: Sketch) -> None:
    sketch.line([(50, 50), (48, 75), (54, 99)], DARK_GREEN, 3.5)
    for direction in (-30, -60, -150):
        petal(sketch, (51, 92), direction, 28, 8, GREEN, DARK_GREEN)
    for x, y in ((50, 24), (29, 38), (71, 38), (50, 50)):
        sketch.oval(x, y, 27, 21, "#e3231b", "#a30f0c")
    sketch.oval(50, 37, 15, 13, "#2a0d12")
    sketch.oval(50, 36, 7, 6, "#7f9a3c")
    for angle in angles(14):
        sketch.oval(50 + 12 * math.cos(angle), 37 + 10.5 * math.sin(angle), 1.5, 1.5, "#f2d24a")


def daffodil(sketch: Sketch) -> None:
    sketch.line([(46, 52), (44, 76), (46, 99)], DARK_GREEN, 4)
    petal(sketch, (48, 99), -70, 52, 9, GREEN, DARK_GREEN)
    petal(sketch, (46, 99), -118, 46, 9, GREEN, DARK_GREEN)
    for step in range(6):
        petal(sketch, (47, 37), 30 + step * 60, 36, 25, "#ffe14d", "#d6a400", 0.9)
    frill = [
        (47 + (17.5 + (step % 2) * 2.5) * math.cos(a), 38 + (16.5 + (step % 2) * 2.5) * math.sin(a))
        for step, a in enumerate(angles(28))
    ]
    sketch.shape(frill, "#f78a12", "#c65c00", 1.6)
    sketch.oval(47, 38, 10.5, 9.5, "#c65c00")
    sketch.oval(47, 40, 4, 4, "#ffd23f")


def pansy(sketch: Sketch) -> None:
    _stem(sketch, (50, 60))
    petal(sketch, (52, 95), -30, 34, 15, GREEN, DARK_GREEN)
    petal(sketch, (52, 95), -150, 34, 15, GREEN, DARK_GREEN)
    for x in (34, 66):
        sketch.oval(x, 25, 24, 22, "#5b2a9d", "#3a1670")
    for x in (27, 73):
        sketch.oval(x, 45, 22, 18, "#8a55d0", "#3a1670")
    sketch.oval(50, 58, 26, 20, "#ffd63d", "#c79a10")
    for x, y, turn in ((34, 45, 10), (66, 45, -10), (50, 56, 90)):
        sketch.oval(x, y, 12, 7.5, "#2a0f45", turn=turn)
    sketch.oval(50, 45, 6, 5, "#ffe98a", "#d9920a")


def sock(sketch: Sketch) -> None:
    leg = [(34, 4), (68, 4), (68, 52), (60, 74), (34, 92), (16, 96), (6, 88), (8, 76), (30, 62), (34, 46)]
    sketch.shape(leg, "#e2483d", "#96241c", 2)
    sketch.box(32, 3, 70, 17, 3, "#3f78c4")
    for top in (26, 40):
        sketch.box(34, top, 68, top + 7, 0, "#3f78c4")
    sketch.shape([(58, 76), (68, 52), (50, 58)], "#f5b942")
    sketch.shape([(20, 68), (30, 93), (16, 96), (6, 88), (8, 76)], "#f5b942")
    sketch.line([*leg, leg[0]], "#96241c", 2)
    sketch.line([(33, 17), (69, 17)], "#96241c", 1.4)


def table(sketch: Sketch) -> None:
    for x in (12, 78):
        sketch.shape([(x, 40), (x + 10, 40), (x + 9, 92), (x + 2, 92)], "#8a5a2b", "#5c3817")
    for x in (24, 68):
        sketch.shape([(x, 40), (x + 7, 40), (x + 6, 76), (x + 1, 76)], "#6f4620", "#5c3817")
    sketch.shape([(16, 20), (84, 20), (98, 36), (2, 36)], "#c98f4e", "#7a4d20")
    sketch.box(2, 35, 98, 46, 2, "#a86f35")
    sketch.line([(3, 36), (97, 36)], "#7a4d20", 1.2)
    sketch.line([(20, 28), (80, 28)], "#b67d3f", 1.5)


def sofa(sketch: Sketch) -> None:
    for x in (14, 80):
        sketch.box(x, 78, x + 6, 90, 1, "#5c3817")
    sketch.box(12, 22, 88, 66, 9, "#2c9c8f")
    sketch.line([(50, 26), (50, 56)], "#1c7168", 1.8)
    sketch.box(18, 52, 82, 70, 5, "#46bdae")
    sketch.line([(50, 53), (50, 69)], "#1c7168", 1.8)
    sketch.box(12, 66, 88, 82, 4, "#228579")
    for left in (2, 82):
        sketch.box(left, 42, left + 16, 83, 7, "#2c9c8f")
        sketch.oval(left + 8, 49, 6, 6, "#46bdae", "#1c7168")


def lamp(sketch: Sketch) -> None:
    sketch.box(46, 46, 54, 90, 2, "#9c6b3c")
    sketch.oval(50, 70, 11, 14, "#3f78c4", "#27508a")
    sketch.oval(46, 65, 3, 6, "#8fb6e8")
    sketch.box(28, 88, 72, 97, 4, "#7c4f28")
    sketch.shape([(34, 4), (66, 4), (86, 52), (14, 52)], "#ffd65c", "#c98f12", 2)
    sketch.shape([(44, 5), (52, 5), (54, 51), (38, 51)], "#ffeaa0")
    sketch.box(13, 49, 87, 55, 2, "#e0a524")


def pillow(sketch: Sketch) -> None:
    outline = [(4, 18), (28, 25), (50, 26), (72, 25), (96, 18), (91, 38), (90, 50), (91, 62), (96, 84)]
    outline += [(72, 77), (50, 76), (28, 77), (4, 84), (9, 62), (10, 50), (9, 38)]
    sketch.shape(outline, "#a9c8f0", "#4d78b5", 2.4)
    sketch.oval(45, 46, 27, 15, "#c9defa")
    for x, y, dx, dy in ((10, 24, 13, 7), (90, 24, -13, 7), (10, 78, 13, -7), (90, 78, -13, -7)):
        sketch.line([(x, y), (x + dx, y + dy)], "#6f97cf", 1.8)


def plate(sketch: Sketch) -> None:
    sketch.oval(50, 50, 47, 47, "#3d7cc9", "#245391")
    sketch.oval(50, 50, 40, 40, "#cfe1f5", "#6f9fd3")
    sketch.oval(50, 50, 27, 27, "#a9c6e8", "#6f9fd3")
    sketch.oval(48, 48, 22, 22, "#bdd5f0")


def bowl(sketch: Sketch) -> None:
    curve = [(50 + 46 * math.cos(a), 36 + 46 * math.sin(a)) for a in np.linspace(0, math.pi, 40)]
    sketch.box(34, 76, 66, 88, 3, "#b84f14")
    sketch.shape(curve, "#ef7d2d", "#a84510", 1.6)
    sketch.line([(11, 54), (50, 60), (89, 54)], "#ffd08a", 4)
    sketch.oval(50, 36, 47, 12, "#ffb066", "#a84510")
    sketch.oval(50, 38, 40, 8, "#9c4310")


def fork(sketch: Sketch) -> None:
    steel, edge = "#a9b7c4", "#5c6d7c"
    tines = [(30, 3), (30, 36), (36, 48), (45, 53), (46, 97), (54, 97), (55, 53), (64, 48), (70, 36), (70, 3)]
    tines += [(64, 3), (63, 32), (58, 32), (57, 3), (53, 3), (52, 32), (48, 32), (47, 3)]
    tines += [(43, 3), (42, 32), (37, 32), (36, 3)]
    sketch.shape(turned([(x - 50, y - 50) for x, y in tines], 40, (50, 50)), steel, edge, 2)
    sketch.line(turned([(0, 8), (0, 44)], 40, (50, 50)), "#dfe7ee", 2)


def bottle(sketch: Sketch) -> None:
    sides = [(42, 14), (58, 14), (58, 32), (70, 46), (70, 96), (30, 96), (30, 46), (42, 32)]
    sketch.shape(sides, "#2f9e58", "#17663a", 2.2)
    sketch.box(34, 46, 39, 90, 2, "#7fd6a0")
    sketch.box(30, 56, 70, 80, 0, "#fff1c9")
    sketch.line([(36, 64), (64, 64)], "#c44f2d", 3)
    sketch.line([(42, 72), (58, 72)], "#c44f2d", 2)
    sketch.box(40, 3, 60, 15, 2, "#c44f2d")


def sun(sketch: Sketch) -> None:
    rays = []
    for step, angle in enumerate(angles(24)):
        reach = 31 if step % 2 else 48
        rays.append((50 + reach * math.cos(angle), 50 + reach * math.sin(angle)))
    sketch.shape(rays, "#ffa726", "#e07b00", 1.6)
    sketch.oval(50, 50, 28, 28, "#ffd23f", "#f09a10")
    sketch.oval(42, 40, 9, 7, "#ffe680", turn=-35)


def cup(sketch: Sketch) -> None:
    sketch.oval(76, 52, 19, 21, "#5a48c8", "#36288a")
    sketch.oval(76, 52, 9.5, 11.5, "#ffffff", "#36288a")
    sides = [(10, 20), (78, 20), (76, 70), (68, 86), (58, 91), (30, 91), (20, 86), (12, 70)]
    sketch.shape(sides, "#6d5ce0", "#36288a", 2)
    sketch.box(18, 34, 26, 74, 4, "#a79cf2")
    sketch.oval(44, 20, 34, 10, "#8b7df0", "#36288a")
    sketch.oval(44, 22, 28, 6.5, "#5d3418")


def candle(sketch: Sketch) -> None:
    petal(sketch, (50, 36), -90, 34, 20, "#ff9d1c", "#d96a00", 1.4)
    petal(sketch, (50, 35), -90, 20, 10, "#ffe14d", None, 1.3)
    sketch.box(34, 38, 66, 97, 4, "#c2274a")
    sketch.box(39, 42, 45, 92, 3, "#e8687f")
    sketch.oval(50, 40, 16, 5, "#dd5570", "#8c1733")
    sketch.line([(50, 40), (50, 31)], "#40211a", 2.4)


def candy(sketch: Sketch) -> None:
    for side in (1, -1):
        wing = [(50 + side * x, y) for x, y in ((20, 50), (46, 26), (40, 44), (48, 50), (40, 58), (46, 74))]
        sketch.shape(wing, "#f9a1c6", "#b92e6f", 2)
    sketch.oval(50, 50, 27, 27, "#ee4f93", "#b92e6f")
    for turn in (0, 90, 180, 270):
        petal(sketch, (50, 50), 20 + turn, 27, 14, "#ffd9e8", None, 1.6)
    sketch.line([(50 + 27 * math.cos(a), 50 + 27 * math.sin(a)) for a in [*angles(60), 0.0]], "#b92e6f", 2)


def balloon(sketch: Sketch) -> None:
    sketch.line([(50, 70), (54, 78), (46, 86), (51, 98)], "#6b3a2e", 2.6)
    sketch.oval(50, 36, 31, 34, "#ef3e36", "#a81d18")
    sketch.shape([(44, 74), (56, 74), (50, 66)], "#c92a23", "#a81d18", 1.5)
    sketch.oval(39, 24, 6, 11, "#ff9d94", turn=25)


def kite(sketch: Sketch) -> None:
    tail = [(38, 62), (44, 72), (58, 76), (68, 84), (84, 88), (94, 97)]
    sketch.line(tail, "#5c3817", 2.6)
    for (x, y), shade in zip(tail[2:5], ("#e2352b", "#2f7fd6", "#2e9e4f"), strict=True):
        sketch.shape([(x - 7, y - 6), (x + 7, y + 6), (x + 7, y - 6), (x - 7, y + 6)], shade)
    top, left, right, bottom, middle = (44, 3), (8, 30), (78, 34), (38, 66), (43, 32)
    for corner, other, shade in (
        (top, left, "#e2352b"),
        (top, right, "#ffc928"),
        (bottom, left, "#2f7fd6"),
        (bottom, right, "#2e9e4f"),
    ):
        sketch.shape([middle, corner, other], shade)
    sketch.line([top, right, bottom, left, top, bottom], "#5c3817", 2)
    sketch.line([left, middle, right], "#5c3817", 2)


DRAWINGS: dict[str, Callable[[Sketch], None]] = {
    drawing.__name__: drawing
    for drawing in (
        *(daisy, lily, orchid, carnation, poppy, daffodil, pansy),
        *(sock, table, sofa, lamp, pillow, plate, bowl, fork, bottle),
        *(sun, cup, candle, candy, balloon, kite),
    )
}


def emoji(text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Return an emoji on a transparent ground, with clean edges."""
    grounds = []
    for ground in ("black", "white"):
        picture = Image.new("RGB", (160, 160), ground)
        ImageDraw.Draw(picture).text((8, 8), text, font=font, embedded_color=True)
        grounds.append(np.asarray(picture, dtype=np.float64))
    # Drawn on a transparent ground, edges would blend with its colour; two grounds give the true one.
    alpha = 1 - (grounds[1] - grounds[0]).mean(axis=2, keepdims=True).clip(0, 255) / 255
    colour = (grounds[0] / np.maximum(alpha, 1 / 255)).clip(0, 255)
    return Image.fromarray(np.concatenate([colour, alpha * 255], axis=2).round().astype(np.uint8), "RGBA")


def sprite(source: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Return one cell: the emoji or drawing, its longer side CONTENT pixels, centred."""
    if source.startswith("drawn:"):
        sketch = Sketch(DRAWING_SIZE)
        DRAWINGS[source.removeprefix("drawn:")](sketch)
        picture = sketch.image
    else:
        picture = emoji(source, font)
    if source in TINTS:
        alpha = picture.getchannel("A")
        picture = ImageChops.multiply(picture.convert("RGB"), Image.new("RGB", picture.size, TINTS[source]))
        picture.putalpha(alpha)
    # Faint shadows and halos would make the visible part smaller than the box around it.
    picture = picture.crop(picture.getchannel("A").point(lambda alpha: 255 * (alpha > 60)).getbbox())
    scale = CONTENT / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    cell = Image.new("RGBA", (CELL, CELL))
    cell.paste(
        picture.resize((width, height), Image.Resampling.LANCZOS), ((CELL - width) // 2, (CELL - height) // 2)
    )
    return cell


def compact(atlas: Image.Image) -> Image.Image:
    """Return the atlas with 64 levels a channel and no colour where it is transparent: half the bytes."""
    pixels = np.asarray(atlas).astype(np.uint16)
    pixels = ((pixels * 63 + 127) // 255) * 255 // 63
    pixels[pixels[..., 3] < 16] = 0  # the colour of a nearly transparent pixel is rounding
    return Image.fromarray(pixels.astype(np.uint8), "RGBA")


def main() -> None:
    """Render every kind and write the atlas."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("font", type=Path, help="NotoColorEmoji.ttf (the build with bitmaps)")
    parser.add_argument(
        "--out", type=Path, default=ATLAS, help="where to write (default: the committed atlas)"
    )
    arguments = parser.parse_args()
    font = ImageFont.truetype(arguments.font, EMOJI_SIZE)
    sources = [kind.source for kind in kinds().values()]
    atlas = Image.new("RGBA", (COLUMNS * CELL, math.ceil(len(sources) / COLUMNS) * CELL))
    for index, source in enumerate(sources):
        row, column = divmod(index, COLUMNS)
        atlas.paste(sprite(source, font), (column * CELL, row * CELL))
    compact(atlas).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {len(sources)} sprites, {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
