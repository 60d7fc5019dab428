"""Models and judges, built from the factories that plugins registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from unisandbox.backend import Backend
from unisandbox.errors import BackendError, JudgeError, UnisandboxError
from unisandbox.judge import Judge
from unisandbox.matrix import JudgeChoice, Model
from unisandbox.specs import build


def load_backend(model: Model) -> Backend:
    """Build a model's backend; raises UsageError for bad options, BackendError when it cannot be loaded."""
    backend = _load(f"model {model.spec.name!r}", model.entry.load(), model.options, BackendError)
    if not isinstance(backend, Backend):
        raise BackendError(
            f"The factory of model {model.spec.name!r} returned no backend: "
            f"{backend!r} has no method generate."
        )
    return backend


def load_judge(choice: JudgeChoice) -> Judge:
    """Build a judge; raises UsageError for bad options, JudgeError when it cannot be loaded."""
    spec = choice.spec
    judge = _load(f"judge {spec.name!r}", choice.entry.load(), choice.options, JudgeError)
    if not isinstance(judge, Judge):
        raise JudgeError(
            f"The factory of judge {spec.name!r} returned no judge: {judge!r} lacks observe or match."
        )
    return judge


@contextmanager
def loaded_judges(
    chosen: Iterable[JudgeChoice], load: Callable[[JudgeChoice], Judge] = load_judge
) -> Iterator[dict[str, Judge]]:
    """Load judges by label, and close at the end those that hold something open; raises as ``load`` does."""
    with ExitStack() as opened:
        judges: dict[str, Judge] = {}
        for choice in chosen:
            judge = judges[choice.label] = load(choice)
            if callable(close := getattr(judge, "close", None)):
                opened.callback(close)
        yield judges


def _load(
    what: str, factory: Callable[..., object], options: Mapping[str, str], kind: type[UnisandboxError]
) -> object:
    try:
        return build(what, factory, options)
    except UnisandboxError:
        raise
    except Exception as error:
        raise kind(f"The {what} cannot be loaded: {type(error).__name__}: {error}") from error
