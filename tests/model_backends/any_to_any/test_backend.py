"""Janus and Emu3, tiny and random, loaded as real ones are: what comes out follows the request alone."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unisandbox
from tests.support_local import asked, by_key, questions
from unisandbox.backend import Backend
from unisandbox.errors import BackendError, UsageError
from unisandbox.model_backends.any_to_any.factory import any_to_any
from unisandbox.model_backends.any_to_any.rows import Row
from unisandbox.prompts import with_thought
from unisandbox.records import Generation, Request
from unisandbox.specs import build


def loaded(model: Path, **options: Any) -> Any:
    given = {"model": str(model), "max_tokens": "12", "device": "cpu", **options}
    return build("any-to-any", any_to_any, {name: str(value) for name, value in given.items()})


def one_by_one(backend: Backend, requests: Sequence[Request]) -> dict[str, Generation]:
    return {
        key: answer for request in requests for key, answer in by_key(backend.generate([request])).items()
    }


@pytest.fixture(params=["janus", "emu3"])
def family(request: pytest.FixtureRequest) -> tuple[Path, Mapping[str, Any]]:
    """Return a checkpoint, and the options that make its pictures small."""
    return request.getfixturevalue(request.param), {"image_size": 32} if request.param == "emu3" else {}


def test_a_picture_is_the_same_in_any_company(family: tuple[Path, Mapping[str, Any]]) -> None:
    model, options = family
    requests = questions()
    together = by_key(loaded(model, batch_size=8, **options).generate(requests))
    alone = one_by_one(loaded(model, batch_size=1, **options), requests[::-1])
    assert together == alone
    assert len({answer.image for answer in together.values()}) == len(requests)


def test_words_are_the_same_in_any_company(family: tuple[Path, Mapping[str, Any]]) -> None:
    model, options = family
    requests = questions("text")
    backend = loaded(model, batch_size=8, text_temperature=1, **options)
    together = by_key(backend.generate(requests))
    assert together == one_by_one(backend, requests)
    assert {answer.finish for answer in together.values()} <= {"complete", "truncated"}
    assert len({answer.text for answer in together.values()}) > 4


def test_the_seed_decides(family: tuple[Path, Mapping[str, Any]]) -> None:
    model, options = family
    backend = loaded(model, batch_size=4, text_temperature=1, **options)
    for output in ("image", "text"):
        one, again, other = backend.generate(
            [
                asked("Draw a cup.", key=key, seed=seed, output=output)
                for key, seed in (("one", 1), ("again", 1), ("other", 2))
            ]
        )
        assert (one.image, one.text) == (again.image, again.text) != (other.image, other.text)


def test_it_reads_pictures(family: tuple[Path, Mapping[str, Any]]) -> None:
    model, options = family
    backend = loaded(model, batch_size=4, **options)
    images = [answer.image for answer in backend.generate(questions()[:2])]
    captions = [
        asked("What is this?", key=str(number), output="text", images=(image,))
        for number, image in enumerate(images)
    ]
    mixed = [*captions, asked("What is nothing?", key="none", output="text")]
    together = by_key(backend.generate(mixed))
    assert together == one_by_one(backend, mixed)
    assert together["0"].text != together["1"].text


def test_half_precision_does_not_let_company_change_a_picture(janus: Path) -> None:
    backend = loaded(janus, dtype="bfloat16", batch_size=8)
    assert backend.batch_size == 32  # several batches: those of other lengths are not put together
    requests = questions()
    together = by_key(backend.generate(requests))
    assert by_key(backend.generate(requests[::-1])) == together
    assert by_key(backend.generate(requests[2:5])) == {key: together[key] for key in "234"}


def test_guidance_and_temperature_are_taken(janus: Path) -> None:
    def picture(seed: int = 3, **options: Any) -> Any:
        (answer,) = loaded(janus, batch_size=1, **options).generate([asked("Draw a cup.", seed=seed)])
        return answer.image

    usual = picture()
    assert usual == picture(guidance_scale=5, temperature=1, top_k=0)
    assert usual != picture(guidance_scale=1)
    assert picture(temperature=0) == picture(temperature=0, seed=4) == picture(top_k=1)


def test_janus_draws_what_its_own_guidance_makes_likeliest(janus: Path) -> None:
    """Ours is done before that of ``generate``; without noise both must choose the same tokens."""
    backend = loaded(janus, temperature=0, batch_size=2)
    family = backend._family
    inputs = backend._rows.together([Row(one, family.picture(one.prompt.turns)) for one in questions()[:2]])
    with torch.inference_mode():
        codes = family.model.generate(**inputs, generation_mode="image", do_sample=False, guidance_scale=5.0)
        theirs = family.pixels(family.model.decode_image_tokens(codes)).numpy()
    for answer, pixels in zip(backend.generate(questions()[:2]), theirs, strict=True):
        assert (np.asarray(answer.image.pil()) == pixels).all()


def test_a_thought_stays_in_the_conversation(janus: Path) -> None:
    backend = loaded(janus)
    turns = with_thought("How many?", "Two.\nDraw: 2 cups.")
    text = backend._family._conversation(turns)
    assert text == "<bos><|User|>How many?<|Assistant|>Two.\nDraw: 2 cups.<|User|>Draw 2 cups.<|Assistant|>"
    tokens = backend._family.picture(turns)["input_ids"][0].tolist()
    assert tokens[0] == 1 != tokens[1] and tokens[-1] == 4  # one <bos>, and <boi> last


def test_memory_that_runs_out_halves_the_batch(
    janus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = loaded(janus, batch_size=8)
    draw = backend._family.draw

    def small(inputs: Mapping[str, torch.Tensor], seeds: Sequence[int]) -> torch.Tensor:
        if len(seeds) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        drawn: torch.Tensor = draw(inputs, seeds)
        return drawn

    before = by_key(backend.generate(questions()))
    monkeypatch.setattr(backend._family, "draw", small)
    assert by_key(backend.generate(questions())) == before
    assert backend.describe()["batch_size"] == 2
    assert "any-to-any: out of memory with 8 requests at once; going on with 4" in capsys.readouterr().err


def test_an_adapter_changes_what_is_drawn_and_said(janus: Path, adapter: Path) -> None:
    plain, adapted = loaded(janus), loaded(janus, adapter=adapter)
    assert by_key(plain.generate(questions())) != by_key(adapted.generate(questions()))
    first, second = adapted.describe()["weights"].split("+")
    assert first == plain.describe()["weights"] != second
    twice = loaded(janus, adapter=f"{adapter}+{adapter}")
    assert twice.describe()["weights"] == f"{first}+{second}+{second}"


def test_it_says_what_it_is(janus: Path) -> None:
    told = loaded(janus, batch_size=3).describe()
    assert told["family"] == "janus" and told["thinking"] == "two calls"
    assert told["pictures"] == {
        "guidance_scale": 5.0,
        "temperature": 1.0,
        "top_k": 0,
        "image_size": "the model's own",
    }
    assert told["words"] == {"temperature": 0.0, "max_tokens": 12}
    assert (told["device"], told["dtype"], told["batch_size"]) == ("cpu", "float32", 3)
    assert {"torch", "transformers"} <= set(told["versions"])
    json.dumps(told)


def test_a_device_map_places_the_model(janus: Path) -> None:
    mapped = loaded(janus, device_map="auto")
    assert by_key(mapped.generate(questions())) == by_key(loaded(janus).generate(questions()))


# --- what cannot be loaded ---


def refused(error: type[Exception], model: Path, **options: Any) -> str:
    with pytest.raises(error) as caught:
        loaded(model, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_models_that_do_not_draw(writer: Path) -> None:
    said = refused(BackendError, writer)
    assert "is of the kind 'llama', which does not draw" in said and "janus and emu3 read and draw" in said


def test_a_name_the_hub_cannot_give() -> None:
    said = refused(BackendError, Path("owner/no-such-model"))
    assert said.startswith("any-to-any: model=owner/no-such-model cannot be loaded: OSError: ")


def test_a_folder_whose_weights_are_gone(janus: Path, tmp_path: Path) -> None:
    shutil.copytree(janus, tmp_path / "janus")
    (tmp_path / "janus" / "model.safetensors").unlink()
    assert "cannot be loaded: OSError: " in refused(BackendError, tmp_path / "janus")


def test_adapters_that_do_not_fit(janus: Path, emu3: Path, adapter: Path, tmp_path: Path) -> None:
    assert f"adapter={tmp_path}: no adapter: no adapter_config.json" in refused(
        UsageError, janus, adapter=tmp_path
    )
    shutil.copytree(adapter, tmp_path / "other")
    config = tmp_path / "other" / "adapter_config.json"
    config.write_text(config.read_text().replace("q_proj", "k_proj"))
    assert "its weights do not fit this model" in refused(BackendError, janus, adapter=tmp_path / "other")
    assert "cannot be loaded" in refused(BackendError, janus, adapter=tmp_path / "other", dtype="float16")


def test_options_that_cannot_be_meant(janus: Path, emu3: Path) -> None:
    assert "Janus draws in one size only" in refused(UsageError, janus, image_size=64)
    assert "option batch_size='0'" in refused(UsageError, janus, batch_size=0)
    assert "device=gpu" in refused(UsageError, janus, device="gpu")
    assert "Did you mean 'temperature'" in refused(UsageError, janus, temprature=1)


def test_a_checkpoint_that_only_draws_cannot_be_asked_in_words(emu3: Path, tmp_path: Path) -> None:
    shutil.copytree(emu3, tmp_path / "gen")
    (tmp_path / "gen" / "chat_template.jinja").unlink()
    backend = loaded(tmp_path / "gen", image_size=32)
    assert len(list(backend.generate(questions()[:2]))) == 2
    with pytest.raises(BackendError, match="no chat template, so it cannot be asked in words: it only draws"):
        list(backend.generate(questions("text")[:1]))


# --- the whole way ---


def test_a_run_through_every_mode(janus: Path, in_tmp: Path) -> None:
    results = unisandbox.run(
        tasks="math_1",
        models=f"any-to-any:model={janus},max_tokens=8,batch_size=4,draws=sandbox",
        modes="all",
        limit=3,
        out=in_tmp / "run",
        min_coverage=0,
    )
    asked_in = {cell.mode for cell in results if cell.score.n + cell.score.unscored == 3}
    assert asked_in == {"direct", "cot", "answer", "render", "refined", "gold", "planted", "caption"}
    assert not [cell for cell in results if cell.score.errors]
    lines = (in_tmp / "run" / "generations.jsonl").read_text().splitlines()
    thoughts = [line for line in map(json.loads, lines) if line["mode"] == "cot"]
    assert {line["notes"]["thinking"] for line in thoughts} == {"two calls"}
    (about,) = json.loads((in_tmp / "run" / "run.json").read_text())["backends"].values()
    assert about["family"] == "janus" and about["weights"] and about["batch_size"] == 4
