"""Contexts: rows of texts and pictures, how they stand below each other, and what was read of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unisandbox.model_backends.bagel.language import Cache, Layout

if TYPE_CHECKING:
    from unisandbox.model_backends.bagel.model import Bagel


@dataclass(frozen=True, slots=True)
class Text:
    """Words with their frame: each token sees those before it, and has the next position."""

    ids: tuple[int, ...]

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return len(self.ids)

    @property
    def advance(self) -> int:
        """How far it moves the next position on."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture: its tokens and their frame all see each other, and share a position."""

    height: int
    width: int
    """In tokens."""
    values: Tensor
    """(height x width, values of a token)."""

    @property
    def length(self) -> int:
        """How many tokens it has, the frame among them."""
        return self.height * self.width + 2

    @property
    def advance(self) -> int:
        """How far it moves the next position on."""
        return 1


class Seen(Picture):
    """A picture to look at: patches of pixels between -1 and 1."""


@dataclass(frozen=True, slots=True)
class Latent(Picture):
    """A picture as the model draws it: latents."""

    time: float = 0.0
    """0: clean; 1: noise."""


Piece = Text | Picture
Row = tuple[Piece, ...]
"""What is read one after another."""


def length_of(row: Row) -> int:
    """Return how many tokens a row has."""
    return sum(piece.length for piece in row)


def end_of(row: Row) -> int:
    """Return the position of what follows a row."""
    return sum(piece.advance for piece in row)


def placed(rows: Sequence[Row]) -> Iterator[tuple[int, int, int, Piece]]:
    """Yield the number of a row, the first column and the first position of a piece, and the piece."""
    for number, row in enumerate(rows):
        column = position = 0
        for piece in row:
            yield number, column, position, piece
            column, position = column + piece.length, position + piece.advance


def layout_of(rows: Sequence[Row], device: torch.device) -> Layout:
    """Lay rows out below each other."""
    columns = max(map(length_of, rows))
    is_there = torch.zeros(len(rows), columns, dtype=torch.bool)
    is_drawn = torch.zeros_like(is_there)
    positions = torch.zeros(len(rows), columns, dtype=torch.long)
    picture = torch.zeros_like(positions)
    for number, (row, column, position, piece) in enumerate(placed(rows), start=1):
        here = slice(column, column + piece.length)
        is_there[row, here] = True
        positions[row, here] = position
        if isinstance(piece, Picture):
            picture[row, here] = number
            is_drawn[row, column + 1 : here.stop - 1] = isinstance(piece, Latent)
        else:
            positions[row, here] += torch.arange(piece.length)
    return _laid(is_there, is_drawn, positions, _mask(is_there, picture), device)


def _mask(is_there: Tensor, picture: Tensor) -> Tensor:
    """Return what sees what (rows, 1, columns, columns). Padding sees itself: a softmax needs something."""
    column = torch.arange(is_there.shape[1])
    before = column[:, None] >= column
    together = (picture[:, :, None] == picture[:, None]) & (picture > 0)[:, None]
    return ((before | together) & is_there[:, None] | (column[:, None] == column))[:, None]


def _laid(
    is_there: Tensor, is_drawn: Tensor, positions: Tensor, mask: Tensor | None, device: torch.device
) -> Layout:
    """Number the tokens: first those that are understood, then those that are drawn."""
    understood, drawn = ((is_there & chosen).flatten().nonzero()[:, 0] for chosen in (~is_drawn, is_drawn))
    place = torch.cat([understood, drawn])
    return Layout(
        rows=len(is_there),
        columns=is_there.shape[1],
        understood=len(understood),
        place=place,
        positions=positions.flatten()[place],
        mask=mask,
    ).to(device)


class Context:
    """What rows have read: the next tokens, or a picture, follow from it."""

    def __init__(self, model: Bagel, rows: Sequence[Row], columns: int = 0) -> None:
        """Read rows, each by itself: its company changes nothing. What follows begins at ``columns``."""
        self.model = model
        lengths = torch.tensor([length_of(row) for row in rows])
        columns = max(columns, int(lengths.max()))
        layers = model.config.language.num_hidden_layers
        self.cache = Cache(layers, len(rows), columns)
        self._positions = torch.tensor([end_of(row) for row in rows])
        self._is_there = lengths[:, None] > torch.arange(columns)
        for number, row in enumerate(rows):
            if row:
                alone, layout = Cache(layers), layout_of([row], model.device)
                model.language_model.model(model.embed([row], layout), layout, alone)
                alone.length = length_of(row)
                self.cache.take(number, alone)

    def say(self, ids: Tensor) -> Tensor:
        """Read one token (rows,) more each; return the scores (rows, words) of the next."""
        rows = len(ids)
        layout = self._behind(rows, torch.zeros(rows, 1, dtype=torch.bool))
        core = self.model.language_model.model
        hidden = core(self.model.words(ids.to(self.model.device)), layout, self.cache)
        self.cache.length += 1
        self._positions = self._positions + 1
        self._is_there = torch.nn.functional.pad(self._is_there, (0, 1), value=True)
        scores: Tensor = self.model.language_model.lm_head(hidden)
        return scores

    def canvas(self, rows: int, tokens: int) -> Layout:
        """Return the layout of a picture of so many tokens behind each of the first ``rows``."""
        is_drawn = torch.ones(rows, tokens + 2, dtype=torch.bool)
        is_drawn[:, [0, -1]] = False
        return self._behind(rows, is_drawn)

    def velocity(self, canvas: Layout, noisy: Tensor, time: float, height: int, width: int) -> Tensor:
        """Return where noisy latents (pictures, height x width, values) come from, at a time, in float32.

        A canvas of more rows than there are pictures holds them several times, one behind the other.
        """
        model, frame = self.model, self.model.frame
        ends = torch.tensor([frame.image_start, frame.image_end], device=model.device)
        times = torch.full((len(noisy),), time)
        latents = model.put_in(noisy, height, width, times).repeat(canvas.rows // len(noisy), 1, 1)
        tokens = torch.cat([model.words(ends).repeat(canvas.rows, 1), latents.flatten(0, 1)])
        hidden = model.language_model.model(tokens, canvas, self.cache)[canvas.understood :]
        found: Tensor = model.llm2vae(hidden)
        return found.float().view(canvas.rows, height * width, -1)

    def _behind(self, rows: int, is_drawn: Tensor) -> Layout:
        """Lay tokens (rows, columns) out behind what was read; they all see each other."""
        is_there = torch.cat([self._is_there[:rows], torch.ones_like(is_drawn)], 1)
        mask = None if is_there.all() else is_there[:, None, None]
        positions = self._positions[:rows, None].expand(is_drawn.shape)
        return _laid(torch.ones_like(is_drawn), is_drawn, positions, mask, self.model.device)


def write(
    model: Bagel,
    rows: Sequence[Row],
    limit: int,
    pick: Callable[[Tensor], Tensor] = lambda scores: scores.argmax(-1),
    columns: int = 0,
) -> list[tuple[list[int], bool]]:
    """Go on in words: return the tokens of each row, without their frame, and whether they came to an end.

    ``limit`` counts the token that opens a text, as the authors do. ``pick`` chooses tokens (rows,) by their
    scores (rows, words).
    """
    context = Context(model, rows, columns)
    said = torch.full((len(rows), 1), model.frame.text_start, device=model.device)
    is_over = torch.zeros(len(rows), dtype=torch.bool, device=model.device)
    for _ in range(limit):
        said = torch.cat([said, pick(context.say(said[:, -1]))[:, None]], 1)
        is_over |= said[:, -1] == model.frame.text_end
        if is_over.all():
            break
    return [_cut(tokens, model.frame.text_end, limit) for tokens in said.tolist()]


def _cut(tokens: list[int], end: int, limit: int) -> tuple[list[int], bool]:
    if end in tokens:
        return tokens[1 : tokens.index(end)], True
    return tokens[1:limit], False
