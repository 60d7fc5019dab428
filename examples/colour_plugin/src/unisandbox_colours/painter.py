"""The model: reads two colour words, mixes them if it can, and fills a square."""

import re
from collections.abc import Iterator, Sequence

from PIL import Image as pil

from unisandbox import Generation, Image, Request
from unisandbox_colours.mixing import MIXTURES

PAINTS = {
    "red": (220, 30, 30),
    "yellow": (245, 220, 40),
    "blue": (40, 70, 210),
    "white": (255, 255, 255),
    "black": (10, 10, 10),
    "orange": (240, 140, 30),
    "green": (40, 160, 70),
    "purple": (120, 50, 160),
    "pink": (250, 170, 190),
    "grey": (128, 128, 128),
}


class Painter:
    """Draws a plain square; without ``mixes`` it paints the first colour it reads."""

    def __init__(self, *, mixes: bool = True, size: int = 32) -> None:
        """Set whether it can mix, and the square's side in pixels."""
        self._mixes = mixes
        self._size = size

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Answer in words or with a square."""
        for request in requests:
            colour = self._colour(request.prompt.text)
            if request.prompt.output == "text":
                yield Generation(request.key, text=f"Draw: {colour}")
            else:
                square = pil.new("RGB", (self._size, self._size), PAINTS[colour])
                yield Generation(request.key, Image.from_pil(square))

    def _colour(self, prompt: str) -> str:
        words = re.findall("|".join(PAINTS), prompt)
        mixture = MIXTURES.get((min(words[:2]), max(words[:2]))) if len(words) > 1 else None
        return mixture if self._mixes and mixture else words[0]
