"""The backend ``openai``: requests become HTTP requests, many at once, and replies become generations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from unisandbox.errors import BackendError
from unisandbox.model_backends.openai.preset import Preset
from unisandbox.model_backends.openai.replies import REFUSALS, Reply, read_chat, read_images
from unisandbox.records import Fields, Generation, Request
from unisandbox.remote import Remote, RequestError, data_url, shortened

GIVE_UP = 25
"""Replies to requests for pictures, from the first on, none of which holds one."""


class OpenAI:
    """Asks one model; see the factory for the options."""

    def __init__(
        self,
        settings: Preset,
        *,
        preset: str | None = None,
        think_base_url: str | None = None,
        largest: int | None = None,
        **about: Any,
    ) -> None:
        """Connect; raises BackendError or UsageError as ``Remote`` does."""
        self._settings = settings
        self._preset = preset
        self._largest = largest
        self._pictures = self._words_instead = 0
        about["api_key_env"] = settings.api_key_env
        self._remote = self._thinker = Remote(
            "openai", BackendError, base_url=settings.base_url, model=settings.model, **about
        )
        if think_base_url is not None:
            try:
                self._thinker = Remote(
                    "openai", BackendError, base_url=think_base_url, model=settings.model, **about
                )
            except BaseException:
                self._remote.close()
                raise
        self.batch_size = self._remote.batch_size

    def close(self) -> None:
        """Close connections."""
        self._remote.close()
        self._thinker.close()

    def describe(self) -> Fields:
        """What is asked, where and how; never the key."""
        settings = self._settings
        native = "think" in settings.does
        by = "a flag of the request" if self._thinker is self._remote else self._thinker.base_url
        return {
            **self._remote.describe(),
            "preset": self._preset,
            "endpoint": settings.endpoint,
            "pictures": self._picture_keys(think=False),
            "pictures after thinking": self._picture_keys(think=True) if native else None,
            "words": dict(settings.text),
            "wrap": settings.wrap.model_dump(),
            "turns": "joined into one user turn",
            "thinking": f"native, by {by}" if native else "two calls",
            "seeds": "sent" if settings.seeds else "not sent: the server takes none",
            "end_to_end": "end_to_end" in settings.does,
        }

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield each answer as it comes; the seed goes with the request where the server takes one."""
        for remote, think in ((self._remote, False), (self._thinker, True)):
            part = [request for request in requests if request.prompt.think is think]
            for generation in remote.each(part, partial(self._ask, remote), _failed) if part else ():
                yield generation
                self._watch(generation)

    async def _ask(self, remote: Remote, request: Request) -> Generation:
        notes: dict[str, Any] = {} if self._settings.seeds else {"seed": "not sent"}
        wants_picture = request.prompt.output == "image"
        try:
            if wants_picture and self._settings.endpoint == "images":
                body = {"prompt": self._text(request), **self._keys(request)}
                reply = read_images(await remote.post("/images/generations", body))
            else:
                content = self._content(request, notes)
                body = {"messages": [{"role": "user", "content": content}], **self._keys(request)}
                body["modalities"] = [request.prompt.output]
                reply = read_chat(await remote.post("/chat/completions", body))
        except RequestError as error:
            if error.code in REFUSALS:
                return Generation(request.key, finish="refused", notes={**notes, "reason": str(error)})
            raise
        return _drawn(request, reply, notes) if wants_picture else _said(request, reply, notes)

    def _keys(self, request: Request) -> dict[str, Any]:
        if request.prompt.output == "image":
            keys = self._picture_keys(think=request.prompt.think)
        else:
            keys = dict(self._settings.text)
        return {**keys, "seed": request.seed} if self._settings.seeds else keys

    def _picture_keys(self, *, think: bool) -> dict[str, Any]:
        settings = self._settings
        keys: dict[str, Any] = {}
        if settings.size is not None:
            width, _, height = settings.size.partition("x")
            both = {"width": int(width), "height": int(height or width)}
            keys = {"size": "{width}x{height}".format(**both)} if settings.endpoint == "images" else both
        if settings.steps is not None:
            keys["num_inference_steps"] = settings.steps
        if settings.guidance is not None:
            keys[settings.guidance_key] = settings.guidance
        return {**keys, **settings.image, **(settings.think if think else settings.plain)}

    def _text(self, request: Request) -> str:
        """Return the conversation as one text: where pictures are drawn, servers read user turns alone."""
        wrap, prompt = self._settings.wrap, request.prompt
        joined = "\n\n".join(turn.text for turn in prompt.turns)
        if prompt.output == "text":
            around = wrap.see if any(turn.images for turn in prompt.turns) else wrap.text
        else:
            around = wrap.think if prompt.think else wrap.image
        return around.replace("{prompt}", joined)

    def _content(self, request: Request, notes: dict[str, Any]) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = [{"type": "text", "text": self._text(request)}]
        for image in (image for turn in request.prompt.turns for image in turn.images):
            try:
                url, note = data_url(image, self._largest)
            except OSError as error:
                raise RequestError(f"the picture cannot be sent: {error}") from None
            if note:
                notes["picture"] = note
            parts.append({"type": "image_url", "image_url": {"url": url}})
        return parts

    def _watch(self, generation: Generation) -> None:
        """Raise BackendError for a model that seems to be unable to draw."""
        if generation.image is not None:
            self._pictures += 1
        elif generation.finish == "empty" and "reason" in generation.notes:
            self._words_instead += 1
        if not self._pictures and self._words_instead >= GIVE_UP:
            raise BackendError(
                f"openai: none of the first {self._words_instead} replies held a picture. Does "
                f"{self._remote.model!r} draw? If not, say so: does=text+see. If it was set up wrongly: "
                "these are logged as empty, so start over with --fresh. The last one: "
                f"{generation.notes['reason']}"
            )


def _drawn(request: Request, reply: Reply, notes: Fields) -> Generation:
    thought = reply.thought
    if request.prompt.think:
        thought = thought or reply.text
        notes = notes if thought else {**notes, "thought": "the server returned none"}
    if reply.image is not None or reply.finish != "complete":
        finish = reply.finish if reply.image is None else "complete"
        return Generation(request.key, reply.image, reply.text or None, thought or None, finish, notes=notes)
    reason = (
        f"words instead of a picture: {shortened(reply.text)}" if reply.text else "no picture in the reply"
    )
    return Generation(
        request.key, None, reply.text or None, thought or None, "empty", notes={**notes, "reason": reason}
    )


def _said(request: Request, reply: Reply, notes: Fields) -> Generation:
    return Generation(request.key, None, reply.text, reply.thought or None, reply.finish, notes=notes)


def _failed(request: Request, reason: str) -> Generation:
    return Generation(request.key, finish="error", error=reason)
