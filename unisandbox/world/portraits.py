"""Draws a portrait of every person: complexion, hair, age and gender must be plain to see, even at 64 px."""

from functools import cache

from PIL import Image

from unisandbox.world.people import Person
from unisandbox.world.sketch import Point, Sketch, mirrored

BACKDROP = "#9fc6d8"
INK = "#2b2024"
RIMS = {"dark": "#f0c95c", "olive": INK, "fair": INK}

# Each colour, then the darker shade of its lines.
SKINS = {
    "dark": ("#6a432d", "#361e0f"),
    "olive": ("#c98e5b", "#8d5a30"),
    "fair": ("#fad9c3", "#d09a7c"),
}
HAIR_COLOURS = {
    "black": ("#211c20", "#050405"),
    "brown": ("#8a5526", "#583010"),
    "blond": ("#f3cf5e", "#b88d1e"),
    "red": ("#d9541e", "#93300a"),
    "white": ("#f4f4f6", "#a3a9b4"),
}
CLOTHES = {
    ("child", "female"): ("#f06ba8", "#b63a75"),
    ("child", "male"): ("#4caf50", "#2c7230"),
    ("adult", "female"): ("#8e3fb0", "#5d2178"),
    ("adult", "male"): ("#2457a6", "#153666"),
    ("elderly", "female"): ("#b4506a", "#7d2c42"),
    ("elderly", "male"): ("#7c6a4a", "#4d4029"),
}


def portrait(person: Person, size: int) -> Image.Image:
    """Return an RGBA image of a size in pixels: head and shoulders before a round backdrop."""
    return _kept(person, size) if size <= 256 else _drawn(person, size)


@cache
def _kept(person: Person, size: int) -> Image.Image:
    return _drawn(person, size)


def _drawn(person: Person, size: int) -> Image.Image:
    sketch = Sketch(max(512, 2 * size))
    sketch.oval(50, 50, 48, 48, BACKDROP)
    _hair_behind(sketch, person)
    _body(sketch, person)
    _head(sketch, person)
    _face(sketch, person)
    _hair_before(sketch, person)
    if person.age == "elderly":
        _glasses(sketch, RIMS[person.complexion])
    disc = Sketch(sketch.image.width)
    disc.oval(50, 50, 48, 48, INK)
    sketch.image.putalpha(disc.image.getchannel("A"))
    return sketch.image.resize((size, size), Image.Resampling.BOX)


def _hair_behind(sketch: Sketch, person: Person) -> None:
    fill, edge = HAIR_COLOURS[person.hair]
    match person.age, person.gender:
        case "child", "female":
            for side in (1, -1):
                tail = [(20, 42), (31, 34), (40, 40), (41, 56), (36, 70), (27, 62)]
                sketch.blob([(50 + side * x, y) for x, y in tail], fill, edge, 1.4)
                sketch.oval(50 + side * 25, 38, 4.5, 5.5, "#ffd23f", "#c98f12")
        case "adult", "female":
            fall = [(50, 10), (32, 13), (22, 27), (19, 46), (17, 64), (15, 82), (30, 90)]
            sketch.blob(mirrored(fall), fill, edge, 1.4)
        case "elderly", "female":
            sketch.oval(50, 15, 12, 10, fill, edge)
            sketch.blob(mirrored([(50, 17), (34, 20), (25, 32), (24, 48), (29, 60)]), fill, edge, 1.4)
        case _:
            pass


def _body(sketch: Sketch, person: Person) -> None:
    fill, edge = CLOTHES[person.age, person.gender]
    skin, line = SKINS[person.complexion]
    if person.age == "child":
        shoulders, neck, top = [(50, 80), (40, 81), (30, 86), (25, 104)], 7.0, 79.0
    elif person.gender == "female":
        shoulders, neck, top = [(50, 76), (40, 77), (25, 82), (17, 104)], 7.5, 75.0
    else:
        shoulders, neck, top = [(50, 75), (38, 76), (18, 82), (9, 104)], 9.5, 74.0
    sketch.blob(mirrored(shoulders), fill, edge, 1.4)
    sketch.box(50 - neck, 58, 50 + neck, top + 6, 3, skin)
    sketch.oval(50, top + 5, neck, 4.5, skin)
    sketch.curve([(50 - neck, 68), (50, 73), (50 + neck, 68)], line, 1.6)
    if person.gender == "male" and person.age != "child":
        for side in (1, -1):
            collar = [(0, top + 10), (side * 11, top - 1), (side * 16, top + 7), (side * 6, top + 18)]
            sketch.shape([(50 + x, y) for x, y in collar], "#f3f5f8", edge, 1.2)


def _head(sketch: Sketch, person: Person) -> None:
    skin, line = SKINS[person.complexion]
    if person.age == "child":
        jaw, ear = [(50, 24), (35, 28), (27, 42), (27, 56), (35, 69), (50, 75)], (27.0, 53.0)
    elif person.gender == "male":
        jaw, ear = [(50, 20), (36, 23), (30, 36), (30, 52), (35, 65), (44, 72), (50, 73)], (30.0, 47.0)
    else:
        jaw, ear = [(50, 20), (37, 23), (31, 36), (31, 50), (37, 63), (50, 72)], (31.0, 47.0)
    for x in (ear[0], 100 - ear[0]):
        sketch.oval(x, ear[1], 4, 5.5, skin, line)
    sketch.blob(mirrored(jaw)[1:], skin, line, 1.2)


def _face(sketch: Sketch, person: Person) -> None:
    line = SKINS[person.complexion][1]
    child = person.age == "child"
    eyes, apart, mouth = (53.0, 10.5, 66.0) if child else (45.0, 8.5, 61.0)
    brow = HAIR_COLOURS[person.hair][1]
    for side in (1, -1):
        x = 50 + side * apart
        sketch.oval(x, eyes, 4.6 if child else 3.8, 5.2 if child else 3.0, "#ffffff", line)
        sketch.oval(x, eyes + 0.4, 3.2 if child else 2.4, 4.0 if child else 2.6, INK)
        sketch.oval(x + 1, eyes - 1.2, 1.0, 1.2, "#ffffff")
        arch = [(-4.5, 0.3), (0, -1.2), (4.5, 1.0)]
        sketch.curve([(x + side * dx, eyes - 7.5 + dy) for dx, dy in arch], brow, 1.8)
        if person.gender == "female":
            sketch.line([(x + side * 3.2, eyes - 2.4), (x + side * 6, eyes - 4.4)], INK, 1.3)
        if child:
            sketch.oval(x + side * 4.5, 62.5, 4.4, 3, _cheek(person))
    sketch.curve([(50, eyes + 3), (51.6, eyes + 8.6), (48.6, eyes + 9)], line, 1.4)
    _mouth(sketch, person, mouth)
    if person.age == "elderly":
        _wrinkles(sketch, line)
    if person.age != "child" and person.gender == "male":
        _beard(sketch, person)


def _cheek(person: Person) -> str:
    return {"dark": "#87482f", "olive": "#dd8560", "fair": "#f8a99b"}[person.complexion]


def _mouth(sketch: Sketch, person: Person, y: float) -> None:
    if person.gender == "female" and person.age != "child":
        lips = [(43.5, y), (48, y - 1.6), (50, y - 1), (52, y - 1.6), (56.5, y), (50, y + 3.6)]
        sketch.blob(lips, "#c8324a", "#7d1628", 0.7)
    else:
        sketch.curve([(44, y - 0.5), (50, y + 2.4), (56, y - 0.5)], "#8d2f2f", 1.8)


def _wrinkles(sketch: Sketch, line: str) -> None:
    for y, reach in ((28.5, 9), (32.5, 11)):
        sketch.curve([(50 - reach, y), (50, y - 1.2), (50 + reach, y)], line, 1.3)
    for side in (1, -1):
        sketch.curve([(50 + side * 6, 53), (50 + side * 9, 57), (50 + side * 9, 63)], line, 1.3)
        sketch.curve([(50 + side * 12.5, 51.5), (50 + side * 9, 53), (50 + side * 5, 51.5)], line, 1.0)


def _beard(sketch: Sketch, person: Person) -> None:
    fill, edge = HAIR_COLOURS[person.hair]
    if person.age == "elderly":
        moustache = [(50, 56.5), (43, 57), (38, 62), (44, 61.5), (50, 60), (56, 61.5), (62, 62), (57, 57)]
        sketch.blob(moustache, fill, edge, 1)
        return
    jaw = [(30, 49), (31, 57), (36, 67), (44, 74), (50, 75.5)]
    lip = [(33, 49), (35.5, 55), (41, 57.5), (46, 55.5), (50, 56.5)]
    sketch.shape([*mirrored(jaw), *reversed(mirrored(lip))], fill, edge, 1)
    sketch.blob([(43.5, 61), (50, 60), (56.5, 61), (50, 65)], "#c8645a", "#8d2f2f", 0.8)


def _hair_before(sketch: Sketch, person: Person) -> None:
    fill, edge = HAIR_COLOURS[person.hair]
    match person.age, person.gender:
        case "child", "female":
            fringe = [(50, 15), (34, 18), (24, 30), (24, 47), (28, 46), (31, 40), (40, 39), (50, 40)]
            sketch.blob(mirrored(fringe)[1:-1], fill, edge, 1.4)
            sketch.line([(50, 16), (50, 26)], edge, 1.2)
        case "child", "male":
            mop = [(25, 46), (23, 32), (30, 20), (38, 20), (42, 13), (50, 18), (58, 12), (63, 19), (72, 22)]
            mop += [(77, 33), (75, 46), (71, 38), (64, 33), (58, 38), (52, 32), (44, 38), (38, 33), (29, 39)]
            sketch.shape(mop, fill, edge, 1.4)
        case "adult", "female":
            left = [(56, 12), (38, 13), (27, 24), (24, 44), (26, 60), (31, 52), (33, 40), (42, 32), (54, 24)]
            right = [(54, 12), (66, 14), (74, 26), (76, 44), (74, 60), (69, 52), (67, 40), (60, 32), (52, 22)]
            sketch.blob(right, fill, edge, 1.4)
            sketch.blob(left, fill, edge, 1.4)
        case "adult", "male":
            crop = [(29, 46), (26, 34), (30, 21), (40, 13), (55, 12), (68, 18), (74, 32), (71, 46), (68, 36)]
            crop += [(62, 30), (48, 31), (38, 28), (32, 36)]
            sketch.blob(crop, fill, edge, 1.4)
        case "elderly", "female":
            parting = mirrored([(50, 19), (36, 21), (28, 31), (26, 46), (30, 45), (35, 35), (45, 28)])
            sketch.blob(parting, fill, edge, 1.4)
        case _:
            for side in (1, -1):
                tuft: list[Point] = [(20.5, 53), (24.5, 44), (23, 33), (16, 23), (17.5, 33), (18.5, 44)]
                sketch.blob([(50 + side * x, y) for x, y in tuft], fill, edge, 1.4)
            crown: list[Point] = [
                (34, 24),
                (40, 17.5),
                (50, 15.5),
                (60, 17.5),
                (66, 24),
                (58, 21.5),
                (50, 20.5),
                (42, 21.5),
            ]
            sketch.blob(crown, fill, edge, 1)


def _glasses(sketch: Sketch, rim: str) -> None:
    ring = [(2.5, 45), (4, 41), (8.5, 39.4), (13.5, 41), (15.2, 45), (13.5, 49.5), (8.5, 51.2), (4, 49.5)]
    for side in (1, -1):
        sketch.curve([(50 + side * x, y) for x, y in (*ring, ring[0])], rim, 1.6)
        sketch.line([(50 + side * 15.2, 44), (50 + side * 20, 43)], rim, 1.4)
    sketch.curve([(47.5, 44.5), (50, 43.2), (52.5, 44.5)], rim, 1.6)
