"""The drawing surface puts shapes where its units say."""

import pytest

from unisandbox.world.sketch import Sketch, mirrored, smooth, turned


def test_a_smooth_curve_passes_through_its_points() -> None:
    points = [(10.0, 10.0), (40.0, 20.0), (60.0, 80.0)]
    for closed in (False, True):
        assert set(points) <= set(smooth(points, closed))
    assert smooth(points, closed=False)[-1] == points[-1]


def test_turning_goes_clockwise_about_the_origin() -> None:
    (point,) = turned([(10, 0)], 90, (50, 50))
    assert point == pytest.approx((50, 60))


def test_a_mirrored_half_is_symmetric() -> None:
    outline = mirrored([(50, 0), (30, 40)])
    assert outline == [(50, 0), (30, 40), (70, 40), (50, 0)]


def test_shapes_fill_what_they_enclose() -> None:
    sketch = Sketch(200)
    sketch.oval(25, 50, 10, 20, "red")
    sketch.box(60, 40, 80, 60, 0, "blue")
    assert sketch.image.getpixel((50, 100)) == (255, 0, 0, 255)
    assert sketch.image.getpixel((140, 100)) == (0, 0, 255, 255)
    assert sketch.image.getpixel((100, 100)) == (0, 0, 0, 0)
    assert sketch.image.getbbox() == (30, 60, 161, 141)
