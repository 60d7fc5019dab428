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
from unisandbox.matrix import JudgeChoice, Model

FORMS = "local, workers=N, ray or ray:ADDRESS"


def make_executor(
    text: str,
    models: Sequence[Model],
    *,
    replicas: int | None = None,
    gpus_per_replica: float | None = None,
    py_executable: Sequence[str] = (),
    judges: Mapping[str, int] | None = None,
    judge_gpus_per_replica: float | None = None,
    replica_timeout: float | None = None,
) -> Executor:
    """Return an executor by its name, connected to what it runs on.

    ``py_executable`` holds ``MODEL=PATH`` for models that run in another interpreter, ``judges`` the number
    of replicas of judges by label. Raises UsageError for what cannot be meant, is not installed, cannot be
    reached, or does not fit.
    """
    kind, rest = parse_executor(text)
    judges = judges or {}
    for name, value in (("--replicas", replicas), ("--gpus-per-replica", gpus_per_replica)):
        if value is not None and kind != "ray":
            raise UsageError(f"{name} goes with --executor ray, and the executor is {text!r}.")
    if judge_gpus_per_replica is not None and not (kind == "ray" and judges):
        raise UsageError("--judge-gpus-per-replica goes with --executor ray and --judge-replicas JUDGE=N.")
    if py_executable and kind == "local":
        raise UsageError("--py-executable goes with --executor workers=N or ray: local is this interpreter.")
    if replica_timeout is not None and kind == "local" and not judges:
        raise UsageError(
            "--replica-timeout goes with --executor workers=N or ray, or with --judge-replicas JUDGE=N: what "
            "runs in this process cannot be replaced."
        )
    pythons = _pythons(py_executable, models)
    if kind == "ray":
        from unisandbox.executors.ray import Ray

        return Ray(
            rest,
            pythons,
            replicas=replicas if models else 0,
            gpus=gpus_per_replica,
            judges=sum(judges.values()),
            judge_gpus=judge_gpus_per_replica,
            silence=replica_timeout,
        )
    if kind == "local" and not judges:
        return Local()
    from unisandbox.executors.workers import Workers

    workers = Workers(int(rest or 0), pythons, judges, replica_timeout)
    return workers if kind == "workers" else Local(workers)


def judge_replicas(given: Sequence[str], judges: Sequence[JudgeChoice]) -> dict[str, int]:
    """Return how many replicas of a judge are asked for, by label; ``JUDGE=N`` stands for every judge of it.

    Raises UsageError for what cannot be meant, and for a judge that asks a server.
    """
    found: dict[str, int] = {}
    for text in given:
        name, _, number = text.rpartition("=")
        if not name or not number.isdecimal() or int(number) < 1:
            raise UsageError(
                f"--judge-replicas {text}: expected JUDGE=N, a whole number of at least 1, such as vlm=2."
            )
        meant = [judge for judge in judges if name in (judge.label, judge.spec.name)]
        if not meant:
            known = [judge.label for judge in judges]
            raise UsageError(f"--judge-replicas {text}: {unknown('judge of this run', name, known)}")
        if remote := [judge.label for judge in meant if judge.entry.is_remote(judge.options)]:
            raise UsageError(
                f"--judge-replicas {text}: {remote[0]!r} asks a server, and does so from one process, under "
                "one rate limit. Leave it out: how many of its questions are in flight is an option of it "
                f"(unisandbox judges show {meant[0].spec.name})."
            )
        found |= {judge.label: int(number) for judge in meant}
    return found


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
