"""A tiny plugin for tests: models that write and draw one word, and a judge that reads it back.

It is loaded the way any plugin is, from a folder with the metadata of an installed one: see ``install``. A
picture is a few pixels whose red channel is the word's number, so that nothing here needs the picture
language. How a model or judge misbehaves, tests say by putting methods of their own on ``Painter`` and
``Reader``.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Literal

from unisandbox.hookspecs import RegisterJudge, RegisterModel, hookimpl
from unisandbox.judge import Case, View, match_by_rules
from unisandbox.records import Generation, Image, Observation, Request, Verdict

TASK = """\
description: Say or draw a word.
dataset: {source: jsonl, path: rows.jsonl}
prompts:
  direct: "{{ question }}"
  cot: "{{ question }}"
  think: "Think about it: {{ question }}"
  answer: "In words: {{ question }}"
  render: "Draw w{{ number }}."
  refined: "{{ conclusion }}"
  gold: "It is w{{ number }}.\\nDraw: w{{ number }}."
  planted: "It is w0.\\nDraw: w0."
  caption: "What is this?"
scoring:
  rubric: words
  target: {answer: "w{{ number }}"}
  modes:
    planted: {rubric: words, target: {answer: "w{{ other }}"}}
"""


def write_task(folder: Path, rows: int = 6, name: str = "words") -> Path:
    """Write a task whose sample ``sN`` asks for the word ``wN``; return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(TASK)
    lines = [
        {"id": f"s{n}", "number": n, "other": 0, "question": f"Which is w{n}?"} for n in range(1, rows + 1)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / f"{name}.yaml"


def install(site: Path, module: str = __name__, name: str = "support") -> Path:
    """Give a module the metadata of an installed plugin in ``site``, a folder for the import path."""
    info = site / f"{name}-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[unisandbox]\n{name} = {module}\n")
    return site


def install_copy(site: Path) -> Path:
    """Install this very file in ``site``, for another process."""
    install(site, "support_backends")
    shutil.copy(__file__, site / "support_backends.py")
    return site


def picture(number: int) -> Image:
    """Return a picture of a word."""
    from PIL import Image as pil

    return Image.from_pil(pil.new("RGB", (4, 4), (number, 0, 0)))


def number_in(request: Request) -> int:
    """Return the number that a request asks for, in whatever mode."""
    return int(request.sample_id.removeprefix("s"))


class Painter:
    """Says or draws the right word, or w0, as the seed decides; some it refuses, or leaves empty.

    With ``calls`` every request is noted in that file before it is worked on. ``pauses`` is a file that says
    how many seconds model and judge take for each: beside the options, since those name the trials.
    """

    def __init__(
        self,
        *,
        right: float = 1.0,
        unanswered: float = 0.0,
        calls: Path | None = None,
        pauses: Path | None = None,
        api_key: str = "",
        batch: int = 8,
    ) -> None:
        self.batch_size = batch
        self._right, self._unanswered, self._calls, self._secret = right, unanswered, calls, api_key
        self._pause = pause_in(pauses, 0)

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Answer one by one, the last one first."""
        for request in reversed(requests):
            note(self._calls, request.key, request.prompt.output)
            time.sleep(self._pause)
            yield self.answer(request)

    def answer(self, request: Request) -> Generation:
        """Return what the seed decides, whatever the batch."""
        draw = Random(request.seed).random
        if draw() < self._unanswered:
            return Generation(request.key, finish="refused") if draw() < 0.5 else Generation(request.key)
        number = number_in(request) if draw() < self._right else 0
        if request.prompt.output == "text":
            return Generation(request.key, text=f"w{number}")
        thought = f"It is w{number}.\nDraw: w{number}." if request.prompt.think else None
        return Generation(request.key, picture(number), thought=thought)


class Reader:
    """Reads words from text or from the red of a picture."""

    def __init__(self, *, calls: Path | None = None, pauses: Path | None = None, batch: int = 4) -> None:
        self.batch_size = batch
        self._calls, self._pause = calls, pause_in(pauses, 1)

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Note what is there."""
        for view in views:
            note(self._calls, view.image.digest if view.image else view.key, "view")
            time.sleep(self._pause)
            try:
                yield Observation(view.key, {"answer": self.read(view)}, raw="as seen")
            except OSError as error:
                yield Observation(view.key, error=f"unreadable picture: {error}")

    def read(self, view: View) -> str:
        """Return the word."""
        if view.image is None:
            return view.text or ""
        red = view.image.pil().getpixel((0, 0))
        assert isinstance(red, tuple)
        return f"w{red[0]}"

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Compare word for word."""
        return map(match_by_rules, cases)


def pause_in(pauses: Path | None, place: int) -> float:
    """Return how many seconds each item takes."""
    return float(pauses.read_text().split()[place]) if pauses else 0.0


def note(calls: Path | None, key: str, kind: Literal["image", "text", "view"]) -> None:
    """Append a call to the side file in one write, so that a kill never tears it."""
    if calls is not None:
        file = os.open(calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{key} {kind}\n".encode())
        os.close(file)


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register one model three times: by what it can do."""
    factory = f"{__name__}:Painter"
    register("painter", factory, summary="takes two calls to think", does=("image", "text", "see"))
    register("thinker", factory, summary="thinks natively", does=("image", "text", "think", "see"))
    register("mute", factory, summary="only draws", does=("image",))
    register("seer", factory, summary="sees targets", does=("image", "text", "see"), sees_target=True)


@hookimpl
def register_judges(register: RegisterJudge) -> None:
    """Register the judge."""
    register("reader", f"{__name__}:Reader", summary="reads the red channel", reads=("any", "text"))
