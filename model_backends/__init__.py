"""The model backends that ship with UniSandbox, registered as any plugin's would be."""

from unisandbox.hookspecs import RegisterModel, hookimpl


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register the backends."""
    register(
        "any-to-any",
        "unisandbox.model_backends.any_to_any.factory:any_to_any",
        summary="transformers models that read and draw: Janus, Janus-Pro, Emu3 (model=HUB_NAME_OR_FOLDER)",
        does=("image", "text", "see"),
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
        "tiny",
        "unisandbox.model_backends.tiny.factory:tiny",
        summary="the embedded model: reads, writes and draws the sandbox's language",
        does=("image", "text", "think", "see", "train", "hidden"),
        draws="sandbox",
    )
