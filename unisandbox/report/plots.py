"""Charts for papers: vector files, readable in grey, as wide as one column or two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unisandbox.attribution import CAUSES, attribute
from unisandbox.calibration import read_calibrations
from unisandbox.errors import UsageError
from unisandbox.report import charts
from unisandbox.results import load_run, matches
from unisandbox.training.stars import load as load_stars

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")
WIDTHS = {1: 3.35, 2: 6.9}
"""Columns of a paper -> inches."""
Patterns = Mapping[str, Sequence[str]]
"""Column -> globs."""

LOOKS = {
    "direct": ("black", "o"),
    "cot": ("0.2", "s"),
    "refined": ("0.35", "^"),
    "render": ("0.6", "D"),
    "answer": ("0.5", "v"),
}
"""Grey and marker of each mode: told apart in print, and by those who see no colours."""
GAP = "to answer × render"
FILLS = {
    "rendering": ("0.85", ""),
    "knowledge": ("1.0", "...."),
    "reasoning": ("1.0", "////"),
    "transfer": ("0.35", ""),
    "unscored": ("1.0", ""),
}
"""Grey and hatching of each cause."""


def check_path(path: Path) -> None:
    """Raise UsageError for a plot that cannot be written there."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"-o {path}: a plot is written as {', '.join(SUFFIXES)}, as its name says.")
    if not path.parent.is_dir():
        raise UsageError(f"-o {path}: there is no folder {path.parent}.")


def save(figure: Figure, path: Path) -> None:
    """Write a figure, so that the same figures are the same bytes; raises UsageError."""
    suffix = path.suffix.lower()
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix)
    try:
        figure.savefig(path, dpi=150 if suffix == ".png" else None, metadata=undated)
    except OSError as error:
        raise UsageError(f"-o {path}: {error.strerror or error}.") from None


def plot(kind: str, folders: Sequence[Path], path: Path, *, columns: int, only: Patterns) -> None:
    """Draw a chart of runs; raises UsageError when there is nothing to draw, or nowhere to write it."""
    from matplotlib import rc_context

    check_path(path)
    with rc_context(
        {"svg.hashsalt": "unisandbox", "pdf.fonttype": 42, "font.size": 8, "hatch.linewidth": 0.5}
    ):
        save(KINDS[kind](folders, WIDTHS[columns], only), path)


def gap(folders: Sequence[Path], width: float, only: Patterns) -> Figure:
    """Scores of each task and model on one axis, with intervals, guessing, and what they come to."""
    rows = [
        row for folder in folders for row in charts.gap(load_run(folder).only(**only), folder.resolve().name)
    ]
    _check(rows, f"no cell with a score in {', '.join(charts.GAP_MODES)}")
    figure, axes = _empty(rows, width, 0.15 * len(charts.GAP_MODES) + 0.12)
    for place, row in enumerate(rows):
        for number, mark in enumerate(row.marks):
            _mark(axes, place + _offset(number, len(row.marks)), mark)
        if row.expected is not None and row.direct is not None and row.expected > row.direct:
            y = place + _offset(0, len(row.marks))
            axes.barh(y, row.expected - row.direct, 0.12, row.direct, color="0.85", zorder=0, label=GAP)
    axes.set_xlabel("score, 95 % interval")
    _legend(figure, axes, width)
    return figure


def _offset(number: int, count: int) -> float:
    return (number - (count - 1) / 2) * 0.15


def _mark(axes: Axes, y: float, mark: charts.Mark) -> None:
    grey, marker = LOOKS[mark.mode]
    axes.plot([mark.low, mark.high], [y, y], color=grey, linewidth=1)
    axes.plot(mark.value, y, marker, color=grey, markersize=4, linestyle="", label=mark.mode)
    _guessing(axes, mark.chance, y)


def _guessing(axes: Axes, chance: float, y: float) -> None:
    axes.plot([chance] * 2, [y - 0.08, y + 0.08], ":", color="black", linewidth=1, label="guessing")


def attribution(folders: Sequence[Path], width: float, only: Patterns) -> Figure:
    """Shares of the causes among the direct pictures that failed."""
    rows = [
        row
        for folder in folders
        for row in charts.bars(attribute(folder).only(**only), folder.resolve().name)
    ]
    _check(rows, "no failure whose cause can be told: a run with --attribution asks all that it takes")
    figure, axes = _empty(rows, width, 0.38)
    for place, row in enumerate(rows):
        for part in row.parts:
            grey, hatch = FILLS[part.cause]
            axes.barh(
                place, part.value, 0.6, part.start, color=grey, hatch=hatch, edgecolor="black", linewidth=0.5,
                label=part.cause,
            )  # fmt: skip
    axes.set_xlabel("share of failed direct pictures")
    _legend(figure, axes, width, CAUSES)
    return figure


def stars(folders: Sequence[Path], width: float, only: Patterns) -> Figure:
    """What an arm of STARS changed: from the score before, hollow, to that after its last stage."""
    rows = [row for folder in folders for row in charts.stars(load_stars(folder), folder.resolve().name)]
    rows = [row for row in rows if all(matches(globs, getattr(row, name)) for name, globs in only.items())]
    _check(rows, "no task that was evaluated before and after")
    figure, axes = _empty(rows, width, 0.15 * 3 + 0.12)
    for place, row in enumerate(rows):
        for number, change in enumerate(row.changes):
            grey, marker = LOOKS[change.mode]
            y = place + _offset(number, len(row.changes))
            axes.plot([change.before, change.after], [y, y], color=grey, linewidth=1)
            axes.plot(change.before, y, marker, color=grey, markersize=4, fillstyle="none", linestyle="")
            axes.plot(change.after, y, marker, color=grey, markersize=4, linestyle="", label=change.mode)
            _guessing(axes, change.chance, y)
    axes.set_xlabel("score before (hollow) and after (filled)")
    _legend(figure, axes, width)
    return figure


def calibration(folders: Sequence[Path], width: float, only: Patterns) -> Figure:
    """How often judges pass right pictures (sensitivity) and fail wrong ones (specificity), by rubric."""
    rows = [row for folder in folders for found in read_calibrations(folder) for row in charts.rates(found)]
    rows = [row for row in rows if matches(only["judge"], row.model)]
    _check(rows, "no judge of that name is calibrated there")
    figure, axes = _empty(rows, width, 0.38)
    for place, row in enumerate(rows):
        for (name, rate), grey, y in zip(
            row.rates, ("black", "0.5"), (place - 0.1, place + 0.1), strict=True
        ):
            if rate.value is None or rate.low is None or rate.high is None:
                continue
            axes.plot([rate.low, rate.high], [y, y], color=grey, linewidth=1)
            axes.plot(rate.value, y, "o", color=grey, markersize=4, linestyle="", label=name)
    axes.set_xlabel("share judged as they are, 95 % interval")
    _legend(figure, axes, width, ("sensitivity", "specificity"))
    return figure


def _check(rows: Sequence[object], nothing: str) -> None:
    if not rows:
        raise UsageError(f"There is nothing to draw: {nothing}.")


def _empty(rows: Sequence[charts.Named], width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure with a place for each row, the first on top."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 0.95 + height * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), charts.titles(rows))
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    for place in range(1, len(rows)):
        axes.axhline(place - 0.5, color="0.85", linewidth=0.5)
    return figure, axes


def _legend(figure: Figure, axes: Axes, width: float, order: Sequence[str] = charts.GAP_MODES) -> None:
    """Put one entry a name under the axes."""
    handles, names = axes.get_legend_handles_labels()
    found = dict(zip(names, handles, strict=True))
    shown = [name for name in (*order, "guessing", GAP) if name in found]
    figure.legend(
        [found[name] for name in shown],
        shown,
        loc="outside lower center",
        ncols=3 if width < 5 else 7,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.0,
    )


KINDS: dict[str, Callable[[Sequence[Path], float, Patterns], Figure]] = {
    "gap": gap,
    "attribution": attribution,
    "stars": stars,
    "calibration": calibration,
}
"""A new kind is a function here and a word for ``--kind``."""
