"""How far judges agree, for the terminal and for papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from unisandbox.agreement import UNJUDGED, Agreement
from unisandbox.report.table import rows_as, texts_as
from unisandbox.stats import Estimate
from unisandbox.trials import JUDGED

if TYPE_CHECKING:
    from rich.table import Table

LEGEND = (
    "agree: share of trials with two verdicts on which both say correct, or neither does. kappa: agreement "
    "beyond chance, 1 at most (Cohen). Errors and answers not judged yet are in neither."
)
COLUMNS = ("task", "agree", "95 %", "kappa", "95 % ", "n", "unjudged")


def row(one: Agreement) -> list[str]:
    """Return the row of text of a task."""
    return [
        one.task or "all",
        number(one.agreed),
        interval(one.agreed),
        number(one.kappa),
        interval(one.kappa) or one.kappa.reason,
        str(one.n),
        str(one.unjudged or ""),
    ]


def number(figure: Estimate) -> str:
    """Return a value with two places, or a dash."""
    return "-" if figure.value is None else f"{figure.value:.2f}"


def interval(figure: Estimate) -> str:
    """Return the 95 % interval, or nothing.

    >>> interval(Estimate(0.5, 0.25, 0.75, 12)), interval(Estimate(None))
    ('[0.25, 0.75]', '')
    """
    return "" if figure.low is None or figure.high is None else f"[{figure.low:.2f}, {figure.high:.2f}]"


def confusion(one: Agreement) -> list[list[str]]:
    """Return the rows of the confusion table: what the first said, and what the second then did."""
    said = [*JUDGED, *([UNJUDGED] if one.unjudged else [])]
    return [[a, *(str(one.table.get((a, b), 0)) for b in said)] for a in said]


def tables(found: Sequence[Agreement]) -> Iterator[str | Table]:
    """Yield, for every two judges, their names, the table of tasks, and the confusion table."""
    from rich.table import Table
    from rich.text import Text

    def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
        made = Table(box=None, pad_edge=False, header_style="bold")
        for name in columns:
            words = name in ("task", "95 %", "95 % ") or name == columns[0]
            made.add_column(name, justify="left" if words else "right", overflow="fold")
        for texts in rows:
            made.add_row(*map(Text, texts))
        return made

    for pair, group in groupby(found, key=lambda one: (one.first, one.second)):
        by_task = list(group)
        yield f"\nfirst: {pair[0]}\nsecond: {pair[1]}"
        unjudged = any(one.unjudged for one in by_task)
        shown = COLUMNS if unjudged else COLUMNS[:-1]
        yield table(shown, [row(one)[: len(shown)] for one in by_task])
        rows = confusion(by_task[-1])
        yield ""
        yield table(["first (down), second (across)", *(texts[0] for texts in rows)], rows)


def export(found: Sequence[Agreement], form: str) -> str:
    """Return a row for every two judges and task as ``md``, ``csv``, ``latex`` or ``json``."""
    if form in ("csv", "json"):
        return rows_as([one.to_row() for one in found], form)
    texts = [[one.first, one.second, *row(one)] for one in found]
    return texts_as(texts, ["first", "second", *COLUMNS], form)
