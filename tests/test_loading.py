"""Loading: every folder, device or package that is not right is one line with the fix."""

import importlib.util
from pathlib import Path

import pytest
import torch

from unisandbox import loading
from unisandbox.errors import BackendError, UsageError
from unisandbox.loading import checkpoint, device_named, digest, needed, one_line, versions


def test_a_checkpoint_is_a_folder_or_a_hub_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert checkpoint("it", str(tmp_path), "config.json") == str(tmp_path)
    assert checkpoint("it", "owner/name", "config.json") == "owner/name"


@pytest.mark.parametrize("model", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all", "name"])
def test_what_is_neither_is_said(model: str) -> None:
    with pytest.raises(
        UsageError, match=rf"^it: model={model}: no such folder, and no hub name \(OWNER/NAME\)"
    ):
        checkpoint("it", model, "config.json")


@pytest.mark.parametrize(
    ("model", "says"), [("", "model= is empty"), ("model.safetensors", "model=model.safetensors is a file")]
)
def test_a_file_and_nothing_are_no_folder(model: str, says: str, in_tmp: Path) -> None:
    Path("model.safetensors").touch()
    with pytest.raises(UsageError) as caught:
        checkpoint("it", model, "config.json")
    expected = "expected a folder with a config.json, or a hub name (OWNER/NAME)."
    assert str(caught.value) == f"it: {says}: {expected}"


@pytest.mark.parametrize(
    ("holds", "wanted", "said"),
    [
        ([], "config.json", "It holds: nothing."),
        (["a.png", "b.png"], "config.json", r"It holds: a\.png, b\.png\."),
        (["adapter_config.json"], "config.json", "It is an adapter: .* adapter=."),
        (["model_index.json"], "config.json", "It is a diffusion pipeline: --models diffusers:model="),
        (["config.json"], "model_index.json", "It is a transformers model, not a diffusion pipeline"),
    ],
)
def test_a_folder_that_holds_something_else(tmp_path: Path, holds: list[str], wanted: str, said: str) -> None:
    for name in holds:
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=rf"no checkpoint: it holds no {wanted}\. {said}") as caught:
        checkpoint("it", str(tmp_path), wanted)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(
        BackendError,
        match=r"^it: adapter=x needs peft, which is not installed: pip install 'unisandbox\[models\]'$",
    ):
        needed("it", "peft", "adapter=x")
    with (
        pytest.raises(
            BackendError, match=r"^it: model=m needs timm, which is not installed: pip install timm$"
        ),
        one_line("it", "m"),
    ):
        raise ImportError("This file requires the following packages: timm. Run `pip install timm`")


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_processor_that_wants_torchvision_says_how_to_get_it() -> None:
    from transformers import Qwen2VLVideoProcessor

    said = (
        "it: model=some/qwen needs torchvision, which is not installed: install the torchvision that belongs"
    )
    with pytest.raises(BackendError, match=said) as caught, one_line("it", "some/qwen"):
        Qwen2VLVideoProcessor()
    assert "\n" not in str(caught.value)


def test_faults_of_many_lines_become_one() -> None:
    with (
        pytest.raises(BackendError, match=r"^it: model=m cannot be loaded: OSError: first second$"),
        one_line("it", "m"),
    ):
        raise OSError("first\n  second")


def test_devices() -> None:
    assert device_named("it", "cpu") == torch.device("cpu")
    assert device_named("it", "auto").type in ("cpu", "cuda", "mps", "xpu")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(UsageError, match=rf"^it: device={name}: .*\. Use auto, cpu, or a device of this"):
            device_named("it", name)


def test_a_digest_tells_weights_apart() -> None:
    weights = {"a": torch.arange(1000.0).reshape(10, 100), "b": torch.ones(3)}
    told = digest(weights.items())
    assert told == digest({name: weight.clone() for name, weight in weights.items()}.items())
    assert told != digest({**weights, "a": weights["a"] * 1.01}.items())
    assert told != digest({**weights, "a": weights["a"].reshape(100, 10)}.items())
    assert told != digest({"a": weights["a"]}.items())


def test_versions_of_what_is_there() -> None:
    assert versions("torch", "no-such-package") == {"torch": str(torch.__version__)}
