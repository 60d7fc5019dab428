"""The factory of ``tiny``: its options, apart from the model, so that checking them loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from unisandbox.backend import Backend

WEIGHTS = Path(__file__).with_name("weights")


def tiny(
    *,
    variant: Literal["injected", "base"] = "injected",
    checkpoint: Path | None = None,
    thought: Literal["reissued", "inline"] = "reissued",
    temperature: Annotated[float, Field(ge=0)] = 1.0,
    threads: Annotated[int, Field(ge=1)] = 1,
    device: str = "cpu",
) -> Backend:
    """Return the backend with shipped weights, a ``variant``, or with a ``checkpoint`` of your own.

    ``injected`` has been taught the benchmark's people in words, ``base`` has not. After thinking, the
    thought's conclusion is ``reissued`` as a new request, or the picture follows the thought at once
    (``inline``). ``temperature`` is that of pictures; words are the likeliest. ``threads`` of the processor:
    on two busy cores, two can be many times slower than one. Raises BackendError for a file that holds no
    such model, UsageError for a device that is not there.
    """
    from unisandbox.model_backends.tiny.backend import Tiny

    path = checkpoint or WEIGHTS / f"{variant}.safetensors"
    return Tiny(path, thought=thought, temperature=temperature, threads=threads, device=device)
