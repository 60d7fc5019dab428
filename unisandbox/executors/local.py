"""``local``: the model runs in this process, one batch after the other."""

from __future__ import annotations

from collections.abc import Iterator

from unisandbox.executors.protocol import Shard
from unisandbox.executors.replica import Replica
from unisandbox.matrix import Model
from unisandbox.records import Generation


class InProcess(Replica):
    """The one replica of a model."""

    number = 1

    def generate(self, shards: Iterator[Shard]) -> Iterator[Generation]:
        """Work on one shard after the other."""
        for shard in shards:
            yield from self.answer(shard)


class Local:
    """Runs models in this process."""

    def open(self, model: Model, tries: int, trials: int) -> InProcess:
        """Load the model."""
        return InProcess(model, tries)

    def close(self) -> None:
        """There is nothing to let go."""
