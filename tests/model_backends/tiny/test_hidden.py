"""Hidden states: those of the very forward pass that speaks or draws, for every conversation on its own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support_tiny import untrained
from unisandbox.backend import Transparent
from unisandbox.errors import UsageError
from unisandbox.model_backends.tiny import generation
from unisandbox.model_backends.tiny.backend import Tiny
from unisandbox.model_backends.tiny.checkpoint import FILE, save
from unisandbox.model_backends.tiny.generation import GREEDY, Sampling, draw, inside, last, write
from unisandbox.model_backends.tiny.network import _norm
from unisandbox.model_backends.tiny.words import MODEL, USER
from unisandbox.records import Output, Prompt, Request, Turn

WARM = Sampling()
LAYERS, WIDTH = 2, 32


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    out = tmp_path_factory.mktemp("untrained")
    save(untrained(width=WIDTH, layers=LAYERS), out / FILE, {})
    return Tiny(out)


def request(key: str, text: str, output: Output = "image", *, think: bool = False) -> Request:
    return Request(key, Prompt((Turn("user", text),), output, think=think), 7, "math_1", key, "direct")


def test_the_last_state_is_the_one_that_the_tokens_are_chosen_by() -> None:
    """What is read after n codes makes, through the head, the very code that ``draw`` draws next."""
    model = untrained(width=WIDTH, layers=LAYERS)
    network = model.network
    contexts = [[USER, 40 + n, 50, MODEL][n % 2 :] for n in range(9)]
    seeds = list(range(9))
    drawn = draw(network, contexts, seeds, WARM)
    places = [0, 1, 5, 63]
    found = inside(network, contexts, seeds, WARM, places)
    assert {place: tuple(states.shape) for place, states in found.items()} == {
        place: (9, LAYERS + 1, WIDTH) for place in places
    }
    for place, states in found.items():
        scores = _norm(states[:, -1]) @ network.head.weight[network.shape.words :].T
        for row, seed in enumerate(seeds):
            chance = torch.rand(64, generator=torch.Generator().manual_seed(seed))[place]
            (code,) = generation._chosen(scores[row : row + 1], chance[None], WARM).tolist()
            assert code == drawn[row][place]


def test_before_words_it_chooses_the_first_word() -> None:
    model = untrained(width=WIDTH, layers=LAYERS)
    contexts = [[USER, 40 + n, 50, MODEL] for n in range(8)]
    said = write(model.network, contexts, [0] * 8, GREEDY)
    states = last(model.network, contexts)
    scores = _norm(states[:, -1]) @ model.network.head.weight[: model.network.shape.words].T
    assert scores.argmax(-1).tolist() == [tokens[0] for tokens in said]


def test_layer_by_layer_it_is_a_plain_forward_pass() -> None:
    model = untrained(width=WIDTH, layers=LAYERS)
    tokens = [USER, 41, 50, 60, MODEL]
    seen: list[torch.Tensor] = []
    mask = torch.full((5, 5), float("-inf")).triu(1)[None, None]
    with torch.inference_mode():
        x = model.network.embedded(torch.tensor([tokens]))
        model.network(x, torch.arange(5)[None], mask, watch=seen.append)
    plain = torch.stack(seen, 1)[0, :, -1]
    assert torch.allclose(last(model.network, [tokens])[0], plain, rtol=1e-3, atol=1e-3)
    assert torch.equal(seen[0][0, -1], _norm(model.network.embedding.weight[MODEL]))


def test_a_picture_opens_with_the_last_state_of_its_text() -> None:
    model = untrained(width=WIDTH, layers=LAYERS)
    tokens = [[USER, 41, 50, 60, MODEL]]
    opens = inside(model.network, tokens, [0], WARM, [0])[0]
    assert torch.equal(opens[0, 0], _norm(last(model.network, tokens))[0, -1])


def test_each_request_has_its_own(tiny: Tiny) -> None:
    assert isinstance(tiny, Transparent)
    asked = [
        request(str(n), f"Draw {n} cups.", "text" if n % 3 == 0 else "image", think=n % 3 == 1)
        for n in range(9)
    ]

    def found(requests: Sequence[Request]) -> dict[tuple[str, int], np.ndarray]:
        return {
            (hidden.key, place): np.asarray(state)
            for hidden in tiny.hidden(requests, (0, 3))
            for place, state in hidden.states.items()
        }

    together, backwards = found(asked), found(asked[::-1])
    alone = {place: state for one in asked for place, state in found([one]).items()}
    assert together.keys() == {(str(n), place) for n in range(9) for place in ((0, 3) if n % 3 else (0,))}
    for place, state in together.items():
        assert state.shape == (LAYERS + 1, WIDTH) and np.isfinite(state).all()
        assert np.array_equal(state, backwards[place])
        assert np.allclose(state, alone[place], rtol=1e-3, atol=1e-3)
    assert not np.allclose(together["1", 0], together["2", 0])


def test_what_is_too_long_is_left_out(tiny: Tiny) -> None:
    asked = [request("long", "cup " * 900), request("short", "Draw 2 cups.")]
    assert [hidden.key for hidden in tiny.hidden(asked)] == ["short"]
    assert list(tiny.hidden([])) == []


def test_beyond_the_picture_there_is_nothing(tiny: Tiny) -> None:
    with pytest.raises(UsageError, match=r"tiny: after=64: a picture has 64 tokens"):
        list(tiny.hidden([request("a", "Draw 2 cups.")], (0, 64)))


def test_being_watched_changes_no_picture(tiny: Tiny, tmp_path: Path) -> None:
    (before,) = tiny.generate([request("a", "Draw 2 cups.")])
    list(tiny.hidden([request("a", "Draw 2 cups.")], (0, 9)))
    (after,) = tiny.generate([request("a", "Draw 2 cups.")])
    assert before == after
