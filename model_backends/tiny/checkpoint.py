"""Checkpoints: one safetensors file that holds the network, the codebook and, as metadata, the vocabulary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unisandbox.errors import BackendError
from unisandbox.files import whole
from unisandbox.model_backends.tiny.network import Network, Shape
from unisandbox.model_backends.tiny.patches import Patches
from unisandbox.model_backends.tiny.words import Words

FORMAT = "unisandbox-tiny-2"
FILE = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Model:
    """A network with its two tokenizers."""

    network: Network
    words: Words
    patches: Patches
    notes: Mapping[str, Any]
    """How it was made."""


def fresh(words: Words, patches: Patches, *, seed: int, width: int = 128, layers: int = 8) -> Model:
    """Return an untrained model."""
    torch.manual_seed(seed)
    return Model(Network(Shape(len(words), len(patches), width, layers)), words, patches, {})


def save(
    model: Model,
    path: Path,
    notes: Mapping[str, Any],
    extra: Mapping[str, Tensor] | None = None,
    *,
    half: bool = False,
) -> None:
    """Write a model, whole or not at all; ``half`` keeps 16 of its 32 bits, ``extra`` adds tensors.

    Raises BackendError when it cannot be written; what stood there before stays.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.network.state_dict().items()}
    if half:
        tensors = {name: tensor.half() for name, tensor in tensors.items()}
    tensors["codes"] = torch.from_numpy(model.patches.codes)
    tensors |= {f"extra.{name}": tensor for name, tensor in (extra or {}).items()}
    metadata = {
        "format": FORMAT,
        "shape": json.dumps(asdict(model.network.shape)),
        "words": json.dumps(model.words.known),
        "notes": json.dumps(notes),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as beside:
            save_file(tensors, beside, metadata)
    except (OSError, SafetensorError) as error:
        raise BackendError(
            f"{path} cannot be written ({error}). The last one written stands: free some space, or choose "
            "another folder, and run the same command."
        ) from None


def digest(model: Model) -> str:
    """Return what tells a model's weights from others: 16 hexadecimal digits."""
    found = hashlib.blake2b(digest_size=8)
    for tensor in model.network.state_dict().values():
        found.update(tensor.cpu().numpy().tobytes())
    return found.hexdigest()


def load(path: Path) -> Model:
    """Read a model from a file, or from FILE in a folder; raises BackendError when it is none."""
    return load_with_extra(path)[0]


def load_with_extra(path: Path) -> tuple[Model, dict[str, Tensor]]:
    """Read a model and the extra tensors stored with it; raises BackendError when it is none."""
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise BackendError(
            f"There is no checkpoint {path}. Expected a {FILE} that python -m unisandbox.model_backends.tiny."
            "train has written, or a folder that holds one."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise BackendError(
            f"{path} cannot be read as a safetensors file ({error}): it is damaged, or of another format "
            "(pickles are not read). Train it anew or copy it again."
        ) from None
    if metadata.get("format") != FORMAT:
        raise BackendError(
            f"{path} is not a checkpoint of this model: its format is {metadata.get('format')!r}, expected "
            f"{FORMAT!r}."
        )
    extra = {
        name.removeprefix("extra."): tensors.pop(name) for name in list(tensors) if name.startswith("extra.")
    }
    return _assembled(path, metadata, tensors), extra


def _assembled(path: Path, metadata: Mapping[str, str], tensors: dict[str, Tensor]) -> Model:
    try:
        words = Words(json.loads(metadata["words"]))
        shape = Shape(**json.loads(metadata["shape"]))
        patches = Patches(tensors.pop("codes").numpy())
        if (len(words), len(patches)) != (shape.words, shape.codes):
            raise ValueError(f"{len(words)} words and {len(patches)} codes for a network of {shape}")
        network = Network(shape)
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        fault = " ".join(str(error).split())[:200]
        raise BackendError(f"{path} is damaged: its parts do not fit together ({fault}).") from None
    if broken := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise BackendError(f"{path} is damaged: {broken[0]} holds numbers that are none.")
    return Model(network, words, patches, json.loads(metadata.get("notes", "{}")))
