"""``openai``: a model that sees, behind any OpenAI-compatible server (vLLM, SGLang, a provider's own)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from unisandbox.errors import JudgeError
from unisandbox.judges.protocol import DEFAULT_MODEL, LARGEST, Matcher, ModelJudge, Question, cut_off
from unisandbox.judges.replies import Reply, Tokens
from unisandbox.records import Fields
from unisandbox.remote import LOCAL, Remote, RequestError, data_url, shortened

_ALTERNATIVES = 20
"""How many tokens are asked for at each place in soft mode: the most that servers give."""


class OpenAI(ModelJudge):
    """Judges with a model on a server."""

    batches_at_once = 2
    """So that the last questions of a batch leave none of ``concurrency`` unused: the next is under way."""

    def __init__(
        self,
        *,
        base_url: str = LOCAL,
        model: str = DEFAULT_MODEL,
        api_key_env: str | None = None,
        concurrency: Annotated[int, Field(ge=1)] = 32,
        timeout: Annotated[float, Field(gt=0)] = 120,
        rpm: Annotated[float, Field(gt=0)] | None = None,
        retries: Annotated[int, Field(ge=0)] = 6,
        temperature: Annotated[float, Field(ge=0)] = 0.0,
        max_tokens: Annotated[int, Field(ge=1)] = 1024,
        max_side: Annotated[int, Field(ge=28)] = LARGEST,
        matcher: Matcher = "rules",
        soft: bool = False,
    ) -> None:
        """Connect to the server; ``concurrency`` questions are in flight at a time, at most ``rpm`` a minute.

        ``api_key_env`` names the environment variable that holds the key. ``timeout`` is in seconds, of one
        attempt; what may pass (429, 5xx, timeouts) is tried ``retries`` times more. ``max_tokens`` of a
        reply, thoughts included. A picture whose longer side has more than ``max_side`` pixels is made
        smaller. Raises JudgeError for a server that cannot be reached or does not have the model.
        """
        super().__init__(matcher, soft)
        # the one provider that wants another name for it takes that name for all its models
        most = "max_completion_tokens" if "//api.openai.com" in base_url else "max_tokens"
        self._sampling = {"temperature": temperature, most: max_tokens}
        self._max_tokens = max_tokens
        self._max_side = max_side
        self._remote = Remote(
            "judge openai",
            JudgeError,
            base_url=base_url,
            model=model,
            api_key_env=api_key_env,
            concurrency=concurrency,
            timeout=timeout,
            rpm=rpm,
            retries=retries,
        )
        self.batch_size = 2 * concurrency
        if model not in self._remote.models:
            self._try()

    def _try(self) -> None:
        """Ask anything, so that a wrong name is found before pictures are made; servers need not list all."""
        try:
            list(self.ask([Question("", "Reply with one word: yes")]))
        except JudgeError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._remote.close()

    def describe(self) -> Fields:
        """Which model, where, and how it is asked."""
        return {
            **self._remote.describe(),
            "sampling": self._sampling,
            "max_side": self._max_side,
            **self.about(),
        }

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Yield replies as they come; a request that fails for good is an error of its own."""
        return self._remote.each(
            questions, self._ask, lambda question, reason: Reply(question.key, error=reason)
        )

    async def _ask(self, question: Question) -> Reply:
        content: list[dict[str, Any]] = []
        notes: dict[str, str] = {}
        if question.image is not None:
            try:
                url, note = data_url(question.image, self._max_side)
            except OSError as error:  # PIL.UnidentifiedImageError is one
                return Reply(question.key, error=f"unreadable picture: {error}")
            content.append({"type": "image_url", "image_url": {"url": url}})
            notes = {"picture": note} if note else {}
        content.append({"type": "text", "text": question.text})
        likely = {"logprobs": True, "top_logprobs": _ALTERNATIVES} if question.logprobs else {}
        body = {"messages": [{"role": "user", "content": content}], **self._sampling, **likely}
        return self._reply(question.key, await self._remote.post("/chat/completions", body), notes)

    def _reply(self, key: str, said: Mapping[str, Any], notes: Fields) -> Reply:
        """Read the server's reply; raises RequestError for one that holds no message."""
        try:
            choice = said["choices"][0]
            message = choice["message"]
            text = message.get("content") or ""
            tokens = _tokens(choice.get("logprobs"))
        except (KeyError, IndexError, TypeError, AttributeError):
            raise RequestError(f"the reply holds no message: {shortened(said)}") from None
        if isinstance(text, list):
            text = "".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
        why = message.get("refusal")
        if choice.get("finish_reason") == "length":
            why = cut_off(self._max_tokens)
        elif choice.get("finish_reason") == "content_filter":
            why = "the server's content filter stopped the reply"
        return Reply(key, str(text).strip(), error=why or None, tokens=tokens, notes=notes)


def _tokens(logprobs: Mapping[str, Any] | None) -> Tokens:
    """Return the tokens of a reply with their likeliest alternatives; none where the server gives none."""
    return [
        (token["token"], {other["token"]: other["logprob"] for other in token["top_logprobs"]})
        for token in (logprobs or {}).get("content") or ()
    ]
