"""The tables of STARS: what was accepted, and what it changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unisandbox.report.contrasts import _number, _p
from unisandbox.training.stars import Line, Stars

if TYPE_CHECKING:
    from rich.table import Table

LEGEND = (
    "before, after: scores without (direct) and with (cot) a thought, and of plain requests (render), over "
    "the same units; change with its 95 % interval; Holm: exact McNemar test corrected for all rows, "
    "* below 0.05; guess: what the best trivial strategy scores. trained: prompts that were learned from."
)


def rates_table(found: Stars) -> Table:
    """Return what was accepted, by stage, task and answer."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("accepted")
    table.add_column("task")
    table.add_column("answer", overflow="fold")
    for name in ("candidates", "correct", "kept"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage, rates in found.rates.items():
        tasks = dict.fromkeys(rate.task for rate in rates)
        for task in tasks:
            own = [rate for rate in rates if rate.task == task]
            shown = own if len(own) <= 12 else []
            for rate in shown:
                answer = " ".join(map(str, json.loads(rate.answer).values()))
                share = f"{rate.correct / rate.candidates:.2f}"
                table.add_row(stage, task, answer, str(rate.candidates), share, str(rate.kept))
            drawn, right = sum(one.candidates for one in own), sum(one.correct for one in own)
            kept = sum(one.kept for one in own)
            table.add_row(stage, task, f"all {len(own)}", str(drawn), f"{right / drawn:.2f}", str(kept))
    return table


COLUMNS = ("arm", "stage", "on", "task", "mode", "before", "after", "change", "95 %", "Holm", "guess", "n")


def row(line: Line) -> list[str]:
    """Return a row of text."""
    one = line.contrast
    return [
        line.arm,
        str(line.stage),
        line.on,
        one.task,
        one.mode,
        _number(one.first),
        _number(one.second),
        "-" if one.difference is None else f"{one.difference:+.2f}",
        "" if one.low is None or one.high is None else f"[{one.low:+.2f}, {one.high:+.2f}]",
        _p(one.corrected) + (" *" if one.significant else ""),
        f"{line.chance:.2f}",
        str(one.n),
    ]


def rich_table(found: Stars, width: int) -> Table:
    """Return what changed; a narrow terminal is spared the intervals."""
    from rich.table import Table

    several = len({line.arm for line in found.lines}) > 1
    left_out = set() if width >= 110 else {"95 %", "n"}
    left_out |= set() if several else {"arm"}
    shown = [name for name in COLUMNS if name not in left_out]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in shown:
        words = name in ("arm", "on", "task", "mode", "95 %")
        table.add_column(name, justify="left" if words else "right", no_wrap=name not in ("arm", "on"))
    last = {line.arm: line.stage for line in found.lines}
    for line in found.lines:
        texts = dict(zip(COLUMNS, row(line), strict=True))
        style = "" if line.stage == last[line.arm] else "dim"
        table.add_row(*(texts[name] for name in shown), style=style)
    return table
