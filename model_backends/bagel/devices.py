"""Where weights lie: all on one device, or the layers of the language model spread over several.

Spread, accelerate decides where each layer lies, and takes what goes in to where that is. Layers that fit on
no device stay in memory or in the file of weights, and are fetched at every pass. All the rest, 3 GiB of
BAGEL-7B-MoT in bfloat16, stays on the first device.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unisandbox.errors import BackendError, UsageError
from unisandbox.loading import needed, number_format
from unisandbox.model_backends.bagel.quantize import BYTES, Bits

Place = int | str
"""The number of an accelerator, ``mps``, ``cpu`` or ``disk``."""
FILLED = 0.9
"""How much of an accelerator weights take up where nothing is said; the rest is for what they work on."""
LAYERS = "language_model.model.layers."
LIMIT = re.compile(r"(\d+|mps|cpu):(\d+(?:\.\d+)?[KMG]i?B)")


@dataclass(frozen=True, slots=True)
class Spread:
    """How layers are to be spread, see accelerate's ``infer_auto_device_map`` and ``get_balanced_memory``."""

    kind: str
    memory: Mapping[Place, int]
    """Bytes of weights that a device takes; the first is where all the rest stays."""

    @property
    def first(self) -> Place:
        """The first device."""
        return next(iter(self.memory))

    @property
    def home(self) -> torch.device:
        """The same for torch."""
        return torch.device(self.first)

    def places(self, layers: nn.ModuleList, rest: int, size: float) -> dict[str, Place]:
        """Return where each layer is to lie, by its number.

        A weight takes ``size`` bytes, and ``rest`` bytes of the first device are taken.
        """
        from accelerate import infer_auto_device_map
        from accelerate.utils import get_balanced_memory

        free = {**self.memory, self.first: max(self.memory[self.first] - rest, 0)}
        memory = {place: int(room / size) for place, room in free.items()}  # in weights: of one byte below
        given: dict[str, Any] = {"no_split_module_classes": ["Layer"], "dtype": torch.int8}
        if self.kind != "sequential":
            memory = get_balanced_memory(layers, memory, low_zero=self.kind == "balanced_low_0", **given)
        found: dict[str, Place] = infer_auto_device_map(layers, memory, clean_result=False, **given)
        return found

    def fetched(self, places: Mapping[str, Place]) -> list[Place]:
        """Return the places of those layers that work elsewhere than they lie."""
        return [place for place in places.values() if place == "disk" or (place == "cpu" != self.first)]


def spread_over(who: str, kind: str, limits: Iterable[str] = ()) -> Spread:
    """Return how to spread layers, in ``limits`` such as ``0:20GiB`` or else in what memory is free.

    Raises UsageError for a limit that is none or a device that is not there, BackendError without accelerate.
    """
    needed(who, "accelerate", f"device_map={kind}")
    from accelerate.utils import get_max_memory

    if given := dict(_limit(who, limit) for limit in limits):
        return Spread(kind, get_max_memory(given))
    free = get_max_memory()
    return Spread(kind, {at: int(room * FILLED) if at != "cpu" else room for at, room in free.items()})


def _limit(who: str, limit: str) -> tuple[Place, str]:
    found = LIMIT.fullmatch(limit)
    if found is None:
        raise UsageError(
            f"{who}: max_memory={limit}: expected a device and a size, such as 0:20GiB or cpu:64GiB, several "
            "joined by +."
        )
    place, size = found.groups()
    if not place.isdigit():
        return place, size
    if int(place) >= (there := torch.accelerator.device_count()):
        raise UsageError(f"{who}: max_memory={limit}: this machine has {there} accelerators, counted from 0.")
    return int(place), size


def placed(
    who: str,
    model: nn.Module,
    layers: nn.ModuleList,
    others: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    bits: Bits | None = None,
    spread: Spread | None = None,
) -> Mapping[str, Place]:
    """Return where the layers of a model are to lie, by number, unless all on the device, with ``others``.

    Raises BackendError, with what to set, where there is too little memory.
    """
    inside, half = count(layers), "dtype=bfloat16, which takes half of it, " * (dtype == torch.float32)
    rest = (count(model) + count(others) - inside) * dtype.itemsize
    size = BYTES[bits] if bits else dtype.itemsize
    if spread is None:
        what = f"{who}: the weights, in {bits or number_format(dtype)},"
        fix = f"Set {half}quantize=4bit, device_map=auto, or device= to one that has more."
        _fits(what, rest + inside * size, device, _room(device), fix)
        return {}
    what = f"{who}: all but the layers, in {number_format(dtype)},"
    fix = f"Set {half}or max_memory={spread.first}: to more."
    _fits(what, rest, device, spread.memory[spread.first], fix)
    places = spread.places(layers, rest, size)
    fetched = spread.fetched(places)
    left = f"{len(fetched)} of {len(places)} layers"
    if fetched and bits:
        raise BackendError(
            f"{who}: {left} fit on no device, and those of quantize={bits} cannot be fetched. Set "
            "max_memory= to more, or leave quantize= out."
        )
    if fetched:
        where = " and ".join(sorted({*map(str, fetched)}))
        print(f"warning: {who}: {left} are fetched from {where} at every pass: slow.", file=sys.stderr)
    return {} if {*places.values()} == {spread.first} else places


def count(module: nn.Module) -> int:
    """Return how many weights a module has."""
    return sum(weight.numel() for weight in module.parameters())


def _fits(what: str, need: float, device: torch.device, room: int, fix: str) -> None:
    if need > room:
        raise BackendError(
            f"{what} take {need / 2**30:.3g} GiB, and {device} has {room / 2**30:.3g} GiB. {fix}"
        )


def _room(device: torch.device) -> int:
    """Return the bytes that are free on a GPU, or that a machine has; without limit where it is not told."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "cpu" and hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 1 << 62


def warn_if_slow(who: str, device: torch.device, dtype: torch.dtype) -> None:
    """Warn where a number format is slow: on a CPU that has no instructions for it."""
    slow = dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if device.type == "cpu" and (slow or dtype == torch.float16):
        print(
            f"warning: {who}: this CPU has no instructions for {number_format(dtype)}: it is many times "
            "slower than dtype=float32, which takes twice the memory.",
            file=sys.stderr,
        )


def dispatch(
    layers: nn.ModuleList, places: Mapping[str, Place], first: Place, file: Path, dtype: torch.dtype
) -> None:
    """Have what goes into a layer taken to its place, and layers that lie on the disk read from the file."""
    from accelerate import dispatch_model

    logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)  # it warns of what is fetched
    read = {"safetensors_file": str(file), "dtype": number_format(dtype)}
    index = {
        name: {**read, "weight_name": LAYERS + name}
        for name in layers.state_dict()
        if places[name.partition(".")[0]] == "disk"
    }
    dispatch_model(layers, dict(places), main_device=first, offload_index=index or None, force_hooks=True)


def device_of(name: str, places: Mapping[str, Place], home: torch.device) -> torch.device:
    """Return the device that a weight is read to: that of its layer, where that has a place, else ``home``.

    >>> device_of("language_model.model.layers.12.mlp.up_proj.weight", {"12": "disk"}, torch.device("cpu"))
    device(type='meta')
    """
    place = places.get(name.removeprefix(LAYERS).partition(".")[0]) if name.startswith(LAYERS) else None
    if place is None:
        return home
    return torch.device("meta" if place == "disk" else place)
