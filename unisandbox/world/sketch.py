"""A small drawing surface of 100 x 100 units, for portraits and for sprites no emoji gives."""

import math
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw

Point = tuple[float, float]


class Sketch:
    """A transparent drawing of 100 x 100 units; has no smooth edges, so draw it large and reduce it."""

    def __init__(self, side: int) -> None:
        self.image = Image.new("RGBA", (side, side))
        self._draw = ImageDraw.Draw(self.image)
        self._unit = side / 100

    def shape(self, points: Iterable[Point], fill: str, edge: str | None = None, width: float = 1.2) -> None:
        """Fill a closed outline, and draw its edge."""
        corners = self._pixels(points)
        self._draw.polygon(corners, fill=fill)
        if edge:
            self._stroke([*corners, *corners[:2]], edge, width)

    def blob(self, points: Sequence[Point], fill: str, edge: str | None = None, width: float = 1.2) -> None:
        """Fill the smooth closed curve through points, and draw its edge."""
        self.shape(smooth(points, closed=True), fill, edge, width)

    def oval(
        self, x: float, y: float, rx: float, ry: float, fill: str, edge: str | None = None, turn: float = 0
    ) -> None:
        """Fill an ellipse about (x, y), turned clockwise by an angle in degrees."""
        around = [(rx * math.cos(angle), ry * math.sin(angle)) for angle in angles(72)]
        self.shape(turned(around, turn, (x, y)), fill, edge)

    def line(self, points: Sequence[Point], fill: str, width: float) -> None:
        """Draw a line with round ends through points."""
        self._stroke(self._pixels(points), fill, width)
        for x, y in (points[0], points[-1]):
            self.oval(x, y, width / 2, width / 2, fill)

    def curve(self, points: Sequence[Point], fill: str, width: float) -> None:
        """Draw the smooth line through points."""
        self.line(smooth(points, closed=False), fill, width)

    def box(self, left: float, top: float, right: float, bottom: float, radius: float, fill: str) -> None:
        """Fill a rectangle with round corners."""
        corners = self._pixels([(left, top), (right, bottom)])
        self._draw.rounded_rectangle(corners, radius * self._unit, fill)

    def _pixels(self, points: Iterable[Point]) -> list[tuple[int, int]]:
        return [(round(x * self._unit), round(y * self._unit)) for x, y in points]

    def _stroke(self, corners: list[tuple[int, int]], fill: str, width: float) -> None:
        self._draw.line(corners, fill=fill, width=max(1, round(width * self._unit)), joint="curve")


def angles(steps: int) -> list[float]:
    """Return evenly spaced angles of a full turn, in radians."""
    return [2 * math.pi * step / steps for step in range(steps)]


def turned(points: Iterable[Point], degrees: float, centre: Point) -> list[Point]:
    """Turn points clockwise about the origin, then move the origin to a centre."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos) for x, y in points]


def mirrored(points: Iterable[Point]) -> list[Point]:
    """Return points followed by their mirror images about x = 50, last first: one half makes an outline."""
    half = list(points)
    return half + [(100 - x, y) for x, y in reversed(half)]


def smooth(points: Sequence[Point], closed: bool, steps: int = 10) -> list[Point]:
    """Return points on the Catmull-Rom curve through the given ones."""
    before, after = (points[-1:], points[:2]) if closed else (points[:1], points[-1:])
    ring = [*before, *points, *after]
    curve = [
        (_spline(a[0], b[0], c[0], d[0], step / steps), _spline(a[1], b[1], c[1], d[1], step / steps))
        for a, b, c, d in zip(ring, ring[1:], ring[2:], ring[3:], strict=False)
        for step in range(steps)
    ]
    return curve if closed else [*curve, points[-1]]


def _spline(before: float, start: float, end: float, after: float, t: float) -> float:
    slope, bend = end - before, 2 * before - 5 * start + 4 * end - after
    return start + 0.5 * t * (slope + t * (bend + t * (3 * (start - end) + after - before)))
