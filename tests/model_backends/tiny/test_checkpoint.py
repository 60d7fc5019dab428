"""Checkpoints come back whole, or are refused in one clear line."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support_tiny import untrained
from unisandbox.errors import BackendError
from unisandbox.model_backends.tiny import checkpoint
from unisandbox.model_backends.tiny.checkpoint import FILE, FORMAT, load, load_with_extra, save


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(untrained(), tmp_path / FILE, {"made": "here"})
    return tmp_path / FILE


def refused(path: Path) -> str:
    with pytest.raises(BackendError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_model_comes_back_whole(saved: Path) -> None:
    model, again = untrained(), load(saved)
    assert again.notes == {"made": "here"}
    assert again.words.known == model.words.known
    assert (again.patches.codes == model.patches.codes).all()
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor)


def test_a_folder_stands_for_the_model_in_it(saved: Path) -> None:
    assert load(saved.parent).notes == load(saved).notes


def test_half_the_bits_are_nearly_the_same(tmp_path: Path, saved: Path) -> None:
    save(untrained(), tmp_path / "half.safetensors", {}, half=True)
    codes = untrained().patches.codes.nbytes  # bytes already
    whole, half = (path.stat().st_size - codes for path in (saved, tmp_path / "half.safetensors"))
    assert half < 0.6 * whole
    one, other = (load(path).network.head.weight for path in (saved, tmp_path / "half.safetensors"))
    assert torch.allclose(one, other, atol=1e-3)


def test_extra_tensors_come_back_apart(tmp_path: Path) -> None:
    save(untrained(), tmp_path / FILE, {}, {"step": torch.tensor(7)})
    model, extra = load_with_extra(tmp_path)
    assert extra["step"] == 7
    assert model.network.shape == untrained().network.shape


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "There is no checkpoint" in refused(tmp_path / "none.safetensors")
    assert FILE in refused(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 5_000, -100])
def test_a_file_cut_short(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    assert "cannot be read as a safetensors file" in refused(saved)


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    assert "pickles are not read" in refused(path)


def test_another_kind_of_model(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / FILE, {"format": "pt"})
    assert f"its format is 'pt', expected {FORMAT!r}" in refused(tmp_path)


def _rewritten(saved: Path, tensors: dict[str, torch.Tensor], **changes: str) -> None:
    from safetensors import safe_open

    with safe_open(saved, "pt") as file:
        metadata = file.metadata()
    save_file(tensors, saved, {**metadata, **changes})


def test_a_tensor_is_missing(saved: Path) -> None:
    tensors = load_file(saved)
    del tensors["head.weight"]
    _rewritten(saved, tensors)
    assert "damaged: its parts do not fit together" in refused(saved)


def test_a_tensor_of_another_shape(saved: Path) -> None:
    tensors = load_file(saved)
    tensors["head.weight"] = tensors["head.weight"][:-1].clone()
    _rewritten(saved, tensors)
    assert "do not fit together" in refused(saved)


def test_a_vocabulary_of_another_size(saved: Path) -> None:
    _rewritten(saved, load_file(saved), words=json.dumps(["only", "three", "words"]))
    assert "do not fit together" in refused(saved)


def test_metadata_that_is_no_json(saved: Path) -> None:
    _rewritten(saved, load_file(saved), shape="{")
    assert "do not fit together" in refused(saved)


def test_weights_that_are_no_numbers(saved: Path) -> None:
    tensors = load_file(saved)
    tensors["head.weight"][0, 0] = float("nan")
    _rewritten(saved, tensors)
    assert "head.weight holds numbers that are none" in refused(saved)


def test_a_save_that_fails_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(BackendError, match="disk full"):
        save(untrained(seed=1), saved, {})
    assert saved.read_bytes() == before
