"""The progress display of a run: live bars on a terminal, a line now and then in a pipe."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from unisandbox.matrix import Ask

EVERY = 10.0
"""Seconds between lines in a pipe."""


class Display:
    """Shows what a run does; see ``unisandbox.runner.Progress``. A context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._lock = threading.Lock()
        self._doing = ""
        self._done = [0, 0]
        self._total = [0, 0]
        self._errors = 0
        self._started = self._last = time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[red]{task.fields[errors]}"),
            console=self._console,
            disable=not self._live,
        )
        self._rows = [self._bars.add_task(name, rate="", errors="") for name in ("asking", "judging")]

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if any(self._total):
            self._refresh(last=True)
        self._bars.stop()

    def plan(self, generations: int, verdicts: int) -> None:
        """Take the totals."""
        self._total = [generations, verdicts]
        for row, total in zip(self._rows, self._total, strict=True):
            self._bars.update(row, total=total, visible=total > 0)

    def asking(self, ask: Ask) -> None:
        """Name what is being asked."""
        self._doing = ask.label
        self._refresh()

    def generated(self, error: bool) -> None:
        """Count a generation."""
        self._count(0, error)

    def judged(self, error: bool) -> None:
        """Count a verdict; an error is counted where it arises."""
        self._count(1, error and not self._total[0])

    def say(self, message: str) -> None:
        """Print above the bars."""
        self._console.print(message, highlight=False)

    def _count(self, row: int, error: bool) -> None:
        with self._lock:
            self._done[row] += 1
            self._errors += error
        self._refresh()

    def _refresh(self, *, last: bool = False) -> None:
        now = time.monotonic()
        with self._lock:
            if not last and now - self._last < (0.1 if self._live else EVERY):
                return
            self._last = now
        seconds = max(now - self._started, 1e-9)
        rates = [f"{done / seconds:.1f}/s" if done else "" for done in self._done]
        if self._live:
            self._draw(rates)
        else:
            asked = f"asked {self._done[0]}/{self._total[0]}, " if self._total[0] else ""
            print(
                f"{asked}judged {self._done[1]}/{self._total[1]}, {self._errors} errors, {seconds:.0f} s "
                f"{rates[0] if asked else rates[1]} {self._doing}".rstrip(),
                file=sys.stderr,
                flush=True,
            )

    def _draw(self, rates: Sequence[str]) -> None:
        asking, judging = self._rows
        errors = f"{self._errors} errors" if self._errors else ""
        doing = f"asking  {self._doing}"[:40]
        self._bars.update(asking, completed=self._done[0], rate=rates[0], errors=errors, description=doing)
        if self._total[0]:
            self._bars.update(judging, completed=self._done[1], rate="")
        else:
            self._bars.update(judging, completed=self._done[1], rate=rates[1], errors=errors)
