"""Loading weights: where they lie, what they are put on, and one clear line when that cannot be done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from logging import ERROR, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unisandbox.errors import BackendError, UsageError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""A number format; ``auto``: that of the checkpoint, on a CPU float32."""

_PACKAGE = re.compile(r"requires the (\w+) library|pip install (?:-U )?([\w-]+)")
"""How transformers and diffusers name a package that they miss."""

_FIXES = {
    "accelerate": "pip install 'unisandbox[models]'",
    "peft": "pip install 'unisandbox[models]'",
    "bitsandbytes": "pip install 'unisandbox[quantize]'",
    "torchvision": "install the torchvision that belongs to your torch "
    "(torch 2.13.0: pip install torchvision==0.28.0)",
}


def quiet() -> None:
    """Keep what libraries tell developers off the screen, and bars; call it before other imports."""
    from transformers.utils import logging

    getLogger("bitsandbytes").setLevel(ERROR)  # it warns of every pass in bfloat16
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def needed(who: str, package: str, what_for: str) -> None:
    """Raise BackendError with the fix unless a package is installed."""
    if find_spec(package) is None:
        raise BackendError(f"{who}: {what_for} needs {package}, which is not installed: {_fix(package)}")


def _fix(package: str) -> str:
    return _FIXES.get(package, f"pip install {package}")


def checkpoint(who: str, model: str, marker: str) -> str:
    """Return the folder, or a hub name as it is.

    ``marker`` is the file that every such folder holds, ``config.json`` or ``model_index.json``. Raises
    UsageError for a file, and for a folder that is not there or holds something else.
    """
    folder = Path(model).expanduser()
    if not model or folder.is_file():
        found = f"{model} is a file" if model else " is empty"
        raise UsageError(
            f"{who}: model={found}: expected a folder with a {marker}, or a hub name (OWNER/NAME)."
        )
    if not folder.is_dir():
        if folder.exists() or model.startswith(("/", ".", "~")) or model.count("/") != 1:
            raise UsageError(f"{who}: model={model}: no such folder, and no hub name (OWNER/NAME).")
        return model
    if (folder / marker).is_file():
        return str(folder)
    raise UsageError(f"{who}: model={model}: no checkpoint: it holds no {marker}. {_instead(folder)}")


def _instead(folder: Path) -> str:
    """Say what a folder that is no such checkpoint holds."""
    if (folder / "adapter_config.json").is_file():
        return "It is an adapter: name the model that it belongs to, and this as adapter=."
    if (folder / "model_index.json").is_file():
        return "It is a diffusion pipeline: --models diffusers:model=..."
    if (folder / "config.json").is_file():
        return "It is a transformers model, not a diffusion pipeline."
    return f"It holds: {', '.join(sorted(path.name for path in folder.iterdir())[:6]) or 'nothing'}."


@contextmanager
def one_line(who: str, model: str) -> Iterator[None]:
    """Turn what loading can raise into a BackendError of one line, with the fix for a missing package."""
    try:
        yield
    except ImportError as error:
        told = _flat(error)
        found = _PACKAGE.search(told)
        package = (found[1] or found[2]).strip(".-").lower() if found else str(error.name or "")
        if not package or find_spec(package.replace("-", "_")) is not None:
            raise BackendError(f"{who}: model={model} cannot be loaded: {told}") from error
        raise BackendError(
            f"{who}: model={model} needs {package}, which is not installed: {_fix(package)}"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise BackendError(
            f"{who}: model={model} cannot be loaded: {type(error).__name__}: {_flat(error)}"
        ) from error


def _flat(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def device_named(who: str, name: str) -> torch.device:
    """Return a device; ``auto`` is the accelerator where there is one, else the CPU. Raises UsageError."""
    import torch

    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"{who}: device={name}: {reason}. Use auto, cpu, or a device of this machine."
        ) from None
    return device


def placed(who: str, device: str, device_map: str | None) -> tuple[torch.device | None, dict[str, str]]:
    """Return where a model of transformers is put once it is loaded, and what to load it with.

    With a ``device_map`` it is spread by loading, and put nowhere. Raises UsageError for a device that is not
    there, BackendError where spreading it needs a package.
    """
    if device_map is None:
        return device_named(who, device), {}
    needed(who, "accelerate", f"device_map={device_map}")
    return None, {"device_map": device_map}


def precision(dtype: Precision, device: torch.device | None) -> Precision:
    """Return the number format for a device: on a CPU, ``auto`` is float32, which is fastest there.

    >>> import torch
    >>> precision("auto", torch.device("cpu"))
    'float32'
    """
    on_cpu = device is not None and device.type == "cpu"
    return "float32" if dtype == "auto" and on_cpu else dtype


def device_label(device: torch.device) -> str:
    """Return a device's name for the log, with its make where that is known.

    >>> import torch
    >>> device_label(torch.device("cpu"))
    'cpu'
    """
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def number_format(dtype: torch.dtype) -> str:
    """Return a number format's name.

    >>> import torch
    >>> number_format(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def digest(parameters: Iterable[tuple[str, torch.Tensor]], values: int = 64) -> str:
    """Return a digest of weights by name: of evenly spread ``values`` of each, its shape and number format.

    Whoever trains, trains all values of a matrix, so this tells weights apart without reading gigabytes.
    """
    whole = sha256()
    for name, weight in parameters:
        whole.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        if weight.device.type != "meta":  # left on the disk: nothing to read
            flat = weight.detach().reshape(-1)
            chosen = flat[:: max(1, flat.numel() // values)][:values]
            whole.update(chosen.float().cpu().numpy().tobytes())
    return whole.hexdigest()[:16]


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
