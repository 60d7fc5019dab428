"""The table of contrasts, for the terminal and for papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from unisandbox.contrast import Contrast
from unisandbox.report.table import texts_as

if TYPE_CHECKING:
    from rich.table import Table

LEGEND = (
    "change: second - first over the same units, with its 95 % interval. p: exact McNemar test (over "
    "repeats: signs flipped); Holm: corrected for all rows together, * below 0.05."
)
NUMBERS = ("first", "second", "change", "95 %", "p", "Holm", "n")
"""Columns that are never folded, however narrow the terminal is."""
ROOMY = 100
"""Characters from which on columns stand further apart."""
SHOWN = 8
"""Flipped units named in the terminal."""


def columns(contrasts: Sequence[Contrast]) -> list[str]:
    """Return the columns worth showing."""
    shown = ["task", "mode"]
    shown += ["model"] if len({one.model for one in contrasts}) > 1 else []
    judges: dict[tuple[str, str, str], set[str]] = {}
    for one in contrasts:
        judges.setdefault((one.task, one.mode, one.model), set()).add(one.judge)
    shown += ["judge"] if any(len(several) > 1 for several in judges.values()) else []
    shown += NUMBERS
    return [*shown, ""] if any(one.note for one in contrasts) else shown


def row(one: Contrast, shown: Sequence[str]) -> list[str]:
    """Return a contrast's row of text."""
    texts = {
        "task": one.task,
        "mode": one.mode,
        "model": one.model,
        "judge": one.judge,
        "first": number(one.first),
        "second": number(one.second),
        "change": "-" if one.difference is None else f"{one.difference:+.2f}",
        "95 %": "" if one.low is None or one.high is None else f"[{one.low:+.2f}, {one.high:+.2f}]",
        "p": p_value(one.p),
        "Holm": p_value(one.corrected) + (" *" if one.significant else ""),
        "n": str(one.n),
        "": one.note,
    }
    return [texts[name] for name in shown]


def number(value: float | None) -> str:
    """Return a score, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def p_value(value: float | None) -> str:
    """Return a p-value, as papers give them."""
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def rich_table(contrasts: Sequence[Contrast], width: int = ROOMY) -> Table:
    """Return the table for a terminal of so many characters."""
    from rich.table import Table

    from unisandbox.report.names import Name

    shown = columns(contrasts)
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=width < ROOMY)
    for name in shown:
        table.add_column(
            name,
            justify="left" if name not in NUMBERS or name in ("95 %", "Holm") else "right",
            no_wrap=name in (*NUMBERS, "mode"),
            overflow="fold",
        )
    for one in contrasts:
        table.add_row(
            *(Name(text, _style(name, one)) for name, text in zip(shown, row(one, shown), strict=True))
        )
    return table


def _style(column: str, one: Contrast) -> str:
    if column == "change" and one.significant:
        return "bold green" if (one.difference or 0) > 0 else "bold red"
    return {"95 %": "dim", "": "yellow"}.get(column, "")


def export(contrasts: Sequence[Contrast], form: str) -> str:
    """Return the table as ``md`` or ``latex`` (booktabs)."""
    shown = columns(contrasts)
    return texts_as([row(one, shown) for one in contrasts], shown, form)


def flipped(contrasts: Sequence[Contrast]) -> Iterator[str]:
    """Yield a line a contrast that has flipped units, the first few named."""
    for one in contrasts:
        for what, units in (("lost", one.lost), ("gained", one.gained)):
            if units:
                more = f" and {len(units) - SHOWN} more" if len(units) > SHOWN else ""
                yield f"{one.task} {one.mode} {one.model}: {what} {' '.join(units[:SHOWN])}{more}"


def flipped_rows(contrasts: Sequence[Contrast]) -> list[dict[str, Any]]:
    """Return a mapping a flipped unit."""
    return [
        {"task": c.task, "mode": c.mode, "model": c.model, "judge": c.judge, "unit": unit, "flipped": what}
        for c in contrasts
        for what, units in (("lost", c.lost), ("gained", c.gained))
        for unit in units
    ]
