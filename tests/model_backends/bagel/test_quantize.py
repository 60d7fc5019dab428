"""Weights in 8 and 4 bits: which matrices, how near they come, and what else of the harness they change."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.model_backends.bagel.make_parity import PROMPTS
from tests.support_bagel import all_modes, loaded, refusal, save_bagel, save_instruction
from tests.support_local import asked, by_key
from unisandbox import loading
from unisandbox.backend import TrainSpec
from unisandbox.errors import UsageError
from unisandbox.model_backends.bagel.config import BagelConfig
from unisandbox.model_backends.bagel.devices import LAYERS
from unisandbox.model_backends.bagel.model import Bagel, Frame
from unisandbox.model_backends.bagel.quantize import quantized
from unisandbox.model_backends.bagel.train import teach
from unisandbox.records import Example

SAID = [Example("How?", text="Two."), Example("Who?", text="Ann")]
SHORT = TrainSpec(steps=3, batch=2, rate=0.01, lora=4)
KINDS = {"8bit": "Linear8bitLt", "4bit": "Linear4bit"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bagel(save_instruction(tmp_path_factory.mktemp("bagel")) / "tiny")


@pytest.fixture
def bitsandbytes() -> None:
    pytest.importorskip("bitsandbytes", reason="the extra 'quantize' is not installed")


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_the_matrices_of_both_experts_and_no_others(bits: Any) -> None:
    with torch.device("meta"):
        model = Bagel(BagelConfig(), Frame(0, 1, 2, 3))
    before = {name for name, module in model.named_modules() if type(module) is torch.nn.Linear}
    quantized("it", model, model.language_model.model.layers, bits, torch.bfloat16)
    after = {name for name, module in model.named_modules() if type(module).__name__ == KINDS[bits]}
    assert len(after) == 28 * 2 * (4 + 3)  # of attention and of the MLP
    assert after == {name for name in before if name.startswith(LAYERS)}
    assert sum(name.count("_moe_gen") for name in after) == 28 * 7


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize(("bits", "least", "most"), [("8bit", 0.001, 0.05), ("4bit", 0.02, 0.4)])
@torch.inference_mode()
def test_scores_come_near(bits: str, least: float, most: float, folder: Path) -> None:
    plain, rough = loaded(folder), loaded(folder, quantize=bits)
    row = (plain.prompts.text(PROMPTS[0]),)
    wanted, found = (each.loaded.model([row])[0] for each in (plain, rough))
    assert least < ((wanted - found).norm() / wanted.norm()).item() < most
    told, other = rough.describe(), plain.describe()
    assert told["quantize"] == bits and other["quantize"] is None
    assert told["parameters"] == other["parameters"] and told["weights"] != other["weights"]


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_company_and_order_change_nothing(bits: str, folder: Path) -> None:
    backend = loaded(folder, batch_size=2, dtype="bfloat16", quantize=bits)
    requests = all_modes()
    one, other = (by_key(backend.generate(some)) for some in (requests, requests[::-1]))
    assert one == other and set(one) == {request.key for request in requests}
    assert backend.describe()["batch_size"] == (
        {"pictures": 1, "words": 1} if bits == "8bit" else {"pictures": 2, "words": 8}
    )


@pytest.mark.usefixtures("bitsandbytes")
def test_adapters_learn_beside_four_bits_and_are_merged(folder: Path, tmp_path: Path) -> None:
    backend = loaded(folder, quantize="4bit")
    questions = [asked(each.prompt, key=each.prompt, output="text") for each in SAID]
    before = by_key(backend.generate(questions))  # a model may have answered before it learns
    spec = replace(SHORT, steps=60, lora=8)
    made = teach(backend.loaded, SAID, spec, tmp_path / "out", every=25, quiet=True)
    student = loaded(folder, quantize="4bit", **made)
    after = by_key(student.generate(questions))
    assert [after[each.prompt].text for each in SAID] == [each.text for each in SAID]
    assert before["Who?"].text != after["Who?"].text
    assert student.describe()["weights"] != backend.describe()["weights"]
    kinds = [type(module).__name__ for module in student.loaded.model.modules()]
    assert kinds.count("Linear4bit") == 2 * 14


@pytest.mark.usefixtures("bitsandbytes")
def test_adapters_are_merged_into_eight_bits(folder: Path, tmp_path: Path) -> None:
    made = teach(loaded(folder).loaded, SAID, SHORT, tmp_path / "out", quiet=True)
    before, after = loaded(folder, quantize="8bit"), loaded(folder, quantize="8bit", **made)
    whole = loaded(folder, **made)
    row = (before.prompts.text(PROMPTS[0]),)
    with torch.inference_mode():
        was, became, exact = (each.loaded.model([row])[0] for each in (before, after, whole))
    assert (was - became).norm() > 0.05 * was.norm() and (became - exact).norm() < 0.05 * exact.norm()


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize(("bits", "lora"), [("8bit", 0), ("8bit", 4), ("4bit", 0)])
def test_what_cannot_be_trained(bits: str, lora: int, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"quantize={bits} cannot be trained so: pass lora, with"):
        loaded(folder, quantize=bits).train(SAID, replace(SHORT, lora=lora), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("bitsandbytes")
def test_what_does_not_fit_is_not_fetched(folder: Path) -> None:
    told = refusal(folder, quantize="4bit", device_map="auto", max_memory="cpu:3MB")
    assert "of 2 layers fit on no device, and those of quantize=4bit cannot be fetched" in told


def test_without_bitsandbytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == "bitsandbytes" else object())
    told = refusal(folder, quantize="4bit")
    assert told.endswith("needs bitsandbytes, which is not installed: pip install 'unisandbox[quantize]'")
    assert "quantize='2bit'" in refusal(folder, quantize="2bit")
