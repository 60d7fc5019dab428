"""A conversation goes on by its own seed alone: in any company, at any place, in any order."""

from random import Random

import pytest
import torch

from tests.support_tiny import untrained
from unisandbox.model_backends.tiny.checkpoint import Model
from unisandbox.model_backends.tiny.generation import LONGEST, Sampling, _chosen, draw, write
from unisandbox.model_backends.tiny.patches import TOKENS
from unisandbox.model_backends.tiny.words import END, MODEL, USER

WARM = Sampling(temperature=1.0, least=0.0)


@pytest.fixture(scope="module")
def model() -> Model:
    return untrained(width=64, layers=3)


def conversations(model: Model, many: int) -> list[list[int]]:
    draws = Random(5)
    size = model.network.shape.words
    return [
        [USER, *(draws.randrange(10, size) for _ in range(draws.randint(4, 60))), MODEL] for _ in range(many)
    ]


@pytest.mark.parametrize("company", [1, 2, 3, 5, 8, 40])
def test_a_picture_does_not_depend_on_the_batch(model: Model, company: int) -> None:
    contexts = conversations(model, 40)
    seeds = list(range(100, 140))
    together = draw(model.network, contexts, seeds, WARM)
    apart = [
        codes
        for start in range(0, 40, company)
        for codes in draw(
            model.network, contexts[start : start + company], seeds[start : start + company], WARM
        )
    ]
    assert apart == together


def test_words_do_not_depend_on_the_batch_or_order(model: Model) -> None:
    contexts = conversations(model, 20)
    together = write(model.network, contexts, [1] * 20, WARM)
    backwards = write(model.network, contexts[::-1], [1] * 20, WARM)[::-1]
    alone = [write(model.network, [context], [1], WARM)[0] for context in contexts]
    assert together == backwards == alone


def test_a_picture_is_what_a_plain_pass_over_state_and_codes_says(model: Model) -> None:
    """From the last state of the text, in the place of a token, step by step the likeliest is drawn."""
    network, context = model.network, conversations(model, 1)[0]
    (codes,) = draw(network, [context], [0], Sampling(temperature=0))

    def read(x: torch.Tensor) -> torch.Tensor:
        size = x.shape[1]
        mask = torch.full((size, size), float("-inf")).triu(1)[None, None]
        hidden: torch.Tensor = network(x, torch.arange(size)[None], mask)
        return hidden

    with torch.inference_mode():
        text = network.embedded(torch.tensor([context]))
        before = [network.shape.words + code for code in codes[:-1]]
        x = torch.cat([read(text)[:, -1:], network.embedded(torch.tensor([before]))], 1)
        scores = read(x)[0] @ network.head.weight[network.shape.words :].T
    best = scores.amax(-1)
    assert torch.allclose(scores[torch.arange(TOKENS), torch.tensor(codes)], best, atol=1e-2)
    assert len(set(codes)) > 1


def test_another_seed_is_another_picture(model: Model) -> None:
    context = conversations(model, 1)[0]
    pictures = draw(model.network, [context] * 4, [1, 1, 2, 3], WARM)
    assert pictures[0] == pictures[1]
    assert len({tuple(picture) for picture in pictures}) == 3


def test_pictures_are_made_of_image_tokens_and_words_of_words(model: Model) -> None:
    (codes,) = draw(model.network, conversations(model, 1), [1], WARM)
    assert len(codes) == TOKENS
    assert all(0 <= code < model.network.shape.codes for code in codes)
    for tokens in write(model.network, conversations(model, 8), list(range(8)), WARM):
        assert all(token < model.network.shape.words for token in tokens)
        assert tokens.index(END) == len(tokens) - 1 if END in tokens else len(tokens) == LONGEST


def test_temperature_nothing_takes_the_likeliest() -> None:
    scores = torch.tensor([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0]])
    assert _chosen(scores, torch.tensor([0.99, 0.99]), Sampling(temperature=0)).tolist() == [1, 0]


def test_choices_follow_their_odds() -> None:
    odds = torch.tensor([0.5, 0.3, 0.2])
    chances = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    found = _chosen(odds.log().expand(20_000, 3), chances, WARM).bincount(minlength=3) / 20_000
    assert torch.allclose(found, odds, atol=0.015)


def test_the_unlikely_is_left_out() -> None:
    odds = torch.tensor([0.9, 0.005, 0.095])
    chances = torch.linspace(0, 0.9999, 1000)
    found = _chosen(odds.log().expand(1000, 3), chances, Sampling(1.0, least=0.01))
    assert set(found.tolist()) == {0, 2}
