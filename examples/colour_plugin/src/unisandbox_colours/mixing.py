"""The dataset: two paints, and the colour they make."""

from typing import Any

MIXTURES = {
    ("red", "yellow"): "orange",
    ("blue", "yellow"): "green",
    ("blue", "red"): "purple",
    ("red", "white"): "pink",
    ("black", "white"): "grey",
}


def colour_mixing(*, both_ways: bool = True) -> list[dict[str, Any]]:
    """Return a row a mixture; with ``both_ways`` the two orders of one mixture make a unit."""
    rows = []
    for (first, second), colour in MIXTURES.items():
        for one, other in ((first, second), (second, first))[: 1 + both_ways]:
            rows.append(
                {
                    "id": f"{one}-{other}",
                    "mixture": f"{first}-{second}",
                    "question": f"Mix {one} and {other} paint and fill the picture with what you get.",
                    "colour": colour,
                }
            )
    return rows
