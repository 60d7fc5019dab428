"""A judge's calibration, for the terminal and for papers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unisandbox.calibration import LABELLED, Calibration, lines
from unisandbox.report.agreement import interval, number
from unisandbox.report.table import rows_as, texts_as

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("rubric", "pictures", "rate", "95 %", "n", "rejected", "errors")
LEGEND = (
    "rate: of right pictures called correct (sensitivity), of wrong ones called incorrect or rejected "
    "(specificity), with its 95 % interval. Errors are in no rate."
)


def texts(found: Calibration) -> list[list[str]]:
    """Return a row of text a rubric and kind of picture."""
    made = []
    for rubric, rates in found.rubrics.items():
        for place, (truth, kind, tally, rate) in enumerate(lines(rates)):
            name = f"  {kind.replace('_', ' ')}" if kind else truth
            counts = [str(tally.n), str(tally.rejected or ""), str(tally.errors or "")]
            made.append([rubric if place == 0 else "", name, number(rate), interval(rate), *counts])
        if found.pictures == LABELLED:
            made.append(["", "kappa", number(rates.kappa), interval(rates.kappa), "", "", ""])
    return made


def rich_table(found: Calibration) -> Table:
    """Return the table for a terminal."""
    from rich.table import Table
    from rich.text import Text

    rows = texts(found)
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [place for place, name in enumerate(COLUMNS) if name != "errors" or any(row[-1] for row in rows)]
    for place in shown:
        words = COLUMNS[place] in ("rubric", "pictures", "95 %")
        table.add_column(COLUMNS[place], justify="left" if words else "right", no_wrap=True)
    for row in rows:
        if row[0] and row is not rows[0]:
            table.add_row()
        style = "" if row[1] in ("right", "wrong", "kappa") else "dim"
        table.add_row(*(Text(row[place], style=style) for place in shown))
    return table


def export(found: Calibration, form: str) -> str:
    """Return the table as ``md``, ``csv``, ``latex`` or ``json``."""
    if form in ("csv", "json"):
        return rows_as(found.to_rows(), form)
    return texts_as(texts(found), COLUMNS, form)
