"""``folder``: replays pictures, thoughts and answers that were made elsewhere.

Our layout, all names from the task and its samples::

    FOLDER/TASK/MODE/SAMPLE.png      .jpg, .jpeg and .webp too
    FOLDER/TASK/MODE/SAMPLE.txt      the thought beside a picture, or the answer of a text mode
    FOLDER/TASK/MODE/SAMPLE.1.png    repeat 1, 2, ... of a run with --repeats

The published layout, for the ``published_*`` tasks: ``FOLDER/test/{normal,think}/STEM/ID.png``, with the
thoughts in ``output.jsonl`` beside the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import jsonlines

from unisandbox.errors import BackendError, UsageError
from unisandbox.records import Fields, Generation, Image, Request

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
PUBLISHED_MODES = {"direct": "normal", "cot": "think"}


class Folder:
    """Looks each answer up; what is not there is an error, never a wrong answer."""

    batch_size = 64

    def __init__(self, *, path: Path, layout: Literal["unisandbox", "published"] = "unisandbox") -> None:
        """Take the folder; raises UsageError when it is not there."""
        if not path.is_dir():
            found = "a file; expected the folder of the pictures" if path.is_file() else "no such folder"
            raise UsageError(f"model folder: path={path}: {found}.")
        self._path = path.resolve()
        self._layout = layout

    def describe(self) -> Fields:
        """Where it looks."""
        return {"path": str(self._path), "layout": self._layout}

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Return what lies in the folder for each request."""
        for request in requests:
            yield self._replay(request, self._stem(request))

    def _stem(self, request: Request) -> Path:
        """Return the path without suffix; raises BackendError for a layout that has no place for it."""
        if self._layout == "unisandbox":
            repeat = f".{request.repeat}" if request.repeat else ""
            return self._path / request.task / request.mode / f"{request.sample_id}{repeat}"
        fields: Fields = request.sample.fields if request.sample else {}
        if "stem" not in fields or request.mode not in PUBLISHED_MODES:
            raise BackendError(
                f"The published layout has no place for task {request.task!r} in mode {request.mode!r}: "
                "it holds published_* tasks in the modes direct and cot. Use layout=unisandbox for others."
            )
        name = str(fields.get("image", request.sample_id))
        return self._path / "test" / PUBLISHED_MODES[request.mode] / str(fields["stem"]) / name

    def _replay(self, request: Request, stem: Path) -> Generation:
        if not stem.resolve().is_relative_to(self._path):
            return _missing(request, f"{stem} lies outside the folder")
        text = self._text(stem)
        if request.prompt.output == "text":
            if text is None:
                return _missing(request, f"missing: {self._shown(stem)}.txt")
            return Generation(request.key, text=text)
        found = next((path for suffix in SUFFIXES if (path := _with(stem, suffix)).is_file()), None)
        if found is None:
            return _missing(request, f"missing: {self._shown(stem)}{{{','.join(SUFFIXES)}}}")
        image = Image.from_file(found)
        try:
            image.pil()  # not verify(), which finds nothing wrong with half a JPEG
        except Exception as error:  # decoders raise whatever comes
            return _missing(request, f"unreadable: {self._shown(found)}: {error}")
        return Generation(request.key, image, thought=text)

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self._path))

    def _text(self, stem: Path) -> str | None:
        if self._layout == "published":
            return _thoughts(stem.parent / "output.jsonl").get(stem.name)
        path = _with(stem, ".txt")
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _with(stem: Path, suffix: str) -> Path:
    return stem.parent / f"{stem.name}{suffix}"  # with_suffix would cut ids that contain dots


def _missing(request: Request, reason: str) -> Generation:
    return Generation(request.key, finish="error", error=reason)


@lru_cache(maxsize=64)
def _thoughts(path: Path) -> Mapping[str, str]:
    """Return the published thoughts by picture, if they were kept; raises BackendError for a broken file."""
    if not path.is_file():
        return {}
    try:
        with jsonlines.open(path) as lines:
            return {Path(line["image_file"]).stem: str(line["think_output"]) for line in lines}
    except (jsonlines.InvalidLineError, KeyError, TypeError) as error:
        raise BackendError(
            f"{path}: not the published thoughts (image_file, think_output): {error}"
        ) from None
