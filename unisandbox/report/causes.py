"""The attribution table, for the terminal and for papers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from unisandbox.attribution import SPLIT, Attribution, Causes
from unisandbox.report.table import rows_as, texts_as
from unisandbox.stats import Estimate

if TYPE_CHECKING:
    from rich.table import Table

LEGEND = (
    "failures: direct pictures that failed, each put down to the first of render, recall and answer that "
    "fails too, or to transfer when all pass. transfer: of those, what cot recovers, what only refined does "
    "(context interference), what neither does (elicitation). understood: samples that pass answer, render "
    "and recall. gap: mean(answer) x mean(render) - mean(direct). n over repeats is an expected number."
)

NUMBERS = ("value", "95 %", "n")
"""Columns that are never folded, however narrow the terminal is."""


def columns(attribution: Attribution) -> list[str]:
    """Return the columns worth showing: model and judge where they differ, notes where there are some."""
    cells = attribution.cells
    varying = {
        "model": len({cell.model for cell in cells}) > 1,
        "judge": len({cell.judge for cell in cells}) > 1,
    }
    shown = [name for name, shows in varying.items() if shows]
    reasons = any(figure.reason for cell in cells for _, _, figure in cell.figures())
    return ["task", *shown, "of", "figure", "value", "95 %", "n", *([""] if reasons else [])]


def rows(cell: Causes, shown: list[str]) -> Iterator[list[str]]:
    """Yield a row of text a figure."""
    for of, name, figure in cell.figures():
        texts = {
            "task": f"{cell.task} (corrected)" if cell.corrected else cell.task,
            "model": cell.model,
            "judge": cell.judge,
            "of": of,
            "figure": SPLIT.get(name, name),
            "value": "-" if figure.value is None else f"{figure.value:.2f}",
            "95 %": _interval(figure),
            "n": _count(figure),
            "": figure.reason,
        }
        yield [texts[column] for column in shown]


def _count(figure: Estimate) -> str:
    """Return n: a whole number, unless repeats give parts of one."""
    return f"{figure.n:.1f}".removesuffix(".0") if figure.known else ""


def _interval(figure: Estimate) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"[{figure.low:.2f}, {figure.high:.2f}]"


def rich_table(attribution: Attribution) -> Table:
    """Return the table for a terminal; what stands in the row above is not repeated."""
    from rich.table import Table

    from unisandbox.report.names import Name

    shown = columns(attribution)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in shown:
        table.add_column(
            name,
            justify="right" if name in ("value", "n") else "left",
            no_wrap=name in (*NUMBERS, "of", "figure"),
            overflow="fold",
        )
    for number, cell in enumerate(attribution):
        if number:
            table.add_row()
        before: list[str] = []
        for texts in rows(cell, shown):
            end = shown.index("figure")
            same = 0
            while before and same < end and texts[same] == before[same]:
                same += 1
            short = ["" if place < same else text for place, text in enumerate(texts)]
            table.add_row(*(Name(text, _style(n)) for n, text in zip(shown, short, strict=True)))
            before = texts
    return table


def _style(column: str) -> str:
    return {"95 %": "dim", "": "yellow", "value": "bold"}.get(column, "")


def export(attribution: Attribution, form: str) -> str:
    """Return the table as ``md`` (with its reading), ``csv``, ``latex`` (booktabs) or ``json``."""
    if form in ("csv", "json"):
        return rows_as(attribution.to_rows(), form)
    shown = columns(attribution)
    table = texts_as([row for cell in attribution for row in rows(cell, shown)], shown, form)
    return f"{table}\n\n{attribution.reading()}" if form == "md" else table


def not_asked(attribution: Attribution) -> str:
    """Return which modes are missing though the task may have them, '' when none is."""
    missing = {mode for cell in attribution for mode, why in cell.missing.items() if why == "not asked"}
    if not missing:
        return ""
    return (
        f"Not asked: {', '.join(sorted(missing))}. A run with --attribution asks all that tells causes apart."
    )
