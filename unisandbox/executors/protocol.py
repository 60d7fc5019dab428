"""The seam between a run and where its models run: the runner knows no more of an executor than this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from unisandbox.asking import Asked
from unisandbox.judge import Case, View
from unisandbox.matrix import JudgeChoice, Model
from unisandbox.records import Fields, Generation, Observation, Verdict

Shard = Sequence[Asked]
"""What one replica of a model works on at once."""

Put = TypeVar("Put", contravariant=True)
Got = TypeVar("Got", covariant=True)


class Replicas(Protocol[Put, Got]):
    """The replicas of one model or judge, the first of them loaded."""

    @property
    def number(self) -> int:
        """How many there are, or are meant to be."""
        ...

    @property
    def batch_size(self) -> int:
        """How many requests it likes at once; it may come to know better while it works."""
        ...

    def describe(self) -> Fields:
        """Return what the model or judge says of itself (see ``Backend``)."""
        ...

    def generate(self, shards: Iterator[Sequence[Put]]) -> Iterator[Got]:
        """Yield one answer a request, in any order, as each is finished.

        A shard is taken when a replica is free for it. An empty one says that there is nothing to ask before
        more is answered. Raises BackendError or JudgeError when it gives up for good.
        """
        ...

    def close(self) -> None:
        """End the replicas, whatever they are at; another thread may be at work with them."""
        ...


ModelReplicas = Replicas[Asked, Generation]
JudgeReplicas = Replicas[View | Case, Observation | Verdict]


class Executor(Protocol):
    """Where models run, and judges that have replicas of their own."""

    def open(self, model: Model, tries: int, trials: int) -> ModelReplicas:
        """Load replicas of a model, no more than there are trials; return when the first is ready.

        A request is tried ``tries`` times. Raises UsageError for bad options, BackendError when the model
        cannot be loaded.
        """
        ...

    def open_judge(self, judge: JudgeChoice, tries: int, number: int) -> JudgeReplicas:
        """Load so many replicas of a judge; raises UsageError or JudgeError in the same way."""
        ...

    def close(self) -> None:
        """Let go of what all models had in common."""
        ...
