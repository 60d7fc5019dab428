"""One copy of a model or judge, with what asking it takes; the same in this process and in any other."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from unisandbox import errors
from unisandbox.asking import Patience, generate
from unisandbox.backend import describe
from unisandbox.building import load_backend, load_judge
from unisandbox.errors import BackendError, JudgeError, UnisandboxError
from unisandbox.executors.protocol import Shard
from unisandbox.judge import Case, View
from unisandbox.judging import matched, observed
from unisandbox.matrix import JudgeChoice, Model, model_of
from unisandbox.plugins import installed
from unisandbox.records import Fields, Generation, Observation, Verdict
from unisandbox.specs import Spec

BATCH = 16
"""Requests at once, for backends that do not say what they like."""
GATHERED = 0.05
"""Seconds within which answers travel together: a message costs more than a quick answer."""


class _Replica:
    """A loaded backend or judge."""

    def __init__(self, loaded: object) -> None:
        self._loaded = loaded

    @property
    def batch_size(self) -> int:
        """How many requests it likes at once."""
        return int(getattr(self._loaded, "batch_size", None) or BATCH)

    def describe(self) -> Fields:
        """Return what it says of itself."""
        return describe(self._loaded)

    def close(self) -> None:
        """Let it go."""
        if callable(close := getattr(self._loaded, "close", None)):
            close()


class ModelReplica(_Replica):
    """A loaded backend."""

    def __init__(self, model: Model, tries: int) -> None:
        """Load it; raises UsageError for bad options, BackendError when it cannot be loaded."""
        super().__init__(backend := load_backend(model))
        self._backend = backend
        self._patience = Patience(model.label, BackendError, tries)

    def answer(self, shard: Shard) -> Iterator[Generation]:
        """Yield one generation a request; raises BackendError when the model only fails."""
        return generate(self._backend, shard, self._patience)


class JudgeReplica(_Replica):
    """A loaded judge."""

    def __init__(self, judge: JudgeChoice, tries: int) -> None:
        """Load it; raises UsageError for bad options, JudgeError when it cannot be loaded."""
        super().__init__(loaded := load_judge(judge))
        self._judge = loaded
        self._patience = Patience(judge.label, JudgeError, tries)

    def answer(self, shard: Sequence[View | Case]) -> Iterator[Observation | Verdict]:
        """Yield an observation a view and a verdict a case; raises JudgeError when the judge only fails."""
        yield from observed(self._judge, [one for one in shard if isinstance(one, View)], self._patience)
        yield from matched(self._judge, [one for one in shard if isinstance(one, Case)], self._patience)


@dataclass(frozen=True, slots=True)
class Role:
    """What a replica in another process is to be: a plain record."""

    kind: Literal["model", "judge"]
    spec: Spec
    tries: int
    """How often it tries a request."""

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.spec.label

    @property
    def gives_up(self) -> type[UnisandboxError]:
        """How it says that it cannot go on."""
        return BackendError if self.kind == "model" else JudgeError

    def load(self) -> ModelReplica | JudgeReplica:
        """Load it, by what the plugins of this process register; raises as the replica does."""
        if self.kind == "model":
            return ModelReplica(model_of(self.spec, installed()), self.tries)
        return JudgeReplica(JudgeChoice(self.spec, installed().judges[self.spec.name]), self.tries)


@dataclass(frozen=True, slots=True)
class Report:
    """What a replica in another process sends back: a plain record."""

    answers: tuple[Any, ...] = ()
    """Generations of a model; observations or verdicts of a judge."""
    free: bool = False
    """Whether it is loaded, and done with what it was given."""
    batch_size: int = BATCH
    about: Fields = field(default_factory=dict)
    fault: str = ""
    """Why it has given up for good."""
    kind: str = ""
    """The class of that error."""

    def error(self) -> UnisandboxError:
        """Return the fault as the error that it was in the replica's process."""
        kind = getattr(errors, self.kind, BackendError)
        error: UnisandboxError = kind(self.fault)
        return error


class Server:
    """A replica in a process of its own: it is given records, and answers with reports."""

    def __init__(self) -> None:
        self._role: Role | None = None
        self._replica: ModelReplica | JudgeReplica | None = None

    def load(self, role: Role, path: Sequence[str] = ()) -> Report:
        """Become what is asked for; plugins are also looked for in the places of ``path``."""
        sys.path.extend(place for place in path if place not in sys.path)
        self._role = role
        try:
            self._replica = role.load()
            return self._free()
        except Exception as error:
            return self._failed(error)

    def work(self, shard: Sequence[Any]) -> Iterator[Report]:
        """Yield reports of answers; the last one says that the replica is free, or that it gave up."""
        assert self._replica is not None
        done: list[Any] = []
        sent = time.monotonic()
        try:
            for answer in self._replica.answer(shard):
                done.append(replace(answer, notes=_plain(answer.notes)))
                if time.monotonic() - sent > GATHERED:
                    yield Report(tuple(done))
                    done, sent = [], time.monotonic()
            yield self._free(tuple(done))
        except Exception as error:
            yield self._failed(error, tuple(done))

    def close(self) -> None:
        """Let the model or judge go."""
        if self._replica is not None:
            self._replica.close()

    def _free(self, done: tuple[Any, ...] = ()) -> Report:
        assert self._replica is not None
        about = _plain(self._replica.describe())
        return Report(done, free=True, batch_size=self._replica.batch_size, about=about)

    def _failed(self, error: Exception, done: tuple[Any, ...] = ()) -> Report:
        if isinstance(error, UnisandboxError):
            return Report(done, fault=str(error), kind=type(error).__name__)
        assert self._role is not None
        return Report(done, fault=f"{type(error).__name__}: {error}", kind=self._role.gives_up.__name__)


def _plain(fields: Fields) -> Fields:
    """Return fields as the log would read them back: what a backend put there may be at home only here."""
    try:
        plain: Fields = orjson.loads(orjson.dumps(dict(fields), default=str))
    except TypeError:  # half a character, or a key that is no string: the log mends them
        return fields
    return plain
