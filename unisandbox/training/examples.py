"""Examples on disk: ``examples.jsonl`` and the pictures it names, for any trainer to read.

One line an example: ``prompt``, and ``image`` (a path beside the file) or ``text``; whatever else a line
holds is for people.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonlines

from unisandbox.errors import DataError, UsageError
from unisandbox.files import whole
from unisandbox.records import Example, Image

FILE = "examples.jsonl"
IMAGES = "images"
PARQUET = "examples.parquet"


def digest(examples: Iterable[Example]) -> str:
    """Return what tells these examples, in this order, from others: 16 hexadecimal digits."""
    found = hashlib.blake2b(digest_size=8)
    for example in examples:
        picture = example.image.digest if example.image else None
        found.update(json.dumps([example.prompt, example.text, picture]).encode())
    return found.hexdigest()


def write(folder: Path, examples: Sequence[tuple[Example, Mapping[str, Any]]]) -> None:
    """Write examples, each with what a person may want to know of it; ``FILE`` last and whole."""
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    lines = []
    for example, about in examples:
        line: dict[str, Any] = {"prompt": example.prompt}
        if example.image is not None:
            path = folder / IMAGES / example.image.name
            if not path.exists():
                path.write_bytes(example.image.data)
            line["image"] = f"{IMAGES}/{example.image.name}"
        if example.text is not None:
            line["text"] = example.text
        lines.append({**line, **about})
    with whole(folder / FILE) as beside, jsonlines.open(beside, "w") as file:
        file.write_all(lines)


def read(folder: Path) -> list[Example]:
    """Read the examples of a folder (or of the file itself); raises DataError naming file and line."""
    path = folder / FILE if folder.is_dir() else folder
    if not path.is_file():
        raise DataError(f"There is no {path}. Expected a folder that unisandbox stars filter has written.")
    return list(_examples(path))


def _examples(path: Path) -> Iterator[Example]:
    with jsonlines.open(path) as file:
        try:
            for number, line in enumerate(file, 1):
                yield _example(line, path, f"{path}:{number}")
        except jsonlines.InvalidLineError as error:
            raise DataError(f"{path}:{error.lineno}: not a line of JSON.") from None


def _example(line: Any, path: Path, where: str) -> Example:
    if not isinstance(line, dict) or not isinstance(prompt := line.get("prompt"), str):
        raise DataError(f"{where}: expected an object with a 'prompt' in words.")
    image, text = line.get("image"), line.get("text")
    if (image is None) == (text is None) or not isinstance(image or text, str):
        raise DataError(f"{where}: expected either 'image', a path, or 'text'.")
    if image is None:
        return Example(prompt, text=text)
    file = path.parent / image
    if not file.is_file():
        raise DataError(f"{where}: there is no picture {file}.")
    return Example(prompt, image=Image(file, file.suffix.lower()))


def write_parquet(folder: Path, examples: Sequence[Example]) -> Path:
    """Write the pictures as BAGEL's text-to-image trainer reads them; return the file.

    Columns: ``image``, the encoded bytes, and ``captions``, a JSON object whose values are prompts (its
    dataset ``t2i_pretrain``). Raises UsageError where pyarrow is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError("Parquet needs pyarrow: pip install 'unisandbox[parquet]'.") from None
    drawn = [example for example in examples if example.image is not None]
    table = pyarrow.table(
        {
            "image": [example.image.data for example in drawn if example.image],
            "captions": [json.dumps({"caption": example.prompt}, ensure_ascii=False) for example in drawn],
        }
    )
    with whole(path := folder / PARQUET) as beside:
        pyarrow.parquet.write_table(table, beside)
    return path
