"""A local OpenAI-compatible server with a model behind it, in the shapes of vLLM and vLLM-Omni.

The model is one mind with three sides. It draws and answers as ``oracle`` does, whose task it recognises by
the words of the prompt; it reads pictures with the ``sprite`` judge and says so in the words that a rubric
asks for; and it answers the rubric's match prompt with yes or no. So what goes through HTTP must come out as
in process.

Tests use ``with serving(...) as server``; for another process:

    python -m tests.openai_server --port 8000 --delay 0.2
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from unisandbox.api import make_options, plan
from unisandbox.catalog import Rubrics
from unisandbox.judge import View
from unisandbox.judges.sprite import Sprite
from unisandbox.model_backends.oracle import Oracle, scene_of
from unisandbox.plugins import installed
from unisandbox.records import Generation, Image, Prompt, Request, Sample, Turn
from unisandbox.rubric import Rubric
from unisandbox.task import Task
from unisandbox.world import compose

FAULTS = {
    "400": (400, "the prompt is too long"),
    "400-refused": (400, "rejected by the safety system"),
    "401": (401, "Incorrect API key provided"),
    "403": (403, "not allowed"),
    "404": (404, "Not Found"),
    "429": (429, "slow down"),
    "500": (500, "the engine fell over"),
    "503": (503, "not ready"),
}
"""What ``Server.faults`` may name, beside: hang, drop, malformed, html, empty, text, broken image."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one HTTP request asks of the mind."""

    turns: tuple[Turn, ...]
    output: str
    think: bool = False
    seed: int = 0


class Mind:
    """The model behind the server. ``oracle`` options decide where it fails."""

    def __init__(self, tasks: Sequence[str] = ("math_1", "mapping_1"), **oracle: Any) -> None:
        self._oracle = Oracle(**oracle)
        self._tasks = tuple(tasks)
        self._sprite = Sprite()

    @cached_property
    def _known(self) -> Mapping[str, tuple[Task, Sample, str]]:
        """The words of every prompt -> what it is of."""
        found = {}
        options = make_options({"tasks": self._tasks, "models": ("oracle",), "modes": ("all",)})
        for task in plan(options).tasks:
            for sample in task.samples:
                for mode in ("caption", "render", "recall", "answer", "think", "direct"):
                    if mode in task.prompts:
                        found[task.prompts[mode].render(sample.fields)] = (task, sample, mode)
        return found

    @cached_property
    def _rubrics(self) -> list[Rubric]:
        rubrics = Rubrics(installed().rubric_folders)
        return [rubrics[name] for name in rubrics]

    def answer(self, asked: Asked) -> Generation:
        """Answer as a model, or as a judge when the words are a rubric's."""
        last = asked.turns[-1]
        for rubric in self._rubrics:
            if last.images and last.text.strip() == rubric.observe_prompt.strip():
                return Generation("", text=self._look(rubric, last.images[-1]))
            if pair := re.fullmatch(_as_pattern(rubric.spec.match), last.text.strip(), re.DOTALL):
                return Generation("", text="Yes" if _agree(rubric, *pair.groups()) else "No")
        if len(asked.turns) == 1 and last.text in self._known:
            return self._ask_the_oracle(*self._known[last.text], asked)
        return self._literally(asked)

    def _look(self, rubric: Rubric, image: Image) -> str:
        (seen,) = self._sprite.observe([View("", rubric, image=image)])
        if seen.error or seen.malformed:
            return f"reject: {seen.error or seen.malformed}"
        return "; ".join(f"{name}: {value}" for name, value in seen.slots.items())

    def _ask_the_oracle(self, task: Task, sample: Sample, mode: str, asked: Asked) -> Generation:
        if mode == "direct" and asked.think:
            mode = "cot"
        thinking = mode in ("cot", "think")
        prompt = Prompt(asked.turns, "text" if mode in ("answer", "recall", "caption") else "image", thinking)
        scored = "cot" if mode == "think" else mode
        target, rubric = task.target(scored, sample), task.rubric(scored, sample)
        request = Request(
            "", prompt, asked.seed, task.name, sample.id, scored, 0, sample, target, rubric.name
        )
        (generation,) = self._oracle.generate([request])
        return Generation("", text=generation.thought) if mode == "think" else generation

    def _literally(self, asked: Asked) -> Generation:
        """Draw what the last paragraph names: a conclusion, or a prompt that no task has."""
        words = asked.turns[-1].text.rpartition("\n\n")[2]
        for rubric in self._rubrics:
            slots = rubric.read(words)
            if set(slots) == set(rubric.slots):
                try:
                    return Generation("", Image.from_pil(compose(scene_of(slots), 128, asked.seed)))
                except ValueError:
                    continue
        return Generation("", text="I do not know what that means.")


def _as_pattern(template: str) -> str:
    escaped = re.escape(template.strip())
    return re.sub(r"\\\{\\\{\\ *\w+\\ *\\\}\\\}", "(.*?)", escaped)


def _agree(rubric: Rubric, observation: str, target: str) -> bool:
    wanted = rubric.read(target)
    return set(wanted) == set(rubric.slots) and not rubric.compare(rubric.read(observation), wanted)


@dataclass
class Server:
    """One running server: what it was asked, and what is wrong with it."""

    mind: Mind
    models: tuple[str, ...] = ("sandbox",)
    key: str = ""
    delay: float = 0.0
    """Seconds before every answer."""
    faults: list[str] = field(default_factory=list)
    """What goes wrong with the next requests, one each."""
    always: str = ""
    """What goes wrong with every request."""
    retry_after: str = ""
    """The header ``retry-after-ms`` of replies that can be tried again."""
    thought_in: str = "metrics"
    """Where thoughts are: metrics, cot_output, reasoning_content, reasoning, tags, choice."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of all requests but those for the list of models."""
    counts: Counter[str] = field(default_factory=Counter)
    """Requests by path, those that failed too."""
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""

    @property
    def calls(self) -> int:
        """How many requests there were, but for the list of models."""
        return sum(count for path, count in self.counts.items() if path != "/v1/models")

    def app(self) -> Starlette:
        """Return the application."""
        return Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/images/generations", self._images, methods=["POST"]),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
            ]
        )

    async def _models(self, http: HttpRequest) -> Response:
        self.counts[http.url.path] += 1
        if fault := self._barred(http, None):
            return fault
        data = [{"id": name, "object": "model", "owned_by": "tests"} for name in self.models]
        return JSONResponse({"object": "list", "data": data})

    async def _images(self, http: HttpRequest) -> Response:
        body = await http.json()
        turn = Turn("user", body["prompt"])
        think = bool(body.get("think")) or "think" in str(body.get("bot_task") or "")
        asked = Asked((turn,), "image", think, int(body.get("seed") or 0))
        return await self._answered(http, body, asked)

    async def _chat(self, http: HttpRequest) -> Response:
        body = await http.json()
        turns = tuple(map(_turn, body["messages"]))
        output = "image" if "image" in body.get("modalities", ["text"]) else "text"
        asked = Asked(turns, output, bool(body.get("think")), int(body.get("seed") or 0))
        return await self._answered(http, body, asked)

    async def _answered(self, http: HttpRequest, body: dict[str, Any], asked: Asked) -> Response:
        self.counts[http.url.path] += 1
        self.asked.append(body)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay)
            if fault := self._barred(http, body.get("model")):
                return fault
            wrong = self.faults.pop(0) if self.faults else self.always
            if wrong == "hang":
                await asyncio.sleep(30)
            if wrong == "drop":
                return StreamingResponse(_torn_off(), media_type="application/json")
            return self._reply(http.url.path, body, self.mind.answer(asked), wrong)
        finally:
            self.at_once -= 1

    def _barred(self, http: HttpRequest, model: str | None) -> Response | None:
        if self.key and http.headers.get("authorization") != f"Bearer {self.key}":
            return _error(*FAULTS["401"])
        if model is not None and model not in self.models:
            return _error(404, f"The model `{model}` does not exist.", "model_not_found")
        return None

    def _reply(self, path: str, body: Mapping[str, Any], made: Generation, wrong: str) -> Response:
        if wrong in FAULTS:
            status, words = FAULTS[wrong]
            code = "moderation_blocked" if wrong == "400-refused" else str(status)
            reply = _error(status, words, code)
            if self.retry_after:
                reply.headers["retry-after-ms"] = self.retry_after
            return reply
        if wrong == "malformed":
            return Response('{"choices": [{"mess', media_type="application/json")
        if wrong == "html":
            return Response("<html>a gateway's page</html>", media_type="text/html")
        if wrong == "text":
            made = Generation("", text="Here is a picture of it.")
        if wrong == "broken image":
            made = Generation("", Image(b"no picture at all"))
        if path == "/v1/images/generations":
            return JSONResponse(self._images_reply(made, wrong))
        return JSONResponse(self._chat_reply(body, made, wrong))

    def _images_reply(self, made: Generation, wrong: str) -> dict[str, Any]:
        reply: dict[str, Any] = {"created": int(time.time()), "data": [], "output_format": "png"}
        if made.image is not None and wrong != "empty":
            reply["data"] = [{"b64_json": base64.b64encode(made.image.data).decode()}]
        if made.thought:
            reply["cot_output"] = made.thought
        return reply

    def _chat_reply(self, body: Mapping[str, Any], made: Generation, wrong: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": made.text or ""}
        choices: list[dict[str, Any]] = [{"index": 0, "message": message, "finish_reason": "stop"}]
        reply: dict[str, Any] = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.get("model"),
            "choices": [] if wrong == "empty" else choices,
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        if made.image is not None:
            url = f"data:image/png;base64,{base64.b64encode(made.image.data).decode()}"
            message["content"] = [{"type": "image_url", "image_url": {"url": url}}]
        if made.thought:
            self._put_thought(reply, choices, made.thought)
        if body.get("logprobs"):
            choices[0]["logprobs"] = {"content": [_yes_or_no(made.text or "", body.get("top_logprobs") or 0)]}
        return reply

    def _put_thought(self, reply: dict[str, Any], choices: list[dict[str, Any]], thought: str) -> None:
        message: dict[str, Any] = choices[0]["message"]
        if self.thought_in == "metrics":
            reply["metrics"] = {"think_text": thought, "stage_durations": {}}
        elif self.thought_in == "cot_output":
            reply["cot_output"] = thought
        elif self.thought_in == "choice":
            said = {"role": "assistant", "content": f"<think>{thought}</think>"}
            choices.insert(0, {"index": 0, "message": said, "finish_reason": "stop"})
        elif self.thought_in == "tags":
            words = {"type": "text", "text": f"<think>\n{thought}\n</think>\n"}
            message["content"] = [words, *message["content"]]
        else:
            message[self.thought_in] = thought


def _turn(message: Mapping[str, Any]) -> Turn:
    content = message["content"]
    parts: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    images = tuple(Image(base64.b64decode(url.partition(",")[2])) for url in urls)
    return Turn("model" if message["role"] == "assistant" else "user", text, images)


def _yes_or_no(said: str, top: int) -> dict[str, Any]:
    """Return the first token with its likeliest rivals, sure by 98 to 2."""
    other = "No" if said == "Yes" else "Yes"
    likely: list[dict[str, Any]] = [
        {"token": said, "logprob": -0.0202, "bytes": None},
        {"token": other, "logprob": -3.912, "bytes": None},
    ]
    return {**likely[0], "top_logprobs": likely[:top]}


def _error(status: int, words: str, code: str = "") -> JSONResponse:
    error = {"message": words, "type": "invalid_request_error", "param": None, "code": code or str(status)}
    return JSONResponse({"error": error}, status)


async def _torn_off() -> AsyncIterator[bytes]:
    """Begin a reply, then lose the connection."""
    yield b'{"choices": '
    raise ConnectionAbortedError


@contextmanager
def serving(mind: Mind | None = None, port: int = 0, **about: Any) -> Iterator[Server]:
    """Run a server on a port, by default a free one, on a thread of its own."""
    server = Server(mind or Mind(), **about)
    server.mind.answer(Asked((Turn("user", "wake up"),), "text"))  # what it knows takes a second to gather
    config = uvicorn.Config(server.app(), log_level="critical", lifespan="off", timeout_graceful_shutdown=0)
    runner = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        server.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            while not runner.started:
                time.sleep(0.005)
            yield server
        finally:
            runner.should_exit = runner.force_exit = True
            thread.join()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A local OpenAI-compatible test server.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--tasks", nargs="*", default=["math_1", "mapping_1"], help="what the model knows")
    parser.add_argument("--oracle", type=json.loads, default={}, help="options of oracle, as JSON")
    given = parser.parse_args()
    server = Server(Mind(given.tasks, **given.oracle), delay=given.delay)
    uvicorn.run(server.app(), port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
