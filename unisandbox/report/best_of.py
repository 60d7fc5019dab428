"""The table of best-of-n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unisandbox.best_of import Best

if TYPE_CHECKING:
    from rich.table import Table

LEGEND = (
    "single: each sample's first generation. best of n: the first one that the verifier accepts, scored by "
    "the judge; where both are the same, the share in which any of n is right: no score of the model."
)


def rich_table(found: Sequence[Best]) -> Table:
    """Return the table for a terminal."""
    from rich.table import Table

    several = len({one.model for one in found}) > 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    words = ["task", "mode", *(["model"] if several else []), "verifier", "judge"]
    for name in words:
        table.add_column(name, overflow="fold")
    for name in ("single", f"best of {found[0].of}", "95 %", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            *(str(getattr(one, name)) for name in words),
            f"{one.first:.2f}",
            f"{one.best:.2f}",
            f"[{one.low:.2f}, {one.high:.2f}]",
            str(one.n),
        )
    return table
