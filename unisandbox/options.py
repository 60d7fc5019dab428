"""The options of a run, declared once: for the command line, ``--config`` files and the Python API."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


def _option(default: Any, help: str, *, metavar: str | None = None) -> Any:
    """Declare an option; tuples are written with spaces between on the command line, lists in YAML."""
    return field(default=default, metadata={"help": help, "metavar": metavar})


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """What to run, and how. Paths are relative to the working directory."""

    tasks: tuple[str, ...] = _option(
        ("math_*", "inverse_search"),
        "names, families, tags or globs of tasks, or paths of task files, separated by commas or spaces",
        metavar="TASK",
    )
    models: tuple[str, ...] = _option(
        ("tiny",), "models, each NAME or NAME:KEY=VALUE,KEY=VALUE", metavar="MODEL"
    )
    judges: tuple[str, ...] = _option(
        (), "judges, named the same way; default: what fits each model", metavar="JUDGE"
    )
    modes: tuple[str, ...] = _option(("direct", "cot"), "how samples are asked, or 'all'", metavar="MODE")
    attribution: bool = _option(
        False, "ask every mode that tells causes apart, as far as the model can, and print the causes"
    )
    repeats: int = _option(1, "generations per sample, each with its own seed")
    best_of: int | None = _option(
        None,
        "generations per sample among which the judge chooses; reported apart from plain scores",
        metavar="N",
    )
    limit: int | None = _option(
        None, "ask only the first N units (samples, or pairs) of each task", metavar="N"
    )
    shard: str | None = _option(
        None,
        "ask only the I-th of N equal parts of the units; `unisandbox merge` joins their run folders",
        metavar="I/N",
    )
    seed: int = _option(0, "decides every generation, whatever the batch size or order")
    data: tuple[str, ...] = _option(
        (), "dataset options of the tasks, such as folder=DIR for published_*", metavar="KEY=VALUE"
    )
    include_path: tuple[Path, ...] = _option((), "folders with more task files", metavar="DIR")
    batch_size: int | None = _option(
        None, "requests given to the model at once; default: what it likes", metavar="N"
    )
    executor: str = _option(
        "local",
        "where models run: local (this process), workers=N (processes of this machine, a GPU each), ray or "
        "ray:ADDRESS (a cluster)",
        metavar="WHERE",
    )
    replicas: int | None = _option(
        None, "copies of each model on a Ray cluster; default: as many as fit, also on nodes that join later"
    )
    gpus_per_replica: float | None = _option(
        None,
        "GPUs of a copy on a Ray cluster, or a share of one; default: 1 where there are any",
        metavar="G",
    )
    py_executable: tuple[str, ...] = _option(
        (), "Python interpreters of models that need another environment", metavar="MODEL=PATH"
    )
    judge_replicas: tuple[str, ...] = _option(
        (),
        "copies of a judge, in processes of their own or, with --executor ray, on the cluster; default: it "
        "runs in this process",
        metavar="JUDGE=N",
    )
    judge_gpus_per_replica: float | None = _option(
        None,
        "GPUs of a copy of a judge on a Ray cluster, or a share of one; default: 1 where there are any",
        metavar="G",
    )
    replica_timeout: float | None = _option(
        None,
        "replace a copy of a model or judge that works and gives no answer for so long, as if it had died; "
        "default: never",
        metavar="SECONDS",
    )
    tries: int = _option(3, "attempts at a request before it is recorded as an error")
    min_coverage: float = _option(1.0, "exit with code 3 when less than this share of a cell could be scored")
    out: Path | str | None = _option(
        None,
        "run folder, continued where it stopped, or a URL that fsspec knows, such as s3://bucket/night; "
        "default: a new one under runs/",
        metavar="DIR",
    )
    fresh: bool = _option(False, "start over in --out, deleting what is there")


DEFAULTS = RunOptions()
JUDGING = ("tries", "executor", "judge_replicas", "judge_gpus_per_replica", "replica_timeout")
"""What also goes with judging a run again."""
MINIMUM = {"repeats": 1, "best_of": 2, "limit": 1, "batch_size": 1, "replicas": 1, "tries": 1, "seed": 0}
"""Smallest sensible value."""


def option_names() -> list[str]:
    """Return the names, as in Python and in config files."""
    return [option.name for option in fields(RunOptions)]
