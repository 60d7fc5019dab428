"""The protocol a model backend implements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from unisandbox.records import Fields, Generation, Request


@runtime_checkable
class Backend(Protocol):
    """Runs one model. Built by its registered factory, once a run.

    Optional attributes: ``batch_size: int``, how many requests it likes at once; ``describe() -> Fields``,
    what belongs in ``run.json`` (device, dtype, sampling settings, library versions; under ``weights`` a
    digest of the weights, with which alone a run folder is then continued); ``close()``.
    """

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield one generation a request, in any order, as each is finished.

        Random draws follow ``request.seed`` alone, so that neither batch size nor order changes a
        picture. An exception means that the requests not yet answered failed: the harness retries them,
        then one at a time, then records an error.
        """
        ...


def describe(thing: object) -> Fields:
    """Return what a backend or judge says of itself, or nothing."""
    method = getattr(thing, "describe", None)
    return dict(method()) if callable(method) else {}
