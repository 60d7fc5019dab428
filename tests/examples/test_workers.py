"""The workers under ``examples/``, run as they are.

BAGEL's own code and weights are not here: stand-ins note how they are called.
"""

from __future__ import annotations

import shlex
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as pil

from unisandbox.model_backends.command.backend import Command
from unisandbox.records import Generation, Image, Prompt, Request, Turn

EXAMPLES = Path(__file__).parents[2] / "examples"


def ask(
    model: Command, *turns: Turn | str, output: Any = "image", think: bool = False, seed: int = 1
) -> Generation:
    turned = tuple(Turn("user", turn) if isinstance(turn, str) else turn for turn in turns)
    (found,) = model.generate([Request("key", Prompt(turned, output, think), seed, "task", "sample", "mode")])
    return found


# --- the example ---


@pytest.fixture(scope="module")
def dots() -> Iterator[Command]:
    model = Command(cmd=shlex.quote(str(EXAMPLES / "command_worker.py")))
    yield model
    model.close()


def test_the_example_is_short() -> None:
    lines = (EXAMPLES / "command_worker.py").read_text().split('"""', 2)[2].splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 40


@pytest.mark.parametrize("number", [1, 4, 16])
def test_the_example_counts_what_it_paints(dots: Command, number: int) -> None:
    painted = ask(dots, f"Paint {number} cups.", think=True)
    assert painted.image is not None
    assert painted.image.pil().size == (256, 256)
    assert painted.thought == f"I see {number}."
    seen = ask(dots, Turn("user", "How many are there?", (painted.image,)), output="text")
    assert seen.text == f"{number} dots"


def test_the_example_follows_its_seed(dots: Command) -> None:
    first, again, other = (ask(dots, "3", seed=seed).image for seed in (1, 1, 2))
    assert first == again != other


# --- BAGEL ---

STAND_INS = {
    "accelerate.py": """
from contextlib import nullcontext as init_empty_weights
def infer_auto_device_map(model, max_memory, no_split_module_classes):
    return {"": 0}
def load_checkpoint_and_dispatch(model, checkpoint, device_map, **settings):
    assert open(checkpoint).read() == "weights"
    model.eval.return_value = model
    return model
""",
    "data/__init__.py": "",
    "data/data_utils.py": "def add_special_tokens(tokenizer): return tokenizer, {'eos_token_id': 2}, 0",
    "data/transforms.py": "def ImageTransform(*sizes): return sizes",
    "modeling/__init__.py": "",
    "modeling/autoencoder.py": "def load_ae(local_path): return open(local_path).read(), 'vae config'",
    "modeling/qwen2.py": """
class Qwen2Tokenizer:
    from_pretrained = staticmethod(lambda path: path)
""",
    "modeling/bagel/__init__.py": """
import json
from types import SimpleNamespace
from unittest.mock import MagicMock
def Bagel(*parts): return MagicMock()
Qwen2ForCausalLM = SiglipVisionModel = Bagel
class Qwen2Config:
    from_json_file = staticmethod(lambda path: SimpleNamespace(**json.load(open(path))))
SiglipVisionConfig = Qwen2Config
BagelConfig = SimpleNamespace
""",
    "inferencer.py": """
import random, numpy, torch
from PIL import Image

class InterleaveInferencer:
    def __init__(self, model, vae_model, tokenizer, vae_transform, vit_transform, new_token_ids):
        assert model.eval.called and vae_model == "vae" and vae_transform == (1024, 512, 16)
        assert vit_transform == (980, 224, 14) and new_token_ids == {"eos_token_id": 2}
        print("chatter on stdout")

    def paint(self, *about):
        print("painting", about)
        draws = [random.random(), numpy.random.rand(), torch.rand(1).item()]
        picture = Image.new("RGB", (8, 8), tuple(int(255 * draw) for draw in draws))
        with open(__file__ + ".calls", "a") as calls:
            calls.write(repr(about) + "\\n")
        return picture

    def interleave_inference(self, input_lists, think=False, understanding_output=False, **settings):
        shown = [each if isinstance(each, str) else each.size for each in input_lists]
        if "fail" in shown[-1]:
            raise RuntimeError("out of memory")
        if understanding_output:
            self.paint("read", shown, think, settings)
            return ["<think>two</think> 2 cups" if think else "2 cups"]
        picture = self.paint("paint", shown, think, settings)
        return ["<think>\\nDraw two.\\n</think>", picture] if think else [picture]

    def init_gen_context(self):
        return {"texts": []}

    def update_context_text(self, text, context):
        context["texts"].append(text)  # in place, as the real one does
        return context

    def gen_image(self, image_shape, context, cfg_text_precontext, cfg_img_precontext, **settings):
        contexts = [each["texts"] for each in (context, cfg_text_precontext, cfg_img_precontext)]
        return self.paint("after", image_shape, contexts, settings)
""",
}

PAINTING = {
    "num_timesteps": 50,
    "timestep_shift": 3.0,
    "cfg_text_scale": 4.0,
    "cfg_img_scale": 1.0,
    "cfg_interval": [0.4, 1.0],
    "cfg_renorm_min": 0.0,
    "cfg_renorm_type": "global",
}
WRITING = {"max_think_token_n": 1000, "do_sample": False}
PAINTED = {"image_shapes": (1024, 1024), **WRITING, **PAINTING}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout and weights, as far as the worker looks at them."""
    folder = tmp_path_factory.mktemp("Bagel")
    for name, code in STAND_INS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code)
    weights = folder / "weights"
    weights.mkdir()
    (weights / "llm_config.json").write_text("{}")
    (weights / "vit_config.json").write_text('{"num_hidden_layers": 27}')
    (weights / "ae.safetensors").write_text("vae")
    (weights / "ema.safetensors").write_text("weights")
    return folder


def worker(checkout: Path, *options: str) -> str:
    words = [EXAMPLES / "bagel_worker.py", "--repo", checkout, "--weights", checkout / "weights", *options]
    return shlex.join(map(str, words))


@pytest.fixture(scope="module")
def bagel(checkout: Path) -> Iterator[Command]:
    model = Command(cmd=worker(checkout))
    yield model
    model.close()


def called(checkout: Path) -> Any:
    """Return the last call of the inferencer."""
    return literal_eval((checkout / "inferencer.py.calls").read_text().splitlines()[-1])


def test_bagel_says_what_it_is_and_how_it_samples(bagel: Command) -> None:
    said = bagel.describe()
    assert (said["model"], said["dtype"]) == ("weights", "bfloat16")
    assert said["sampling"] == {**PAINTED, "image_shapes": [1024, 1024]}
    assert len(said["weights"]) == 32 and set(said["versions"]) == {"python", "torch"}


def test_bagel_paints_with_and_without_thinking(bagel: Command, checkout: Path) -> None:
    direct = ask(bagel, "Draw two cups.")
    assert direct.image is not None and direct.thought is None
    assert called(checkout) == ("paint", ["Draw two cups."], False, PAINTED)
    thinking = ask(bagel, "Draw two cups.", think=True)
    assert thinking.image is not None and thinking.thought == "Draw two."
    assert called(checkout) == ("paint", ["Draw two cups."], True, PAINTED)


def test_bagel_is_guided_away_from_nothing_when_a_thought_is_put_in(bagel: Command, checkout: Path) -> None:
    given = ask(bagel, "Draw 1 + 1 cups.", Turn("model", "It is 2.", thought=True), "Draw 2 cups.")
    assert given.image is not None
    texts = ["Draw 1 + 1 cups.", "<think>It is 2.</think>", "Draw 2 cups."]
    assert called(checkout) == ("after", (1024, 1024), [texts, [], texts], PAINTING)


def test_bagel_answers_and_sees(bagel: Command, checkout: Path) -> None:
    assert ask(bagel, "How many?", output="text").text == "2 cups"
    assert called(checkout) == ("read", ["How many?"], False, WRITING)
    picture = Image.from_pil(pil.new("RGB", (4, 6)))
    assert ask(bagel, Turn("user", "How many?", (picture,)), output="text").text == "2 cups"
    assert called(checkout) == ("read", [(4, 6), "How many?"], False, WRITING)
    thinking = ask(bagel, "How many?", output="text", think=True)
    assert (thinking.thought, thinking.text) == ("two", "2 cups")


def test_bagel_follows_the_seed_of_each_request(bagel: Command) -> None:
    first, again, other = (ask(bagel, "Draw.", seed=seed).image for seed in (7, 7, 8))
    assert first == again != other


def test_bagel_reports_errors_and_goes_on(bagel: Command) -> None:
    with pytest.raises(Exception, match="RuntimeError: out of memory"):
        ask(bagel, "fail")
    assert ask(bagel, "Draw.").image is not None


def test_bagel_says_what_is_missing(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"Its last words: there is no file .*/weights/other\.safetensors"):
        Command(cmd=worker(checkout, "--checkpoint", "other.safetensors"), log=tmp_path / "log")
