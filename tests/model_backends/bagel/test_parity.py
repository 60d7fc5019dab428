"""What the authors' code computes, ours computes: ``make_parity.py`` says how their numbers were made."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model_backends.bagel.make_parity import (
    GUIDANCE,
    INSTRUCTION,
    MOST_THOUGHT,
    PROMPTS,
    PUBLISHED,
    RENORMS,
    SHAPE,
    TIMES,
)
from tests.support_bagel import numbers, save_bagel, told
from unisandbox.model_backends.bagel.checkpoint import Loaded, load
from unisandbox.model_backends.bagel.context import Context, Latent, Seen, Text, write
from unisandbox.model_backends.bagel.sampler import Sampling, draw, guided
from unisandbox.model_backends.bagel.vision import patches, whole

CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}
HEIGHT, WIDTH = SHAPE[0] // 4, SHAPE[1] // 4


@pytest.fixture(scope="module")
def bagel(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = save_bagel(tmp_path_factory.mktemp("bagel"))
    return load(folder, "ema.safetensors", torch.device("cpu"), torch.float32)


def text(bagel: Loaded, words: str) -> Text:
    return bagel.model.frame.text(bagel.tokenizer.encode(words))


def seen(name: str) -> Seen:
    pixels = numbers()[name]
    return Seen(SHAPE[0] // 4, SHAPE[1] // 4, patches(pixels, 4))


def latent(bagel: Loaded, name: str) -> Latent:
    return Latent(HEIGHT, WIDTH, patches(bagel.autoencoder.encode(numbers()[name]), 2))


def same(found: Tensor, name: str) -> None:
    torch.testing.assert_close(found, numbers()[name], **CLOSE)


@torch.inference_mode()
def test_scores_of_words(bagel: Loaded) -> None:
    put = text(bagel, PROMPTS[0])
    assert list(put.ids) == numbers()["text/ids"].tolist()
    hidden, _ = bagel.model([(put,)])
    same(bagel.model.language_model.lm_head(hidden), "text/logits")


@torch.inference_mode()
def test_scores_of_words_behind_a_picture(bagel: Loaded) -> None:
    context = Context(bagel.model, [(seen("caption/pixels"), text(bagel, PROMPTS[1]))])
    token, scores = torch.tensor([bagel.model.frame.text_start]), []
    for _ in numbers()["caption/logits"]:
        scores.append(context.say(token))
        token = scores[-1].argmax(-1)
    same(torch.cat(scores), "caption/logits")


@torch.inference_mode()
@pytest.mark.parametrize("time", TIMES)
def test_velocity(bagel: Loaded, time: float) -> None:
    known, looked, asked = latent(bagel, "velocity/pixels"), seen("velocity/pixels"), text(bagel, PROMPTS[0])
    context = Context(bagel.model, [(known, looked, asked), (known, looked), (asked,)])
    noise = numbers()["velocity/noise"][None]
    found = context.velocity(context.canvas(3, HEIGHT * WIDTH), noise, time, HEIGHT, WIDTH)
    same(found[0], f"velocity/{time}/none/global/0.0")
    checked = 0
    for name in numbers():
        if name.startswith(f"velocity/{time}/") and "none" not in name:
            _, _, guidance, renorm, least = name.split("/")
            settings: Any = {"cfg_renorm_type": renorm, "cfg_renorm_min": float(least), **GUIDANCE[guidance]}
            sampling = Sampling(**settings)
            same(guided(tuple(found[: sampling.branches, None]), sampling)[0], name)
            checked += 1
    assert checked == 3 * len(RENORMS)


@torch.inference_mode()
@pytest.mark.parametrize("number", [0, 1])
def test_thinking_and_then_drawing(bagel: Loaded, number: int) -> None:
    system, prompt = text(bagel, INSTRUCTION), text(bagel, PROMPTS[number])
    ((thought, is_whole),) = write(bagel.model, [(system, prompt)], MOST_THOUGHT)
    assert thought == numbers()[f"run/{number}/thought"].tolist()
    assert bagel.tokenizer.decode(thought) == told()["thoughts"][PROMPTS[number]]
    assert is_whole == (number == 0)
    rows = [(system, prompt, bagel.model.frame.text(thought))], [(system,)]
    noise = numbers()[f"run/{number}/noise"][None]
    latents = draw(bagel.model, rows, noise, (HEIGHT, WIDTH), Sampling())
    same(latents[0], f"run/{number}/latents")


def test_the_published_settings_are_the_defaults() -> None:
    assert Sampling() == Sampling(**{**PUBLISHED, "cfg_interval": tuple(PUBLISHED["cfg_interval"])})


@torch.inference_mode()
def test_the_autoencoder(bagel: Loaded) -> None:
    same(bagel.autoencoder.encode(numbers()["vae/pixels"]), "vae/encoded")
    same(bagel.autoencoder.decode(whole(numbers()["run/0/latents"], HEIGHT, WIDTH, 2)), "vae/decoded")
