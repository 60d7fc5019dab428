"""The backend ``openai`` against a real local server: what goes through HTTP scores as it does in process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.openai_server import Mind, Server, serving
from unisandbox.api import make_options, plan, run
from unisandbox.building import load_backend
from unisandbox.cli import main
from unisandbox.errors import BackendError, TaskFileError, UsageError
from unisandbox.matrix import named_model
from unisandbox.model_backends.openai.preset import PRESETS, preset
from unisandbox.model_backends.openai.replies import picture, read_chat, read_images
from unisandbox.plugins import installed
from unisandbox.records import Generation, Prompt, Request, Turn
from unisandbox.remote import RequestError
from unisandbox.report.table import export
from unisandbox.results import Results, load_run
from unisandbox.runner import Silent
from unisandbox.world import read

RATES = {"reasons": 0.7, "transfer": 0.4, "renders": 0.9}
ORACLE = "oracle:" + ",".join(f"{key}={value}" for key, value in RATES.items())
TASKS = ("math_1", "mapping_1")


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving(Mind(TASKS, **RATES)) as server:
        yield server


@pytest.fixture
def server(running: Server, in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """One server for all tests, as good as new; retries do not wait."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.002)
    running.__dict__.update(Server(running.mind, url=running.url, retry_after="5").__dict__)
    return running


def model(server: Server, options: str = "") -> str:
    return ",".join(filter(None, (f"openai:base_url={server.url},draws=sandbox", options)))


def asked(server: Server, options: str = "", **more: Any) -> Results:
    about = {"tasks": TASKS, "modes": ("direct", "answer"), "limit": 2, "out": "run", **more}
    return run(models=model(server, options), **about)


def generations(out: str = "run") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "generations.jsonl").read_text().splitlines()]


def told(results: Results) -> dict[tuple[str, str], tuple[float | None, int]]:
    return {(cell.task, cell.mode): (cell.score.value, cell.score.n) for cell in results}


def told_by_samples(out: str, *columns: str) -> dict[tuple[str, ...], tuple[Any, ...]]:
    return {
        (line["task"], line["mode"], line["sample"]): tuple(line.get(column) for column in columns)
        for line in generations(out)
    }


def request(text: str = "Draw 3 cups.", output: Any = "image", think: bool = False, seed: int = 7) -> Request:
    return Request("k", Prompt((Turn("user", text),), output, think), seed, "t", "s", "direct")


def answer(server: Server, options: str = "", **about: Any) -> Generation:
    backend = load_backend(named_model(model(server, options), installed()))
    try:
        (generation,) = backend.generate([request(**about)])
    finally:
        backend.close()  # type: ignore[attr-defined]
    return generation


# --- what goes through HTTP ---


@pytest.mark.parametrize("endpoint", ["chat", "images"])
def test_scores_pictures_and_thoughts_are_those_of_the_same_model_in_process(
    server: Server, endpoint: str
) -> None:
    same: dict[str, Any] = {
        "tasks": TASKS,
        "modes": ("direct", "cot", "answer", "recall", "caption"),
        "limit": 8,
    }
    here = run(models=ORACLE, out="here", **same)
    there = run(models=model(server, f"think=think=true,endpoint={endpoint}"), out="there", **same)
    assert told(there) == told(here)
    assert {value for value, _ in told(here).values()} - {0.0, 1.0}, "some right and some wrong"
    columns = ("image", "text", "thought", "finish", "seed")
    assert told_by_samples("there", *columns) == told_by_samples("here", *columns)
    path = "/v1/images/generations" if endpoint == "images" else "/v1/chat/completions"
    assert server.counts[path] >= 2 * 16


def test_all_modes_of_a_model_that_fails_nowhere(server: Server) -> None:
    with serving(Mind(TASKS)) as perfect:
        results = asked(perfect, "thinking=two-calls", modes="all", limit=4)
    assert {cell.mode: cell.score.value for cell in results if cell.mode != "planted"} == {
        mode: 1.0 for mode in ("direct", "cot", "answer", "recall", "render", "refined", "gold", "caption")
    }
    assert all(line["notes"]["thinking"] == "two calls" for line in generations() if line["mode"] == "cot")
    body = next(body for body in perfect.asked if "modalities" in body and "Draw:" in str(body["messages"]))
    assert [message["role"] for message in body["messages"]] == ["user"]


def test_neither_order_nor_company_changes_a_result(server: Server) -> None:
    one = asked(server, "concurrency=1", modes=("direct", "cot"), limit=4, batch_size=1, out="one")
    many = asked(server, "concurrency=16", modes=("direct", "cot"), limit=4, batch_size=64, out="many")
    assert told(one) == told(many)
    assert told_by_samples("one", "image", "thought") == told_by_samples("many", "image", "thought")
    assert server.most_at_once > 1


def test_seeds_and_settings_reach_the_server(server: Server) -> None:
    options = "size=64x48,steps=5,guidance=4,extra=cfg_text_scale=3.5+quality=high,think=think=true"
    answer(server, options)
    answer(server, options, think=True, seed=8)
    answer(server, f"{options},endpoint=images")
    answer(server, options, output="text")
    plain, thinking, images, words = server.asked
    keys = {"num_inference_steps": 5, "guidance_scale": 4.0, "cfg_text_scale": 3.5, "quality": "high"}
    content = [{"type": "text", "text": "Draw 3 cups."}]
    common = {"model": "sandbox", "messages": [{"role": "user", "content": content}]}
    sizes = {"width": 64, "height": 48}
    assert plain == {**common, **keys, **sizes, "seed": 7, "modalities": ["image"]}
    assert thinking == {**plain, "seed": 8, "think": True}
    assert images == {**keys, "model": "sandbox", "prompt": "Draw 3 cups.", "size": "64x48", "seed": 7}
    assert words == {**common, "seed": 7, "modalities": ["text"], "temperature": 0}


def test_pictures_sent_are_made_smaller_where_asked(server: Server) -> None:
    results = asked(server, "largest=64", modes="caption", limit=1, tasks="math_1")
    assert results.finished
    (caption,) = [line for line in generations() if line["mode"] == "caption"]
    assert caption["notes"]["picture"] == "downscaled from 128x128 to 64x64"


def test_run_json_tells_all_but_the_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.key = "s3cret"
    monkeypatch.setenv("OUR_KEY", "s3cret")
    asked(server, "api_key_env=OUR_KEY,steps=5", limit=1)
    text = Path("run/run.json").read_text()
    (about,) = json.loads(text)["backends"].values()
    assert about["model"] == "sandbox" and about["pictures"] == {"num_inference_steps": 5}
    assert about["client"].startswith("openai ")
    assert about["seeds"] == "sent" and about["thinking"] == "two calls"
    for path in Path("run").rglob("*.json*"):
        assert "s3cret" not in path.read_text()


# --- thinking ---


@pytest.mark.parametrize(
    "place", ["metrics", "cot_output", "reasoning_content", "reasoning", "tags", "choice"]
)
def test_the_thought_is_found_wherever_it_is(server: Server, place: str) -> None:
    server.thought_in = place
    asked(server, "think=think=true", modes="cot", tasks="math_1", limit=2)
    lines = generations()
    assert len(lines) == 2
    for line in lines:
        assert line["finish"] == "complete" and line["image"]
        assert line["thought"].startswith("I work it out") and "think>" not in line["thought"]


def test_a_thought_that_does_not_come_back_is_noted(server: Server) -> None:
    assert answer(server, "think=think=true", think=True).notes == {"thought": "the server returned none"}


def test_a_second_server_thinks(server: Server) -> None:
    with serving(server.mind, thought_in="choice") as thinker:
        results = asked(
            server, f"think_base_url={thinker.url},think=think=true", modes=("direct", "cot"), limit=2
        )
    assert results.finished
    assert server.calls == thinker.calls == 6
    (about,) = json.loads(Path("run/run.json").read_text())["backends"].values()
    assert about["thinking"] == f"native, by {thinker.url}"


# --- what a model can do ---


@pytest.mark.parametrize(
    ("options", "does"),
    [
        ("", "image see text"),
        ("endpoint=images,does=image", "image"),
        ("think=think=true", "image see text think"),
        ("think_base_url=http://localhost:1", "image see text think"),
        ("preset=bagel", "image see text think"),
        ("preset=bagel,thinking=two-calls", "image see text"),
        ("preset=bagel-two-stage", "image see text"),
        ("preset=gpt-image", "end_to_end image"),
    ],
)
def test_what_it_does_depends_on_its_options(options: str, does: str) -> None:
    chosen = named_model(f"openai:{options}" if options else "openai", installed())
    assert sorted(chosen.does) == does.split()


def test_what_it_cannot_do_is_not_supported_and_costs_nothing(server: Server) -> None:
    results = asked(server, "does=image", modes="all")
    assert {cell.mode for cell in results if cell.supported} == {"direct", "render", "gold", "planted"}
    cot = next(cell for cell in results if cell.mode == "cot")
    assert cot.note == "not supported: the model does not: thinks natively before it answers"


def test_a_model_that_does_not_draw_is_refused_before_anything_is_asked(server: Server) -> None:
    with pytest.raises(UsageError, match=r"Nothing to ask: .* does not: draws pictures"):
        asked(server, "does=text+see", modes="direct")
    assert server.counts == {}


def test_listing_and_dry_runs_need_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("openai")]
    assert row.split()[1:4] == ["image", "text", "see"]
    options = "preset=gemini,draws=sandbox"
    assert main(["run", "--dry-run", "--tasks", "math_1", "--models", f"openai:{options}"]) == 0


def test_direct_of_a_model_that_always_thinks_says_so(server: Server) -> None:
    results = asked(server, "does=image+end_to_end", modes=("direct", "render"), tasks="math_1")
    marked = [line for line in export(results, "md").splitlines() if "end to end: thinks unseen" in line]
    assert len(marked) == 1 and "direct" in marked[0]
    Path("run/results.json").unlink()  # as if the run had been killed
    assert [cell.remark for cell in load_run("run")] == ["end to end: thinks unseen", ""]


def test_a_server_without_seeds_is_noted(server: Server) -> None:
    Path("mine.yaml").write_text("seeds: false\n")
    generation = answer(server, "preset=mine.yaml")
    assert generation.notes == {"seed": "not sent"}
    assert "seed" not in server.asked[0]


# --- presets ---


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_every_preset_is_sound_and_can_be_asked(
    name: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = preset(name)
    assert settings.description and settings.model
    assert "image" in settings.does and (settings.serve or settings.api_key_env)
    assert bool(settings.think) == ("think" in settings.does)
    server.models = (settings.model,)
    monkeypatch.setenv("OUR_KEY", "k")
    options = f"preset={name},api_key_env=OUR_KEY"
    assert read(answer(server, options).image.pil()).objects == {"cup": 3}  # type: ignore[union-attr]
    if "think" in settings.does:
        assert answer(server, options, think=True).image


def test_the_presets_of_the_issue_are_there() -> None:
    assert {path.stem for path in PRESETS.glob("*.yaml")} == {
        *("bagel", "bagel-two-stage", "hunyuan-image-3", "sensenova-u1", "omnigen2", "glm-image"),
        *("qwen-image", "gpt-image", "gemini"),
    }


def test_bagel_is_asked_as_published(server: Server) -> None:
    server.models = ("ByteDance-Seed/BAGEL-7B-MoT",)
    answer(server, "preset=bagel", think=True)
    (body,) = server.asked
    published = {
        "num_inference_steps": 50,
        "cfg_text_scale": 4.0,
        "cfg_img_scale": 1.0,
        "cfg_interval": [0.4, 1.0],
        "timestep_shift": 3.0,
        "cfg_renorm_min": 0.0,
        "cfg_renorm_type": "global",
        "width": 1024,
        "height": 1024,
        "think": True,
        "max_think_tokens": 1000,
        "do_sample": False,
    }
    assert {key: body[key] for key in published} == published
    assert body["messages"][0]["content"][0]["text"].endswith("<|im_start|>Draw 3 cups.<|im_end|>")


def test_options_override_presets(server: Server) -> None:
    answer(server, "preset=bagel,model=sandbox,steps=2,extra=cfg_renorm_min=1.0")
    assert server.asked[0]["num_inference_steps"] == 2 and server.asked[0]["cfg_renorm_min"] == 1.0
    assert server.asked[0]["cfg_text_scale"] == 4.0 and server.asked[0]["think"] is False


def test_hunyuan_is_told_not_to_think(server: Server) -> None:
    answer(server, "preset=hunyuan-image-3,model=sandbox")
    assert server.asked[0]["bot_task"] is None


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("stepz: 5\n", r"mine.yaml:1: stepz: Unknown key 'stepz'. Did you mean 'steps'"),
        ("model: m\nsteps: 0\n", r"mine.yaml:2: steps: input should be greater than or equal to 1"),
        ("wrap: {image: draw it}\n", r"mine.yaml:1: wrap.image: it must hold \{prompt\}"),
        ("does: [fly]\n", r"mine.yaml:1: does.0: input should be 'image'"),
    ],
)
def test_presets_of_ones_own_that_are_wrong(in_tmp: Path, written: str, message: str) -> None:
    Path("mine.yaml").write_text(written)
    with pytest.raises(TaskFileError, match=message):
        named_model("openai:preset=./mine.yaml", installed()).does  # noqa: B018


# --- faults ---


@pytest.mark.parametrize("fault", ["429", "500", "drop", "hang"])
def test_what_passes_does_not_change_a_result(server: Server, fault: str) -> None:
    expected = told(asked(server, out="calm"))
    calm = server.calls
    server.faults = [fault] * 3
    assert told(asked(server, "timeout=0.5" if fault == "hang" else "", out="stormy")) == expected
    assert server.calls == 2 * calm + 3
    assert told_by_samples("calm", "image", "text") == told_by_samples("stormy", "image", "text")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("400", "400: the prompt is too long"),
        ("malformed", "the reply is not valid JSON: "),
        ("html", "the reply is no JSON object: <html>a gateway's page</html>"),
        ("empty", "no choices in the reply: "),
        ("broken image", "no picture in the reply, but data:image/png;base64,"),
    ],
)
def test_a_failed_request_is_an_error_and_asked_again(server: Server, fault: str, error: str) -> None:
    server.faults = [fault]
    once = {"tasks": "math_1", "modes": "direct", "limit": 4}
    first = asked(server, "concurrency=1", **once)
    assert (first.cells[0].score.n, first.cells[0].score.errors) == (3, 1)
    (failed,) = [line for line in generations() if line["finish"] == "error"]
    assert failed["error"].startswith(error) and "\n" not in failed["error"]
    again = asked(server, "concurrency=1", **once)
    assert (again.cells[0].score.n, again.cells[0].score.errors) == (4, 0)
    assert server.calls == 5


def test_words_instead_of_a_picture_are_no_answer(server: Server) -> None:
    server.faults = ["text"]
    generation = answer(server)
    assert (generation.finish, generation.text) == ("empty", "Here is a picture of it.")
    assert generation.notes["reason"] == "words instead of a picture: Here is a picture of it."


def test_a_server_that_will_not_draw_it_refuses(server: Server) -> None:
    server.faults = ["400-refused"]
    assert answer(server, "endpoint=images").finish == "refused"


def test_a_model_that_never_draws_ends_the_run(server: Server) -> None:
    server.always = "text"
    with pytest.raises(
        BackendError, match=r"none of the first 25 replies held a picture\. Does 'sandbox' draw"
    ):
        asked(server, modes="direct", limit=40)
    assert server.calls <= 25 + 32


FATAL = {
    "401": "refuses a request without a key",
    "404": "does not find the model 'sandbox'",
    "500": "25 requests in a row failed, stopped. The last one: 500: the engine fell over. What is done",
}


@pytest.mark.parametrize("fault", list(FATAL))
def test_a_server_that_is_out_of_order_stops_the_run_and_it_goes_on_later(
    server: Server, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--tasks", "math_1", "--modes", "direct", "--limit", "80", "--out", "run", "--quiet"]
    words += ["--models", model(server, "retries=0")]
    server.faults = [""] * 5
    server.always = fault
    assert main(words) == 1
    err = capsys.readouterr().err
    assert len([line for line in err.splitlines() if FATAL[fault] in line]) == 1
    assert "Traceback" not in err
    kept = len([line for line in generations() if line["finish"] == "complete"])
    assert kept >= 4 and server.calls < 80
    server.always = ""
    calls = server.calls
    assert main(words) == 0
    assert server.calls == calls + 80 - kept
    assert load_run("run").cells[0].score.n == 80


class Unplugging(Silent):
    """A progress display that stops the server after ten pictures."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop
        self.done = 0

    def generated(self, error: bool) -> None:
        self.done += 1
        if self.done == 10:
            self.stop()


def test_a_server_that_dies_in_the_middle(server: Server) -> None:
    about: dict[str, Any] = {"tasks": "math_1", "modes": "direct", "limit": 30, "out": "run"}
    with ExitStack() as running:
        first = running.enter_context(serving(server.mind))
        port = int(first.url.split(":")[-1].partition("/")[0])
        with pytest.raises(BackendError, match=r"no server answers at .*What is done is kept"):
            run(models=model(first, "retries=1,concurrency=1"), progress=Unplugging(running.close), **about)
    kept = len(generations())
    assert 10 <= kept < 30
    with serving(server.mind, port) as second:
        results = run(models=model(second, "retries=1,concurrency=1"), **about)
    assert results.finished and results.cells[0].score.n == 30
    assert len(generations()) == 30 and second.calls == 30 - kept


def test_keys_and_hosts_that_are_not_there(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(BackendError, match=r"no key: the environment variable OPENAI_API_KEY is not set"):
        run(tasks="math_1", models="openai:preset=gpt-image,draws=sandbox", modes="direct", limit=1)
    with pytest.raises(UsageError, match=r"name the model with model=.*has: a, b"):
        server.models = ("a", "b")
        asked(server)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("preset=bagle", r"openai: Unknown preset 'bagle'. Did you mean 'bagel'"),
        ("stepz=4", r"model 'openai': Unknown option 'stepz'. Did you mean 'steps'"),
        ("size=large", r"option size='large': string should match pattern"),
        ("extra=steps", r"openai: extra='steps': expected KEY=VALUE"),
        ("does=fly", r"option does='fly': input should be"),
        ("concurrency=0", r"option concurrency='0': input should be greater than or equal to 1"),
    ],
)
def test_options_that_cannot_be_meant_cost_nothing(in_tmp: Path, options: str, message: str) -> None:
    given = {"tasks": "math_1", "models": f"openai:draws=sandbox,{options}", "modes": "direct"}
    with pytest.raises(UsageError, match=message):
        plan(make_options(given))
    assert not Path("runs").exists()


# --- replies ---


def test_replies_of_other_shapes() -> None:
    said = {"choices": [{"message": {"content": "three", "reasoning": "<think>2+1</think>"}}]}
    assert (read_chat(said).text, read_chat(said).thought) == ("three", "2+1")
    cut = {"choices": [{"message": {"content": "<think>2+"}, "finish_reason": "length"}]}
    assert (read_chat(cut).text, read_chat(cut).thought, read_chat(cut).finish) == ("", "2+", "truncated")
    no = {"choices": [{"message": {"content": None, "refusal": "I will not."}}]}
    assert (read_chat(no).text, read_chat(no).finish) == ("I will not.", "refused")
    assert read_images({"data": []}).image is None


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({}, "no choices in the reply: {}"),
        ({"choices": [{"text": "old"}]}, "a choice without a message"),
        (
            {"choices": [{"message": {"content": [{"type": "image_url", "image_url": "x"}]}}]},
            "no known shape",
        ),
    ],
)
def test_replies_that_are_none(reply: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_chat(reply)


def test_links_are_no_pictures() -> None:
    with pytest.raises(RequestError, match=r"a link instead of a picture \(https://x.y/z.png\)"):
        picture("https://x.y/z.png")
