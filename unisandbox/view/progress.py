"""How far runs are, followed while they are written: only what is new in a log is read."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from unisandbox.errors import RunFolderError
from unisandbox.labels import read_labels
from unisandbox.run_log import GENERATIONS, RUN, VERDICTS, read_json

ALIVE = 30.0
"""Seconds after its last line for which a run counts as running."""

_NEEDED = {GENERATIONS: ("key", "finish"), VERDICTS: ("key", "judge", "outcome")}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    name: str
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    started: str = ""
    asked: int = 0
    to_ask: int = 0
    judged: int = 0
    to_judge: int = 0
    errors: int = 0
    """Trials that ended in an error of model or judge."""
    state: str = "stopped"
    """``finished``, ``running``, ``stopped``, or ``broken``."""
    labels: int = 0
    problem: str = ""
    """Why nothing can be said, for a broken run."""


class Follower:
    """Follows one run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._read_to = {GENERATIONS: 0, VERDICTS: 0}
        self._asked: dict[str, bool] = {}
        """Trial -> whether it ended in an error."""
        self._judged: dict[tuple[str, str], bool] = {}

    def progress(self) -> Progress:
        """Return how far it is now."""
        with self._lock:
            try:
                return self._progress(read_json(self._folder / RUN))
            except (RunFolderError, OSError) as error:
                return Progress(self._folder.resolve().name, state="broken", problem=str(error))

    def _progress(self, about: dict[str, Any]) -> Progress:
        self._catch_up()
        asks = about["asks"]
        to_ask = sum(ask["trials"] for ask in asks)
        to_judge = sum(ask["trials"] * len(ask["judges"]) for ask in asks)
        answered = {key for key, failed in self._asked.items() if not failed}
        judged = sum(key in answered for key, _ in self._judged)
        errors = len(self._asked) - len(answered)
        errors += sum(failed and key in answered for (key, _), failed in self._judged.items())
        done = len(self._asked) >= to_ask and judged + (len(self._asked) - len(answered)) >= to_judge
        return Progress(
            self._folder.resolve().name,
            tuple(dict.fromkeys(ask["task"] for ask in asks)),
            tuple(dict.fromkeys(ask["model"] for ask in asks)),
            str(about.get("started", "")),
            len(self._asked),
            to_ask,
            judged,
            to_judge,
            errors,
            "finished" if done else "running" if self._quiet() < ALIVE else "stopped",
            len(read_labels(self._folder)),
        )

    def _catch_up(self) -> None:
        sizes = {name: self._size(name) for name in self._read_to}
        if any(sizes[name] < place for name, place in self._read_to.items()):
            self._forget()  # it was started over
        for name in self._read_to:
            for line in self._new_lines(name):
                if name == GENERATIONS:
                    self._asked[line["key"]] = line["finish"] == "error"
                else:
                    self._judged[line["key"], line["judge"]] = line["outcome"] == "error"

    def _new_lines(self, name: str) -> list[dict[str, Any]]:
        """Return the whole lines since the last time; what is no log line is left out."""
        path, found = self._folder / name, []
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(self._read_to[name])
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read_to[name] += len(line)
                try:
                    value = orjson.loads(line)
                    if all(word in value for word in _NEEDED[name]):
                        found.append(value)
                except (orjson.JSONDecodeError, TypeError):
                    continue
        return found

    def _size(self, name: str) -> int:
        path = self._folder / name
        return path.stat().st_size if path.exists() else 0

    def _quiet(self) -> float:
        """Return the seconds since anything was written."""
        paths = [self._folder / name for name in (RUN, GENERATIONS, VERDICTS)]
        return time.time() - max(path.stat().st_mtime for path in paths if path.exists())


class Runs:
    """The runs in a folder, or the one run that it is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._followers: dict[Path, Follower] = {}

    def folders(self) -> dict[str, Path]:
        """Return the run folders by name, the newest first."""
        if (self.root / RUN).exists():
            return {self.root.resolve().name: self.root}
        found = sorted(self.root.glob(f"*/{RUN}"), key=lambda path: -path.stat().st_mtime)
        return {path.parent.name: path.parent for path in found}

    def progress(self) -> list[Progress]:
        """Return how far every run is."""
        return [
            self._followers.setdefault(folder, Follower(folder)).progress()
            for folder in self.folders().values()
        ]
