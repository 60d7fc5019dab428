"""What must be known of a model to ask it: endpoint, request keys, abilities. One YAML file a model."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from unisandbox.errors import UsageError, unknown
from unisandbox.hookspecs import Ability
from unisandbox.model_backends.openai import GENERIC
from unisandbox.remote import LOCAL
from unisandbox.yaml_file import YamlFile

PRESETS = Path(__file__).with_name("presets")

Keys = dict[str, Any]
"""Keys of a request's body, as the server wants them; null is sent as null."""

Size = Annotated[str, Field(pattern=r"^[1-9]\d*(x[1-9]\d*)?$")]
"""``1024`` (square) or ``1024x768``, pixels."""


def _holds_the_prompt(text: str) -> str:
    if "{prompt}" not in text:
        raise ValueError("it must hold {prompt}, where the prompt goes")
    return text


Wrapping = Annotated[str, AfterValidator(_holds_the_prompt)]


class Wrap(BaseModel):
    """Text around prompts, for servers that put no chat template around them; by what is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: Wrapping = "{prompt}"
    think: Wrapping = "{prompt}"
    """Pictures after thinking."""
    text: Wrapping = "{prompt}"
    see: Wrapping = "{prompt}"
    """Words about a picture."""


class Preset(BaseModel):
    """The schema of ``presets/*.yaml``; every key can be overridden by the option of the same name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    serve: str = ""
    """The command that starts such a server."""
    base_url: str = LOCAL
    model: str | None = None
    api_key_env: str | None = None
    endpoint: Literal["chat", "images"] = "chat"
    """Where pictures come from; words always come from chat."""
    does: tuple[Ability, ...] = GENERIC  # type: ignore[assignment]
    seeds: bool = True
    """Whether the server takes a seed."""
    size: Size | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    guidance: Annotated[float, Field(ge=0)] | None = None
    guidance_key: str = "guidance_scale"
    """What the server calls guidance."""
    image: Keys = {}
    """More keys of requests for pictures."""
    text: Keys = {"temperature": 0}
    """More keys of requests for words."""
    think: Keys = {}
    """More keys when thinking comes first."""
    plain: Keys = {}
    """More keys of pictures when it does not."""
    wrap: Wrap = Wrap()


@lru_cache(maxsize=16)
def preset(name: str | None) -> Preset:
    """Return a preset by name, or by the path of a file of one's own; ``None`` is a server of no known kind.

    Raises UsageError for an unknown name, TaskFileError for a file that is none.
    """
    if name is None:
        return Preset()
    if name.endswith((".yaml", ".yml")):
        return YamlFile(Path(name)).check(Preset)
    known = {path.stem: path for path in PRESETS.glob("*.yaml")}
    if name not in known:
        raise UsageError(f"openai: {unknown('preset', name, known)} A file of your own: preset=FILE.yaml")
    return YamlFile(known[name]).check(Preset)
