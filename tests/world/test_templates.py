"""A template is what the reader's working size leaves of a sprite, wherever it lies between pixels."""

import numpy as np
import pytest
from PIL import Image

from unisandbox.world.sprites import CELL, sprite
from unisandbox.world.templates import (
    FAINT,
    PHASES,
    centre,
    kind_names,
    middle,
    portraits,
    strength,
    templates,
    to_luma_chroma,
    window_side,
)

WHITE = (255, 255, 255)


def test_grey_is_all_brightness() -> None:
    assert to_luma_chroma(np.full((1, 3), 90.0))[0] == pytest.approx((90, 0, 0), abs=0.5)


def test_the_centre_is_weighted() -> None:
    weight = np.zeros((4, 6), dtype=np.float32)
    weight[1, 2], weight[1, 4] = 3, 1
    assert centre(weight) == (1.5, 3.0)


@pytest.mark.parametrize("side", [16, 12])
def test_a_window_holds_every_sprite_whole(side: int) -> None:
    for phase in ((0, 0), (PHASES - 1, PHASES - 1)):
        bank, length = templates(side, phase, WHITE), window_side(side)
        assert bank.ink.shape == (len(kind_names()), length, length, 3)
        assert bank.energy == pytest.approx((bank.flat**2).sum(axis=1), rel=1e-4)
        assert np.abs(bank.ink[:, [0, -1]]).max() < 60  # the rim of a sprite at most


def test_a_phase_moves_every_sprite_by_a_fraction_of_a_pixel() -> None:
    first, last = (np.abs(templates(16, (0, phase), WHITE).ink[..., 0]) for phase in (0, PHASES - 1))
    for before, after in zip(first, last, strict=True):
        assert centre(after)[1] - centre(before)[1] == pytest.approx(1 - 1 / PHASES, abs=0.05)
        assert centre(after)[0] == pytest.approx(centre(before)[0], abs=0.05)
    assert middle(20, PHASES - 1) - middle(20, 0) == 1 - 1 / PHASES


def test_a_template_is_the_sprite_on_the_background_reduced() -> None:
    index, background = kind_names().index("dog"), (240, 235, 250)
    drawn = Image.new("RGB", (window_side(16) * 8,) * 2, background)
    big = sprite("dog", CELL)
    ink = np.asarray(big.convert("RGBa"), dtype=np.float32)
    y, x = centre(np.maximum(strength(ink[..., 3:] - ink[..., :3]) - FAINT, 0))
    start = [round(middle(window_side(16), 1) * 8 - at) for at in (x, y)]
    drawn.paste(big, (start[0], start[1]), big)
    small = np.asarray(drawn.reduce(8), dtype=np.float32)
    expected = to_luma_chroma(np.array(background, dtype=np.float32) - small)
    found = templates(16, (1, 1), background).ink[index]
    assert np.abs(found - expected).max() < 20
    assert np.abs(found - expected).mean() < 1.5


def test_all_portraits_are_equally_opaque() -> None:
    ink, opaque = portraits()
    assert opaque.shape == (64, 64, 1)
    assert (opaque.min(), opaque.max()) == (0, 1)
    assert np.abs(ink * (opaque == 0)).max() == 0
