"""``local``: the model runs in this process, one batch after the other."""

from __future__ import annotations

from collections.abc import Iterator

from unisandbox.executors.protocol import Executor, JudgeReplicas, Shard
from unisandbox.executors.replica import ModelReplica
from unisandbox.matrix import JudgeChoice, Model
from unisandbox.records import Generation


class InProcess(ModelReplica):
    """The one replica of a model."""

    number = 1

    def generate(self, shards: Iterator[Shard]) -> Iterator[Generation]:
        """Work on one shard after the other."""
        for shard in shards:
            yield from self.answer(shard)


class Local:
    """Runs models in this process."""

    def __init__(self, judges: Executor | None = None) -> None:
        """Take where replicas of judges run, if there are to be any."""
        self._judges = judges

    def open(self, model: Model, tries: int, trials: int) -> InProcess:
        """Load the model."""
        return InProcess(model, tries)

    def open_judge(self, judge: JudgeChoice, tries: int, number: int) -> JudgeReplicas:
        """Load replicas of a judge in other processes."""
        assert self._judges is not None
        return self._judges.open_judge(judge, tries, number)

    def close(self) -> None:
        """There is nothing to let go."""
