"""Trials written by hand, for tests of what is counted in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unisandbox.trials import Trials

VALUES = {"+": 1.0, "-": 0.0, ".": np.nan}


def trials(
    modes: Mapping[str, str],
    *,
    units: Sequence[str] | None = None,
    judges: Mapping[str, str] | None = None,
    absent: Mapping[str, str] | None = None,
    model: str = "m",
    task: str = "t",
) -> Trials:
    """Return trials from a word a sample: ``+`` passes, ``-`` fails, ``.`` has no verdict, a repeat each."""
    passed = {
        (mode, (judges or {}).get(mode, "eye")): np.array(
            [[VALUES[sign] for sign in word] for word in line.split()]
        )
        for mode, line in modes.items()
    }
    number = len(next(iter(passed.values())))
    names = tuple(f"s{n}" for n in range(number))
    return Trials(task, "f", model, "print", names, tuple(units or names), passed, absent or {}, 0, number)
