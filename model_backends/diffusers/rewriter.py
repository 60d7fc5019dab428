"""Language models that write the words for a pipeline that only draws: answers, and thoughts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from unisandbox.errors import BackendError
from unisandbox.loading import Precision, checkpoint, device_named, digest, one_line, precision
from unisandbox.records import Fields, Generation, Request

NAME = "diffusers"


class Rewriter(Protocol):
    """Writes the words."""

    batch_size: int

    def write(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield a text a request."""
        ...

    def describe(self) -> Fields:
        """What it is, and how it writes."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def _messages(request: Request) -> list[dict[str, str]]:
    return [
        {"role": "user" if turn.role == "user" else "assistant", "content": turn.text}
        for turn in request.prompt.turns
    ]


class Local:
    """A language model of transformers, in this process."""

    def __init__(
        self,
        model: str,
        *,
        device: str,
        dtype: Precision,
        batch_size: int,
        temperature: float,
        max_tokens: int,
    ) -> None:
        """Load it; raises BackendError for a checkpoint that is none or cannot hold a conversation."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from unisandbox.model_backends.any_to_any.rows import Rows

        place = checkpoint(f"{NAME}: rewriter", model, "config.json")
        target = device_named(NAME, device)
        with one_line(f"{NAME}: rewriter", model):
            self._tokenizer: Any = AutoTokenizer.from_pretrained(place)
            loaded: Any = AutoModelForCausalLM.from_pretrained(place, dtype=precision(dtype, target))
        if self._tokenizer.chat_template is None:
            raise BackendError(
                f"{NAME}: rewriter={model} has no chat template, so it cannot be asked. Name an "
                "instruction-tuned one."
            )
        self._model = model
        self._weights = digest(loaded.state_dict().items())
        self._rows = Rows(
            loaded.eval().to(target),
            self._tokenizer,
            who=f"{NAME}: rewriter",
            batch_size=batch_size,
            temperature=temperature,
            max_tokens=max_tokens,
        )
        self.batch_size = self._rows.appetite

    def write(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield a text a request, each by its own seed."""
        from unisandbox.model_backends.any_to_any.rows import Row

        rows = [Row(request, self._put_in(request)) for request in requests]
        yield from self._rows.over(rows, self._rows.say)

    def _put_in(self, request: Request) -> dict[str, Any]:
        return dict(
            self._tokenizer.apply_chat_template(
                [_messages(request)], add_generation_prompt=True, return_dict=True, return_tensors="pt"
            )
        )

    def describe(self) -> Fields:
        """What it is, and how it writes."""
        return {"model": self._model, "weights": self._weights, **self._rows.describe()}

    def close(self) -> None:
        """Nothing to end."""


class Served:
    """A language model behind an OpenAI-compatible server."""

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None,
        api_key_env: str | None,
        temperature: float,
        max_tokens: int,
    ) -> None:
        """Connect; raises BackendError when there is no such server or model."""
        from unisandbox.remote import Remote

        self._remote = Remote(
            f"{NAME}: rewriter", BackendError, base_url=base_url, model=model, api_key_env=api_key_env
        )
        self._sampling = {"temperature": temperature, "max_tokens": max_tokens}
        self.batch_size = self._remote.batch_size

    def write(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield a text a request, many being asked at a time."""
        yield from self._remote.each(
            requests, self._ask, lambda request, why: Generation(request.key, finish="error", error=why)
        )

    async def _ask(self, request: Request) -> Generation:
        from unisandbox.model_backends.openai.replies import read_chat

        body = {"messages": _messages(request), "seed": request.seed, **self._sampling}
        reply = read_chat(await self._remote.post("/chat/completions", body))
        return Generation(request.key, text=reply.text, thought=reply.thought or None, finish=reply.finish)

    def describe(self) -> Fields:
        """What it is, and how it writes."""
        return {**self._remote.describe(), **self._sampling, "seed": "sent, whatever the server makes of it"}

    def close(self) -> None:
        """End the connections."""
        self._remote.close()
