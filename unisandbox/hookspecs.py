"""Every way a plugin can extend UniSandbox.

A plugin is a module named in the entry-point group ``unisandbox``::

    [project.entry-points.unisandbox]
    my-plugin = "my_package.plugin"

It implements any of these hooks with ``@unisandbox.hookimpl``. Factories are given as
``"module:attribute"`` and imported only when a run names them, so a plugin module must stay light:
no torch, no transformers at its top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import pluggy

hookspec = pluggy.HookspecMarker("unisandbox")
hookimpl = pluggy.HookimplMarker("unisandbox")

Ability = Literal["image", "text", "think", "see", "train", "hidden", "end_to_end"]
"""``hidden``: hands out hidden states, see ``unisandbox.backend.Transparent``. ``end_to_end``: thinks unseen
before it draws and cannot be stopped, so ``direct`` is not without thinking; tables say so."""

Pictures = Literal["sandbox", "any"]
"""``sandbox``: drawn in ``unisandbox.world``'s picture language; ``any``: whatever a model paints."""

Readable = Literal["sandbox", "any", "text"]
"""What a judge reads: the two kinds of pictures, and words."""


class RegisterFolder(Protocol):
    """Registers a folder: every ``*.yaml`` below it is one file of its kind."""

    def __call__(self, folder: Path) -> None: ...


class RegisterDataset(Protocol):
    """Registers a function ``(**options) -> list[dict]`` that returns rows with an ``id``."""

    def __call__(self, name: str, factory: str, *, summary: str) -> None: ...


class RegisterModel(Protocol):
    """Registers a factory ``(**options) -> Backend``."""

    def __call__(
        self,
        name: str,
        factory: str,
        *,
        summary: str,
        does: tuple[Ability, ...] | str,
        draws: Pictures = "any",
        sees_target: bool = False,
    ) -> None:
        """``sees_target``: requests carry the answer. For oracles and replays, never for a real model.

        Where the options decide what a model ``does``, give ``"module:function"``: a light function from the
        options, as text, to abilities.
        """
        ...


class RegisterJudge(Protocol):
    """Registers a factory ``(**options) -> Judge``."""

    def __call__(
        self,
        name: str,
        factory: str,
        *,
        summary: str,
        reads: tuple[Readable, ...],
        default_for: tuple[Readable, ...] = (),
        remote: bool | str = False,
    ) -> None:
        """``default_for``: what it judges when a run names no judge.

        ``remote``: it asks a server, under one rate limit, and so has no replicas. Where the options decide
        that, give ``"module:function"``: a light function from the options, as text, to a bool.
        """
        ...


@hookspec
def register_tasks(register: RegisterFolder) -> None:
    """Register folders of task files: ``register(Path(__file__).parent / "tasks")``."""


@hookspec
def register_rubrics(register: RegisterFolder) -> None:
    """Register folders of rubric files: ``register(Path(__file__).parent / "rubrics")``."""


@hookspec
def register_datasets(register: RegisterDataset) -> None:
    """Register dataset sources: ``register("riddles", "my_package.riddles:riddles", summary="...")``."""


@hookspec
def register_models(register: RegisterModel) -> None:
    """Register models: ``register("mine", "my_package.model:Mine", summary="...", does=("image",))``."""


@hookspec
def register_judges(register: RegisterJudge) -> None:
    """Register judges: ``register("mine", "my_package.judge:Mine", summary="...", reads=("any",))``."""
