"""A real model of transformers as a judge: a tiny one, taught a few pictures, loaded as any checkpoint is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as pil

from tests.support_vlm import Lesson, taught
from unisandbox.catalog import Rubrics
from unisandbox.errors import JudgeError, UsageError
from unisandbox.judge import Case, Judge, View
from unisandbox.judges.protocol import Question
from unisandbox.judges.replies import Reply, probability_of_yes
from unisandbox.judges.vlm import Vlm
from unisandbox.plugins import installed
from unisandbox.records import Image, Observation, Verdict
from unisandbox.specs import build

RUBRIC = Rubrics(installed().rubric_folders)["object_identity"]
KINDS = ("cup", "dog", "clock")


def picture(colour: str, side: int = 128) -> Image:
    return Image.from_pil(pil.new("RGB", (side, side), colour))


PICTURES = dict(zip(KINDS, map(picture, ("red", "green", "blue")), strict=True))
"""What so small a model tells apart at once."""
BOTH = picture("white")


def lessons() -> list[Lesson]:
    """Three kinds and a picture to reject; and of what was seen, whether it is a cup."""
    seen: list[Lesson] = [
        (RUBRIC.observe_prompt, shown, f"**object:** {kind}") for kind, shown in PICTURES.items()
    ]
    seen.append((RUBRIC.observe_prompt, BOTH, "reject: objects of more than one kind are shown"))
    held: list[Lesson] = [
        (RUBRIC.match_prompt({"object": kind}, {"object": "cup"}), None, "Yes" if kind == "cup" else "No.")
        for kind in KINDS
    ]
    return seen + held


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taught(tmp_path_factory.mktemp("vlm") / "model", lessons())


@pytest.fixture(scope="module")
def judge(folder: Path) -> Vlm:
    made: Vlm = build("judge 'vlm'", Vlm, {"model": str(folder), "max_tokens": "24"})
    return made


def questions() -> list[Question]:
    """Eight questions of different lengths, one of them for words alone."""
    shown = [*PICTURES.values(), BOTH, picture("black"), picture("orange"), picture("grey")]
    seen = [Question(str(n), RUBRIC.observe_prompt + " Look!" * n, one) for n, one in enumerate(shown)]
    return [*seen, Question("7", RUBRIC.match_prompt({"object": "cup"}, {"object": "cup"}))]


def replies(judge: Vlm, asked: Sequence[Question]) -> dict[str, Reply]:
    return {reply.key: reply for reply in judge.ask(asked)}


def observed(judge: Vlm, image: Image | None) -> Observation:
    (seen,) = judge.observe([View("k", RUBRIC, image=image)])
    return seen


def matched(judge: Vlm, *kinds: str) -> list[Verdict]:
    cases = [
        Case(str(n), RUBRIC, Observation(str(n), {"object": kind}, raw="seen"), {"object": "cup"})
        for n, kind in enumerate(kinds)
    ]
    return sorted(judge.match(cases), key=lambda verdict: verdict.key)


def test_pictures_are_read_by_the_rubrics_own_prompt(judge: Vlm) -> None:
    assert isinstance(judge, Judge)
    for kind, shown in PICTURES.items():
        assert observed(judge, shown) == Observation("k", {"object": kind}, raw=f"**object:** {kind}")
    assert observed(judge, BOTH).malformed == "objects of more than one kind are shown"


def test_batches_do_not_change_a_reply(folder: Path) -> None:
    together = Vlm(model=str(folder), max_tokens=24, batch_size=8)
    alone = Vlm(model=str(folder), max_tokens=24, batch_size=1)
    asked = questions()
    assert replies(together, asked) == replies(alone, asked)
    assert replies(together, asked[::-1]) == replies(alone, asked)


def test_batches_do_not_change_a_probability(folder: Path) -> None:
    asked = [
        Question(kind, RUBRIC.match_prompt({"object": kind}, {"object": "cup"}), logprobs=True)
        for kind in ("cup", "dog", "a thing that nobody has a name for", "hat")
    ]
    both = [
        {
            reply.key: probability_of_yes(reply.tokens)
            for reply in Vlm(model=str(folder), batch_size=n).ask(asked)
        }
        for n in (1, 4)
    ]
    assert both[0] == pytest.approx(both[1], abs=1e-4)


def test_the_model_matches_in_words_alone(folder: Path) -> None:
    judge = Vlm(model=str(folder), matcher="model", soft=True, max_tokens=8)
    same, other = matched(judge, "cup", "dog")
    assert (same.outcome, same.raw) == ("correct", ("seen", "Yes"))
    assert (other.outcome, other.raw) == ("incorrect", ("seen", "No."))
    assert same.probability is not None and same.probability > 0.9
    assert other.probability is not None and other.probability < 0.1


def test_rules_match_unless_the_model_is_to(judge: Vlm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Vlm, "ask", None)
    same, other = matched(judge, "mugs", "dog")
    assert (same.outcome, other.outcome, other.reason) == (
        "correct",
        "incorrect",
        "object: dog instead of cup",
    )


def test_a_reply_cut_off_is_an_error(folder: Path) -> None:
    seen = observed(Vlm(model=str(folder), max_tokens=2), PICTURES["cup"])
    assert seen.error == "the reply was cut off after 2 tokens: raise max_tokens" and seen.raw


def test_a_large_picture_is_made_smaller_and_that_is_noted(folder: Path) -> None:
    judge = Vlm(model=str(folder), max_side=64, max_tokens=4)
    assert observed(judge, picture("red")).notes == {"picture": "downscaled from 128x128 to 64x64"}
    assert observed(judge, picture("red", 64)).notes == {}


def test_what_is_no_picture_costs_only_itself(judge: Vlm) -> None:
    views = [
        View("a", RUBRIC, image=Image(b"no picture")),
        View("b", RUBRIC, image=PICTURES["dog"]),
        View("c", RUBRIC, text="a dog"),
    ]
    seen = {observation.key: observation for observation in judge.observe(views)}
    assert (seen["a"].error or "").startswith("unreadable picture: cannot identify")
    assert seen["b"].slots == {"object": "dog"}
    assert seen["c"].error == "this judge reads pictures, not text"


def test_out_of_memory_halves_the_batch_and_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = Vlm(model=str(folder), max_tokens=24, batch_size=8)
    expected = replies(judge, questions())
    answer = Vlm._answer

    def small(self: Vlm, batch: Any) -> list[Reply]:
        if len(batch) > 4:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return answer(self, batch)

    monkeypatch.setattr(Vlm, "_answer", small)
    assert replies(judge, questions()) == expected
    assert judge.describe()["batch_size"] == 3
    assert "judge vlm: out of memory" in capsys.readouterr().err


def test_it_says_what_it_is_and_how_it_is_asked(judge: Vlm, folder: Path) -> None:
    about = judge.describe()
    assert about["model"] == str(folder) and len(about["weights"]) == 16
    assert about["sampling"] == {"greedy": True, "max_tokens": 24}
    assert (about["device"], about["dtype"], about["matcher"]) == ("cpu", "float32", "rules")
    assert set(about["versions"]) >= {"torch", "transformers"}
    assert judge.batch_size == 32


def altered(folder: Path, to: Path, name: str, **changes: Any) -> Path:
    shutil.copytree(folder, to)
    path = to / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return to


def test_a_checkpoint_without_a_chat_template_is_no_judge(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    with pytest.raises(JudgeError, match=r"^judge vlm: model=.*has no chat template\. .*instruct"):
        Vlm(model=str(tmp_path / "base"))


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_processor_that_needs_torchvision_says_so_and_how_to_get_it(folder: Path, tmp_path: Path) -> None:
    new = altered(folder, tmp_path / "qwen", "processor_config.json", processor_class="Qwen2_5_VLProcessor")
    (new / "video_preprocessor_config.json").write_text('{"video_processor_type": "Qwen2VLVideoProcessor"}')
    with pytest.raises(
        JudgeError, match=r"needs torchvision, which is not installed: install the torchvision"
    ):
        Vlm(model=str(new))


def test_a_model_that_does_not_see_is_no_judge(folder: Path, tmp_path: Path) -> None:
    new = altered(folder, tmp_path / "text", "config.json", model_type="llama")
    (new / "processor_config.json").unlink()
    with pytest.raises(JudgeError, match=r"^judge vlm: model=.*(does not see|cannot be loaded)") as caught:
        Vlm(model=str(new))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "/no/such"}, r"judge vlm: model=/no/such: no such folder"),
        ({"model": "."}, r"judge vlm: model=\.: no checkpoint: it holds no config\.json"),
        ({"soft": "true"}, r"add matcher=model"),
        ({"matcher": "magic"}, r"option matcher='magic'"),
        ({"batch_size": "0"}, r"option batch_size='0'"),
        ({"modle": "x"}, r"Unknown option 'modle'\. Did you mean 'model'"),
    ],
)
def test_bad_options_are_one_clear_line(in_tmp: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build("judge 'vlm'", Vlm, options)


def test_a_device_that_is_not_there_is_one_clear_line(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"judge vlm: device=cuda:99: "):
        Vlm(model=str(folder), device="cuda:99")
