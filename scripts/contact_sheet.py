"""Draws docs/img/tiny.png: the same questions asked ``direct`` and ``cot``, side by side.

Run:  python scripts/contact_sheet.py docs/img/tiny.png [--model tiny]

The questions are the first of each task on the test split, not chosen by their answers.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from unisandbox.catalog import Catalog
from unisandbox.judge import View
from unisandbox.plugins import installed
from unisandbox.records import Prompt, Request, Sample, Turn
from unisandbox.specs import build, parse_spec
from unisandbox.task import Task

TASKS = (
    "math_1",
    "math_2",
    "math_3",
    "mapping_1",
    "mapping_2",
    "mapping_3",
    "forward_retrieval",
    "inverse_search",
)
SIDE, WIDE, GAP = 160, 520, 14
RIGHT, WRONG, INK, PAPER = "#1b7f3b", "#b3261e", "#202124", "#ffffff"


def asked(model: str, tasks: list[Task]) -> dict[tuple[str, str], tuple[Image.Image, str, bool]]:
    """Return picture, thought and verdict by task and mode."""
    plugins = installed()
    spec = parse_spec(model)
    backend = build(f"model {spec.name!r}", plugins.models[spec.name].load(), spec.options)
    judge = build("judge 'sprite'", plugins.judges["sprite"].load(), {})
    found = {}
    for seed, task in enumerate(tasks, 1):
        sample = task.samples[0]
        question = task.prompts["direct"].render(sample.fields)
        for mode in ("direct", "cot"):
            prompt = Prompt((Turn("user", question),), "image", think=mode == "cot")
            (made,) = backend.generate([Request(mode, prompt, seed, task.name, sample.id, mode)])
            rubric = task.rubric(mode, sample)
            (seen,) = judge.observe([View(mode, rubric, image=made.image)])
            wanted = task.target(mode, sample)
            right = not seen.malformed and not rubric.compare(seen.slots, wanted)
            found[task.name, mode] = (made.image.pil(), made.thought or "", right)
    return found


def _plain(text: str) -> str:
    """Return a text in signs that Pillow's own font has."""
    return text.replace("√", "sqrt ")


def sheet(tasks: list[Task], found: dict[tuple[str, str], tuple[Image.Image, str, bool]]) -> Image.Image:
    """Lay everything out: a row a question."""
    font, bold = (ImageFont.load_default(size) for size in (15, 17))
    height = GAP + 40 + len(tasks) * (SIDE + GAP)
    page = Image.new("RGB", (WIDE + 2 * (SIDE + GAP) + 3 * GAP + 330, height), PAPER)
    pen = ImageDraw.Draw(page)
    left = (WIDE + GAP, WIDE + 2 * GAP + SIDE)
    for x, name in (
        (GAP, "question"),
        (left[0], "direct"),
        (left[1], "cot"),
        (left[1] + SIDE + GAP, "its thought"),
    ):
        pen.text((x, GAP), name, INK, bold)
    for row, task in enumerate(tasks):
        top = GAP + 40 + row * (SIDE + GAP)
        sample: Sample = task.samples[0]
        lines = _plain(task.prompts["direct"].render(sample.fields)).splitlines()
        text = "\n".join(part for line in lines for part in textwrap.wrap(line, 66))
        pen.multiline_text((GAP, top), f"{task.name}\n{text}", INK, font, spacing=3)
        for x, mode in zip(left, ("direct", "cot"), strict=True):
            picture, thought, right = found[task.name, mode]
            frame = (x - 3, top - 3, x + SIDE + 2, top + SIDE + 2)
            pen.rectangle(frame, outline=RIGHT if right else WRONG, width=3)
            page.paste(picture.resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, top))
            if thought:
                wrapped = "\n".join(textwrap.wrap(_plain(thought), 42))
                pen.multiline_text((x + SIDE + GAP, top), wrapped, INK, font, spacing=3)
    return page


def main() -> None:
    """Ask, lay out, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="tiny")
    given = parser.parse_args()
    catalog = Catalog(installed())
    tasks = [catalog.task(catalog.select((name,))[0]) for name in TASKS]
    sheet(tasks, asked(given.model, tasks)).save(given.out, optimize=True)


if __name__ == "__main__":
    main()
