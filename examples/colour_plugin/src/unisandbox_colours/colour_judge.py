"""The judge: the name of a picture's one colour."""

from collections.abc import Iterator, Sequence

from unisandbox import Case, Observation, Verdict, View, match_by_rules
from unisandbox_colours.painter import PAINTS


class ColourJudge:
    """Observes by measuring; matches by the rubric's rules."""

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Name each picture's colour, without knowing which it should be."""
        for view in views:
            assert view.image is not None
            colours = view.image.pil().getcolors(maxcolors=1)
            if colours is None:
                yield Observation(view.key, malformed="more than one colour")
                continue
            ((_, seen),) = colours
            nearest = min(PAINTS, key=lambda name: _distance(PAINTS[name], seen))
            yield Observation(view.key, {"colour": nearest})

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Compare the names."""
        return map(match_by_rules, cases)


def _distance(one: tuple[int, ...], other: object) -> int:
    assert isinstance(other, tuple)
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
