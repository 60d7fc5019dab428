"""A plugin for tests of executors: a model that takes its process down, where and when it is told to.

What it is told are options, since it lives in other processes, where no test can put a method of its own.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from tests.support_backends import Painter
from unisandbox.hookspecs import RegisterModel, hookimpl
from unisandbox.records import Fields, Generation, Request


class Mortal(Painter):
    """Answers as ``Painter`` does, until it dies.

    ``folder`` is where processes leave word of themselves: a file ``lives`` with a line each, and a file
    ``asked`` with one for each request that is begun. ``poison`` names a sample that kills. With ``once``,
    the first process to answer three requests dies before the fourth. ``load`` is what happens at the start:
    nothing, an error, the end of the process, the same for all but the first process, or other weights in
    each. ``pace`` in seconds a request.
    """

    def __init__(
        self,
        *,
        folder: Path,
        right: float = 1.0,
        unanswered: float = 0.0,
        poison: str = "",
        once: bool = False,
        load: Literal["fine", "error", "end", "end-but-first", "weights"] = "fine",
        pace: float = 0.0,
        batch: int = 8,
    ) -> None:
        super().__init__(right=right, unanswered=unanswered, batch=batch)
        self._folder, self._poison, self._once, self._pace = folder, poison, once, pace
        self._weights = str(os.getpid()) if load == "weights" else "same"
        self._answered = 0
        words = (os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES", "-"), os.environ.get("MARK", "-"))
        first = not (folder / "lives").exists()
        self._note("lives", *words)
        if load == "error":
            raise FileNotFoundError("no such checkpoint")
        if load == "end" or (load == "end-but-first" and not first):
            os._exit(7)

    def describe(self) -> Fields:
        """Return weights."""
        return {"weights": self._weights, "processes": 1}

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Answer one by one."""
        for request in requests:
            self._note("asked", request.key, os.getpid())
            time.sleep(self._pace)
            if request.sample_id == self._poison or self._is_its_turn():
                os.kill(os.getpid(), signal.SIGKILL)
            yield self.answer(request)
            self._answered += 1

    def _is_its_turn(self) -> bool:
        if not self._once or self._answered < 3:
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


def notes(folder: Path, name: str) -> list[list[str]]:
    """Return the words of each line that processes left."""
    path = folder / name
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register the model."""
    register(
        "mortal", f"{__name__}:Mortal", summary="dies where it is told to", does=("image", "text", "see")
    )
