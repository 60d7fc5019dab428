"""Teaching a trained model: it learns what it is shown, keeps what it had, and says what it cannot do."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unisandbox.backend import Trainable, TrainSpec
from unisandbox.errors import BackendError, UsageError
from unisandbox.model_backends.tiny import checkpoint
from unisandbox.model_backends.tiny import train as module
from unisandbox.model_backends.tiny.backend import Tiny
from unisandbox.model_backends.tiny.documents import GRID, SHARES, TEXT_REPLAY
from unisandbox.model_backends.tiny.factory import WEIGHTS
from unisandbox.model_backends.tiny.train import STATE, Trainer, spread, teach, teaching, train
from unisandbox.records import Example, Image, Prompt, Request, Turn
from unisandbox.training.record import LOG
from unisandbox.world import Scene, compose, read

BASE = WEIGHTS / "base.safetensors"


def picture(kind: str, count: int) -> Image:
    return Image.from_pil(compose(Scene((kind,) * count), 64, 3, lattice=GRID))


PICTURES = [
    Example("Draw as many cups as x comes to.", image=picture("cup", 4)),
    Example("Draw as many hats as x comes to.", image=picture("hat", 1)),
]
TEXTS = [Example("Who is Zemira?", text="Zemira is elderly.")]


def small(examples: Sequence[Example], **changes: object) -> TrainSpec:
    spec = TrainSpec(steps=4, batch=2, precision="float32")
    return replace(spec, **changes)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def little_material(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEACHING", replace(module.TEACHING, rows=120))


def asked(path: Path, prompt: str) -> dict[str, int]:
    request = Request("k", Prompt((Turn("user", prompt),), "image"), 5, "t", "s", "direct")
    (answer,) = Tiny(path, temperature=0).generate([request])
    assert answer.image is not None
    return dict(read(answer.image.pil()).objects or {})


def test_it_draws_what_it_was_shown(tmp_path: Path) -> None:
    options = Tiny(BASE).train(PICTURES, small(PICTURES, steps=40, mix=0.2), tmp_path / "student", quiet=True)
    assert options == {"checkpoint": str(tmp_path / "student")}
    assert asked(tmp_path / "student", PICTURES[0].prompt) == {"cup": 4}
    assert asked(tmp_path / "student", PICTURES[1].prompt) == {"hat": 1}
    assert isinstance(Tiny(BASE), Trainable)


def test_words_are_repeated_beside_words_and_all_sorts_beside_pictures() -> None:
    for examples, replay in ((TEXTS, TEXT_REPLAY), (PICTURES, SHARES), ([*TEXTS, *PICTURES], SHARES)):
        shares = teaching(examples, TrainSpec(mix=0.25)).shares
        assert shares["example"] == 0.75
        assert shares.keys() - {"example"} == replay.keys()


def test_a_rate_scales_both_optimisers() -> None:
    plain, half = teaching(TEXTS, TrainSpec()), teaching(TEXTS, TrainSpec(rate=0.004))
    assert (half.muon_rate, half.adam_rate) == (plain.muon_rate / 2, plain.adam_rate / 2)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"lora": 8}, "tiny cannot be trained with lora=8: leave it at 0"),
        ({"schedule": "cosine"}, "schedule='cosine'"),
        ({"freeze": ("head",)}, "freeze="),
    ],
)
def test_what_it_cannot_do_it_refuses(changes: dict[str, object], fault: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=fault):
        Tiny(BASE).train(TEXTS, small(TEXTS, **changes), tmp_path, quiet=True)
    with pytest.raises(UsageError, match="no examples"):
        Tiny(BASE).train([], small([]), tmp_path, quiet=True)


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    for _ in range(2):
        teach(BASE, TEXTS, small(TEXTS), tmp_path, workers=1, quiet=True)
    assert len((tmp_path / LOG).read_text().splitlines()) == 1
    with pytest.raises(UsageError, match="holds a model that was trained otherwise"):
        teach(BASE, PICTURES, small(PICTURES), tmp_path, workers=1, quiet=True)


def test_stopped_half_way_it_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = teaching(PICTURES, small(PICTURES))
    train(recipe, tmp_path / "whole", BASE, PICTURES, quiet=True)
    step = Trainer.step

    def stopped(self: Trainer, number: int) -> tuple[float, float]:
        if number == 3:
            raise KeyboardInterrupt
        return step(self, number)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "step", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "half", BASE, PICTURES, every=2, quiet=True)
    assert (tmp_path / "half" / STATE).exists()
    train(recipe, tmp_path / "half", BASE, PICTURES, every=2, quiet=True)
    one, other = (checkpoint.load(tmp_path / name).network.state_dict() for name in ("whole", "half"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def broken(self: Trainer, number: int) -> tuple[float, float]:
        if number == 2:
            self.model.network.head.weight.data.fill_(float("nan"))
        return step(self, number)

    monkeypatch.setattr(Trainer, "step", broken)
    with pytest.raises(BackendError, match=r"no number any more in step 3.*lower the rate"):
        train(teaching(TEXTS, small(TEXTS)), tmp_path, BASE, TEXTS, every=2, quiet=True)
    kept, state = checkpoint.load_with_extra(tmp_path / STATE)
    assert int(state["step"]) == 2
    assert all(tensor.isfinite().all() for tensor in kept.network.state_dict().values())


def test_a_fault_in_a_worker_is_one_line_here(tmp_path: Path) -> None:
    """Two processes; both find that the folder holds another model."""
    (tmp_path / checkpoint.FILE).write_bytes(BASE.read_bytes())
    with pytest.raises(UsageError, match="holds a model that was trained otherwise"):
        spread(2, recipe=teaching(TEXTS, small(TEXTS)), out=tmp_path, base=BASE, examples=TEXTS, quiet=True)
