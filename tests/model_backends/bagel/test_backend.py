"""The tiny BAGEL as it is run: what comes out follows the request alone, in every mode."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as pil

import unisandbox
from tests.model_backends.bagel.make_parity import PROMPTS
from tests.support_bagel import (
    SMALL,
    all_modes,
    broken,
    far,
    loaded,
    picture,
    refusal,
    save_bagel,
    save_instruction,
    thinking,
)
from tests.support_local import asked, by_key
from unisandbox.errors import UsageError
from unisandbox.model_backends.bagel import devices
from unisandbox.model_backends.bagel.prompts import fitted
from unisandbox.prompts import with_thought
from unisandbox.records import Turn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bagel(save_instruction(tmp_path_factory.mktemp("bagel")) / "tiny")


@pytest.fixture(scope="module")
def backend(folder: Path) -> Any:
    return loaded(folder, batch_size=3)


def test_company_changes_nothing(folder: Path, backend: Any) -> None:
    requests = all_modes()
    together = by_key(backend.generate(requests))
    single = loaded(folder, batch_size=1)
    alone = {
        key: answer
        for request in reversed(requests)
        for key, answer in by_key(single.generate([request])).items()
    }
    assert set(together) == set(alone) == {request.key for request in requests}
    for key, answer in together.items():
        other = alone[key]
        assert (answer.text, answer.thought, answer.finish) == (other.text, other.thought, other.finish)
        if answer.image is not None:
            assert far(answer, other) <= 1
    drawn = {answer.image for answer in together.values() if answer.image}
    assert len(drawn) == sum(request.prompt.output == "image" for request in requests)
    thoughts = {len(answer.thought or "") for answer in together.values() if answer.thought}
    assert len(thoughts) > 1, "thoughts of different lengths"
    assert {together[key].finish for key in ("cot ends", "cot 3")} == {"complete", "truncated"}


def test_in_half_precision_words_are_the_same_in_any_order(folder: Path) -> None:
    backend = loaded(folder, batch_size=2, dtype="bfloat16")
    requests = all_modes()
    one, other = (by_key(backend.generate(some)) for some in (requests, requests[::-1]))
    assert one == other


def test_the_seed_decides(backend: Any) -> None:
    one, again, other = backend.generate(
        [asked("A cup.", key=key, seed=seed) for key, seed in (("one", 1), ("again", 1), ("other", 2))]
    )
    assert far(one, again) <= 1 < far(one, other)


def test_words_follow_their_seed(folder: Path) -> None:
    backend = loaded(folder, text_temperature=1.0)
    texts = [next(backend.generate([asked("A cup.", seed=seed, output="text")])).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_the_thought_and_the_context_change_the_picture(backend: Any) -> None:
    plain = asked("Draw 4 / 2 cups.", key="plain")
    drawn = by_key(
        backend.generate(
            [
                plain,
                *thinking([asked("Draw 4 / 2 cups.", key="cot")]),
                asked(*with_thought("Draw 4 / 2 cups.", "Draw: two cups."), key="gold"),
                asked("Draw 4 / 2 cups.", key="edit", images=(picture(),)),
            ]
        )
    )
    assert len({answer.image for answer in drawn.values()}) == 4
    assert drawn["cot"].thought and not drawn["plain"].thought


def test_guidance_of_both_kinds(folder: Path) -> None:
    request = asked("Draw it again.", images=(picture(),))
    drawn = {
        next(loaded(folder, cfg_img_scale=scale, cfg_text_scale=text).generate([request])).image
        for scale, text in ((1, 1), (1, 4), (2, 4))
    }
    assert len(drawn) == 3


def test_a_run_through_every_mode(folder: Path, in_tmp: Path) -> None:
    settings = ",".join(f"{name}={value}" for name, value in SMALL.items())
    results = unisandbox.run(
        tasks="math_1",
        models=f"bagel:path={folder},draws=sandbox,{settings}",
        modes="all",
        limit=2,
        out=in_tmp / "run",
        min_coverage=0,
    )
    asked_in = {cell.mode for cell in results if cell.score.n + cell.score.unscored == 2}
    assert asked_in == {"direct", "cot", "answer", "render", "refined", "gold", "planted", "caption"}
    assert not [cell for cell in results if cell.score.errors]
    (about,) = json.loads((in_tmp / "run" / "run.json").read_text())["backends"].values()
    assert about["pictures"]["cfg_interval"] == [0.4, 1.0] and about["thinking"] == "native"


def test_what_it_tells_of_itself(backend: Any) -> None:
    told = backend.describe()
    assert told["thinking"] == "native" and told["dtype"] == "float32" and len(told["weights"]) == 16
    assert told["pictures"]["num_timesteps"] == 8 and told["pictures"]["cfg_text_scale"] == 4


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        ((100, 100), (512, 512)),
        ((3000, 1000), (1024, 336)),
        ((1000, 700), (992, 704)),
        ((50, 900), (64, 1024)),
    ],
)
def test_pictures_are_brought_to_size(size: tuple[int, int], fits: tuple[int, int]) -> None:
    """What the authors' ``MaxLongEdgeMinShortEdgeResize(1024, 512, 16)`` makes of them."""
    assert fitted(pil.new("RGB", size), 1024, 512, 16).size == fits


def test_a_folder_without_its_files(tmp_path: Path) -> None:
    (tmp_path / "llm_config.json").write_text("{}")
    told = refusal(tmp_path)
    for name in ("vit_config.json", "ema.safetensors", "ae.safetensors", "vocab.json", "merges.txt"):
        assert name in told
    assert "llm_config.json" not in told
    assert "no such folder" in refusal(tmp_path / "none")
    assert "a file; expected the folder that holds it" in refusal(tmp_path / "llm_config.json")


def test_weights_that_are_missing_unexpected_or_of_another_shape(folder: Path, tmp_path: Path) -> None:
    def change(weights: dict[str, torch.Tensor]) -> None:
        del weights["vae2llm.weight"]
        weights["llm2vae.bias"] = torch.zeros(3)
        for number in range(9):
            weights[f"more.{number}"] = torch.zeros(1)

    told = refusal(broken(folder, tmp_path / "a", "ema.safetensors", change))
    assert "11 weights do not fit" in told and "vae2llm.weight is missing" in told
    assert "more.3 is not expected" in told and "more.4" not in told

    def grow(weights: dict[str, torch.Tensor]) -> None:
        weights["decoder.conv_out.bias"] = torch.zeros(4)

    assert "decoder.conv_out.bias is (4,), expected (3,)" in refusal(
        broken(folder, tmp_path / "b", "ae.safetensors", grow)
    )


def test_files_that_are_cut_off_or_no_settings(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "cut"
    shutil.copytree(folder, to)
    (to / "ae.safetensors").write_bytes((folder / "ae.safetensors").read_bytes()[:5000])
    assert "ae.safetensors: no whole safetensors file" in refusal(to)
    (to / "vit_config.json").write_text("{")
    assert "cannot be loaded: JSONDecodeError" in refusal(to)


def test_a_checkpoint_of_another_size(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "other"
    shutil.copytree(folder, to)
    settings = (to / "llm_config.json").read_text()
    (to / "llm_config.json").write_text(settings.replace('"hidden_size": 64', '"hidden_size": 128'))
    assert "is (264, 64), expected (264, 128)" in refusal(to)


def test_too_little_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_room", lambda device: 1 << 20)
    told = refusal(folder)
    assert "the weights, in float32, take 0.00324 GiB, and cpu has 0.000977 GiB." in told
    assert "Set dtype=bfloat16, which takes half of it, quantize=4bit, device_map=auto, or device= to" in told
    assert "Set quantize=4bit" in refusal(folder, dtype="bfloat16")


def test_a_number_format_that_a_processor_lacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for has, slow in ((True, ["float16"]), (False, ["float16", "bfloat16"])):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda has=has: has)
        for name in ("float32", "float16", "bfloat16"):
            devices.warn_if_slow("it", torch.device("cpu"), getattr(torch, name))
            warned = f"no instructions for {name}: it is many times slower" in capsys.readouterr().err
            assert warned == (name in slow)


def test_sizes_that_it_does_not_draw(folder: Path) -> None:
    assert "image_size=18: expected a multiple of 4, 32 at most" in refusal(folder, image_size=18)
    assert "image_size=36" in refusal(folder, image_size=36)
    assert "cfg_interval" in refusal(folder, cfg_interval="0.4+2")


def test_a_thought_that_is_no_picture_goes_back_as_words(backend: Any) -> None:
    (answer,) = backend.generate(thinking([asked("What is 4 / 2?", output="text")]))
    assert answer.image is None and answer.thought is not None and answer.finish in ("complete", "truncated")


def test_turns_are_read_in_their_order(backend: Any) -> None:
    first, thought, last = Turn("user", "A"), Turn("model", "B", thought=True), Turn("user", "C")
    turns = {"1": (first, thought, last), "2": (last, thought, first)}
    said = by_key(backend.generate([asked(*each, key=key, output="text") for key, each in turns.items()]))
    assert said["1"].text != said["2"].text


def test_what_tells_it_to_think_can_be_said_otherwise(folder: Path, backend: Any, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("Plan it.\n")
    other = loaded(folder, instruction=words)
    question = thinking([asked(PROMPTS[0], seed=1)])[0].prompt
    system, *rest = other.prompts.thinking(question)
    assert system == other.prompts.text("Plan it.")
    assert [*backend.prompts.thinking(question)][1:] == rest and backend.prompts.thinking(question)[
        0
    ] != system
    assert other.describe()["instruction"] == "Plan it."
    words.write_text(" ")
    with pytest.raises(UsageError, match="says nothing"):
        loaded(folder, instruction=words)
    with pytest.raises(UsageError, match=r"nowhere cannot be read.*Name a text file"):
        loaded(folder, instruction="nowhere")
