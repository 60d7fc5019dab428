"""The weights of BAGEL-7B-MoT: what the authors' code has at those sizes, ours expects, and no more."""

import json
from pathlib import Path

import torch

from tests.model_backends.bagel.make_parity import OFFICIAL_LLM, OFFICIAL_VIT, collapsed
from unisandbox.model_backends.bagel.autoencoder import Autoencoder, renamed
from unisandbox.model_backends.bagel.config import BagelConfig, read_config
from unisandbox.model_backends.bagel.model import Bagel, Frame

OFFICIAL = json.loads(Path(__file__).with_name("official.json").read_text(encoding="utf-8"))


def test_names_and_shapes() -> None:
    with torch.device("meta"):
        weights = Bagel(BagelConfig(), Frame(0, 1, 2, 3)).state_dict()
    assert collapsed(weights) == OFFICIAL["ema.safetensors"]
    assert sum(weight.numel() for weight in weights.values()) == OFFICIAL["parameters"]
    assert weights["language_model.model.layers.27.mlp_moe_gen.up_proj.weight"].shape == (18944, 3584)


def test_the_autoencoder_has_a_name_for_each() -> None:
    named = (line.partition(" ") for line in OFFICIAL["ae.safetensors"])
    weights = {name: torch.empty(json.loads(shape), device="meta") for name, _, shape in named}
    config = BagelConfig().autoencoder
    with torch.device("meta"):
        expected = Autoencoder(config).inner.state_dict()
    found = renamed(weights, config)
    assert {name: each.shape for name, each in found.items()} == {
        name: each.shape for name, each in expected.items()
    }


def test_the_sizes_are_found() -> None:
    def shapes(file: str) -> dict[str, list[int]]:
        named = (line.partition(" ") for line in OFFICIAL[file])
        return {name: json.loads(shape) for name, _, shape in named}

    found = read_config(OFFICIAL_LLM, OFFICIAL_VIT, shapes("ema.safetensors"), shapes("ae.safetensors"))
    assert found == BagelConfig()
