"""What probes read, layer by layer: the table, and the plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unisandbox.probe import Place, Reading
from unisandbox.report.plots import save
from unisandbox.report.table import rows_as, texts_as

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

LEGEND = (
    "Numbers: share of test samples whose target a linear probe reads off the hidden state of a layer (0: "
    "the embedding), at the last position before the output, or after +N tokens of the picture. 95 %: of the "
    "last layer. guess: without looking. shuffled: the same probe taught on shuffled labels, its best layer."
)
LAYERS = 9
"""Columns of layers; of a deeper network every second, third, ... is shown, and always the last."""

FEW_LAYERS, NARROW = 4, 110
"""Columns of layers in terminals of fewer characters."""

WORDS = ("task", "model", "slot", "at")
DIM = {"95 %": "dim", "guess": "dim", "shuffled": "dim"}

Panel = tuple[str, str, str]
"""Task, model, slot."""


def panels(readings: Sequence[Reading]) -> dict[Panel, dict[Place, list[Reading]]]:
    """Return the readings of each panel and place, by layer."""
    found: dict[Panel, dict[Place, list[Reading]]] = {}
    for one in readings:
        found.setdefault((one.task, one.model, one.slot), {}).setdefault(one.place, []).append(one)
    return found


def shown_layers(readings: Sequence[Reading], most: int = LAYERS) -> list[int]:
    """Return the layers that have a column."""
    last = max(one.layer for one in readings)
    step = -(-last // (most - 1)) or 1
    return list(range(last % step, last + 1, step))


def columns(readings: Sequence[Reading], most: int = LAYERS) -> list[str]:
    """Return the columns; the model only where there are several."""
    model = ["model"] if len({one.model for one in readings}) > 1 else []
    layers = map(str, shown_layers(readings, most))
    return ["task", *model, "slot", "at", *layers, "95 %", "guess", "shuffled", "n"]


def rows(readings: Sequence[Reading], shown: Sequence[str]) -> Iterator[list[str]]:
    """Yield a row of text a panel and place."""
    for (task, model, slot), places in panels(readings).items():
        for place, found in places.items():
            last = found[-1]
            texts = {"task": task, "model": model, "slot": slot, "at": place.short}
            texts |= {str(one.layer): _number(one.accuracy.value) for one in found}
            texts |= {
                "95 %": f"[{_number(last.accuracy.low)}, {_number(last.accuracy.high)}]",
                "guess": _number(last.guess),
                "shuffled": _number(max(one.shuffled for one in found)),
                "n": f"{last.accuracy.n:.0f}",
            }
            yield [texts.get(name, "") for name in shown]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def rich_table(readings: Sequence[Reading], width: int = NARROW) -> Table:
    """Return the table for a terminal of so many characters; what stands in the row above is not repeated."""
    from rich.table import Table
    from rich.text import Text

    shown = columns(readings, LAYERS if width >= NARROW else FEW_LAYERS)
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=width < NARROW)
    for name in shown:
        words = name in WORDS
        table.add_column(
            name, justify="left" if words or name == "95 %" else "right", no_wrap=not words, overflow="fold"
        )
    before: list[str] = []
    for texts in rows(readings, shown):
        same = 0
        while before and texts[same] == before[same] and shown[same] != "at":
            same += 1
        short = ["" if place < same else text for place, text in enumerate(texts)]
        table.add_row(*(Text(text, style=DIM.get(name, "")) for name, text in zip(shown, short, strict=True)))
        before = texts
    return table


def export(readings: Sequence[Reading], form: str) -> str:
    """Return the readings as ``md`` (the table), ``csv`` or ``json`` (one row a layer)."""
    if form in ("csv", "json"):
        return rows_as([one.to_row() for one in readings], form)
    shown = columns(readings)
    return texts_as(list(rows(readings, shown)), shown, form)


# --- the plot ---

LOOKS = (
    ("black", "-", "o"),
    ("0.35", "--", "s"),
    ("0.55", "-.", "^"),
    ("0.0", ":", "D"),
    ("0.45", "-", "v"),
    ("0.65", "--", "x"),
)
"""Grey, line and marker of each place: told apart in print, and by those who see no colours."""


def plot(readings: Sequence[Reading], path: Path) -> None:
    """Draw accuracy against layer, a panel a task, model and slot, a line a place, with guessing beside."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    found = panels(readings)
    wide = min(3, len(found))
    high = -(-len(found) // wide)
    with rc_context({"svg.hashsalt": "unisandbox", "font.size": 9}):
        figure = Figure(figsize=(0.6 + 4.2 * wide, 0.9 + 3.0 * high), layout="constrained")
        axes = figure.subplots(high, wide, squeeze=False, sharey=True)
        for place, panel in zip(axes.flat, found, strict=False):
            _draw(place, panel, found[panel], several=len({one.model for one in readings}) > 1)
        for place in axes.flat[len(found) :]:
            place.set_visible(False)
        for row in axes:
            row[0].set_ylabel("read right, of test samples")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
        save(figure, path)


def _draw(axes: Axes, panel: Panel, places: dict[Place, list[Reading]], *, several: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    task, model, slot = panel
    for number, (place, found) in enumerate(places.items()):
        grey, line, marker = LOOKS[number % len(LOOKS)]
        layers = [one.layer for one in found]
        low, high = ([getattr(one.accuracy, bound) for one in found] for bound in ("low", "high"))
        axes.fill_between(layers, low, high, color=grey, alpha=0.12, linewidth=0)
        values = [one.accuracy.value or 0.0 for one in found]
        axes.plot(layers, values, color=grey, linestyle=line, marker=marker, markersize=4, label=place.label)
    every = [one for found in places.values() for one in found]
    axes.axhline(every[0].guess, color="black", linewidth=0.8, linestyle=(0, (1, 3)), label="guess")
    bounds = [sorted(one.shuffled for one in every)[place] for place in (0, -1)]
    axes.axhspan(*bounds, color="0.8", alpha=0.6, linewidth=0, label="shuffled labels")
    axes.set(title=f"{task}: {slot}" + (f"\n{model}" if several else ""), xlabel="layer", ylim=(0, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
