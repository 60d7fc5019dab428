"""The committed atlas holds one clear sprite for every kind, all of one length."""

import numpy as np
import pytest
from PIL import Image

from unisandbox.world.sprites import ATLAS, CELL, COLUMNS, CONTENT, sprite
from unisandbox.world.vocabulary import kinds


def test_the_atlas_has_room_for_exactly_the_vocabulary() -> None:
    with Image.open(ATLAS) as atlas:
        assert atlas.size == (COLUMNS * CELL, -(-len(kinds()) // COLUMNS) * CELL)
    assert ATLAS.stat().st_size < 2_000_000


@pytest.mark.parametrize("name", kinds())
def test_a_sprite_is_centred_and_its_longer_side_has_the_one_length(name: str) -> None:
    box = sprite(name, CELL).getchannel("A").point(lambda alpha: 255 * (alpha > 30)).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert CONTENT - 4 <= max(right - left, bottom - top) <= CONTENT
    assert abs(left + right - CELL) <= 6
    assert abs(top + bottom - CELL) <= 6


def test_every_two_sprites_differ_plainly_even_when_small() -> None:
    small = np.stack(
        [np.asarray(sprite(name, 16).convert("RGBa"), dtype=np.float64).ravel() for name in kinds()]
    )
    squares = (small**2).sum(axis=1)
    apart = np.sqrt((squares[:, None] + squares - 2 * small @ small.T).clip(0) / small.shape[1])
    np.fill_diagonal(apart, np.inf)
    assert apart.min() > 30


@pytest.mark.parametrize("side", [12, 16, 96, 128, 256])
def test_a_sprite_comes_in_any_side(side: int) -> None:
    assert sprite("cup", side).size == (side, side)
    assert sprite("cup", side).mode == "RGBA"
