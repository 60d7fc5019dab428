"""The sprite of every kind of object, cut from the committed atlas."""

from functools import cache
from pathlib import Path

from PIL import Image

from unisandbox.world.vocabulary import kinds

ATLAS = Path(__file__).with_name("atlas.png")
CELL = 128
"""Side of a cell of the atlas, in pixels."""
CONTENT = 112
"""The longer side of every sprite inside its cell: a sixteenth of the cell is left free all round."""
COLUMNS = 12
"""Cells in a row of the atlas, which follows the order of the vocabulary."""


@cache
def sprite(kind: str, side: int) -> Image.Image:
    """Return the sprite of a kind as an RGBA image of a side in pixels."""
    # Pillow's box filter takes whole pixels only, so it averages exactly at whole ratios and nowhere else.
    whole = CELL % side == 0
    return _cells()[kind].resize((side, side), Image.Resampling.BOX if whole else Image.Resampling.HAMMING)


@cache
def _cells() -> dict[str, Image.Image]:
    with Image.open(ATLAS) as file:
        atlas = file.convert("RGBA")
    cells = {}
    for index, kind in enumerate(kinds()):
        row, column = divmod(index, COLUMNS)
        left, top = column * CELL, row * CELL
        cells[kind] = atlas.crop((left, top, left + CELL, top + CELL))
    return cells
