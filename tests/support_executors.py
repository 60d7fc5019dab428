"""A plugin for tests of executors: a model and a judge that take their process down when they are told to.

What they are told are options, since they live in other processes, where no test can put a method of its own.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from tests.support_backends import Painter, Reader
from unisandbox.hookspecs import RegisterJudge, RegisterModel, hookimpl
from unisandbox.judge import View
from unisandbox.records import Fields, Generation, Observation, Request

Load = Literal["fine", "error", "end", "end-but-first", "weights"]
End = Literal["dies", "hangs", "stops"]


class Fate:
    """What becomes of a process.

    ``folder`` is where processes leave word of themselves: a file ``lives`` with a line each, and a file
    ``asked`` with one for each item that is begun. ``poison`` names what ends it; with ``once``, the first
    process to get through three items ends before the fourth. ``end`` is how: it dies, sleeps for good, or is
    stopped, so that no signal but one reaches it. ``load`` is what happens at the start: nothing, an error,
    the end of the process, the same for all but the first process, or other weights in each. ``pace`` in
    seconds an item.
    """

    def __init__(self, folder: Path, poison: str, once: bool, end: End, load: Load, pace: float) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._poison, self._once, self._end, self._pace = folder, poison, once, end, pace
        self.weights = str(os.getpid()) if load == "weights" else "same"
        self._done = 0
        words = (os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES", "-"), os.environ.get("MARK", "-"))
        first = not (folder / "lives").exists()
        self._note("lives", *words)
        if load == "error":
            raise FileNotFoundError("no such checkpoint")
        if load == "end" or (load == "end-but-first" and not first):
            os._exit(7)

    def meet(self, key: str, name: str) -> None:
        """Begin an item."""
        self._note("asked", key, os.getpid())
        time.sleep(self._pace)
        if name == self._poison or self._is_its_turn():
            if self._end == "hangs":
                time.sleep(3600)
            os.kill(os.getpid(), signal.SIGKILL if self._end == "dies" else signal.SIGSTOP)
        self._done += 1

    def _is_its_turn(self) -> bool:
        if not self._once or self._done < 3:
            return False
        try:
            (self._folder / "died").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _note(self, name: str, *words: object) -> None:
        """Append a line in one write, so that a kill never tears it."""
        file = os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, (" ".join(map(str, words)) + "\n").encode())
        os.close(file)


class Mortal(Painter):
    """Answers as ``Painter`` does, until its process ends; ``poison`` names a sample."""

    def __init__(
        self,
        *,
        folder: Path,
        right: float = 1.0,
        unanswered: float = 0.0,
        poison: str = "",
        once: bool = False,
        end: End = "dies",
        load: Load = "fine",
        pace: float = 0.0,
        batch: int = 8,
    ) -> None:
        super().__init__(right=right, unanswered=unanswered, batch=batch)
        self._fate = Fate(folder, poison, once, end, load, pace)

    def describe(self) -> Fields:
        """Return weights."""
        return {"weights": self._fate.weights, "processes": 1}

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Answer one by one."""
        for request in requests:
            self._fate.meet(request.key, request.sample_id)
            yield self.answer(request)


class Juror(Reader):
    """Judges as ``Reader`` does, until its process ends; ``poison`` is a word that it reads."""

    def __init__(
        self,
        *,
        folder: Path,
        poison: str = "",
        once: bool = False,
        end: End = "dies",
        load: Load = "fine",
        pace: float = 0.0,
        batch: int = 4,
    ) -> None:
        super().__init__(batch=batch)
        self._fate = Fate(folder, poison, once, end, load, pace)

    def describe(self) -> Fields:
        """Return weights."""
        return {"weights": self._fate.weights}

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Read one by one."""
        for view in views:
            self._fate.meet(view.key, self.read(view))
            yield from super().observe([view])


def notes(folder: Path, name: str) -> list[list[str]]:
    """Return the words of each line that processes left."""
    path = folder / name
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register the model."""
    register(
        "mortal", f"{__name__}:Mortal", summary="ends where it is told to", does=("image", "text", "see")
    )


@hookimpl
def register_judges(register: RegisterJudge) -> None:
    """Register the judge."""
    register("juror", f"{__name__}:Juror", summary="ends where it is told to", reads=("any", "text"))


def named(name: str, folder: Path, **options: object) -> str:
    """Return the specification of a model or judge that leaves word in a folder."""
    return ",".join([f"{name}:folder={folder}", *(f"{key}={value}" for key, value in options.items())])


mortal, juror = partial(named, "mortal"), partial(named, "juror")


def asked(folder: Path) -> Counter[str]:
    """Return how often each request, or view, was begun."""
    return Counter(key for key, _ in notes(folder, "asked"))


def processes(folder: Path) -> list[str]:
    """Return the processes that there were."""
    return [pid for pid, *_ in notes(folder, "lives")]
