"""What servers reply, in the many places where they put it: picture, words, thought, and how it ended."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from unisandbox.records import Finish, Image
from unisandbox.remote import RequestError, shortened

REFUSALS = frozenset({"moderation_blocked", "content_policy_violation", "content_filter"})
"""Error codes with which a server says that it will not answer."""

_ENDS: Mapping[str, Finish] = {"length": "truncated", "content_filter": "refused"}


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, read."""

    image: Image | None
    text: str
    thought: str
    finish: Finish = "complete"


def read_images(reply: Mapping[str, Any]) -> Reply:
    """Read a reply of ``/images/generations``; raises RequestError for one of another shape."""
    data = reply.get("data") or [{}]
    if not isinstance(data, list) or not isinstance(data[0], dict):
        raise RequestError(f"no list of pictures: {shortened(reply)}")
    source = data[0].get("b64_json") or data[0].get("url")
    return Reply(picture(source) if source else None, "", _said_beside(reply, {}))


def read_chat(reply: Mapping[str, Any]) -> Reply:
    """Read a reply of ``/chat/completions``; raises RequestError for one of another shape.

    Some servers put words and picture into choices of their own, so all are read.
    """
    messages = list(_messages(reply))
    parts = [part for message in messages for part in _parts(message)]
    sources = [part["image_url"]["url"] for part in parts if part.get("type") == "image_url"]
    text = "\n".join(str(part.get("text") or "") for part in parts if part.get("type") == "text")
    thought, text = _without_thought(text)
    for message in messages:
        thought = thought or _said_beside(reply, message)
    finish: Finish = "complete"
    for choice in reply["choices"]:
        finish = _ENDS.get(str(choice.get("finish_reason")), finish)
    if any(message.get("refusal") for message in messages):
        finish = "refused"
    return Reply(picture(sources[0]) if sources else None, text, thought, finish)


def _messages(reply: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        raise RequestError(f"no choices in the reply: {shortened(reply)}")
    for choice in choices:
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise RequestError(f"a choice without a message: {shortened(choice)}")
        yield message


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the content as parts; ``images`` beside it is where gateways put pictures."""
    content = message.get("content") or message.get("refusal") or ""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    parts += message.get("images") or []
    for part in parts:
        if not isinstance(part, dict) or (part.get("type") == "image_url" and not _has_url(part)):
            raise RequestError(f"content of no known shape: {shortened(part)}")
    return parts


def _has_url(part: Mapping[str, Any]) -> bool:
    inner = part.get("image_url")
    return isinstance(inner, dict) and isinstance(inner.get("url"), str)


def _said_beside(reply: Mapping[str, Any], message: Mapping[str, Any]) -> str:
    """Return the thought from where it stands beside the answer."""
    metrics = reply.get("metrics")
    places = (
        metrics.get("think_text") if isinstance(metrics, dict) else None,
        reply.get("cot_output"),
        message.get("cot_output"),
        message.get("reasoning_content"),
        message.get("reasoning"),
    )
    said = next((place for place in places if isinstance(place, str) and place.strip()), "")
    return "".join(_without_thought(said)).strip()


def _without_thought(text: str) -> tuple[str, str]:
    """Split words into the thought in think tags, closed or not, and the rest.

    >>> _without_thought("<think>two and one</think>three")
    ('two and one', 'three')
    """
    if "</think>" in text and "<think>" not in text:  # some models are started inside the tag
        text = f"<think>{text}"
    found = re.findall(r"<think>(.*?)(?:</think>|\Z)", text, flags=re.DOTALL)
    rest = re.sub(r"<think>.*?(?:</think>|\Z)", "", text, flags=re.DOTALL)
    return "\n".join(found).strip(), rest.strip()


def picture(source: str) -> Image:
    """Return the picture of a data URL or of plain base64; raises RequestError when there is none in it."""
    from PIL import Image as pil

    if source.startswith(("http://", "https://")):
        raise RequestError(
            f"a link instead of a picture ({shortened(source, 60)}). "
            "Ask for the picture itself: extra=response_format=b64_json"
        )
    try:
        data = base64.b64decode(source.rpartition(",")[2], validate=True)
        with pil.open(io.BytesIO(data)) as opened:
            return Image(data, {"JPEG": ".jpg", "WEBP": ".webp"}.get(opened.format or "", ".png"))
    except (ValueError, OSError):  # PIL.UnidentifiedImageError is one
        raise RequestError(f"no picture in the reply, but {shortened(source, 60)}") from None
