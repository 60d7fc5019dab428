"""The protocol a model backend implements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from unisandbox.records import Fields, Generation, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@runtime_checkable
class Backend(Protocol):
    """Runs one model. Built by its registered factory, once a run.

    Optional attributes: ``batch_size: int``, how many requests it likes at once; ``describe() -> Fields``,
    what belongs in ``run.json`` (device, dtype, sampling settings, library versions; under ``weights`` a
    digest of the weights, with which alone a run folder is then continued), asked before and after the work;
    ``close()``.
    """

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield one generation a request, in any order, as each is finished.

        Random draws follow ``request.seed`` alone, so that neither batch size nor order changes a
        picture. An exception means that the requests not yet answered failed: the harness retries them,
        then one at a time, then records an error.
        """
        ...


@dataclass(frozen=True, slots=True)
class Hidden:
    """What a model holds inside when it is about to answer one request."""

    key: str
    states: Mapping[int, NDArray[np.floating]]
    """Tokens of its own picture that it has read by then -> (layers + 1, width), the embedding first."""


@runtime_checkable
class Transparent(Protocol):
    """The optional method of a backend that hands out hidden states; registered as one that does ``hidden``.

    ``unisandbox probe`` reads them.
    """

    def hidden(self, requests: Sequence[Request], after: Sequence[int] = (0,)) -> Iterator[Hidden]:
        """Yield the hidden states of each request, in any order; what it cannot read is left out.

        After 0 tokens they are those at the last position before the output, be it words or a picture: all
        that the first token is chosen by. After more, those at that token of the picture that ``generate``
        draws for the same request; of words there is only 0. Raises UsageError for more tokens than a
        picture has.
        """
        ...


def describe(thing: object) -> Fields:
    """Return what a backend or judge says of itself, or nothing."""
    method = getattr(thing, "describe", None)
    return dict(method()) if callable(method) else {}
