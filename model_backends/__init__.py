"""The model backends that ship with UniSandbox, registered as any plugin's would be."""

from unisandbox.hookspecs import RegisterModel, hookimpl


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register the backends."""
    register(
        "any-to-any",
        "unisandbox.model_backends.any_to_any.factory:any_to_any",
        summary="models of transformers that read and draw: Janus, Janus-Pro, Emu3",
        does=("image", "text", "see", "train"),
    )
    register(
        "bagel",
        "unisandbox.model_backends.bagel.factory:bagel",
        summary="BAGEL in this process: reads, thinks and draws, many pictures at once",
        does=("image", "text", "think", "see", "train"),
    )
    register(
        "diffusers",
        "unisandbox.model_backends.diffusers.factory:diffusers",
        summary="any text-to-image pipeline, alone or behind a language model that rewrites",
        does="unisandbox.model_backends.diffusers:does",
    )
    register(
        "command",
        "unisandbox.model_backends.command.backend:Command",
        summary="a program of your own, in its own environment: JSON lines in and out",
        does="unisandbox.model_backends.command:does",
    )
    register(
        "folder",
        "unisandbox.model_backends.folder:Folder",
        summary="replays pictures, thoughts and answers made elsewhere",
        does=("image", "text", "think", "see"),
        sees_target=True,
    )
    register(
        "oracle",
        "unisandbox.model_backends.oracle:Oracle",
        summary="knows every answer and fails only where it is told to",
        does=("image", "text", "think", "see"),
        draws="sandbox",
        sees_target=True,
    )
    register(
        "openai",
        "unisandbox.model_backends.openai.factory:openai",
        summary="any OpenAI-compatible server; presets for BAGEL, Qwen-Image, GPT-image and others",
        does="unisandbox.model_backends.openai:does",
    )
    register(
        "tiny",
        "unisandbox.model_backends.tiny.factory:tiny",
        summary="the embedded model: reads, writes and draws the sandbox's language",
        does=("image", "text", "think", "see", "train", "hidden"),
        draws="sandbox",
    )
