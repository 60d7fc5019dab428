"""A Stable Diffusion, tiny and random, loaded as a real one is, alone and behind a model that writes."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unisandbox
from tests.openai_server import serving
from tests.support_local import asked, by_key, questions
from unisandbox.errors import BackendError, UsageError
from unisandbox.model_backends.diffusers import does
from unisandbox.model_backends.diffusers.backend import checked
from unisandbox.model_backends.diffusers.factory import diffusers
from unisandbox.prompts import with_thought
from unisandbox.records import Image
from unisandbox.specs import build


def loaded(model: Path, **options: Any) -> Any:
    given = {"model": str(model), "steps": "2", "device": "cpu", "rewriter_max_tokens": "12", **options}
    return build("diffusers", diffusers, {name: str(value) for name, value in given.items()})


def values(image: Image | None) -> Any:
    assert image is not None
    return np.asarray(image.pil()).astype(int)


def test_a_picture_is_the_same_in_any_company_but_for_rounding(pipeline: Path) -> None:
    requests = questions()
    eight, one = loaded(pipeline, batch_size=8), loaded(pipeline, batch_size=1)
    together = by_key(eight.generate(requests))
    assert len({answer.image for answer in together.values()}) == len(requests)
    alone = by_key(one.generate(requests))
    for key, answer in together.items():
        assert abs(values(answer.image) - values(alone[key].image)).max() <= 1
    # at the same batch size to the last bit, whatever the order and however many
    assert by_key(eight.generate(requests[::-1])) == together
    assert by_key(eight.generate(requests[2:4])) == {key: together[key] for key in "23"}


def test_the_seed_decides(pipeline: Path) -> None:
    one, again, other = loaded(pipeline).generate(
        [asked("A cup.", key=key, seed=seed) for key, seed in (("a", 1), ("b", 1), ("c", 2))]
    )
    assert one.image == again.image != other.image


def test_settings_are_taken(pipeline: Path) -> None:
    def picture(**options: Any) -> Any:
        (answer,) = loaded(pipeline, batch_size=1, **options).generate([asked("A cup.")])
        return answer.image

    usual = picture()
    assert usual == picture(guidance=7.5)
    assert picture(height=16, width=48).pil().size == (48, 16)
    others = (picture(guidance=1), picture(steps=3), picture(negative_prompt="ugly"))
    assert len({usual, *others}) == 4


def test_it_draws_the_last_turn_alone(pipeline: Path) -> None:
    backend = loaded(pipeline)
    turns = with_thought("How many?", "Two.\nDraw: 2 cups.")
    thought, plain = backend.generate([asked(*turns, key="thought"), asked("Draw 2 cups.", key="plain")])
    assert thought.image == plain.image


def test_memory_that_runs_out_halves_the_batch(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = loaded(pipeline, batch_size=8)
    call = type(backend._pipeline).__call__

    def small(self: Any, prompt: Sequence[str], **more: Any) -> Any:
        if len(prompt) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return call(self, prompt=prompt, **more)

    small.__signature__ = backend._takes  # type: ignore[attr-defined]
    monkeypatch.setattr(type(backend._pipeline), "__call__", small)
    assert {answer.finish for answer in backend.generate(questions())} == {"complete"}
    assert backend.describe()["batch_size"] == 4


def test_families_without_a_seed_a_prompt_are_asked_one_by_one(cosmos: Path) -> None:
    backend = loaded(cosmos, batch_size=8, height=32, width=32, negative_prompt="ugly")
    requests = questions()[:3]
    answers = by_key(backend.generate(requests))
    assert by_key(backend.generate(requests[::-1])) == answers
    assert len({answer.image for answer in answers.values()}) == 3
    assert backend.describe()["batch_size"] == 1


def test_a_prompt_that_is_too_long_says_so(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short, long, longer = loaded(pipeline).generate(
        [asked("A cup. " * many, key=str(many)) for many in (1, 30, 40)]
    )
    assert short.notes == {}
    assert long.notes == longer.notes == {"prompt": "cut off after 77 tokens"}
    assert capsys.readouterr().err.count("reads 77 tokens; longer prompts are cut off") == 1


def test_what_a_safety_checker_blacks_out_is_refused(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = loaded(pipeline, batch_size=2)
    kind = type(backend._pipeline)
    monkeypatch.setattr(kind, "run_safety_checker", lambda self, image, *_: (image, [True, False]))
    first, second = backend.generate(questions()[:2])
    assert (first.finish, first.image) == ("refused", None) and "safety checker" in first.notes["reason"]
    assert second.finish == "complete" and second.image is not None


def test_it_says_what_it_is(pipeline: Path, writer: Path) -> None:
    told = loaded(pipeline, batch_size=3, rewriter=writer, guidance=4).describe()
    assert (told["pipeline"], told["scheduler"]) == ("StableDiffusionPipeline", "DDIMScheduler")
    assert told["pictures"] == {
        "num_inference_steps": 2,
        "guidance_scale": 4.0,
        "height": None,
        "width": None,
    }
    assert (told["device"], told["dtype"], told["batch_size"]) == ("cpu", "float32", 3)
    assert told["thinking"] == "two calls" and told["rewriter"]["words"]["max_tokens"] == 12
    assert told["weights"].endswith(f"+{told['rewriter']['weights']}")
    assert {"torch", "diffusers"} <= set(told["versions"])
    json.dumps(told)


# --- words ---


def test_what_it_can_do_depends_on_the_options() -> None:
    assert does({"model": "m"}) == ("image",)
    assert does({"model": "m", "rewriter": "w"}) == ("image", "text")
    assert does({"model": "m", "rewriter_base_url": "http://localhost"}) == ("image", "text")
    with pytest.raises(UsageError, match=r"Nothing to ask: .*: the model does not: writes text"):
        unisandbox.run(tasks="math_1", models="diffusers:model=m,draws=sandbox", modes=["answer"])


def test_alone_it_writes_nothing(pipeline: Path) -> None:
    with pytest.raises(
        UsageError, match=r"a pipeline only draws\. Name a model that writes the words with rewriter="
    ):
        list(loaded(pipeline).generate(questions("text")))


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_rewriter_writes_the_same_in_any_company(pipeline: Path, writer: Path, temperature: int) -> None:
    requests = questions("text")
    backend = loaded(pipeline, rewriter=writer, batch_size=8, rewriter_temperature=temperature)
    together = by_key(backend.generate(requests))
    alone = {key: answer for one in requests for key, answer in by_key(backend.generate([one])).items()}
    assert together == alone
    assert len({answer.text for answer in together.values()}) > 4


def test_cot_draws_what_the_rewriter_says_and_logs_it_as_the_thought(
    pipeline: Path, writer: Path, in_tmp: Path
) -> None:
    model = f"diffusers:model={pipeline},steps=2,rewriter={writer},rewriter_max_tokens=8,draws=sandbox"
    unisandbox.run(
        tasks="math_1",
        models=model,
        modes=["direct", "cot", "refined", "answer"],
        limit=2,
        out=in_tmp / "run",
    )
    lines = [json.loads(line) for line in (in_tmp / "run" / "generations.jsonl").read_text().splitlines()]
    said = {(line["mode"], line["sample"]): line for line in lines}
    assert {mode for mode, _ in said} == {"direct", "cot", "refined", "answer"}
    for (mode, sample), line in said.items():
        if mode == "cot":
            assert line["thought"] and line["notes"]["thinking"] == "two calls"
            assert line["image"] == said["refined", sample]["image"] != said["direct", sample]["image"]


def test_a_rewriter_behind_a_server(pipeline: Path, in_tmp: Path) -> None:
    with serving() as server:
        model = f"diffusers:model={pipeline},steps=1,rewriter_base_url={server.url},draws=sandbox"
        results = unisandbox.run(
            tasks="math_1", models=model, modes=["answer", "cot"], limit=2, out=in_tmp / "run"
        )
    assert [cell.score.value for cell in results if cell.mode == "answer"] == [1.0]
    lines = [json.loads(line) for line in (in_tmp / "run" / "generations.jsonl").read_text().splitlines()]
    assert all("Draw:" in line["thought"] and line["image"] for line in lines if line["mode"] == "cot")
    (about,) = json.loads((in_tmp / "run" / "run.json").read_text())["backends"].values()
    assert about["rewriter"]["base_url"] == server.url and about["rewriter"]["max_tokens"] == 1000


# --- what cannot be loaded ---


def refused(error: type[Exception], model: Path, **options: Any) -> str:
    with pytest.raises(error) as caught:
        loaded(model, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_that_are_no_pipeline(pipeline: Path, writer: Path, tmp_path: Path) -> None:
    assert "It is a transformers model, not a diffusion pipeline" in refused(UsageError, writer)
    assert "it holds no model_index.json. It holds: nothing." in refused(UsageError, tmp_path)
    assert "rewriter: model=" in refused(UsageError, pipeline, rewriter=tmp_path)
    shutil.copytree(pipeline, tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken" / "unet")
    assert "cannot be loaded: " in refused(BackendError, tmp_path / "broken")


def test_a_rewriter_that_holds_no_conversation(pipeline: Path, writer: Path, tmp_path: Path) -> None:
    shutil.copytree(writer, tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    assert "has no chat template, so it cannot be asked" in refused(
        BackendError, pipeline, rewriter=tmp_path / "base"
    )


def test_options_that_the_pipeline_does_not_take(pipeline: Path) -> None:
    assert "a StableDiffusionPipeline takes no true_cfg_scale" in refused(UsageError, pipeline, true_cfg=4)
    assert "rewriter_api_key_env= is for a server" in refused(
        UsageError, pipeline, rewriter_api_key_env="KEY"
    )
    assert "device=gpu" in refused(UsageError, pipeline, device="gpu")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda self, prompt, image, generator=None: None, "does not draw from text alone: .* prompt, image"),
        (lambda self, batch_size=1, generator=None: None, "does not draw from text alone: .* no prompt"),
        (lambda self, prompt, num_frames=9, generator=None: None, "makes videos"),
    ],
)
def test_pipelines_that_do_not_draw_from_text_alone(call: Any, said: str) -> None:
    kind = type("OtherPipeline", (), {"__call__": call})
    with pytest.raises(BackendError, match=f"model=it: a OtherPipeline {said}"):
        checked("it", kind(), {})
