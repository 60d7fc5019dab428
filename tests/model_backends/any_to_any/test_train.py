"""Fine-tuning of tiny random Janus and Emu3: what is shown is learned, and kept on disk."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as pil
from safetensors.torch import load_file

from tests.support_finetuning import interrupt, stop
from tests.support_local import asked, by_key
from unisandbox import loading
from unisandbox.backend import Trainable, TrainSpec
from unisandbox.building import load_backend
from unisandbox.errors import BackendError, UsageError
from unisandbox.matrix import named_model
from unisandbox.model_backends.any_to_any.factory import any_to_any
from unisandbox.model_backends.any_to_any.train import (
    Learner,
    Lesson,
    drawn_for,
    lessons,
    save_memory,
    settled,
    teach,
    together,
)
from unisandbox.plugins import installed
from unisandbox.records import Example, Image, Turn
from unisandbox.specs import build
from unisandbox.training import finetuning
from unisandbox.training.finetuning import PLAN, STATE, Training
from unisandbox.training.record import LOG
from unisandbox.training.stars import train


def loaded(model: Path, **options: Any) -> Any:
    given = {
        "model": model,
        "device": "cpu",
        "max_tokens": 16,
        "temperature": 0,
        "guidance_scale": 1,
        **options,
    }
    return build("any-to-any", any_to_any, {name: str(value) for name, value in given.items()})


def noise(seed: int, side: int) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.from_pil(pil.fromarray(pixels))


def shown(side: int = 12) -> list[Example]:
    """Return four pictures of tiny models' own size, and four answers."""
    drawn = [
        Example(prompt, image=noise(seed, side))
        for seed, prompt in enumerate(("A cup.", "A hat.", "Two keys.", "No bell."))
    ]
    said = {"How?": "Two.", "Who?": "Ann", "What?": "red and blue", "Where?": "over there"}
    return drawn + [Example(prompt, text=text) for prompt, text in said.items()]


SHOWN = shown()
MIXED = [*SHOWN[:2], *SHOWN[4:6]]
CPU = torch.device("cpu")
SHORT = TrainSpec(steps=6, batch=4, rate=0.01)


def answers(backend: Any, examples: Sequence[Example]) -> list[str | None]:
    requests = [asked(example.prompt, key=example.prompt, output="text") for example in examples]
    said = by_key(backend.generate(requests))
    return [said[example.prompt].text for example in examples]


def pictures(backend: Any, examples: Sequence[Example]) -> list[Any]:
    requests = [asked(example.prompt, key=example.prompt) for example in examples]
    drawn = by_key(backend.generate(requests))
    images = [drawn[example.prompt].image for example in examples]
    return [np.asarray(image.pil()) for image in images if image]


def decoded(family: Any, examples: Sequence[Example]) -> Any:
    """Return what the pictures of examples are once they went through the model's own tokens."""
    codes = torch.stack([family.codes(example.image.pil()) for example in examples if example.image])
    with torch.inference_mode():
        if family.model.config.model_type == "janus":
            return family.pixels(family.model.decode_image_tokens(codes)).numpy()
        closed = torch.nn.functional.pad(codes, (0, 3))
        drawn = family.model.decode_image_tokens(image_tokens=closed, height=4, width=4)
        return family.pixels(drawn.permute(0, 2, 3, 1)).numpy()


def curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def student(folder: Path) -> Mapping[str, torch.Tensor]:
    (found,) = [*folder.glob("model/*.safetensors"), *folder.glob("adapter/*.safetensors")]
    return load_file(found)


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- it learns what it is shown ---


def test_all_weights_learn_words_and_pictures(janus: Path, tmp_path: Path) -> None:
    backend = loaded(janus)
    assert isinstance(backend, Trainable)
    found = backend.train(SHOWN, TrainSpec(steps=110, rate=0.01), tmp_path, quiet=True)
    assert found == {"model": str(tmp_path / "model")}
    assert curve(tmp_path)[-1]["step"] == 110
    assert curve(tmp_path)[-1]["loss"] < 0.1 < 4 < curve(tmp_path)[0]["loss"]
    learned = loaded(tmp_path / "model")
    assert answers(learned, SHOWN[4:]) == [example.text for example in SHOWN[4:]]
    assert (np.stack(pictures(learned, SHOWN[:4])) == decoded(learned._family, SHOWN[:4])).all()
    with pytest.raises(BackendError, match="these weights were trained"):
        pictures(backend, SHOWN[:1])


def test_adapters_learn_words_and_pictures_and_load_by_name(
    janus: Path, adapter: Path, tmp_path: Path
) -> None:
    named = f"any-to-any:adapter={adapter},device=cpu,guidance_scale=1,model={janus},temperature=0"
    taught = train(named, MIXED, TrainSpec(steps=200, batch=4, rate=0.02, lora=8), tmp_path, quiet=True)
    assert taught == named.replace(str(adapter), f"{adapter}+{tmp_path / 'adapter'}")
    learned: Any = load_backend(named_model(taught, installed()))
    before = pictures(loaded(janus, adapter=adapter), MIXED[:2])
    after = pictures(learned, MIXED[:2])
    assert not any((one == other).all() for one, other in zip(before, after, strict=True))
    assert (np.stack(after) == decoded(learned._family, MIXED[:2])).all()
    assert answers(learned, MIXED[2:]) == ["Two.", "Ann"]


def test_emu3_learns_words_and_pictures(emu3: Path, tmp_path: Path) -> None:
    examples = [*shown(32)[:2], *SHOWN[4:6]]
    backend = loaded(emu3, image_size=32)
    teach(backend._family, examples, TrainSpec(steps=60, batch=4, rate=0.01), tmp_path, quiet=True)
    learned = loaded(tmp_path / "model", image_size=32)
    assert answers(learned, examples[2:]) == ["Two.", "Ann"]
    assert (np.stack(pictures(learned, examples[:2])) == decoded(learned._family, examples[:2])).all()


def test_weights_that_held_adapters_load_without_them(janus: Path, adapter: Path, tmp_path: Path) -> None:
    backend = loaded(janus, adapter=adapter)
    found = backend.train(MIXED, replace(SHORT, steps=1), tmp_path, quiet=True)
    assert found == {"model": str(tmp_path / "model"), "adapter": ""}
    assert loaded(**{"adapter": adapter, **found}).describe()["weights"].count("+") == 0


# --- what is put in is what will be asked ---


@pytest.mark.parametrize("kind", ["janus", "emu3"])
def test_the_prompt_is_taken_away_as_guidance_does(kind: str, request: pytest.FixtureRequest) -> None:
    options = {"image_size": 32} if kind == "emu3" else {}
    backend = loaded(request.getfixturevalue(kind), **options, guidance_scale=3)
    family = backend._family
    given = [asked("Draw five stars in a row.")]
    inputs = family.picture(given[0].prompt.turns)
    seen: list[torch.Tensor] = []
    embedding = family.model.get_input_embeddings()
    watch = embedding.register_forward_pre_hook(lambda _, tokens: seen.extend(tokens[0]))
    list(backend.generate(given))
    watch.remove()
    assert not torch.equal(family.unprompted(inputs), inputs["input_ids"])
    for expected in (inputs["input_ids"][0], family.unprompted(inputs)[0]):
        assert any(torch.equal(row, expected) for row in seen)


def test_an_answer_is_what_the_template_makes_of_it(janus: Path) -> None:
    family = loaded(janus)._family
    tokenizer = family.processor.tokenizer
    turns = (Turn("user", "How?"),)
    assert tokenizer.decode(family.answer(turns, "Two.")) == "Two.<eos>"
    family.processor.chat_template = (
        "{{bos_token}}{% for m in messages %}<|{{m.role}}|>: {{m.content[0].text}}"
        "{% if m.role == 'assistant' %}<eos>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>:{% endif %}"
    )
    assert tokenizer.decode(family.words(turns)["input_ids"][0]) == "<bos><|user|>: How?<|assistant|>:"
    assert tokenizer.decode(family.answer(turns, "Two.")) == " Two.<eos>"


def test_codes_are_the_nearest_by_angle(janus: Path) -> None:
    family = loaded(janus)._family
    coder = family.model.model.vqmodel
    picture = noise(1, 12).pil()
    with torch.no_grad():
        places = coder.quant_conv(coder.encoder(family._normalised(picture, 12, 12)))[0].flatten(1).T
        codes = family.codes(picture)
        book = coder.quantize.embedding.weight
        every = torch.cosine_similarity(places[:, None], book[None], dim=-1)
    assert len(codes) == 36
    assert torch.allclose(every.max(1).values, every[range(36), codes])


def test_a_picture_of_another_shape_is_fitted_whole(janus: Path) -> None:
    family = loaded(janus)._family
    pixels = family.pixels(family._normalised(pil.new("RGB", (40, 20), "red"), 12, 12).permute(0, 2, 3, 1))[0]
    assert pixels[6, 6].tolist() == [255, 0, 0] and pixels[0, 6].tolist() == [255, 255, 255]


# --- steps ---


def test_every_example_comes_once_before_any_comes_again() -> None:
    taught = [
        Lesson(torch.tensor([n]), torch.tensor([-n]), torch.tensor([n]), drawn=True) for n in range(1, 11)
    ]

    def seen(seed: int, step: int) -> list[int]:
        return [int(lesson.target) for _, lesson in drawn_for(taught, TrainSpec(batch=5, seed=seed), step)]

    assert sorted(seen(0, 4) + seen(0, 5)) == sorted(seen(0, 6) + seen(0, 7)) == list(range(1, 11))
    assert seen(0, 4) == seen(0, 4) != seen(0, 6) and seen(0, 4) != seen(1, 4)
    put_in = [int(prompt) for step in range(200) for prompt, _ in drawn_for(taught, TrainSpec(batch=5), step)]
    assert 60 < sum(prompt < 0 for prompt in put_in) < 140  # of 1000


def test_company_does_not_change_the_loss_of_an_example(janus: Path) -> None:
    family = loaded(janus)._family
    taught = [(lesson.prompt, lesson) for lesson in lessons(family, SHOWN, CPU)]
    learner = Learner(family, settled(family, SHORT, CPU), CPU)
    with torch.no_grad():
        alone = torch.stack([learner(*together([row])) for row in taught])
        assert torch.isclose(learner(*together(taught)), alone.mean())
    assert len({round(loss, 5) for loss in alone.tolist()}) == len(SHOWN)


def test_saving_memory_changes_no_gradient(janus: Path) -> None:
    family = loaded(janus)._family
    rows = together([(lesson.prompt, lesson) for lesson in lessons(family, MIXED, CPU)])
    learner = Learner(family, settled(family, SHORT, CPU), CPU)
    found = []
    for _ in range(2):
        learner.zero_grad()
        learner(*rows).backward()
        found.append([weight.grad.clone() for weight in learner.parameters() if weight.grad is not None])
        save_memory(family.model)
        assert all(layer.gradient_checkpointing for layer in family.core.layers)
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in zip(*found, strict=True))


def test_half_precision_is_kept_on_disk_and_steps_are_made_in_full(janus: Path, tmp_path: Path) -> None:
    backend = loaded(janus, dtype="bfloat16")
    before = {name: weight.clone() for name, weight in backend._family.model.state_dict().items()}
    backend.train(MIXED, replace(SHORT, precision="bfloat16"), tmp_path, quiet=True)
    after = student(tmp_path)
    assert {weight.dtype for weight in after.values() if weight.is_floating_point()} == {torch.bfloat16}
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "bfloat16"
    assert not torch.equal(
        after["model.generation_head.vision_head.weight"], before["model.generation_head.vision_head.weight"]
    )


# --- parts ---


def test_frozen_parts_stay_as_they_are(janus: Path, tmp_path: Path) -> None:
    backend = loaded(janus)
    parts = backend._family.parts
    backend.train(SHOWN, replace(SHORT, freeze=("language",)), tmp_path, quiet=True)
    before, after = load_file(janus / "model.safetensors"), student(tmp_path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    learned = {part for part, starts in parts.items() if any(name.startswith(starts) for name in changed)}
    assert learned == {"vocabulary", "image"}
    assert all(name.startswith(parts["vocabulary"] + parts["image"]) for name in changed)


def test_words_alone_leave_the_image_side_as_it_is(janus: Path, tmp_path: Path) -> None:
    loaded(janus).train(SHOWN[4:], SHORT, tmp_path, quiet=True)
    before, after = load_file(janus / "model.safetensors"), student(tmp_path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and not any(
        "generation_" in name or "vision" in name or "vqmodel" in name for name in changed
    )


def test_adapters_keep_to_the_parts_that_learn(janus: Path, tmp_path: Path) -> None:
    for freeze, there in (((), True), (("image",), False)):
        folder = tmp_path / str(there)
        loaded(janus).train(MIXED, replace(SHORT, steps=1, lora=2, freeze=freeze), folder, quiet=True)
        names = student(folder)
        assert any("language_model.layers" in name for name in names)
        assert any("generation_head" in name for name in names) == there
        assert not any("vision_model" in name or "lm_head" in name or "vqmodel" in name for name in names)


# --- stops ---


@pytest.mark.parametrize("lora", [0, 2])
def test_stopped_half_way_it_ends_with_the_same_weights(
    lora: int, janus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(SHORT, steps=12, lora=lora)
    one, other = tmp_path / "one", tmp_path / "other"
    teach(loaded(janus)._family, MIXED, spec, one, every=4, quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", interrupt(11, stop))
        with pytest.raises(KeyboardInterrupt):
            teach(loaded(janus)._family, MIXED, spec, other, every=4, quiet=True)
    assert sorted(path.name for path in other.iterdir()) == [LOG, STATE, PLAN]
    teach(loaded(janus)._family, MIXED, spec, other, every=4, quiet=True)
    assert same(student(one), student(other))
    assert [line["step"] for line in curve(other)] == [10, 12]
    assert not (other / STATE).exists()


def test_a_finished_training_is_not_done_again(janus: Path, tmp_path: Path) -> None:
    for _ in range(2):
        backend = loaded(janus)
        assert backend.train(MIXED, SHORT, tmp_path, quiet=True) == {"model": str(tmp_path / "model")}
    assert len(curve(tmp_path)) == 1
    assert backend.generate([asked("A cup.")])
    with pytest.raises(UsageError, match="holds a training with another spec"):
        backend.train(MIXED, replace(SHORT, steps=7), tmp_path, quiet=True)
    with pytest.raises(UsageError, match="holds a training with another examples"):
        backend.train(SHOWN, SHORT, tmp_path, quiet=True)


def test_no_number_stops_it_and_keeps_the_last_good(
    janus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(training: Training) -> None:
        with torch.no_grad():
            next(weight for weight in training.model.parameters() if weight.requires_grad).fill_(float("nan"))

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", interrupt(4, spoil))
        with pytest.raises(BackendError, match=r"no number any more in step 5.*lower the rate \(0.01\)"):
            teach(loaded(janus)._family, MIXED, SHORT, tmp_path, every=3, quiet=True)
    assert int(torch.load(tmp_path / STATE)["step"]) == 3
    teach(loaded(janus)._family, MIXED, SHORT, tmp_path, quiet=True)
    assert all(weight.isfinite().all() for weight in student(tmp_path).values())


def test_a_full_disk_leaves_the_last_checkpoint(
    janus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, saved = torch.save, []

    def save(value: Any, path: Path) -> None:
        saved.append(path)
        if len(saved) == 2:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        plain(value, path)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save)
        with pytest.raises(BackendError, match=r"cannot be written.*No space left"):
            teach(loaded(janus)._family, MIXED, SHORT, tmp_path, every=2, quiet=True)
    assert int(torch.load(tmp_path / STATE)["step"]) == 2
    teach(loaded(janus)._family, MIXED, SHORT, tmp_path, quiet=True)
    assert (tmp_path / "model").is_dir()


def test_memory_that_runs_out_names_the_batch(
    janus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(Learner, "forward", full)
    with pytest.raises(BackendError, match=r"^any-to-any: out of memory with batch=4\. .*smaller batch"):
        loaded(janus).train(MIXED, SHORT, tmp_path, quiet=True)


# --- what cannot be meant ---


@pytest.fixture(scope="module")
def refusing(janus: Path) -> Any:
    return loaded(janus)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"steps": 0}, "steps=0: expected a whole number of at least 1"),
        ({"batch": 0}, "batch=0: expected"),
        ({"lora": -1}, "lora=-1: expected a whole number of at least 0"),
        ({"rate": 0.0}, "rate=0.0: expected a number between 0 and 1"),
        ({"schedule": "wavy"}, "schedule='wavy': expected linear, cosine, constant"),
        ({"precision": "float16"}, "precision='float16': expected float32 or bfloat16"),
        ({"mix": 0.5}, "mix=0.5: it has nothing of what it was trained on"),
        ({"freeze": ("languag",)}, "freeze: Unknown part 'languag'. Did you mean 'language'"),
        ({"freeze": ("language", "vocabulary", "image")}, "that leaves nothing to learn"),
        ({"freeze": ("language", "image"), "lora": 4}, "that leaves nothing to learn"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: Any, fault: str, refusing: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        refusing.train(MIXED, replace(SHORT, **changes), tmp_path / "out", quiet=True)
    assert fault in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_examples_that_cannot_be_learned(refusing: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no examples"):
        refusing.train([], SHORT, tmp_path / "none", quiet=True)
    endless = Example("How?", text="on and " * 100)
    with pytest.raises(
        UsageError, match=r"example 1 \('How\?'\) has \d+ tokens; this model reads at most 512"
    ):
        refusing.train([endless], SHORT, tmp_path / "endless", quiet=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("package", "lora"), [("accelerate", 0), ("peft", 4)])
def test_a_missing_package_is_named_with_the_fix(
    package: str, lora: int, refusing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(
        BackendError, match=rf"needs {package}, which is not installed: pip install 'unisandbox"
    ):
        refusing.train(MIXED, replace(SHORT, lora=lora), tmp_path, quiet=True)


def test_defaults_are_said(refusing: Any) -> None:
    made = settled(refusing._family, TrainSpec(), CPU)
    assert (made.steps, made.batch, made.rate, made.precision) == (500, 8, finetuning.RATE, "float32")
    assert settled(refusing._family, TrainSpec(lora=8), CPU).rate == finetuning.LORA_RATE
    assert settled(refusing._family, TrainSpec(), torch.device("cuda")).precision == "bfloat16"
