"""Generation: many conversations at once, each continued by its own seed, whatever the others are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from unisandbox.model_backends.tiny.network import Cache, Network
from unisandbox.model_backends.tiny.patches import TOKENS
from unisandbox.model_backends.tiny.words import END

T = TypeVar("T")

LONGEST = 120
"""The most tokens of a thought or an answer."""
_STEP = 64  # caches come in these sizes
_FEWEST = 8
"""Conversations at once, at the least: matrix products of fewer rows are added up in another order, and the
same seed would now and then give another picture alone than in company."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is chosen: at random by its probability, or the likeliest at temperature 0."""

    temperature: float = 1.0
    least: float = 0.05
    """Tokens less likely than this share of the likeliest are never chosen (min-p, Nguyen et al. 2024)."""


GREEDY = Sampling(temperature=0)


@torch.inference_mode()
def write(
    network: Network, contexts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling = GREEDY
) -> list[list[int]]:
    """Continue each context in words up to END, which is kept; one that has none was cut at LONGEST."""
    reader = _Reader(network, *_embedded(network, contexts), LONGEST)
    chooser = _Chooser(network, (0, network.shape.words), LONGEST, seeds, sampling)
    written: list[list[int]] = [[] for _ in contexts]
    for _ in range(LONGEST):
        chosen = chooser.choose(reader.hidden)
        for tokens, token in zip(written, chosen.tolist(), strict=False):
            if tokens[-1:] != [END]:
                tokens.append(token)
        if all(tokens[-1] == END for tokens in written):
            break
        reader.read(network.embedded(chosen))
    return written


@torch.inference_mode()
def draw(
    network: Network, contexts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
) -> list[list[int]]:
    """Draw a picture, TOKENS codes numbered from 0, from the last state of each context and nothing else."""
    drawn = [chosen for _, chosen in _drawing(network, contexts, TOKENS, seeds, sampling)]
    codes: list[list[int]] = (torch.stack(drawn, 1) - network.shape.words)[: len(contexts)].tolist()
    return codes


@torch.inference_mode()
def inside(
    network: Network,
    contexts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    after: Sequence[int],
) -> dict[int, Tensor]:
    """Return the hidden states (many, layers + 1, width) after numbers of codes of what ``draw`` draws.

    They are fewer than TOKENS; after 0 the states are those of the token that a picture opens with.
    """
    drawing = _drawing(network, contexts, max(after) + 1, seeds, sampling)
    return {
        place: reader.seen()[: len(contexts)] for place, (reader, _) in enumerate(drawing) if place in after
    }


@torch.inference_mode()
def last(network: Network, contexts: Sequence[Sequence[int]]) -> Tensor:
    """Return the hidden states (many, layers + 1, width) at the last token of each context."""
    return _Reader(network, *_embedded(network, contexts), 0).seen()[: len(contexts)]


def _drawing(
    network: Network, contexts: Sequence[Sequence[int]], many: int, seeds: Sequence[int], sampling: Sampling
) -> Iterator[tuple[_Reader, Tensor]]:
    """Draw pictures, and yield the reader that each token is chosen by, and the tokens."""
    asked = _Reader(network, *_embedded(network, contexts), 0).hidden
    reader = _Reader(network, asked[:, None], torch.ones(len(asked), dtype=torch.long), TOKENS - 1)
    span = network.shape.words, network.shape.vocabulary
    chooser = _Chooser(network, span, TOKENS, seeds, sampling)
    for number in range(many):
        chosen = chooser.choose(reader.hidden)
        yield reader, chosen
        if number < many - 1:
            reader.read(network.embedded(chosen))


def _embedded(network: Network, contexts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return contexts (many, length, width), padded on the right, and how long each is (many,)."""
    device = network.head.weight.device
    contexts = _in_company(contexts)
    sizes = torch.tensor([len(context) for context in contexts])
    tokens = torch.zeros((len(contexts), int(sizes.max())), dtype=torch.long)
    for row, context in enumerate(contexts):
        tokens[row, : len(context)] = torch.tensor(context)
    return network.embedded(tokens.to(device)), sizes.to(device)


def _in_company(some: Sequence[T]) -> list[T]:
    """Return at least as many as go through the network at once, the last again and again."""
    return [*some, *[some[-1]] * (_FEWEST - len(some))]


class _Reader:
    """The network after what it has read, for all conversations.

    What is read first is padded on the right, and what follows overwrites the padding, so that a
    conversation lies at the same places of the cache in any company.
    """

    def __init__(self, network: Network, x: Tensor, sizes: Tensor, more: int) -> None:
        """Read (many, length, width), of which so much is no padding (many,); ``more`` is to follow."""
        many, longest = x.shape[:2]
        keys = -(-(longest + more) // _STEP) * _STEP
        self._network = network
        self._cache = Cache(network.shape, many, keys, network.head.weight)
        self._keys = torch.arange(keys, device=x.device)
        self._rows = torch.arange(many, device=x.device)
        self._next = sizes.to(x.device)
        self._read(x, torch.arange(longest, device=x.device).expand(many, longest), self._next - 1)

    def read(self, x: Tensor) -> None:
        """Read one more token of each (many, width)."""
        self._read(x[:, None], self._next[:, None], torch.zeros_like(self._next))
        self._next = self._next + 1

    def _read(self, x: Tensor, places: Tensor, last: Tensor) -> None:
        ahead = self._keys > places[:, :, None]
        mask = torch.zeros(ahead.shape, device=x.device).masked_fill(ahead, float("-inf"))
        self._states: list[Tensor] = []
        self._last = last
        hidden = self._network(x, places, mask[:, None], cache=self._cache, watch=self._states.append)
        self.hidden: Tensor = hidden[self._rows, last]
        """The last state (many, width) of the last token read."""

    def seen(self) -> Tensor:
        """Return every layer's state (many, layers + 1, width) at the last token read."""
        return torch.stack([state[self._rows, self._last] for state in self._states], 1)


class _Chooser:
    """Chooses tokens by the states before them, each conversation by its own seed."""

    def __init__(
        self, network: Network, span: tuple[int, int], most: int, seeds: Sequence[int], sampling: Sampling
    ) -> None:
        """Choose at most so many tokens a conversation, from the first of ``span`` up to the second."""
        self._first = span[0]
        self._head = network.head.weight[slice(*span)]
        self._sampling = sampling
        generators = (torch.Generator().manual_seed(seed) for seed in _in_company(seeds))
        draws = (torch.rand(most, generator=generator) for generator in generators)
        self._chances = iter(torch.stack(list(draws), 1).to(self._head.device))

    def choose(self, hidden: Tensor) -> Tensor:
        """Return the next token of each conversation (many,)."""
        return _chosen(hidden @ self._head.T, next(self._chances), self._sampling) + self._first


def _chosen(scores: Tensor, chance: Tensor, sampling: Sampling) -> Tensor:
    """Return a choice (many,) from scores (many, tokens) by one random number each."""
    if sampling.temperature == 0:
        return scores.argmax(-1)
    odds = (scores / sampling.temperature).softmax(-1)
    odds = odds * (odds >= sampling.least * odds.amax(-1, keepdim=True))
    levels = odds.cumsum(-1)
    return torch.searchsorted(levels, (chance * levels[:, -1])[:, None], right=True)[:, 0].clamp_max(
        odds.shape[-1] - 1
    )
