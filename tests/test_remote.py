"""Talking to servers: concurrency, retries, and faults of one request against those of the whole server."""

from __future__ import annotations

import asyncio
import base64
import io
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image as pil

from tests.openai_server import Server, serving
from unisandbox.errors import BackendError, JudgeError, UsageError
from unisandbox.records import Image
from unisandbox.remote import Remote, RequestError, data_url

ASK = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    """One server for all tests, as good as new."""
    fresh = Server(running.mind, url=running.url, retry_after="5")
    running.__dict__.update(fresh.__dict__)
    return running


def remote(server: Server, **options: Any) -> Remote:
    return Remote("openai", BackendError, **{"base_url": server.url, "retries": 2, "timeout": 5, **options})


def ask_all(to: Remote, numbers: int = 1) -> list[str]:
    """Ask as often as wanted; return what came back, errors as ``error: ...``."""

    async def ask(number: int) -> str:
        reply = await to.post("/chat/completions", {**ASK, "number": number})
        return f"{number}: {reply['choices'][0]['message']['content']}"

    with to:
        return list(to.each(range(numbers), ask, lambda number, reason: f"error: {reason}"))


def test_requests_go_out_together_but_never_more_than_allowed(server: Server) -> None:
    server.delay = 0.02
    answers = ask_all(remote(server, concurrency=4), 20)
    assert sorted(answers) == sorted(f"{n}: I do not know what that means." for n in range(20))
    assert server.most_at_once == 4 and server.calls == 20


def test_answers_come_as_they_are_ready(server: Server) -> None:
    async def ask(number: int) -> int:
        await asyncio.sleep(0.1 * (3 - number))
        return number

    with remote(server) as to:
        assert list(to.each([0, 1, 2], ask, lambda number, reason: -1)) == [2, 1, 0]


def test_requests_a_minute_are_spread_evenly(server: Server) -> None:
    began = time.monotonic()
    assert len(ask_all(remote(server, rpm=1200), 5)) == 5
    assert time.monotonic() - began >= 4 * 60 / 1200


@pytest.mark.parametrize("fault", ["429", "500", "503", "drop"])
def test_what_passes_is_tried_again(server: Server, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.005)
    server.faults = [fault, fault]
    assert ask_all(remote(server)) == ["0: I do not know what that means."]
    assert server.calls == 3


def test_a_hanging_request_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.005)
    server.faults = ["hang"]
    assert ask_all(remote(server, timeout=0.3)) == ["0: I do not know what that means."]
    assert server.calls == 2


@pytest.mark.parametrize(
    ("fault", "calls", "message"),
    [
        ("429", 3, "429: slow down"),
        ("500", 3, "500: the engine fell over"),
        ("400", 1, "400: the prompt is too long"),
        ("malformed", 1, "the reply is not valid JSON: "),
        ("html", 1, "the reply is no JSON object: <html>a gateway's page</html>"),
    ],
)
def test_a_failed_request_costs_one_item(server: Server, fault: str, calls: int, message: str) -> None:
    server.faults = [fault] * calls
    to = remote(server, concurrency=1)
    first, second = ask_all(to, 2)
    assert first.startswith(f"error: {message}")
    assert second == "1: I do not know what that means."
    assert server.calls == calls + 1


def test_requests_that_all_hang_are_given_up(server: Server) -> None:
    server.always = "hang"
    assert ask_all(remote(server, timeout=0.1, retries=0)) == ["error: no answer within 0.1 s"]


def test_a_server_that_only_fails_ends_the_run(server: Server) -> None:
    server.always = "500"
    with pytest.raises(BackendError, match=r"openai: 25 requests in a row failed.*500: the engine fell over"):
        ask_all(remote(server, retries=0), 40)
    assert server.calls <= 25 + 8


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("401", r"refuses a request without a key \(401: Incorrect API key provided\)\. .*api_key_env"),
        ("403", r"refuses a request without a key \(403: not allowed\)"),
        ("404", r"/chat/completions does not find the model 'sandbox', or does not offer this endpoint"),
    ],
)
def test_a_fault_of_the_whole_server_ends_the_run_at_once(server: Server, fault: str, message: str) -> None:
    server.always = fault
    with pytest.raises(BackendError, match=message):
        ask_all(remote(server, concurrency=1), 5)
    assert server.calls == 1


def test_a_wrong_model_is_answered_with_those_that_are_there(server: Server) -> None:
    server.models = ("bagel", "janus")
    with pytest.raises(JudgeError, match=r"The model `begel` does not exist.*has: bagel, janus\.$"):
        ask_all(Remote("openai", JudgeError, base_url=server.url, model="begel"))


def test_the_only_model_need_not_be_named(server: Server) -> None:
    with remote(server) as to:
        assert to.model == "sandbox"
    server.models = ("bagel", "janus")
    with pytest.raises(UsageError, match=r"name the model with model=.*has: bagel, janus"):
        remote(server)


def test_keys_come_from_the_environment_and_are_told_nobody(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = "s3cret"
    monkeypatch.setenv("OUR_KEY", "s3cret")
    with remote(server, api_key_env="OUR_KEY") as to:
        assert to.describe() == {
            "base_url": server.url,
            "model": "sandbox",
            "client": to.describe()["client"],
        }
        assert "s3cret" not in repr(to.describe())
    monkeypatch.setenv("OUR_KEY", "other")
    with pytest.raises(BackendError, match="refuses the key in OUR_KEY") as fault:
        remote(server, api_key_env="OUR_KEY")
    assert "other" not in str(fault.value)
    monkeypatch.delenv("OUR_KEY")
    with pytest.raises(BackendError, match="no key: the environment variable OUR_KEY is not set"):
        remote(server, api_key_env="OUR_KEY")
    with pytest.raises(UsageError, match="the name of an environment variable, not a key") as given:
        remote(server, api_key_env="sk-1234")
    assert "1234" not in str(given.value)


def test_a_host_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(BackendError, match=rf"openai: no server answers at {url}/v1: .*base_url="):
        Remote("openai", BackendError, base_url=url)


def test_a_server_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.005)
    with serving() as server:
        to = remote(server, retries=1)
    with pytest.raises(BackendError, match="no server answers at"):
        ask_all(to, 50)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "", "http://user:word@host/v1"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError, match="base_url") as fault:
        Remote("openai", BackendError, base_url=url)
    assert "word@" not in str(fault.value)


def test_a_consumer_that_leaves_early_ends_the_rest(server: Server) -> None:
    async def ask(number: int) -> int:
        await to.post("/chat/completions", ASK)
        return number

    with remote(server, concurrency=1) as to:
        answers = to.each(range(1000), ask, lambda number, reason: -1)
        assert next(answers) == 0
        answers.close()  # type: ignore[attr-defined]
    assert server.calls < 10


def test_a_mistake_of_ours_is_no_error_of_the_item(server: Server) -> None:
    async def ask(number: int) -> int:
        raise KeyError(number)

    with remote(server) as to, pytest.raises(KeyError):
        list(to.each([1], ask, lambda number, reason: -1))


def picture(width: int, height: int) -> Image:
    return Image.from_pil(pil.new("RGB", (width, height), "white"))


def test_pictures_become_data_urls() -> None:
    url, note = data_url(picture(40, 20))
    assert url.startswith("data:image/png;base64,") and note == ""
    assert base64.b64decode(url.partition(",")[2]) == picture(40, 20).data
    assert data_url(Image(b"bytes", ".jpg"))[0].startswith("data:image/jpeg;base64,")
    assert data_url(picture(40, 20), 40) == (url, "")


def test_large_pictures_are_made_smaller() -> None:
    url, note = data_url(picture(400, 200), 100)
    assert note == "downscaled from 400x200 to 100x50"
    assert pil.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size == (100, 50)


def test_request_errors_tell_the_status(server: Server) -> None:
    server.faults = ["400-refused"]

    async def ask(number: int) -> tuple[int | None, str]:
        try:
            await to.post("/chat/completions", ASK)
        except RequestError as error:
            return error.status, error.code
        raise AssertionError

    with remote(server) as to:
        assert list(to.each([1], ask, lambda number, reason: (0, ""))) == [(400, "moderation_blocked")]


def test_closing_drops_what_is_in_flight(server: Server) -> None:
    """Who stops at once does not wait for a server that takes its time."""
    server.always = "hang"
    to = remote(server, timeout=30)

    async def ask(number: int) -> int:
        await to.post("/chat/completions", ASK)
        return number

    waiting = threading.Thread(
        target=lambda: list(to.each([1, 2], ask, lambda number, reason: -1)), daemon=True
    )
    waiting.start()
    while not server.at_once:
        time.sleep(0.01)
    began = time.monotonic()
    to.close()
    assert time.monotonic() - began < 10
