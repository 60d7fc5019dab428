"""Where models run: in this process, in others on this machine, or on a cluster.

``protocol`` is all that the runner knows of it; each executor is one file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from unisandbox.errors import UsageError, unknown
from unisandbox.executors.local import Local
from unisandbox.executors.protocol import Executor
from unisandbox.matrix import Model

FORMS = "local, workers=N, ray or ray:ADDRESS"


def make_executor(
    text: str,
    models: Sequence[Model],
    *,
    replicas: int | None = None,
    gpus_per_replica: float | None = None,
    py_executable: Sequence[str] = (),
) -> Executor:
    """Return an executor by its name, connected to what it runs on.

    ``py_executable`` holds ``MODEL=PATH`` for models that run in another interpreter. Raises UsageError for
    what cannot be meant, is not installed, cannot be reached, or does not fit.
    """
    kind, rest = parse_executor(text)
    for name, value in (("--replicas", replicas), ("--gpus-per-replica", gpus_per_replica)):
        if value is not None and kind != "ray":
            raise UsageError(f"{name} goes with --executor ray, and the executor is {text!r}.")
    if py_executable and kind == "local":
        raise UsageError("--py-executable goes with --executor workers=N or ray: local is this interpreter.")
    pythons = _pythons(py_executable, models)
    if kind == "workers":
        from unisandbox.executors.workers import Workers

        return Workers(int(rest), pythons)
    if kind == "ray":
        from unisandbox.executors.ray import Ray

        return Ray(rest, replicas, gpus_per_replica, pythons)
    return Local()


def parse_executor(text: str) -> tuple[str, str]:
    """Return the kind of an executor and what stands behind it; raises UsageError for what is no executor."""
    kind, sign, rest = re.fullmatch(r"([^=:]*)([=:]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    if kind not in ("local", "workers", "ray"):
        raise UsageError(f"{unknown('executor', kind, ('local', 'workers', 'ray'))} Forms: {FORMS}.")
    if kind == "workers" and not (sign == "=" and rest.isdecimal() and int(rest) > 0):
        raise UsageError(f"--executor {text}: expected a whole number of at least 1, such as workers=2.")
    if (kind == "local" and sign) or (kind == "ray" and (sign == "=" or (sign and not rest))):
        raise UsageError(f"--executor {text}: expected {FORMS}.")
    return kind, rest


def _pythons(given: Sequence[str], models: Sequence[Model]) -> Mapping[str, str]:
    """Return the interpreters by label of model; a name stands for every model of it."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, path = text.rpartition("=")
        if not equals or not name or not path:
            raise UsageError(f"--py-executable {text}: expected MODEL=PATH.")
        meant = [model.label for model in models if name in (model.label, model.spec.name)]
        if not meant:
            known = [model.label for model in models]
            raise UsageError(f"--py-executable {text}: {unknown('model of this run', name, known)}")
        found |= dict.fromkeys(meant, str(Path(path).expanduser()))
    return found
