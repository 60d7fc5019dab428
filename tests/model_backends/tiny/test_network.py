"""The network: reading at once and bit by bit give the same; nobody sees ahead."""

import torch

from tests.support_tiny import untrained
from unisandbox.model_backends.tiny.network import Cache, Network


def causal(length: int, keys: int | None = None) -> torch.Tensor:
    ahead = torch.arange(keys or length) > torch.arange(length)[:, None]
    return torch.zeros(ahead.shape).masked_fill(ahead, float("-inf"))[None, None]


def some(network: Network, length: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Return embedded tokens, and their places."""
    tokens = torch.randint(network.shape.vocabulary, (3, length), generator=torch.Generator().manual_seed(1))
    return network.embedded(tokens), torch.arange(length).expand_as(tokens)


def test_it_reads_with_the_cache_as_it_does_without() -> None:
    network = untrained().network
    x, places = some(network)
    with torch.no_grad():
        whole = network(x, places, causal(12))
        cache = Cache(network.shape, 3, 32, network.head.weight)
        parts = [network(x[:, :5], places[:, :5], causal(5, 32), cache=cache)]
        for at in range(5, 12):
            mask = causal(12, 32)[:, :, at : at + 1]
            parts.append(network(x[:, at : at + 1], places[:, at : at + 1], mask, cache=cache))
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-4)


def test_what_follows_changes_nothing_before_it() -> None:
    network = untrained().network
    x, places = some(network)
    changed = x.clone()
    changed[:, 8:] = 0
    with torch.no_grad():
        before, after = (network(given, places, causal(12)) for given in (x, changed))
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8:], after[:, 8:])


def test_only_distances_count_not_places() -> None:
    network = untrained().network
    x, places = some(network)
    with torch.no_grad():
        here, there = (network(x, places + offset, causal(12)) for offset in (0, 100))
    assert torch.allclose(here, there, atol=1e-3)


def test_a_new_network_starts_as_its_embedding() -> None:
    torch.manual_seed(0)
    network = Network(untrained().network.shape)
    x, places = some(network)
    with torch.no_grad():
        hidden = network(x, places, causal(12))
    assert torch.allclose(hidden, torch.nn.functional.rms_norm(x, (network.shape.width,)), atol=1e-5)
