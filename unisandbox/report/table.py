"""The results table, for the terminal and for papers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unisandbox.modes import MODES
from unisandbox.records import Score
from unisandbox.results import Cell, Results

if TYPE_CHECKING:
    from rich.table import Table

EXPORTED = ("md", "csv", "latex", "json")
ROOMY = 160
"""Characters of a terminal when nobody says how many."""
READABLE = {"model": 14, "judge": 14, "": 24}
"""Columns that may be folded, and down to how many characters they can be read."""
CONCESSIONS = (
    (),
    ("gaps",),
    ("gaps", ""),
    ("gaps", "", "corrected"),
    ("gaps", "", "corrected", "model", "judge"),
    ("gaps", "", "corrected", "model", "judge", "task"),
)
"""What a table gives up in turn to fit a terminal: space between columns; notes, corrected scores and names
in columns of their own; tasks on one line.

Notes and names go below the table, a corrected score below its score.
"""
MARKS = {"": "[{}]", "model": "M{}", "judge": "J{}"}
"""What stands in a column for a text that went below the table."""
BELOW = "  corrected"


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


def shown_columns(cells: Sequence[Cell]) -> list[str]:
    """Return the columns for people: those of notes only where there are some."""
    return columns(cells) if any(map(beside, cells)) else columns(cells)[:-1]


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


def rich_table(results: Results, width: int = ROOMY) -> Table:
    """Return the table for a terminal of so many characters; numbers are never folded.

    Where it is too wide, it gives up the first of ``CONCESSIONS`` that makes it fit.
    """
    from rich.table import Table

    from unisandbox.report.names import Name

    cells = in_order(results.cells)
    for given_up in CONCESSIONS:
        grid = _arranged(cells, given_up)
        if grid.width <= width:
            break
    key = [f"{mark} {text}" for (_, text), mark in grid.key.items()]
    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        collapse_padding=grid.gap == 1,
        caption=Name("\n".join(["", *key])) if key else None,
        caption_style="dim",
        caption_justify="left",
    )
    for name in grid.names:
        table.add_column(
            name,
            justify="right" if name in ("score", "n", "guess") else "left",
            min_width=grid.least(name),
            no_wrap=name not in grid.folded,
            overflow="fold",
        )
    before: Cell | None = None
    for cell, texts in grid.rows:
        if before is not None and cell.task != before.task:
            table.add_section()
            table.add_row()
        table.add_row(
            *(Name(text, _style(name, cell, texts)) for name, text in zip(grid.names, texts, strict=True))
        )
        before = cell
    return table


@dataclass(frozen=True, slots=True)
class _Grid:
    """The texts of a table, arranged for some width."""

    names: Sequence[str]
    """Its columns."""
    rows: Sequence[tuple[Cell, Sequence[str]]]
    key: Mapping[tuple[str, str], str]
    """Column and text of what went below the table -> its mark."""
    folded: Mapping[str, int]
    """Columns that may be folded -> characters that they need."""
    gap: int
    """Spaces between columns."""

    def least(self, name: str) -> int:
        """Return the characters that a column needs to be read."""
        place = self.names.index(name)
        natural = max([len(name), *(len(texts[place]) for _, texts in self.rows)])
        return min(natural, self.folded.get(name, natural))

    @property
    def width(self) -> int:
        """The characters that the whole table needs."""
        return sum(map(self.least, self.names)) + self.gap * (len(self.names) - 1)


def _arranged(cells: Sequence[Cell], given_up: Sequence[str]) -> _Grid:
    """Return the texts of the cells without what is given up."""
    shown = shown_columns(cells)
    names = [name for name in shown if name != "corrected" or name not in given_up]
    marks: dict[str, dict[str, str]] = {name: {} for name in shown if name in MARKS and name in given_up}
    rows: list[tuple[Cell, Sequence[str]]] = []
    before: Cell | None = None
    for cell in cells:
        texts = dict(zip(shown, row(cell, shown), strict=True))
        for name, of_text in marks.items():
            if text := texts[name]:
                texts[name] = of_text.setdefault(text, MARKS[name].format(len(of_text) + 1))
        if before is not None and cell.task == before.task:
            texts["task"] = ""
            if cell.model == before.model and "model" in shown:
                texts["model"] = ""
        rows.append((cell, [texts[name] for name in names]))
        if "corrected" in given_up and (figure := texts.get("corrected")):
            value, _, between = figure.partition(" ")
            below = {"mode": BELOW, "score": value, "95 %": between}
            rows.append((cell, [below.get(name, "") for name in names]))
        before = cell
    key = {(name, text): mark for name, of_text in marks.items() for text, mark in of_text.items()}
    folded = READABLE | ({"task": 14} if "task" in given_up else {})
    return _Grid(names, rows, key, folded, gap=1 if given_up else 2)


def _style(name: str, cell: Cell, texts: Sequence[str]) -> str:
    """Colour says how a score stands to guessing; nothing is said by colour alone."""
    if not cell.supported or name in ("guess", "95 %", "corrected") or BELOW in texts:
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
