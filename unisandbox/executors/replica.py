"""One copy of a model, with what asking it takes; it works the same in this process and in any other."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import orjson

from unisandbox import errors
from unisandbox.asking import Patience, generate
from unisandbox.backend import describe
from unisandbox.building import load_backend
from unisandbox.errors import BackendError, UnisandboxError
from unisandbox.executors.protocol import Shard
from unisandbox.matrix import Model, model_of
from unisandbox.plugins import installed
from unisandbox.records import Fields, Generation
from unisandbox.specs import Spec

BATCH = 16
"""Requests at once, for backends that do not say what they like."""
GATHERED = 0.05
"""Seconds within which answers travel together: a message costs more than a quick answer."""


class Replica:
    """A loaded backend."""

    def __init__(self, model: Model, tries: int) -> None:
        """Load it; raises UsageError for bad options, BackendError when it cannot be loaded."""
        self._backend = load_backend(model)
        self._patience = Patience(model.label, BackendError, tries)

    @property
    def batch_size(self) -> int:
        """How many requests it likes at once."""
        return int(getattr(self._backend, "batch_size", None) or BATCH)

    def describe(self) -> Fields:
        """Return what the backend says of itself."""
        return describe(self._backend)

    def answer(self, shard: Shard) -> Iterator[Generation]:
        """Yield one generation a request; raises BackendError when the model only fails."""
        return generate(self._backend, shard, self._patience)

    def close(self) -> None:
        """Let the backend go."""
        if callable(close := getattr(self._backend, "close", None)):
            close()


@dataclass(frozen=True, slots=True)
class Report:
    """What a replica in another process sends back: a plain record."""

    generations: tuple[Generation, ...] = ()
    free: bool = False
    """Whether it is loaded, and done with what it was given."""
    batch_size: int = BATCH
    about: Fields = field(default_factory=dict)
    fault: str = ""
    """Why the model has given up for good."""
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
        self._replica: Replica | None = None

    def load(self, spec: Spec, tries: int, path: Sequence[str] = ()) -> Report:
        """Find the plugin of a model, also in the places of ``path``, and load it."""
        sys.path.extend(place for place in path if place not in sys.path)
        try:
            self._replica = Replica(model_of(spec, installed()), tries)
            return self._free()
        except Exception as error:
            return _failed(error)

    def work(self, shard: Shard) -> Iterator[Report]:
        """Yield reports of answers; the last one says that the replica is free, or that it gave up."""
        assert self._replica is not None
        done: list[Generation] = []
        sent = time.monotonic()
        try:
            for generation in self._replica.answer(shard):
                done.append(replace(generation, notes=_plain(generation.notes)))
                if time.monotonic() - sent > GATHERED:
                    yield Report(tuple(done))
                    done, sent = [], time.monotonic()
            yield self._free(tuple(done))
        except Exception as error:
            yield _failed(error, tuple(done))

    def close(self) -> None:
        """Let the model go."""
        if self._replica is not None:
            self._replica.close()

    def _free(self, done: tuple[Generation, ...] = ()) -> Report:
        assert self._replica is not None
        about = _plain(self._replica.describe())
        return Report(done, free=True, batch_size=self._replica.batch_size, about=about)


def _failed(error: Exception, done: tuple[Generation, ...] = ()) -> Report:
    if isinstance(error, UnisandboxError):
        return Report(done, fault=str(error), kind=type(error).__name__)
    return Report(done, fault=f"{type(error).__name__}: {error}", kind=BackendError.__name__)


def _plain(fields: Fields) -> Fields:
    """Return fields as the log would read them back: what a backend put there may be at home only here."""
    try:
        plain: Fields = orjson.loads(orjson.dumps(dict(fields), default=str))
    except TypeError:  # half a character, or a key that is no string: the log mends them
        return fields
    return plain
