"""OpenAI-compatible servers: many requests in flight, retries, and faults told apart.

What a backend or judge asks over HTTP goes through a ``Remote``, which wraps the official asynchronous
client. A request that fails costs one item; a fault of the whole server ends the run with one message.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import queue
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

from unisandbox.asking import Patience
from unisandbox.errors import UnisandboxError, UsageError
from unisandbox.records import Fields, Image

LOCAL = "http://localhost:8000/v1"
"""Where ``vllm serve`` listens by default."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class RequestError(Exception):
    """One request failed for good, for a reason that says nothing of the next; ``code`` is the server's."""

    def __init__(self, message: str, *, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Remote:
    """One model on one server. ``close`` it, or leave its ``with`` block."""

    def __init__(
        self,
        who: str,
        kind: type[UnisandboxError],
        *,
        base_url: str = LOCAL,
        model: str | None = None,
        api_key_env: str | None = None,
        concurrency: int = 8,
        timeout: float = 300,
        rpm: float | None = None,
        retries: int = 6,
    ) -> None:
        """Connect, and ask which models there are; ``model=None`` means the only one.

        ``who`` starts every message. ``api_key_env`` names the environment variable that holds the key; none
        is sent without it. ``timeout`` in seconds, of one attempt; ``rpm`` requests a minute. Rate limits
        (429), faults of the server (5xx), timeouts and lost connections are tried ``retries`` times more,
        with growing pauses or those that the server asks for. Raises UsageError for what cannot be meant,
        ``kind`` when the server cannot be reached, refuses the key, or has several models and none is named.
        """
        self.base_url = _checked_url(who, base_url)
        self._key = _key(who, kind, api_key_env)
        self._key_env = api_key_env
        self._who = who
        self._kind = kind
        self._timeout = timeout
        self._interval = 60 / rpm if rpm else 0.0
        self._next = 0.0
        self._slots = asyncio.Semaphore(concurrency)
        self._patience = Patience(who, kind, tries=1)
        self.batch_size = 4 * concurrency
        """Requests at once that keep the server busy from batch to batch."""
        self._exit = ExitStack()
        self._jobs: set[Future[None]] = set()
        try:
            self._connect(retries)
            self.models = self._portal.call(self._list_models)
            self.model = model or self._only_model()
        except BaseException:
            self.close()
            raise

    def _connect(self, retries: int) -> None:
        import anyio.from_thread
        import openai

        self._portal = self._exit.enter_context(anyio.from_thread.start_blocking_portal())
        client = openai.AsyncOpenAI(
            api_key=self._key or "none",  # the client insists on one
            base_url=self.base_url,
            timeout=openai.Timeout(self._timeout, connect=min(self._timeout, 10)),
            max_retries=retries,
        )
        self._client = self._exit.enter_context(self._portal.wrap_async_context_manager(client))

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is in flight, close connections and end the thread that serves them."""
        for job in list(self._jobs):
            job.cancel()
        self._exit.close()

    def describe(self) -> Fields:
        """Return what belongs in ``run.json``; never the key."""
        import openai

        return {"base_url": self.base_url, "model": self.model, "client": f"openai {openai.__version__}"}

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return the reply's JSON object; ``model`` is put in.

        Raises RequestError for a fault of this request, ``kind`` for a fault of the whole server.
        """
        import openai

        await self._pace()
        body = {"model": self.model, **body}
        try:
            async with asyncio.timeout(3 * self._timeout):  # a hanging server must not hold a run for hours
                reply: Any = await self._client.post(path, cast_to=object, body=body)
        except TimeoutError:
            raise RequestError(f"no answer within {3 * self._timeout:g} s, retries included") from None
        except openai.APIError as error:
            raise self._fault(error, path) from None
        except ValueError as error:
            raise RequestError(f"the reply is not valid JSON: {error}") from None
        if not isinstance(reply, dict):
            raise RequestError(f"the reply is no JSON object: {shortened(reply)}")
        return reply

    def each(
        self,
        items: Sequence[Item],
        ask: Callable[[Item], Awaitable[Answer]],
        failed: Callable[[Item, str], Answer],
    ) -> Iterator[Answer]:
        """Yield one answer an item as each is ready, ``concurrency`` of them being asked at any time.

        ``ask`` awaits ``post`` as often as it likes; where it raises RequestError, ``failed`` makes the
        answer. Raises ``kind`` for a fault of the whole server, or after many failures in a row.
        """
        done: queue.SimpleQueue[tuple[Item, Answer | Exception]] = queue.SimpleQueue()

        over = False

        async def one(item: Item) -> None:
            nonlocal over
            async with self._slots:
                if over:  # the fault of one was a fault of all
                    return
                try:
                    done.put((item, await ask(item)))
                except Exception as error:
                    over = over or not isinstance(error, RequestError)
                    done.put((item, error))

        async def everything() -> None:
            await asyncio.gather(*map(one, items))

        job = self._portal.start_task_soon(everything)
        self._jobs.add(job)
        try:
            for _ in items:
                item, answer = done.get()
                if isinstance(answer, RequestError):
                    yield failed(item, str(answer))
                    self._patience.failed(str(answer))
                elif isinstance(answer, Exception):
                    raise answer
                else:
                    self._patience.answered()
                    yield answer
        finally:
            job.cancel()
            self._jobs.discard(job)

    async def _pace(self) -> None:
        """Wait for this request's turn: ``rpm`` a minute, evenly spread."""
        if self._interval:
            now = asyncio.get_running_loop().time()
            at = max(now, self._next)
            self._next = at + self._interval
            await asyncio.sleep(at - now)

    async def _list_models(self) -> list[str]:
        """Return the server's models; none when it does not tell."""
        import openai

        try:
            reply: Any = await self._client.with_options(max_retries=1).get("/models", cast_to=object)
        except openai.PermissionDeniedError:  # a key may be good for asking, but not for listing
            return []
        except (openai.AuthenticationError, openai.APIConnectionError) as error:
            raise self._fault(error, "/models") from None
        except (openai.APIError, ValueError):
            return []
        with suppress(TypeError, KeyError):
            return sorted(str(entry["id"]) for entry in reply["data"])
        return []

    def _only_model(self) -> str:
        if len(self.models) == 1:
            return self.models[0]
        raise UsageError(f"{self._who}: name the model with model=.... {self._has()}")

    def _has(self) -> str:
        listed = ", ".join(self.models) or "(it does not tell)"
        return f"The server at {self.base_url} has: {listed}."

    def _fault(self, error: Any, path: str) -> Exception:
        """Return what to raise for an error of the client: is it of this request, or of the whole server?"""
        import openai

        said = self._said(error)
        status = getattr(error, "status_code", None)
        code = str(getattr(error, "code", None) or "")
        if isinstance(error, openai.APIConnectionError):
            if type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout"):
                return self._kind(
                    f"{self._who}: no server answers at {self.base_url}: {error.__cause__ or said}. Start "
                    "it, or name another with base_url=.... What is done is kept."
                )
            slow = isinstance(error, openai.APITimeoutError)
            return RequestError(
                f"no answer within {self._timeout:g} s" if slow else f"connection lost: {said}"
            )
        if status in (401, 403):
            key = f"the key in {self._key_env}" if self._key_env else "a request without a key"
            return self._kind(
                f"{self._who}: the server at {self.base_url} refuses {key} ({status}: {said}). "
                "Name the environment variable that holds the right one with api_key_env=...."
            )
        if status == 404:
            return self._kind(
                f"{self._who}: {self.base_url}{path} does not find the model {self.model!r}, or does not "
                f"offer this endpoint (404: {said}). {self._has()}"
            )
        if status == 402 or code == "insufficient_quota":
            return self._kind(f"{self._who}: the account is used up ({status}: {said}).")
        return RequestError(f"{status}: {said}", status=status, code=code)

    def _said(self, error: Any) -> str:
        body = getattr(error, "body", None)
        said = body.get("message") if isinstance(body, dict) else body
        text = shortened(said or error)
        return text.replace(self._key, "***") if self._key else text


def shortened(thing: object, most: int = 200) -> str:
    """Return a thing as one short line, for a message."""
    text = " ".join(str(thing).split())
    return text if len(text) <= most else f"{text[:most]}..."


def data_url(image: Image, largest: int | None = None) -> tuple[str, str]:
    """Return a picture as a data URL, and what was done to it: nothing, or how it was made smaller.

    ``largest``: pixels of the longer side. Raises OSError when it is no picture.
    """
    data, mime, note = image.data, {".jpg": "jpeg"}.get(image.suffix, image.suffix.removeprefix(".")), ""
    if largest is not None:
        from PIL import Image as pil

        with pil.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            if max(width, height) > largest:
                picture.load()
                smaller = picture.convert("RGB")
                smaller.thumbnail((largest, largest), pil.Resampling.LANCZOS)
                data, mime = Image.from_pil(smaller).data, "png"
                note = f"downscaled from {width}x{height} to {smaller.width}x{smaller.height}"
    return f"data:image/{mime};base64,{base64.b64encode(data).decode()}", note


def _checked_url(who: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"{who}: base_url={url!r}: expected something like {LOCAL}.")
    if "@" in parts.netloc:
        raise UsageError(f"{who}: base_url holds a name or password. Use api_key_env=... instead.")
    return url.rstrip("/") if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/v1"


def _key(who: str, kind: type[UnisandboxError], env: str | None) -> str:
    """Return the key, '' for none; never repeats what may be a key itself."""
    if env is None:
        return ""
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", env, re.IGNORECASE):
        raise UsageError(f"{who}: api_key_env=... wants the name of an environment variable, not a key.")
    if not (key := os.environ.get(env, "")):
        raise kind(f"{who}: no key: the environment variable {env} is not set. Set it: export {env}=...")
    return key
