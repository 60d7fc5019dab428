"""Checkpoints in the layout of BAGEL-7B-MoT: settings, weights, the autoencoder's weights, a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import Qwen2Tokenizer

from unisandbox.errors import BackendError, UsageError
from unisandbox.loading import digest, one_line
from unisandbox.model_backends.bagel.autoencoder import Autoencoder, renamed
from unisandbox.model_backends.bagel.config import Shapes, read_config
from unisandbox.model_backends.bagel.devices import (
    Place,
    Spread,
    count,
    device_of,
    dispatch,
    placed,
    warn_if_slow,
)
from unisandbox.model_backends.bagel.model import Bagel, Frame
from unisandbox.model_backends.bagel.quantize import Bits, held, quantized
from unisandbox.training.adapters import merged

NAME = "bagel"
SETTINGS = ("llm_config.json", "vit_config.json")
WEIGHTS, AUTOENCODER = "ema.safetensors", "ae.safetensors"
TOKENIZER = ("tokenizer_config.json", "vocab.json", "merges.txt")
FRAME = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that a folder holds."""

    model: Bagel
    autoencoder: Autoencoder
    tokenizer: Any
    parameters: int
    """How many the model has; those of 4 bits stand two to a number."""
    digest: str
    """Of all weights."""
    folder: Path
    """Where they were."""
    adapters: tuple[Path, ...] = ()
    """What was merged into them."""
    quantize: Bits | None = None
    """How the matrices of layers are kept, if not as the other weights."""
    places: Mapping[str, Place] = field(default_factory=dict)
    """Where each layer lies, by its number, if not all on one device."""


def load(
    folder: Path,
    weights: str,
    device: torch.device,
    dtype: torch.dtype,
    adapters: Sequence[Path] = (),
    *,
    spread: Spread | None = None,
    quantize: Bits | None = None,
) -> Loaded:
    """Load a folder, and merge adapters into it. With ``spread`` the ``device`` is its home.

    Raises UsageError for one that lacks files, BackendError for weights that do not fit.
    """
    _complete(folder, weights)
    file = folder / weights
    with one_line(NAME, str(folder)):
        settings = [json.loads((folder / name).read_text(encoding="utf-8")) for name in SETTINGS]
        learned, fixed = shapes_in(file), shapes_in(folder / AUTOENCODER)
        config = read_config(settings[0], settings[1], learned, fixed)
        tokenizer, frame = read_tokenizer(folder)
        with torch.device("meta"):
            model, autoencoder = Bagel(config, frame), Autoencoder(config.autoencoder)
    standing = {name: torch.empty(shape, device="meta") for name, shape in fixed.items()}
    _check(file, shapes_of(model), learned)
    _check(folder / AUTOENCODER, shapes_of(autoencoder.inner), _shapes(renamed(standing, config.autoencoder)))
    warn_if_slow(NAME, device, dtype)
    layers, parameters = model.language_model.model.layers, count(model)
    if quantize:
        quantized(NAME, model, layers, quantize, dtype)
    places = placed(f"{NAME}: path={folder}", model, layers, autoencoder, device, dtype, quantize, spread)
    if adapters and "disk" in places.values():
        raise UsageError(
            f"{NAME}: adapter={adapters[0]} cannot be merged into layers that are left on the disk. Set "
            "max_memory=cpu: to more, or leave max_memory= out."
        )
    with one_line(NAME, str(folder)):
        _fill(model, file, dtype, places, device)
        fixed_weights = renamed(_read(folder / AUTOENCODER, device, dtype), config.autoencoder)
        autoencoder.inner.load_state_dict(fixed_weights, assign=True)
    for adapter in adapters:
        model, _ = merged(NAME, model, adapter)
    told = digest(chain(_values(model, file, dtype), sorted(autoencoder.state_dict().items())))
    if spread and places:
        dispatch(layers, places, spread.first, file, dtype)
    return Loaded(
        model=model.eval(),
        autoencoder=autoencoder.eval(),
        tokenizer=tokenizer,
        parameters=parameters,
        digest=told,
        folder=folder,
        adapters=tuple(adapters),
        quantize=quantize,
        places=places,
    )


def read_tokenizer(folder: Path) -> tuple[Any, Frame]:
    """Return the tokenizer, and its tokens that frame texts and pictures, which it gets if it has none."""
    tokenizer = Qwen2Tokenizer.from_pretrained(str(folder))
    tokenizer.add_tokens(
        [token for token in FRAME if token not in tokenizer.get_vocab()], special_tokens=True
    )
    return tokenizer, Frame(*(tokenizer.convert_tokens_to_ids(token) for token in FRAME))


def shapes_of(module: nn.Module) -> Shapes:
    """Return the names and shapes of all weights."""
    return _shapes(module.state_dict())


def shapes_in(file: Path) -> Shapes:
    """Return the names and shapes in a file of weights, without reading those. Raises BackendError."""
    try:
        with safe_open(file, "pt") as held:
            return {name: tuple(held.get_slice(name).get_shape()) for name in held.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise BackendError(f"{NAME}: {file}: no whole safetensors file ({error}). Fetch it again.") from None


def _shapes(weights: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def _complete(folder: Path, weights: str) -> None:
    if not folder.is_dir():
        found = "a file; expected the folder that holds it" if folder.is_file() else "no such folder"
        raise UsageError(f"{NAME}: path={folder}: {found}.")
    wanted = (*SETTINGS, weights, AUTOENCODER, *TOKENIZER)
    if lacks := [name for name in wanted if not (folder / name).is_file()]:
        raise UsageError(
            f"{NAME}: path={folder}: it holds no {', '.join(lacks)}. Name a folder with the files of "
            "BAGEL-7B-MoT (weights= names another file of weights in it)."
        )


def _check(file: Path, expected: Shapes, found: Shapes) -> None:
    """Raise BackendError, with the first five, unless a file holds just the weights that are expected."""
    faults = [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is not expected" for name in found if name not in expected]
    faults += [
        f"{name} is {tuple(found[name])}, expected {tuple(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    if faults:
        raise BackendError(
            f"{NAME}: {file}: {len(faults)} weights do not fit the settings beside it "
            f"({', '.join(SETTINGS)}): {'; '.join(faults[:5])}{'; ...' * (len(faults) > 5)}. "
            "Take all files from one model."
        )


def _read(file: Path, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Read weights one after another, each at once onto the device."""
    with safe_open(file, "pt", device=str(device)) as held:
        return {name: held.get_tensor(name).to(dtype) for name in held.keys()}  # noqa: SIM118


def _fill(
    model: Bagel, file: Path, dtype: torch.dtype, places: Mapping[str, Place], home: torch.device
) -> None:
    """Read the weights of the model one after another, each to where it is to lie."""
    with safe_open(file, "pt") as weights:
        for name in weights.keys():  # noqa: SIM118
            owner, _, leaf = name.rpartition(".")
            module = model.get_submodule(owner)
            value = weights.get_tensor(name).to(dtype)
            setattr(module, leaf, held(getattr(module, leaf), value, device_of(name, places, home)))


def _values(model: Bagel, file: Path, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """Yield all weights by name; those that stay on the disk are read for it."""
    with safe_open(file, "pt") as weights:
        for name, weight in sorted(model.state_dict().items()):
            yield name, weights.get_tensor(name).to(dtype) if weight.is_meta else weight
