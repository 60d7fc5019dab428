"""The results table, for the terminal and for papers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unisandbox.modes import MODES
from unisandbox.records import Score
from unisandbox.results import Cell, Results

if TYPE_CHECKING:
    from rich.table import Table

EXPORTED = ("md", "csv", "latex", "json")


def interval(score: Score) -> str:
    """Return the 95 % interval.

    >>> interval(Score(0.9, 0.82, 0.95, 90, 10, 0.81, 0.91, {}))
    '[0.82, 0.95]'
    """
    return "" if score.low is None or score.high is None else f"[{score.low:.2f}, {score.high:.2f}]"


def beside(cell: Cell) -> str:
    """Return what a reader must know beside a score: what is not in it, and answers that are no answers."""
    score = cell.score
    if not cell.supported:
        return cell.note
    notes = [cell.remark] if cell.remark else []
    if score.unscored:
        why = f"{score.errors} errors" if score.errors else "unfinished"
        bounds = "" if score.lowest is None else f": {score.lowest:.2f}-{score.highest:.2f}"
        notes.append(f"{why}{bounds}")
    for outcome in ("rejected", "empty", "refused", "truncated"):
        if count := score.outcomes.get(outcome):
            notes.append(f"{count} {outcome}")
    if cell.corrected and cell.corrected.value is None:
        notes.append(f"not corrected: {cell.corrected.reason}")
    return "; ".join(notes)


def corrected(cell: Cell) -> str:
    """Return the score without the judge's errors, with its 95 % interval."""
    figure = cell.corrected
    if figure is None or figure.value is None:
        return "-" if figure else ""
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"


def counted(score: Score) -> str:
    """Return the scored units, and of how many when not all are.

    >>> counted(Score(0.9, 0.82, 0.95, 90, 10, 0.81, 0.91, {}))
    '90/100'
    """
    return f"{score.n}/{score.n + score.unscored}" if score.unscored else str(score.n)


def in_order(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells by task, then model, then mode: what explains one score stands around it."""
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    models = list(dict.fromkeys(cell.model for cell in cells))
    order = list(MODES)
    return sorted(
        cells, key=lambda cell: (tasks.index(cell.task), models.index(cell.model), order.index(cell.mode))
    )


def columns(cells: Sequence[Cell]) -> list[str]:
    """Return the columns worth showing: model and judge only where they differ."""
    shown = ["task"]
    if len({cell.model for cell in cells}) > 1:
        shown.append("model")
    shown.append("mode")
    judges: dict[tuple[str, str, str], set[str]] = {}
    for cell in cells:
        judges.setdefault((cell.task, cell.mode, cell.model), set()).add(cell.judge)
    if any(len(of_cell) > 1 for of_cell in judges.values()):
        shown.append("judge")
    corrected = ["corrected"] if any(cell.corrected for cell in cells) else []
    return [*shown, "score", "95 %", *corrected, "n", "guess", ""]


def row(cell: Cell, shown: Sequence[str]) -> list[str]:
    """Return a cell's row of text."""
    value = cell.score.value
    texts = {
        "task": cell.task,
        "mode": cell.mode,
        "model": cell.model,
        "judge": cell.judge,
        "score": "-" if value is None else f"{value:.2f}",
        "95 %": interval(cell.score),
        "corrected": corrected(cell),
        "n": counted(cell.score),
        "guess": f"{cell.chance:.2f}" if cell.supported else "",
        "": beside(cell),
    }
    return [texts[name] for name in shown]


def rich_table(results: Results) -> Table:
    """Return the table for a terminal; numbers are never folded."""
    from rich.table import Table
    from rich.text import Text

    shown = columns(results.cells)
    shown = shown if any(beside(cell) for cell in results.cells) else shown[:-1]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in shown:
        number = name in ("score", "95 %", "corrected", "n", "guess")
        table.add_column(
            name,
            justify="right" if name in ("score", "n", "guess") else "left",
            no_wrap=number or name in ("task", "mode"),
            overflow="fold",
        )
    before: Cell | None = None
    for cell in in_order(results.cells):
        if before is not None and cell.task != before.task:
            table.add_section()
            table.add_row()
        texts = row(cell, shown)
        if before is not None and cell.task == before.task:
            texts[0] = ""
            if cell.model == before.model and "model" in shown:
                texts[1] = ""
        table.add_row(
            *(Text(text, style=_style(name, cell)) for name, text in zip(shown, texts, strict=True))
        )
        before = cell
    return table


def _style(name: str, cell: Cell) -> str:
    """Colour says how a score stands to guessing; nothing is said by colour alone."""
    if not cell.supported or name in ("guess", "95 %", "corrected"):
        return "dim"
    if name == "":
        return "yellow"
    if name != "score" or cell.score.low is None or cell.score.high is None:
        return ""
    if cell.score.low > cell.chance:
        return "bold green"
    return "bold red" if cell.score.high < cell.chance else "bold"


def legend(results: Results) -> str:
    """Return how to read the table."""
    text = (
        "score: share of units that are right, with its 95 % interval over n units. "
        "guess: what the best strategy without looking scores."
    )
    if any(cell.corrected for cell in results):
        text += " corrected: the score without the judge's own errors, as far as they were counted."
    if any(cell.score.unscored for cell in results):
        text += " errors are in no score; the range is the score with all of them wrong, or right."
    return text


def export(results: Results, form: str) -> str:
    """Return the table as ``md``, ``csv``, ``latex`` (booktabs) or ``json``."""
    if form in ("csv", "json"):
        return rows_as(results.to_rows(), form)
    shown = columns(results.cells)
    return texts_as([row(cell, shown) for cell in in_order(results.cells)], shown, form)


def texts_as(texts: Sequence[Sequence[str]], shown: Sequence[str], form: str) -> str:
    """Return rows of text under their columns as ``md`` or ``latex``; the nameless column holds notes."""
    from tabulate import tabulate

    names = [name or "notes" for name in shown]
    style = {"md": "github", "latex": "latex_booktabs"}[form]
    if form == "md":
        texts = [[text.replace("|", r"\|") for text in line] for line in texts]
    return tabulate(texts, headers=names, tablefmt=style, disable_numparse=True)


def rows_as(rows: Sequence[dict[str, Any]], form: str) -> str:
    """Return plain rows as CSV or JSON."""
    if form == "json":
        return json.dumps(list(rows), indent=1, ensure_ascii=False)
    text = io.StringIO()
    if rows:
        names = list(dict.fromkeys(name for one in rows for name in one))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue().rstrip("\n")
