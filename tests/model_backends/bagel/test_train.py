"""Fine-tuning of the tiny BAGEL: the authors' loss, what learns and what does not, stops, students."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as pil
from safetensors.torch import load_file
from torch import Tensor

from tests.model_backends.bagel.make_parity import GRADIENTS, PROMPTS, SHAPE
from tests.support_bagel import numbers, save_bagel, told
from tests.support_finetuning import interrupt, stop
from tests.support_local import asked, by_key
from unisandbox.backend import Trainable, TrainSpec
from unisandbox.building import load_backend
from unisandbox.errors import BackendError, UsageError
from unisandbox.matrix import named_model
from unisandbox.model_backends.bagel.checkpoint import AUTOENCODER, WEIGHTS, Loaded, load
from unisandbox.model_backends.bagel.context import Latent, Seen, length_of
from unisandbox.model_backends.bagel.prompts import Prompts
from unisandbox.model_backends.bagel.train import (
    Learned,
    Learner,
    learning,
    noised,
    part_of,
    settled,
    teach,
)
from unisandbox.model_backends.bagel.vision import patches
from unisandbox.plugins import installed
from unisandbox.records import Example, Image
from unisandbox.training import examples as accepted
from unisandbox.training import stars
from unisandbox.training.finetuning import STATE, Training, rate

CPU = torch.device("cpu")
SHORT = TrainSpec(steps=3, batch=2, rate=0.01)
SAID = [Example("How?", text="Two."), Example("Who?", text="Ann")]


def picture(seed: int, height: int = SHAPE[0]) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, SHAPE[1], 3), dtype=np.uint8)
    return Image.from_pil(pil.fromarray(pixels))


DRAWN = [
    Example(prompt, image=picture(seed))
    for seed, prompt in enumerate(("A cup.", "A hat.", "Two keys.", "No bell."))
]
MIXED = [*DRAWN[:2], *SAID]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bagel(tmp_path_factory.mktemp("bagel"))


def loaded(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> Loaded:
    return load(folder, WEIGHTS, CPU, dtype, **options)


def learner(found: Loaded, examples: list[Example] = MIXED, spec: TrainSpec = SHORT) -> Learner:
    return Learner(found, examples, settled(found, examples, spec, CPU, None), CPU)


def student(folder: Path) -> Mapping[str, Tensor]:
    (found,) = [*folder.glob(f"model/{WEIGHTS}"), *folder.glob("adapter/*.safetensors")]
    return load_file(found)


def counts(rows: list[Learned]) -> Tensor:
    return torch.tensor([row.tokens for row in rows]).sum(0).float()


# --- what is learned ---


@pytest.mark.parametrize("saves_memory", [False, True])
def test_the_loss_and_its_gradients_are_the_authors(saves_memory: bool, folder: Path) -> None:
    found = loaded(folder)
    learns, prompts, given = learner(found), Prompts(found), numbers()
    found.model.language_model.model.gradient_checkpointing = saves_memory
    for weight in found.model.connector.parameters():
        weight.requires_grad_()  # the authors' step also learns from a picture that is seen
    first, second = (prompts.text(words) for words in PROMPTS[:2])
    latents = found.autoencoder.encode(given["train/pixels_drawn"])
    clean = Latent(SHAPE[0] // 4, SHAPE[1] // 4, patches(latents, 2))
    seen = Seen(SHAPE[0] // 4, SHAPE[1] // 4, patches(given["train/pixels_seen"], 4))
    drawn = [noised((first,), clean, given["train/noise"], given["train/time"].item())]
    said = [Learned((first, prompts.text("Two."))), Learned((seen, second))]
    expected = told()["losses"]
    assert learns(drawn, counts(drawn)).item() == pytest.approx(expected["mse"], abs=1e-4)
    assert learns(said, counts(said)).item() == pytest.approx(expected["ce"], abs=1e-4)
    rows = [*drawn, *said]
    loss = learns(rows, counts(rows))
    assert loss.item() == pytest.approx(expected["ce"] + expected["mse"], abs=1e-4)
    loss.backward()
    for name in GRADIENTS:
        gradient = found.model.get_parameter(name).grad
        assert gradient is not None
        assert gradient.norm().item() == pytest.approx(expected[f"gradient of {name}"], rel=1e-4)


def test_four_pictures_are_overfitted_in_thirty_steps(folder: Path) -> None:
    """Of 12 tokens each, at one time and with one noise each: measured, the loss falls to a seventh."""
    small = [replace(example, image=picture(seed, height=8)) for seed, example in enumerate(DRAWN)]
    spec = replace(SHORT, steps=40, batch=4, rate=0.004)
    learns = learner(loaded(folder), small, spec)
    inputs, tokens = learns.share(0, slice(None), lambda each: each)
    assert tokens == sum(length_of(each.row) for each in inputs[0])
    weights = [weight for weight in learns.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.95), weight_decay=0.0)
    first = learns(*inputs).item()
    for step in range(30):
        optimizer.param_groups[0]["lr"] = rate(spec, step)
        learns(*inputs).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert learns(*inputs).item() < first / 5


def test_noise_and_time_follow_the_seed_and_the_place_alone(folder: Path) -> None:
    found = loaded(folder)
    one, again, other = (learner(found, DRAWN, replace(SHORT, seed=seed)) for seed in (0, 0, 1))

    def drawn(learns: Learner, step: int, part: slice = slice(None)) -> list[Tensor]:
        (rows, _), _ = learns.share(step, part, lambda each: each)
        return [each.velocity for each in rows]

    both = drawn(one, 5)
    assert all(torch.equal(each, same) for each, same in zip(both, drawn(again, 5), strict=True))
    assert torch.equal(both[1], drawn(one, 5, slice(1, None, 2))[0])
    assert not any(torch.equal(both[0], each) for each in (*drawn(one, 7), *drawn(other, 5)))
    rows = [row for step in range(100) for row in learner(found, DRAWN).share(step, slice(None), abs)[0][0]]
    bare = sum(len(each.row) == 1 for each in rows)
    assert 5 < bare < 45, "a tenth of 200 without their prompt"
    times = [each.row[-1].time for each in rows]
    assert 0.4 < np.median(times) < 0.6 and min(times) > 0 and max(times) < 1


# --- students ---


OPTIONS = "device=cpu,image_size=16,max_tokens=12,num_timesteps=6"


def pictures(model: str) -> tuple[Any, str]:
    backend: Any = load_backend(named_model(model, installed()))
    drawn = by_key(backend.generate([asked(each.prompt, key=each.prompt) for each in DRAWN]))
    images = [drawn[each.prompt].image for each in DRAWN]
    return np.stack([np.asarray(each.pil(), np.int16) for each in images if each]), str(
        backend.describe()["weights"]
    )


@pytest.mark.parametrize("lora", [0, 4])
def test_an_accepted_set_becomes_a_student_that_draws_otherwise(
    lora: int, folder: Path, tmp_path: Path
) -> None:
    accepted.write(tmp_path / "accepted", [(example, {"task": "math_1"}) for example in DRAWN])
    named = f"bagel:{OPTIONS},path={folder}"
    spec = TrainSpec(steps=8, batch=4, rate=0.01, lora=lora)
    taught = stars.train(named, accepted.read(tmp_path / "accepted"), spec, tmp_path / "out", quiet=True)
    assert f"{'adapter' if lora else 'path'}={tmp_path / 'out' / ('adapter' if lora else 'model')}" in taught
    (before, weights), (after, others) = pictures(named), pictures(taught)
    assert before.shape == after.shape and weights != others
    assert all(abs(one - other).max() > 8 for one, other in zip(before, after, strict=True))


def test_words_are_learned(folder: Path, tmp_path: Path) -> None:
    backend: Any = load_backend(named_model(f"bagel:{OPTIONS},path={folder}", installed()))
    assert issubclass(type(backend), Trainable)
    found = backend.train(SAID, TrainSpec(steps=40, batch=2, rate=0.01), tmp_path, quiet=True)
    with pytest.raises(BackendError, match="these weights were trained"):
        list(backend.generate([asked("How?", output="text")]))
    label = ",".join([OPTIONS, *(f"{name}={value}" for name, value in found.items())])
    learned: Any = load_backend(named_model(f"bagel:{label}", installed()))
    said = by_key(learned.generate([asked(each.prompt, key=each.prompt, output="text") for each in SAID]))
    assert [said[each.prompt].text for each in SAID] == [each.text for each in SAID]


def test_adapters_are_saved_loaded_and_merged(folder: Path, tmp_path: Path) -> None:
    found = loaded(folder)
    plain = {name: weight.clone() for name, weight in found.model.state_dict().items()}
    assert teach(found, MIXED, replace(SHORT, lora=2), tmp_path, quiet=True) == {
        "adapter": str(tmp_path / "adapter")
    }
    merged = loaded(folder, adapters=(tmp_path / "adapter",))
    assert merged.adapters == (tmp_path / "adapter",)
    row = [(Prompts(merged).text("How?"),)]
    with torch.no_grad():
        adapted, joined, before = (each.model(row)[0] for each in (found, merged, loaded(folder)))
    torch.testing.assert_close(joined, adapted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(joined, before, atol=1e-3)
    changed = {name for name, weight in merged.model.state_dict().items() if not weight.equal(plain[name])}
    assert {part_of(name) for name in changed} == {"understanding", "generation"}
    more = teach(merged, MIXED, replace(SHORT, lora=2, seed=1), tmp_path / "more", quiet=True)
    assert more == {"adapter": f"{tmp_path / 'adapter'}+{tmp_path / 'more' / 'adapter'}"}
    with pytest.raises(UsageError, match="no adapter: no adapter_config"):
        loaded(folder, adapters=(folder,))


def test_a_student_of_all_weights_is_a_whole_checkpoint(folder: Path, tmp_path: Path) -> None:
    teach(loaded(folder, torch.bfloat16), MIXED, replace(SHORT, precision="bfloat16"), tmp_path, quiet=True)
    kept = student(tmp_path)
    assert {weight.dtype for weight in kept.values()} == {torch.bfloat16}
    before = loaded(folder, torch.bfloat16).model.state_dict()
    assert kept.keys() == before.keys()
    assert not kept["llm2vae.weight"].equal(before["llm2vae.weight"])
    assert (tmp_path / "model" / AUTOENCODER).read_bytes() == (folder / AUTOENCODER).read_bytes()
    loaded(tmp_path / "model")


def test_adapters_learn_in_half_precision(folder: Path, tmp_path: Path) -> None:
    spec = replace(SHORT, precision="bfloat16", lora=2)
    teach(loaded(folder, torch.bfloat16), MIXED, spec, tmp_path, quiet=True)
    assert all(weight.abs().sum() > 0 for name, weight in student(tmp_path).items() if "lora_A" in name)


# --- parts ---


@pytest.mark.parametrize(
    ("examples", "freeze", "changes"),
    [
        (DRAWN, (), {"understanding", "generation", "vocabulary"}),  # as published for STARS
        (DRAWN, ("understanding", "vocabulary"), {"generation"}),
        (DRAWN, ("generation",), {"understanding", "vocabulary"}),
        (SAID, (), {"understanding", "vocabulary"}),  # as published for injection
        (SAID, ("vocabulary",), {"understanding"}),
        (MIXED, ("generation", "vit", "vae"), {"understanding", "vocabulary"}),
    ],
)
def test_frozen_parts_stay_as_they_are(
    examples: list[Example], freeze: tuple[str, ...], changes: set[str], folder: Path, tmp_path: Path
) -> None:
    teach(loaded(folder), examples, replace(SHORT, freeze=freeze), tmp_path, quiet=True)
    before, after = load_file(folder / WEIGHTS), student(tmp_path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {part_of(name) for name in changed} == changes
    assert ("language_model.lm_head.weight" in changed) == ("vocabulary" in changes and examples != DRAWN)
    assert not any("pos_embed" in name for name in changed)


# --- stops ---


@pytest.mark.parametrize("lora", [0, 2])
def test_stopped_half_way_it_ends_with_the_same_weights(
    lora: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(SHORT, steps=6, lora=lora)
    one, other = tmp_path / "one", tmp_path / "other"
    teach(loaded(folder), MIXED, spec, one, every=2, quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", interrupt(5, stop))
        with pytest.raises(KeyboardInterrupt):
            teach(loaded(folder), MIXED, spec, other, every=2, quiet=True)
    assert int(torch.load(other / STATE)["step"]) == 4
    teach(loaded(folder), MIXED, spec, other, every=2, quiet=True)
    whole, resumed = student(one), student(other)
    assert whole.keys() == resumed.keys() and all(whole[name].equal(resumed[name]) for name in whole)


def test_no_number_stops_it_and_keeps_the_last_good(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(training: Training) -> None:
        with torch.no_grad():
            next(weight for weight in training.model.parameters() if weight.requires_grad).fill_(float("nan"))

    monkeypatch.setattr(Training, "step", interrupt(2, spoil))
    with pytest.raises(BackendError, match=r"^bagel: the loss is no number any more in step 3\."):
        teach(loaded(folder), MIXED, SHORT, tmp_path, every=2, quiet=True)
    assert int(torch.load(tmp_path / STATE)["step"]) == 2


# --- settings ---


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"steps": 0}, "steps=0: expected a whole number of at least 1"),
        ({"batch": 0}, "batch=0: expected"),
        ({"lora": -1}, "lora=-1: expected a whole number of at least 0"),
        ({"rate": 1.0}, "rate=1.0: expected a number between 0 and 1"),
        ({"precision": "float16"}, "precision='float16': expected float32 or bfloat16"),
        ({"mix": 0.5}, "mix=0.5: it has nothing of what it was trained on"),
        ({"freeze": ("visual",)}, "freeze: Unknown part 'visual'"),
        ({"freeze": ("understanding", "generation", "vocabulary")}, "that leaves nothing to learn"),
        ({"freeze": ("understanding", "generation"), "lora": 4}, "that leaves nothing to learn"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: Any, fault: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        teach(loaded(folder), MIXED, replace(SHORT, **changes), tmp_path / "out", quiet=True)
    assert fault in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_no_examples_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bagel was given no examples to learn"):
        teach(loaded(folder), [], SHORT, tmp_path, quiet=True)


def test_presets_are_as_published_with_their_warm_up(folder: Path, tmp_path: Path) -> None:
    found = loaded(folder)
    math = settled(found, DRAWN[:1] * 5000, TrainSpec(), CPU, "stars")
    assert (math.steps, math.batch, math.rate, math.schedule) == (469, 64, 2e-5, "constant")
    assert rate(math, 468, 2000) == pytest.approx(2e-5 * 469 / 2000)
    people = settled(found, SAID[:1] * 40, TrainSpec(), CPU, "injection")
    assert (people.steps, people.batch, people.rate) == (100, 24, 4e-5)
    given = settled(found, DRAWN, TrainSpec(steps=7, batch=2, rate=1e-4), CPU, "stars")
    assert (given.steps, given.batch, given.rate) == (7, 2, 1e-4)
    with pytest.raises(UsageError, match="preset=stars has a constant rate"):
        settled(found, DRAWN, TrainSpec(schedule="cosine"), CPU, "stars")
    teach(found, DRAWN, replace(SHORT, steps=1), tmp_path, preset="stars", quiet=True)
    assert '"rate": 5e-06' in (tmp_path / "log.jsonl").read_text()
    with pytest.raises(UsageError, match="holds a training with another"):
        teach(loaded(folder), DRAWN, replace(SHORT, steps=1), tmp_path, quiet=True)


def test_what_no_example_reaches_does_not_learn() -> None:
    names = ["language_model.lm_head.weight", "vit_model.x", "vae2llm.weight", "latent_pos_embed.pos_embed"]
    assert list(learning(names, SHORT, DRAWN)) == ["vae2llm.weight"]
    assert list(learning(names, SHORT, SAID)) == ["language_model.lm_head.weight"]
    assert list(learning(names, SHORT, MIXED)) == ["language_model.lm_head.weight", "vae2llm.weight"]
    assert list(learning(names, replace(SHORT, lora=1), SAID)) == []
