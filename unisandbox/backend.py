"""The protocol a model backend implements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from unisandbox.records import Example, Fields, Generation, Request

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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSpec:
    """How to fine-tune. What is None is the backend's own choice; what it cannot do, it refuses."""

    steps: int | None = None
    """Optimiser steps."""
    batch: int | None = None
    """What one step learns from, in the backend's own units: examples, or rows of packed tokens."""
    rate: float | None = None
    """The highest learning rate."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the rate falls to nothing."""
    mix: float | None = None
    """Share of what it was trained on before, against forgetting; for backends that have it."""
    precision: str | None = None
    """Such as float32 or bfloat16."""
    freeze: tuple[str, ...] = ()
    """Parts to leave as they are, by the backend's names of them."""
    lora: int = 0
    """Rank of low-rank adapters (Hu et al. 2021); 0 trains the weights themselves."""
    seed: int = 0


@runtime_checkable
class Trainable(Protocol):
    """The optional method of a backend that can be fine-tuned; registered as one that does ``train``."""

    def train(
        self, examples: Sequence[Example], spec: TrainSpec, out: Path, *, quiet: bool = False
    ) -> Mapping[str, str]:
        """Train a copy on the examples into the folder ``out``; return the options that load it.

        They go on top of the options this backend was made with. Its progress is appended to
        ``out/log.jsonl``, a line of ``step``, ``loss`` and whatever else is worth a curve now and then, and
        shown unless ``quiet``. Called again with the same arguments after any end, it goes on from the last
        checkpoint, and does nothing when it was done. Raises UsageError for what it cannot do, and
        BackendError, keeping the last good checkpoint, when the loss is no longer a number.
        """
        ...


def describe(thing: object) -> Fields:
    """Return what a backend or judge says of itself, or nothing."""
    method = getattr(thing, "describe", None)
    return dict(method()) if callable(method) else {}
