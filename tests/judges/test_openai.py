"""A judge behind a server: through HTTP come the scores of the same judge in process; faults stay apart."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import unisandbox
from tests.openai_server import Server, serving
from tests.support_run import by_sample, lines
from unisandbox.catalog import Rubrics
from unisandbox.errors import JudgeError, UsageError
from unisandbox.judge import Case, Judge, View
from unisandbox.judges.openai import OpenAI
from unisandbox.plugins import installed
from unisandbox.records import Image, Observation, Verdict
from unisandbox.results import Results
from unisandbox.run_log import read_json
from unisandbox.specs import build
from unisandbox.world import Scene, compose

RUBRIC = Rubrics(installed().rubric_folders)["object_count"]


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """One server for all tests, as good as new; what is tried again is tried at once."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.005)
    fresh = Server(running.mind, url=running.url, models=("sandbox",), retry_after="5")
    running.__dict__.update(fresh.__dict__)
    return running


@pytest.fixture
def judge(server: Server) -> Iterator[OpenAI]:
    made = judging(server)
    yield made
    made.close()


def judging(server: Server, **options: Any) -> OpenAI:
    made = OpenAI(**{"base_url": server.url, "model": "sandbox", "retries": 1, "timeout": 5, **options})
    assert isinstance(made, Judge)
    return made


def picture(*kinds: str, side: int = 128) -> Image:
    return Image.from_pil(compose(Scene(kinds), side, 3))


def observed(judge: OpenAI, *images: Image) -> list[Observation]:
    views = [View(str(number), RUBRIC, image=image) for number, image in enumerate(images)]
    return sorted(judge.observe(views), key=lambda seen: seen.key)


def matched(judge: OpenAI, *counts: int) -> list[Verdict]:
    target = {"count": 3, "object": "cup"}
    cases = [
        Case(str(n), RUBRIC, Observation(str(n), {"count": count, "object": "cup"}, raw="seen"), target)
        for n, count in enumerate(counts)
    ]
    return sorted(judge.match(cases), key=lambda verdict: verdict.key)


def test_a_picture_is_observed_by_the_rubrics_prompt_alone(server: Server, judge: OpenAI) -> None:
    one, two = observed(judge, picture("cup", "cup"), picture("cup", "hat"))
    assert one == Observation("0", {"count": 2, "object": "cup"}, raw="count: 2; object: cup")
    assert (two.malformed or "").startswith("more than one kind")
    body = server.asked[0]
    (message,) = body["messages"]
    assert [part["type"] for part in message["content"]] == ["image_url", "text"]
    assert message["content"][1]["text"] == RUBRIC.observe_prompt
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("sandbox", 0.0, 1024)
    assert "logprobs" not in body


@pytest.mark.parametrize("concurrency", [3, 8])
@pytest.mark.parametrize("matcher", ["rules", "model"])
def test_concurrency_is_how_many_questions_are_in_flight_whatever_the_batches(
    concurrency: int, matcher: str, server: Server, in_tmp: Path
) -> None:
    server.delay = 0.03
    judge = f"openai:base_url={server.url},model=sandbox,concurrency={concurrency},matcher={matcher}"
    (cell,) = unisandbox.run(
        tasks="math_1", models="oracle", modes="direct", limit=60, judges=judge, out=in_tmp / "run"
    )
    assert (cell.score.value, cell.score.n) == (1.0, 60)
    assert server.most_at_once == concurrency


def test_rules_take_no_second_call(server: Server, judge: OpenAI) -> None:
    same, other = matched(judge, 3, 2)
    assert (same.outcome, other.outcome, other.reason) == ("correct", "incorrect", "count: 2 instead of 3")
    assert server.calls == 0


def test_the_model_matches_in_words_and_each_pair_once(server: Server) -> None:
    judge = judging(server, matcher="model")
    verdicts = matched(judge, 3, 2, 3, 3, 2)
    assert [verdict.outcome for verdict in verdicts] == [
        "correct",
        "incorrect",
        "correct",
        "correct",
        "incorrect",
    ]
    assert verdicts[0].raw == ("seen", "Yes") and verdicts[0].probability is None
    assert server.calls == 2
    assert all(part["type"] == "text" for body in server.asked for part in body["messages"][0]["content"])
    assert [verdict.outcome for verdict in matched(judge, 2, 3, 4)] == ["incorrect", "correct", "incorrect"]
    assert server.calls == 3
    judge.close()


def test_soft_verdicts_carry_the_probability_of_yes(server: Server) -> None:
    judge = judging(server, matcher="model", soft=True)
    same, other = matched(judge, 3, 2)
    assert same.probability == pytest.approx(0.98, abs=1e-3)
    assert other.probability == pytest.approx(0.02, abs=1e-3)
    assert (server.asked[0]["logprobs"], server.asked[0]["top_logprobs"]) == (True, 20)
    judge.close()


@pytest.mark.parametrize("fault", ["429", "500", "503", "drop"])
def test_what_passes_is_tried_again(server: Server, judge: OpenAI, fault: str) -> None:
    server.faults = [fault]
    (seen,) = observed(judge, picture("cup"))
    assert seen.slots == {"count": 1, "object": "cup"} and server.calls == 2


@pytest.mark.parametrize(
    ("fault", "calls", "reason"),
    [
        ("400", 1, "400: the prompt is too long"),
        ("400-refused", 1, "400: rejected by the safety system"),
        ("500", 2, "500: the engine fell over"),
        ("429", 2, "429: slow down"),
        ("malformed", 1, "the reply is not valid JSON"),
        ("html", 1, "the reply is no JSON object"),
        ("empty", 1, "the reply holds no message"),
        ("text", 1, "said 'Here is a picture of it.': no count"),
    ],
)
def test_a_failure_is_an_error_of_one_picture(server: Server, fault: str, calls: int, reason: str) -> None:
    judge = judging(server, concurrency=1)
    server.faults = [fault] * calls
    first, second = observed(judge, picture("cup"), picture("hat"))
    assert first.error is not None and reason in first.error
    assert second.slots == {"count": 1, "object": "hat"} and server.calls == calls + 1
    judge.close()


def test_a_yes_or_no_that_is_neither_is_an_error_and_asked_again(server: Server) -> None:
    judge = judging(server, matcher="model")
    server.faults = ["400"]
    (verdict,) = matched(judge, 3)
    assert (verdict.outcome, verdict.reason) == ("error", "400: the prompt is too long")
    assert matched(judge, 3)[0].outcome == "correct"
    server.faults = ["text"]
    (verdict,) = matched(judge, 5)
    assert verdict.outcome == "error" and verdict.raw == ("seen", "Here is a picture of it.")
    assert verdict.reason == "said 'Here is a picture of it.': neither yes nor no"
    judge.close()


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"finish_reason": "length"}, "the reply was cut off after 1024 tokens: raise max_tokens"),
        ({"finish_reason": "content_filter"}, "the server's content filter stopped the reply"),
        ({"message": {"content": None, "refusal": "I will not."}}, "I will not."),
        ({"message": {"content": None}}, "said nothing"),
        ({"message": None}, "the reply holds no message"),
    ],
)
def test_a_reply_that_is_none_says_why(judge: OpenAI, choice: dict[str, Any], reason: str) -> None:
    whole = {"message": {"content": "count: 2; object: cup"}, "finish_reason": "stop", **choice}

    async def post(path: str, body: object) -> dict[str, Any]:
        return {"choices": [whole]}

    judge._remote.post = post  # type: ignore[method-assign]
    (seen,) = observed(judge, picture("cup"))
    assert seen.error is not None and seen.error.startswith(reason)


def test_replies_in_parts_are_put_together(judge: OpenAI) -> None:
    parts = [{"type": "text", "text": "count: 2; "}, {"type": "text", "text": "object: cup"}]

    async def post(path: str, body: object) -> dict[str, Any]:
        return {"choices": [{"message": {"content": parts}, "finish_reason": None}]}

    judge._remote.post = post  # type: ignore[method-assign]
    assert observed(judge, picture("cup"))[0].slots == {"count": 2, "object": "cup"}


def test_a_large_picture_is_made_smaller_and_that_is_noted(server: Server) -> None:
    judge = judging(server, max_side=128)
    small, large = observed(judge, picture("cup"), picture("cup", side=256))
    assert small.notes == {} and large.notes == {"picture": "downscaled from 256x256 to 128x128"}
    assert large.slots == {"count": 1, "object": "cup"}
    judge.close()


def test_what_is_no_picture_is_an_error_without_a_call(server: Server, judge: OpenAI) -> None:
    (seen,) = observed(judge, Image(b"no picture"))
    assert (seen.error or "").startswith("unreadable picture: ") and server.calls == 0


def test_it_says_what_it_is_and_how_it_is_asked(server: Server, judge: OpenAI) -> None:
    about = dict(judge.describe())
    assert about.pop("client").startswith("openai ")
    assert about == {
        "base_url": server.url,
        "model": "sandbox",
        "sampling": {"temperature": 0.0, "max_tokens": 1024},
        "max_side": 1536,
        "matcher": "rules",
        "soft": False,
    }
    assert (judge.batch_size, judge.batches_at_once) == (2 * 32, 2)


def test_a_wrong_model_is_found_before_anything_is_drawn(server: Server) -> None:
    server.models = ("Qwen/Qwen2.5-VL-72B-Instruct", "other")
    with pytest.raises(
        JudgeError, match=r"judge openai: .*404.*has: Qwen/Qwen2\.5-VL-72B-Instruct, other\.$"
    ):
        OpenAI(base_url=server.url)


def test_a_server_that_is_not_there_is_one_clear_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(JudgeError, match=rf"^judge openai: no server answers at {url}: .*base_url=") as fault:
        OpenAI(base_url=url)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "localhost:8000"}, "judge openai: base_url='localhost:8000'"),
        ({"soft": "true"}, "add matcher=model"),
        ({"concurrency": "0"}, "option concurrency='0'"),
        ({"api_key_env": "sk-12"}, "the name of an environment variable"),
        ({"modle": "x"}, "Did you mean 'model'"),
    ],
)
def test_bad_options_are_one_clear_line(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build("judge 'openai'", OpenAI, options)


def test_openai_itself_is_asked_with_its_own_name_for_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    class Listed:
        models = ("gpt-x",)
        batch_size = 4

    monkeypatch.setattr("unisandbox.judges.openai.Remote", lambda *_, **__: Listed())
    judge = OpenAI(base_url="https://api.openai.com/v1", model="gpt-x", max_tokens=9)
    assert judge._sampling == {"temperature": 0.0, "max_completion_tokens": 9}


# --- whole runs ---


def judged(server: Server, out: str, *judges: str, **options: Any) -> Results:
    return unisandbox.run(
        **{
            "tasks": "math_1",
            "models": "oracle:transfer=0.5",
            "modes": "direct",
            "limit": 12,
            "judges": judges,
            "out": out,
            **options,
        }
    )


@pytest.mark.parametrize("how", ["rules", "model", "model,soft=true"])
def test_through_http_come_the_scores_of_the_same_judge_in_process(
    server: Server, in_tmp: Path, how: str
) -> None:
    here, there = judged(server, "run", "sprite", f"openai:base_url={server.url},model=sandbox,matcher={how}")
    assert (here.judge, here.score) == ("sprite", there.score)
    pictures = {line["image"] for line in lines("generations.jsonl")}
    pairs = {
        (str(line["observed"]), str(line["target"]))
        for line in lines("verdicts.jsonl")
        if line.get("observed")
    }
    assert server.calls == len(pictures) + (0 if how == "rules" else len(pairs))
    noted = read_json(Path("run/run.json"))["judges"][there.judge]
    assert noted["model"] == "sandbox" and noted["sampling"] == {"temperature": 0.0, "max_tokens": 1024}
    said = [line["raw"] for line in lines("verdicts.jsonl") if line["judge"] == there.judge]
    assert all(said) and {len(raw) for raw in said} <= {1, 2}


def test_errors_are_no_wrong_answers_and_the_next_start_judges_them_alone(
    server: Server, in_tmp: Path
) -> None:
    spec = f"openai:base_url={server.url},model=sandbox,retries=0,concurrency=1"
    server.faults = ["", "400", "", "html"]
    (cell,) = judged(server, "run", spec, models="oracle")
    assert (cell.score.value, cell.score.n, cell.score.errors) == (1.0, 10, 2)
    server.asked.clear()
    (cell,) = judged(server, "run", spec, models="oracle")
    assert (cell.score.value, cell.score.n, cell.score.errors, len(server.asked)) == (1.0, 12, 0, 2)


def test_a_server_that_only_fails_stops_the_run_and_the_same_command_goes_on(
    server: Server, in_tmp: Path
) -> None:
    spec = f"openai:base_url={server.url},model=sandbox,retries=0,concurrency=2"
    (whole,) = judged(server, "whole", spec, limit=60)
    server.faults = ["", "", ""]
    server.always = "503"
    with pytest.raises(JudgeError, match=r"judge openai: 2[5-9] requests in a row failed.*503.*is kept"):
        judged(server, "run", spec, limit=60)
    outcomes = {sample: line["outcome"] for sample, line in by_sample("verdicts.jsonl").items()}
    assert 25 <= list(outcomes.values()).count("error") < 60
    made = lines("generations.jsonl")
    server.always = ""
    (cell,) = judged(server, "run", spec, limit=60)
    assert cell.score == whole.score
    assert [line["key"] for line in lines("generations.jsonl")][: len(made)] == [line["key"] for line in made]
    assert len(lines("generations.jsonl")) == 60


def test_a_server_that_goes_away_ends_judging_with_one_clear_line() -> None:
    with serving(models=("sandbox",)) as gone:
        judge = judging(gone, retries=0)
        assert observed(judge, picture("cup"))[0].error is None
    with pytest.raises(JudgeError, match=r"^judge openai: no server answers at .*What is done is kept"):
        observed(judge, picture("cup"), picture("hat"))
    judge.close()


def test_a_panel_of_judges_in_process_and_behind_a_server(server: Server, in_tmp: Path) -> None:
    panel = f"panel:judges=sprite+openai:base_url={server.url};model=sandbox,vote=unanimous"
    alone, voted = judged(server, "run", "sprite", panel)
    assert (voted.judge, voted.score) == (panel, alone.score)
    found = [line["notes"] for line in lines("verdicts.jsonl") if line["judge"] == panel]
    members = {"sprite", f"openai:base_url={server.url},model=sandbox"}
    assert len(found) == 12 and all(notes["votes"].keys() == members for notes in found)
    assert {notes["agreement"] for notes in found} == {1.0}
    noted = read_json(Path("run/run.json"))["judges"][panel]
    assert noted["vote"] == "unanimous" and noted["members"].keys() == members
    assert unisandbox.load_run("run").cells[1].score == voted.score
