"""The optimiser: Muon (Jordan et al. 2024) for the matrices of the blocks, Adam for embedding and head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from unisandbox.model_backends.tiny.network import Network

MUON_RATE = 0.02
ADAM_RATE = 0.004
_MOMENTUM = 0.95


class Muon(torch.optim.Optimizer):
    """Momentum whose step for each matrix is made orthogonal, so that all its directions learn alike."""

    def __init__(self, matrices: Iterable[nn.Parameter], rate: float) -> None:
        super().__init__(list(matrices), {"lr": rate})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix; those of one shape together."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for matrix in group["params"]:
                shapes.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in shapes.items():
                steps = [self._nesterov(matrix) for matrix in matrices]
                # queries, keys and values are three matrices in one
                thirds = 3 if shape[0] == 3 * shape[1] else 1
                parts = torch.stack(steps).view(len(matrices) * thirds, shape[0] // thirds, shape[1])
                scale = max(1.0, parts.shape[1] / parts.shape[2]) ** 0.5
                for matrix, change in zip(matrices, _orthogonal(parts).view(-1, *shape), strict=True):
                    matrix.add_(change, alpha=-group["lr"] * scale)

    def _nesterov(self, matrix: nn.Parameter) -> Tensor:
        gradient = matrix.grad
        assert gradient is not None
        state = self.state[matrix]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix)
        momentum: Tensor = state["momentum"].mul_(_MOMENTUM).add_(gradient)
        return torch.add(gradient, momentum, alpha=_MOMENTUM)


def _orthogonal(matrices: Tensor) -> Tensor:
    """Return the nearest orthogonal matrices (many, rows, columns), roughly: five Newton-Schulz steps."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    near: Tensor = x.mT if tall else x
    return near.to(matrices.dtype)


class Optimiser:
    """Both, with one schedule; its state is plain tensors by name."""

    def __init__(self, network: Network, muon_rate: float = MUON_RATE, adam_rate: float = ADAM_RATE) -> None:
        self._muon = Muon(network.blocks.parameters(), muon_rate)
        self._adam = torch.optim.Adam(
            [*network.embedding.parameters(), *network.head.parameters()], adam_rate, betas=(0.9, 0.98)
        )
        self._all: tuple[torch.optim.Optimizer, ...] = (self._muon, self._adam)
        self._rates = (muon_rate, adam_rate)

    def step(self, share: float) -> None:
        """Update the network at a share of the full rates, and clear the gradients."""
        for optimiser, rate in zip(self._all, self._rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * share
            optimiser.step()
            optimiser.zero_grad()

    def state(self) -> dict[str, Tensor]:
        """Return copies of everything but the rates."""
        return {
            f"{number}.{place}.{name}": value.clone().contiguous()
            for number, optimiser in enumerate(self._all)
            for place, parameter in enumerate(optimiser.param_groups[0]["params"])
            for name, value in optimiser.state[parameter].items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the state of an earlier optimiser of the same network."""
        for key, value in state.items():
            number, place, name = key.split(".")
            optimiser = self._all[int(number)]
            optimiser.state[optimiser.param_groups[0]["params"][int(place)]][name] = value.clone()
