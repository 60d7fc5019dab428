"""The judges and rubrics that ship with UniSandbox, registered as any plugin's would be."""

from pathlib import Path

from unisandbox.hookspecs import RegisterFolder, RegisterJudge, hookimpl


@hookimpl
def register_rubrics(register: RegisterFolder) -> None:
    """Register the rubric files."""
    register(Path(__file__).parent / "rubrics")


@hookimpl
def register_judges(register: RegisterJudge) -> None:
    """Register the judges."""
    register(
        "rules",
        "unisandbox.judges.rules:Rules",
        summary="reads answers in words by fixed rules",
        reads=("text",),
        default_for=("text",),
    )
    register(
        "sprite",
        "unisandbox.judges.sprite:Sprite",
        summary="reads sandbox pictures exactly, pixel by pixel",
        reads=("sandbox",),
        default_for=("sandbox",),
    )
    register(
        "openai",
        "unisandbox.judges.openai:OpenAI",
        summary="a model that sees, on an OpenAI-compatible server; unless named, Qwen2.5-VL-7B on vLLM",
        reads=("any",),
        remote=True,
    )
    register(
        "vlm",
        "unisandbox.judges.vlm:Vlm",
        summary="a model that sees, of transformers, on this machine",
        reads=("any",),
    )
    register(
        "panel",
        "unisandbox.judges.panel:Panel",
        summary="several judges vote: panel:judges=openai+vlm",
        reads=("any",),
        remote="unisandbox.judges.panel:asks_a_server",
    )
