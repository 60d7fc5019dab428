"""Trainings that are stopped at a chosen step."""

from __future__ import annotations

from collections.abc import Callable

from unisandbox.training.finetuning import Training


def interrupt(at: int, doing: Callable[[Training], None]) -> Callable[[Training, int], tuple[float, int]]:
    """Return a ``Training.step`` that does something before the step of this number."""
    plain = Training.step

    def step(self: Training, number: int) -> tuple[float, int]:
        if number == at:
            doing(self)
        return plain(self, number)

    return step


def stop(_: Training) -> None:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt
