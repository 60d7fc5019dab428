"""Sampling where every row follows its own seed, whatever rows are beside it.

``generate`` of transformers knows only one stream of random numbers for all rows. The likeliest token of
scores with Gumbel noise added is a draw from their softmax (the Gumbel-max trick), so a processor of scores
that adds the noise of one stream a row, with the greedy search of ``generate``, is sampling by seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor


class Seeded(LogitsProcessor):
    """Turns scores (rows, tokens) into ones whose greatest is a draw by the row's seed."""

    def __init__(self, seeds: Sequence[int], temperature: float, top_k: int = 0) -> None:
        """Take a seed a row. Temperature 0 leaves scores as they are; ``top_k`` 0 is all tokens."""
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._temperature = temperature
        self._top_k = top_k

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores with noise; called by ``generate`` for each token."""
        return self.noisy(scores)

    def noisy(self, scores: Tensor) -> Tensor:
        """Add the noise of each row's stream, which is drawn on the CPU: the same for every device."""
        if self._temperature == 0:
            return scores
        scores = scores.float() / self._temperature
        tokens = scores.shape[-1]
        if 0 < self._top_k < tokens:
            least = scores.topk(self._top_k).values[:, -1:]
            scores = scores.masked_fill(scores < least, float("-inf"))
        chances = torch.stack([torch.rand(tokens, generator=stream) for stream in self._streams])
        return scores - torch.log(-torch.log(chances.to(scores.device)))


class Guided(Seeded):
    """The same with classifier-free guidance: scores are those of all rows, then of all without prompt."""

    def __init__(self, seeds: Sequence[int], temperature: float, top_k: int, guidance: float) -> None:
        """Take a seed a row, of the first half."""
        super().__init__(seeds, temperature, top_k)
        self._guidance = guidance

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores (rows, tokens) of scores (2 rows, tokens)."""
        given, without = scores.float().chunk(2)
        return self.noisy(without + self._guidance * (given - without))


class Grid(Seeded):
    """The same for pictures written in lines: ``width`` tokens of a picture, then one that ends the line."""

    def __init__(
        self,
        seeds: Sequence[int],
        temperature: float,
        top_k: int,
        *,
        start: int,
        width: int,
        tokens: Tensor,
        end_of_line: int,
    ) -> None:
        """Take where pictures start, and the numbers of the tokens that they are made of."""
        super().__init__(seeds, temperature, top_k)
        self._start = start
        self._width = width
        self._tokens = tokens
        self._end_of_line = end_of_line

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores that leave only what may stand at this place."""
        allowed = torch.full_like(scores, float("-inf"), dtype=torch.float)
        if (input_ids.shape[1] - self._start) % (self._width + 1) == self._width:
            allowed[:, self._end_of_line] = 0
        else:
            allowed[:, self._tokens] = self.noisy(scores[:, self._tokens]).float()
        return allowed
