"""How far a training is: a bar in a terminal, a line now and then in a pipe, and a log."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

LOG = "log.jsonl"


class Record:
    """Shows and logs a training; a context manager."""

    EVERY = 10
    """Steps between lines of the log; ten times as many between lines in a pipe."""

    def __init__(self, out: Path, steps: int, first: int, *, kept: bool = True, shown: bool = True) -> None:
        """Take the folder of the log, how many steps there are, and how many of them are done.

        What the log says of later steps, from before a stop, is dropped. Only what is ``kept`` is logged:
        of several processes, one does.
        """
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._path = out / LOG
        self._steps = steps
        self._kept = kept
        self._shown = shown
        console = Console(stderr=True)
        self._live = console.is_terminal
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps  {task.fields[seen]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not shown or not self._live,
        )
        self._row = self._bar.add_task("training", total=steps, completed=first, seen="")
        if kept:
            _forget_after(self._path, first)
        self._begin()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add(self, number: int, losses: Mapping[str, float], *, tokens: int, rate: float) -> None:
        """Take a step, counted from 0: its losses by name, how many tokens it read, and its rate."""
        self._seen.append(losses)
        self._tokens += tokens
        done = number + 1
        if not self._kept or (done % self.EVERY and done < self._steps):
            return
        means = {name: sum(seen[name] for seen in self._seen) / len(self._seen) for name in losses}
        pace = round(self._tokens / (time.perf_counter() - self._since))
        with self._path.open("a") as log:
            log.write(json.dumps({"step": done, **means, "tokens_per_s": pace, "rate": rate}) + "\n")
        told = [f"{name.replace('_', ' ')} {mean:.3f}" for name, mean in means.items()]
        shown = ", ".join([*told, f"{pace:,} tokens/s"])
        self._bar.update(self._row, completed=done, seen=shown)
        if self._shown and not self._live and (done % (10 * self.EVERY) == 0 or done == self._steps):
            print(f"step {done}/{self._steps}  {shown}", file=sys.stderr, flush=True)
        self._begin()

    def _begin(self) -> None:
        self._seen: list[Mapping[str, float]] = []
        self._tokens = 0
        self._since = time.perf_counter()


def _forget_after(path: Path, step: int) -> None:
    """Drop the lines of later steps, and a torn last one."""
    with suppress(FileNotFoundError):
        kept = []
        for line in path.read_text().splitlines(keepends=True):
            with suppress(json.JSONDecodeError):
                kept += [line] if json.loads(line)["step"] <= step else []
        path.write_text("".join(kept))
