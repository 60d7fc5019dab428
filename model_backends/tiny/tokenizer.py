"""One vocabulary for words and pictures: words, letters, digits and signs, then patches of 8 x 8 pixels.

A picture of 64 x 64 pixels is 64 tokens, row by row: for each patch the nearest of a k-means codebook. Text is
lower-cased and split into words; a word that is not in the vocabulary, such as a name, is spelled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SIDE, PATCH = 64, 8
GRID = SIDE // PATCH
CELLS = GRID * GRID
"""Tokens of a picture."""

PAD, USER, THINK, TEXT, IMAGE, END = range(6)
MARKERS = ("<pad>", "<user>", "<think>", "<text>", "<image>", "<end>")
"""What a token means that is neither word nor patch: who speaks next, in what, and that it is over."""

SIGNS = tuple("\n.,:;?!()[]{}+-*/%^=<>~@#$&√“”'\"") + ("'s", "'")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
_PIECES = re.compile(r"'s\b|[a-z]+|\d|\n|[^\sa-z\d]")
_CLOSING = set(".,:;?!)]}”^") | {"'s"}
_OPENING = set("([{“√^")


class Words:
    """Text to ids and back; letters that go on a spelled word are written ``##x``."""

    def __init__(self, words: Sequence[str]) -> None:
        """``words``: what is known whole, in the order of their ids."""
        fixed = (*MARKERS, *dict.fromkeys(SIGNS), *"0123456789", *LETTERS, *(f"##{one}" for one in LETTERS))
        self.pieces = (*fixed, *(word for word in words if len(word) > 1))
        self._ids = {piece: number for number, piece in enumerate(self.pieces)}

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Return ids; what is no letter, digit or sign of the language is left out."""
        return [self._ids[piece] for piece in self._split(text) if piece in self._ids]

    def _split(self, text: str) -> Iterable[str]:
        for piece in _PIECES.findall(re.sub(r"[^\S\n]*\n\s*", "\n", text.strip().lower())):
            if len(piece) > 1 and piece.isalpha() and piece not in self._ids:
                yield piece[0]
                yield from (f"##{letter}" for letter in piece[1:])
            else:
                yield piece

    def foreign(self, text: str) -> list[str]:
        """Return what the language has no word for: small words that must be spelled, unknown signs.

        A word with a capital is taken for a name, which is spelled anyway.
        """
        found = re.findall(r"[a-z]{2,}|[^\sA-Za-z\d]", re.sub(r"[A-Z][A-Za-z]*|'s\b", " ", text))
        return list(dict.fromkeys(piece for piece in found if piece not in self._ids))

    def decode(self, ids: Iterable[int]) -> str:
        """Return text: spaces as in print, capitals where a sentence or a spelled name begins."""
        text, quoted, glued = "", {"'": False, '"': False}, True
        pieces = [self.pieces[number] for number in ids if number >= len(MARKERS)]
        for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
            opens = piece in quoted and not quoted[piece]
            closes = piece in quoted and quoted[piece]
            digits = piece.isdigit() and text[-1:].isdigit()
            sticks = glued or closes or digits or piece in _CLOSING or piece == "\n"
            text += "" if sticks or piece.startswith("##") else " "
            spelled = len(piece) == 1 and following.startswith("##")
            text += piece.removeprefix("##").upper() if spelled else piece.removeprefix("##")
            if piece in quoted:
                quoted[piece] = opens
            glued = opens or piece in _OPENING or piece == "\n"
        return re.sub(r"(^|[.?!]\s|\n)([a-z])(?=[a-z ])", lambda found: found[0].upper(), text)


class Codebook:
    """Pictures to patch numbers and back."""

    def __init__(self, patches: torch.Tensor) -> None:
        """``patches``: (K, 3 * PATCH * PATCH), 8 bits a channel."""
        self.patches = patches

    def __len__(self) -> int:
        return len(self.patches)

    @cached_property
    def _known(self) -> torch.Tensor:
        return self.patches.float()

    def encode(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """Return for each picture the nearest patches, (pictures, CELLS); any size is brought to SIDE."""
        cut = torch.cat([to_patches(picture) for picture in pictures]).float()
        return torch.cdist(cut, self._known).argmin(1).view(-1, CELLS)

    def decode(self, numbers: torch.Tensor) -> list[Picture]:
        """Return the pictures of patch numbers (pictures, CELLS)."""
        from PIL import Image

        pixels = self.patches[numbers].view(-1, GRID, GRID, PATCH, PATCH, 3)
        pixels = pixels.transpose(2, 3).reshape(-1, SIDE, SIDE, 3)
        return [Image.fromarray(one.numpy()) for one in pixels]


def to_patches(picture: Picture) -> torch.Tensor:
    """Return a picture as (CELLS, 3 * PATCH * PATCH), 8 bits a channel."""
    import numpy as np
    from PIL import Image

    if picture.size != (SIDE, SIDE):
        picture = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = torch.from_numpy(np.array(picture.convert("RGB")))
    return pixels.view(GRID, PATCH, GRID, PATCH, 3).transpose(1, 2).reshape(CELLS, -1)


def fit_codebook(exact: torch.Tensor, patches: torch.Tensor, size: int, rounds: int = 10) -> Codebook:
    """Return a codebook that holds some patches exactly and the k-means of others.

    Centres begin at whichever patch is worst served so far, so no draw is involved. Both (n, 3 * PATCH^2).
    """
    exact = torch.unique(exact, dim=0).float()
    points, counts = torch.unique(patches, dim=0, return_counts=True)
    points, weights = points.float(), counts.float()
    centres = exact
    distance = torch.cdist(points, centres).min(1).values
    while len(centres) < size and distance.max() > 0:
        worst = points[(distance**2 * weights).argmax()][None]
        centres = torch.cat([centres, worst])
        distance = torch.minimum(distance, torch.cdist(points, worst)[:, 0])
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(1)
        mass = torch.zeros(len(centres)).index_add_(0, nearest, weights)
        total = torch.zeros_like(centres).index_add_(0, nearest, points * weights[:, None])
        free = mass > 0
        free[: len(exact)] = False
        centres[free] = total[free] / mass[free, None]
    return Codebook(centres.round().to(torch.uint8))


class Tokenizer:
    """Words first, then patches, in one vocabulary."""

    def __init__(self, words: Words, codebook: Codebook) -> None:
        self.words, self.codebook = words, codebook

    def __len__(self) -> int:
        return len(self.words) + len(self.codebook)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read ``vocabulary.json`` and ``codebook.safetensors`` of a folder."""
        words = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        return cls(Words(words), Codebook(load_file(folder / "codebook.safetensors")["patches"]))

    def save(self, folder: Path) -> None:
        """Write both files."""
        folder.mkdir(parents=True, exist_ok=True)
        known = [word for word in self.words.pieces if word.isalpha() and len(word) > 1]
        (folder / "vocabulary.json").write_text(json.dumps(known, indent=0) + "\n", encoding="utf-8")
        save_file({"patches": self.codebook.patches.contiguous()}, folder / "codebook.safetensors")

    def picture(self, image: Picture) -> list[int]:
        """Return the ids of a picture."""
        return [len(self.words) + int(number) for number in self.codebook.encode([image])[0]]

    def pictures(self, ids: Sequence[Sequence[int]]) -> list[Picture]:
        """Return the pictures of ids, CELLS each."""
        return self.codebook.decode(torch.tensor(ids) - len(self.words))
