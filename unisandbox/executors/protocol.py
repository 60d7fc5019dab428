"""The seam between a run and where its models run: the runner knows no more of an executor than this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from unisandbox.asking import Asked
from unisandbox.matrix import Model
from unisandbox.records import Fields, Generation

Shard = Sequence[Asked]
"""What one replica works on at once."""


class Replicas(Protocol):
    """The replicas of one model, the first of them loaded."""

    @property
    def number(self) -> int:
        """How many there are, or are meant to be."""
        ...

    @property
    def batch_size(self) -> int:
        """How many requests the model likes at once; it may come to know better while it works."""
        ...

    def describe(self) -> Fields:
        """Return what the model says of itself (see ``Backend``)."""
        ...

    def generate(self, shards: Iterator[Shard]) -> Iterator[Generation]:
        """Yield one generation a request, in any order, as each is finished.

        A shard is taken when a replica is free for it. An empty one says that there is nothing to ask before
        more is answered. Raises BackendError when the model gives up for good.
        """
        ...

    def close(self) -> None:
        """End the replicas, whatever they are at."""
        ...


class Executor(Protocol):
    """Where models run."""

    def open(self, model: Model, tries: int, trials: int) -> Replicas:
        """Load replicas of a model, no more than there are trials; return when the first is ready.

        A request is tried ``tries`` times. Raises UsageError for bad options, BackendError when the model
        cannot be loaded.
        """
        ...

    def close(self) -> None:
        """Let go of what all models had in common."""
        ...
