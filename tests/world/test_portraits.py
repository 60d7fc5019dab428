"""Portraits of different people differ, in the part that shows what is different."""

from dataclasses import replace

import numpy as np
import pytest

from unisandbox.world.people import Person, all_people
from unisandbox.world.portraits import portrait

MAN = Person("olive", "black", "adult", "male")


def test_every_two_portraits_differ_plainly_even_when_small() -> None:
    small = np.stack(
        [
            np.asarray(portrait(person, 64).convert("RGBa"), dtype=np.float64).ravel()
            for person in all_people()
        ]
    )
    squares = (small**2).sum(axis=1)
    apart = np.sqrt((squares[:, None] + squares - 2 * small @ small.T).clip(0) / small.shape[1])
    np.fill_diagonal(apart, np.inf)
    assert apart.min() > 8


@pytest.mark.parametrize("size", [64, 96, 512])
def test_a_portrait_is_a_disc_that_fills_the_picture(size: int) -> None:
    image = portrait(MAN, size)
    assert image.size == (size, size)
    assert image.getpixel((0, 0)) == (0, 0, 0, 0)
    assert image.getchannel("A").getbbox() == pytest.approx(
        (0.02 * size, 0.02 * size, 0.98 * size, 0.98 * size), abs=2
    )


def test_complexion_shows_on_the_face_and_hair_on_the_crown() -> None:
    fair, blond = replace(MAN, complexion="fair"), replace(MAN, hair="blond")
    face, crown = (50, 42), (50, 16)
    man = portrait(MAN, 100)
    assert portrait(fair, 100).getpixel(crown) == man.getpixel(crown) != portrait(blond, 100).getpixel(crown)
    assert portrait(blond, 100).getpixel(face) == man.getpixel(face) != portrait(fair, 100).getpixel(face)
