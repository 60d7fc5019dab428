"""The factory of ``openai``: its options, laid over a preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from unisandbox.backend import Backend
from unisandbox.errors import UsageError
from unisandbox.hookspecs import Ability
from unisandbox.model_backends.openai.preset import PRESETS, Preset, Size, preset
from unisandbox.specs import checked_options

Thinking = Literal["native", "two-calls"]
Known = Annotated[str, Field(examples=sorted(path.stem for path in PRESETS.glob("*.yaml")))]


def openai(
    *,
    preset: Known | None = None,
    base_url: str | None = None,
    model: str | None = None,
    api_key_env: str | None = None,
    endpoint: Literal["chat", "images"] | None = None,
    does: tuple[Ability, ...] | None = None,
    size: Size | None = None,
    steps: Annotated[int, Field(ge=1)] | None = None,
    guidance: Annotated[float, Field(ge=0)] | None = None,
    extra: tuple[str, ...] = (),
    think: tuple[str, ...] = (),
    thinking: Thinking = "native",
    think_base_url: str | None = None,
    largest: Annotated[int, Field(ge=16)] | None = None,
    concurrency: Annotated[int, Field(ge=1)] = 8,
    timeout: Annotated[float, Field(gt=0)] = 300,
    rpm: Annotated[float, Field(gt=0)] | None = None,
    retries: Annotated[int, Field(ge=0)] = 6,
) -> Backend:
    """Connect to a model on an OpenAI-compatible server.

    ``preset``: how a known model is asked, or a file of your own; the options that follow override it.
    ``model`` can be left out where the server has only one. ``endpoint`` of pictures: ``chat`` or ``images``.
    ``does``: abilities joined by +. ``size`` 1024 or 1024x768. ``extra`` and ``think``: body keys of
    pictures, KEY=VALUE joined by +, always and when thinking comes first. ``thinking=two-calls`` asks for the
    thought in a call of its own; ``think_base_url`` is a second server that always thinks. ``largest``:
    pixels of the longer side of pictures sent. For the rest see ``unisandbox.remote.Remote``. Raises
    BackendError when the server cannot be reached or refuses the key.
    """
    given = dict(locals())
    from unisandbox.model_backends.openai.backend import OpenAI

    return OpenAI(
        settings(given),
        preset=preset,
        think_base_url=think_base_url,
        largest=largest,
        concurrency=concurrency,
        timeout=timeout,
        rpm=rpm,
        retries=retries,
    )


def settings(given: Mapping[str, Any]) -> Preset:
    """Return the preset with the options laid over it."""
    base = preset(given.get("preset"))
    over = {key: given[key] for key in Preset.model_fields if given.get(key) is not None and key != "think"}
    image = {**base.image, **_body("extra", given.get("extra") or ())}
    think = {**base.think, **_body("think", given.get("think") or ())}
    able = set(over.get("does", base.does))
    if given.get("think") or given.get("think_base_url"):
        able.add("think")
    if given.get("thinking") == "two-calls":
        able.discard("think")
    return base.model_copy(update={**over, "image": image, "think": think, "does": tuple(sorted(able))})


def abilities(options: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a model with these options, as on the command line, can do."""
    return settings(checked_options("model 'openai'", openai, options, complete=False)).does


def _body(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` pairs; values are YAML, so that numbers are numbers."""
    body = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"openai: {option}={pair!r}: expected KEY=VALUE, several joined by +.")
        body[key] = yaml.safe_load(value)
    return body
