"""Layers on several devices: what comes out is the same, what goes in is taken there, what fits is decided.

A machine without a GPU has a processor and a disk; ``meta`` stands for a second device, as torch refuses
there what lies elsewhere.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support_bagel import all_modes, loaded, refusal, save_deeper, save_instruction
from tests.support_local import by_key
from unisandbox import loading
from unisandbox.backend import TrainSpec
from unisandbox.errors import UsageError
from unisandbox.model_backends.bagel.config import BagelConfig, LanguageConfig
from unisandbox.model_backends.bagel.context import Latent, Text, layout_of
from unisandbox.model_backends.bagel.devices import Place, Spread, dispatch
from unisandbox.model_backends.bagel.language import Cache, Core, Layer
from unisandbox.model_backends.bagel.quantize import BYTES
from unisandbox.records import Example

GIB = 1 << 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_deeper(save_instruction(tmp_path_factory.mktemp("bagel")) / "deeper")


def sizes(folder: Path, dtype: str = "float32") -> tuple[int, int]:
    """Return the bytes of a layer, and of all but the layers."""
    found = loaded(folder, dtype=dtype).loaded
    layers = found.model.language_model.model.layers
    inside, all_, fixed = (
        sum(weight.nbytes for weight in module.parameters())
        for module in (layers, found.model, found.autoencoder)
    )
    return inside // len(layers), all_ - inside + fixed


@pytest.mark.parametrize(("room", "at_work", "dtype"), [(2.5, 1, "float32"), (0, 0, "bfloat16")])
def test_layers_on_the_disk_change_nothing(
    room: float, at_work: int, dtype: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer, rest = sizes(folder, dtype)
    most = f"cpu:{(rest + room * layer) / 1000}KB"
    spread = loaded(folder, dtype=dtype, device_map="auto", max_memory=most)
    plain = loaded(folder, dtype=dtype)
    assert f"{4 - at_work} of 4 layers are fetched from disk at every pass" in capsys.readouterr().err
    layers = spread.loaded.model.language_model.model.layers
    assert [next(each.parameters()).is_meta for each in layers] == [False] * at_work + [True] * (4 - at_work)
    assert by_key(spread.generate(all_modes())) == by_key(plain.generate(all_modes()))
    told, other = spread.describe(), plain.describe()
    assert told.pop("device_map") == {str(n): "cpu" if n < at_work else "disk" for n in range(4)}
    assert other.pop("device_map") == {} and told == other


def test_where_all_fits_nothing_is_spread(folder: Path) -> None:
    assert loaded(folder, device_map="balanced").describe()["device_map"] == {}


def test_what_goes_into_a_layer_is_taken_to_its_device() -> None:
    config = LanguageConfig(16, 64, 96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    core, cache = Core(config), Cache(2, rows=2)
    places: dict[str, Place] = {"0": "cpu", "1": "meta"}
    dispatch(core.layers, places, "cpu", Path("no.safetensors"), torch.float32)
    rows = [(Text((1, 2, 3)), Latent(1, 2, torch.zeros(2, 8))), (Text((1,)),)]
    layout = layout_of(rows, torch.device("cpu"))
    there: list[torch.Tensor] = []
    core.layers[1].register_forward_hook(lambda module, given, made: there.append(made))
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):  # on the way home
        core(torch.zeros(8, 64), layout, cache)
    assert there[0].is_meta and there[0].shape == (8, 64)
    assert [held.device.type for held in cache._held if held is not None] == ["cpu", "meta"]


@pytest.fixture(scope="module")
def layers() -> torch.nn.ModuleList:
    """Those of BAGEL-7B-MoT: 28, of 0.87 GiB each in bfloat16."""
    with torch.device("meta"):
        return torch.nn.ModuleList(Layer(BagelConfig().language) for _ in range(28))


def spread_over(layers: torch.nn.ModuleList, kind: Any, memory: dict[Place, int], size: float = 2) -> str:
    """Return the places of layers one after another; 3 GiB of the first are taken."""
    spread = Spread(kind, {place: room * GIB for place, room in memory.items()})
    return " ".join(map(str, spread.places(layers, 3 * GIB, size).values()))


def test_places_of_the_published_size(layers: torch.nn.ModuleList) -> None:
    size = sum(weight.numel() for weight in layers[0].parameters()) * 2 / GIB
    assert 0.85 < size < 0.9
    two = spread_over(layers, "sequential", {0: 20, 1: 24})
    first = int((20 - 3) / size) - 1  # there is always room for one more that is fetched
    assert two == " ".join(["0"] * first + ["1"] * (28 - first))
    assert spread_over(layers, "auto", {0: 80, 1: 80}).count("0") in (14, 15)
    assert spread_over(layers, "balanced_low_0", {0: 80, 1: 80, 2: 80}).count("0") < 3
    one = spread_over(layers, "auto", {0: 16, "cpu": 10})
    assert [one.count(place) for place in ("0", "cpu")] == [int(13 / size) - 1, int(10 / size) - 1]
    assert one.endswith("disk")
    for size, room in ((BYTES["8bit"], 17), (BYTES["4bit"], 11)):
        assert set(spread_over(layers, "auto", {0: room, "cpu": 60}, size)) == {"0", " "}
        assert "cpu" in spread_over(layers, "auto", {0: room - 3, "cpu": 60}, size)


def test_limits_that_cannot_be_meant(folder: Path) -> None:
    assert "add device_map=auto" in refusal(folder, max_memory="cpu:1GiB")
    for limit in ("cpu", "gpu:1GiB", "cpu:1", "cpu:1GiB,"):
        told = refusal(folder, device_map="auto", max_memory=limit)
        assert f"max_memory={limit}: expected a device and a size, such as 0:20GiB or cpu:64GiB" in told
    told = refusal(folder, device_map="auto", max_memory="99:1GiB+cpu:1GiB")
    assert f"this machine has {torch.accelerator.device_count()} accelerators" in told
    assert "device_map='wide'" in refusal(folder, device_map="wide")
    told = refusal(folder, device_map="auto", max_memory="cpu:1MB")
    assert "all but the layers, in float32, take" in told and "or max_memory=cpu: to more" in told


def test_what_layers_on_the_disk_rule_out(folder: Path, tmp_path: Path) -> None:
    _, rest = sizes(folder)
    given = {"device_map": "auto", "max_memory": f"cpu:{rest / 1000}KB"}
    assert "cannot be merged into layers that are left on the disk" in refusal(folder, adapter="x", **given)
    with pytest.raises(
        UsageError, match="a model on several devices cannot be trained: leave out device_map"
    ):
        loaded(folder, **given).train([Example("How?", text="Two.")], TrainSpec(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_accelerate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    told = refusal(folder, device_map="auto")
    assert told.endswith("needs accelerate, which is not installed: pip install 'unisandbox[models]'")
