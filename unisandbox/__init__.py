"""UniSandbox: does a unified multimodal model use what it understands when it draws?

The public names for users and plugin authors. They are imported on first use, so that a plugin, or the
command line's ``--help``, costs nothing that it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unisandbox.api import judge_again, load_run, run
    from unisandbox.attribution import Attribution, attribute
    from unisandbox.backend import Backend
    from unisandbox.calibrating import calibrate
    from unisandbox.errors import BackendError, DataError, JudgeError, UnisandboxError, UsageError
    from unisandbox.hookspecs import hookimpl
    from unisandbox.judge import Case, Judge, View, match_by_rules
    from unisandbox.merging import merge
    from unisandbox.records import (
        Generation,
        Image,
        Observation,
        Prompt,
        Request,
        Sample,
        Score,
        Turn,
        Verdict,
    )
    from unisandbox.results import Results
    from unisandbox.rubric import Rubric
    from unisandbox.stats import Accuracy

_HOMES = {
    "unisandbox.api": ("judge_again", "load_run", "run"),
    "unisandbox.attribution": ("Attribution", "attribute"),
    "unisandbox.calibrating": ("calibrate",),
    "unisandbox.backend": ("Backend",),
    "unisandbox.errors": ("BackendError", "DataError", "JudgeError", "UnisandboxError", "UsageError"),
    "unisandbox.hookspecs": ("hookimpl",),
    "unisandbox.judge": ("Case", "Judge", "View", "match_by_rules"),
    "unisandbox.merging": ("merge",),
    "unisandbox.records": (
        "Generation",
        "Image",
        "Observation",
        "Prompt",
        "Request",
        "Sample",
        "Score",
        "Turn",
        "Verdict",
    ),
    "unisandbox.results": ("Results",),
    "unisandbox.rubric": ("Rubric",),
    "unisandbox.stats": ("Accuracy",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Accuracy",
    "Attribution",
    "Backend",
    "BackendError",
    "Case",
    "DataError",
    "Generation",
    "Image",
    "Judge",
    "JudgeError",
    "Observation",
    "Prompt",
    "Request",
    "Results",
    "Rubric",
    "Sample",
    "Score",
    "Turn",
    "UnisandboxError",
    "UsageError",
    "Verdict",
    "View",
    "attribute",
    "calibrate",
    "hookimpl",
    "judge_again",
    "load_run",
    "match_by_rules",
    "merge",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'unisandbox' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
