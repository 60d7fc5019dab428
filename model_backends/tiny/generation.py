"""Generation: many conversations at once, each continued by its own seed, whatever the others are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unisandbox.model_backends.tiny.network import Cache, Network
from unisandbox.model_backends.tiny.patches import TOKENS
from unisandbox.model_backends.tiny.words import END

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
    flow = _Flow(network, contexts, LONGEST, (0, network.shape.words), seeds, sampling)
    written: list[list[int]] = [[] for _ in contexts]
    for _ in range(LONGEST):
        for tokens, token in zip(written, flow.choose().tolist(), strict=False):
            if tokens[-1:] != [END]:
                tokens.append(token)
        if all(tokens[-1] == END for tokens in written):
            break
        flow.go_on()
    return written


@torch.inference_mode()
def draw(
    network: Network, contexts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
) -> list[list[int]]:
    """Continue each context by a picture: TOKENS codes, numbered from 0.

    The picture opens with the last state of the context, in the place of a token.
    """
    flow = _Flow(network, contexts, TOKENS, _codes(network), seeds, sampling, drawn=True)
    drawn = []
    for place in range(TOKENS):
        drawn.append(flow.choose() - network.shape.words)
        if place < TOKENS - 1:
            flow.go_on()
    codes: list[list[int]] = torch.stack(drawn, 1)[: len(contexts)].tolist()
    return codes


@torch.inference_mode()
def inside(
    network: Network,
    contexts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    after: Sequence[int] = (0,),
) -> dict[int, Tensor]:
    """Return the hidden states (many, layers + 1, width) at the last token of each context and further on.

    ``after`` are numbers of codes, fewer than TOKENS, of the pictures that ``draw`` draws.
    """
    flow = _Flow(network, contexts, TOKENS, _codes(network), seeds, sampling, drawn=True, watched=True)
    found = {}
    for place in range(max(after) + 1):
        if place:
            flow.choose()
            flow.go_on()
        if place in after:
            found[place] = torch.stack(flow.seen if place else flow.asked, 1)[: len(contexts)]
    return found


def _codes(network: Network) -> tuple[int, int]:
    return network.shape.words, network.shape.vocabulary


class _Flow:
    """What is known after the contexts and the tokens chosen since, for all conversations.

    Contexts are padded on the right and the tokens that follow overwrite the padding, so that a
    conversation lies at the same places of the cache in any company.
    """

    def __init__(
        self,
        network: Network,
        contexts: Sequence[Sequence[int]],
        more: int,
        span: tuple[int, int],
        seeds: Sequence[int],
        sampling: Sampling,
        *,
        drawn: bool = False,
        watched: bool = False,
    ) -> None:
        missing = range(_FEWEST - len(contexts))
        contexts = [*contexts, *(contexts[-1] for _ in missing)]
        seeds = [*seeds, *(seeds[-1] for _ in missing)]
        self._network = network
        self._sampling = sampling
        self._span = span
        weight = network.head.weight
        self._head = weight[span[0] : span[1]]
        sizes = torch.tensor([len(context) for context in contexts])
        longest = int(sizes.max())
        keys = -(-(longest + more) // _STEP) * _STEP
        self._cache = Cache(network.shape, len(contexts), keys, weight)
        self._keys = torch.arange(keys, device=weight.device)
        tokens = torch.zeros((len(contexts), longest), dtype=torch.long)
        for row, context in enumerate(contexts):
            tokens[row, : len(context)] = torch.tensor(context)
        places = torch.arange(longest).expand_as(tokens)
        self._watched = watched
        self.seen: list[Tensor] = []  # where watched, every layer's state (many, width) at the last token
        self._next = sizes.to(weight.device)
        x = network.embedded(tokens.to(weight.device))
        self._read(x, places.to(weight.device), self._next - 1)
        self.asked = self.seen  # the same at the last token of the contexts
        if drawn:
            self._go_on(self._hidden[:, None])
        draws = (torch.rand(more, generator=torch.Generator().manual_seed(seed)) for seed in seeds)
        self._chances = iter(torch.stack(list(draws), 1).to(weight.device))

    def choose(self) -> Tensor:
        """Return the next token of each conversation (many,)."""
        self._chosen: Tensor = _chosen(self._hidden @ self._head.T, next(self._chances), self._sampling)
        self._chosen += self._span[0]
        return self._chosen

    def go_on(self) -> None:
        """Read the tokens chosen."""
        self._go_on(self._network.embedded(self._chosen[:, None]))

    def _go_on(self, x: Tensor) -> None:
        self._read(x, self._next[:, None], torch.zeros_like(self._next))
        self._next = self._next + 1

    def _read(self, x: Tensor, places: Tensor, last: Tensor) -> None:
        """Read embedded tokens (many, length, width); the next is chosen by the one at ``last`` (many,)."""
        rows = torch.arange(len(x), device=x.device)
        self.seen = []
        ahead = self._keys > places[:, :, None]
        mask = torch.zeros(ahead.shape, device=x.device).masked_fill(ahead, float("-inf"))

        def watch(states: Tensor) -> None:
            self.seen.append(states[rows, last])

        shown = watch if self._watched else None
        hidden = self._network(x, places, mask[:, None], cache=self._cache, watch=shown)
        self._hidden: Tensor = hidden[rows, last]


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
