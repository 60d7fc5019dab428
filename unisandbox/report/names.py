"""Names in tables of the terminal. Imported with the first table, as rich is."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.containers import Lines
from rich.text import Text


class Name(Text):
    """A text that a narrow column folds behind its joints (``_ - : , /``) rather than anywhere."""

    def wrap(self, console: Console, width: int, **settings: Any) -> Lines:
        """Return the lines; words that fit stay whole."""
        if settings.get("no_wrap"):
            return super().wrap(console, width, **settings)
        words = ["\n".join(_pieces(word, width)) for word in self.plain.split(" ")]
        return Text(" ".join(words), style=self.style).wrap(console, width, **settings)


def _pieces(word: str, width: int) -> list[str]:
    """Return a word in lines that end behind joints, as long as the width allows."""
    lines = [""]
    for part in re.findall(r"[^-_:,/]*[-_:,/]|[^-_:,/]+", word):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return lines
