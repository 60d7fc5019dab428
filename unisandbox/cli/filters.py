"""The filters ``--tasks``, ``--modes``, ``--models`` and ``--judges`` of commands that read runs."""

import argparse
from collections.abc import Sequence

_COLUMNS = {"tasks": "task", "modes": "mode", "models": "model", "judges": "judge"}


def patterns(arguments: argparse.Namespace, names: Sequence[str] = tuple(_COLUMNS)) -> dict[str, list[str]]:
    """Return the globs given for each column, separated by commas or spaces."""
    return {
        _COLUMNS[name]: [glob for text in getattr(arguments, name) for glob in text.split(",")]
        for name in names
    }
