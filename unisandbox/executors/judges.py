"""A judge with replicas: to a run it is a judge like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil
from typing import TypeVar, cast

from unisandbox.building import load_judge
from unisandbox.executors.protocol import Executor, JudgeReplicas
from unisandbox.judge import Case, Judge, View
from unisandbox.matrix import JudgeChoice
from unisandbox.records import Fields, Observation, Verdict

ROUNDS = 2
"""Batches that each replica gets of what waits: in the second, fast ones may do more than slow ones."""

Item = TypeVar("Item")


def loader(executor: Executor, replicas: Mapping[str, int], tries: int) -> Callable[[JudgeChoice], Judge]:
    """Return what loads a judge: in this process, or as so many ``replicas`` by label."""

    def load(judge: JudgeChoice) -> Judge:
        if number := replicas.get(judge.label):
            return Replicated(executor.open_judge(judge, tries, number))
        return load_judge(judge)

    return load


class Replicated:
    """Lets replicas observe and match."""

    def __init__(self, replicas: JudgeReplicas) -> None:
        self._replicas = replicas
        self.batch_size = ROUNDS * replicas.number * replicas.batch_size

    def describe(self) -> Fields:
        """What a replica says of the judge."""
        return self._replicas.describe()

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Deal the views out."""
        return cast(Iterator[Observation], self._replicas.generate(self._dealt(views)))

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Deal the cases out."""
        return cast(Iterator[Verdict], self._replicas.generate(self._dealt(cases)))

    def close(self) -> None:
        """End the replicas."""
        self._replicas.close()

    def _dealt(self, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
        """Yield equal shards, as many for each replica, none larger than the judge likes."""
        number = max(1, self._replicas.number)
        rounds = ceil(len(items) / (number * self._replicas.batch_size))
        size = ceil(len(items) / (number * rounds))
        return (items[start : start + size] for start in range(0, len(items), size))
