"""``vlm``: any image-text-to-text model of transformers, in process, with its own chat template, batched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from unisandbox.batching import Batches
from unisandbox.errors import BackendError, JudgeError
from unisandbox.judges.protocol import DEFAULT_MODEL, LARGEST, Matcher, ModelJudge, Question, cut_off
from unisandbox.judges.replies import Reply, Tokens
from unisandbox.loading import (
    Precision,
    checkpoint,
    device_label,
    digest,
    number_format,
    one_line,
    placed,
    versions,
)
from unisandbox.records import Fields

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage
    from torch import Tensor

NAME = "judge vlm"
_ALTERNATIVES = 20
"""How many tokens are told of for each place in soft mode."""


class Vlm(ModelJudge):
    """Judges with a model on this machine."""

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        revision: str | None = None,
        device: str = "auto",
        device_map: str | None = None,
        dtype: Precision = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 8,
        max_tokens: Annotated[int, Field(ge=1)] = 1024,
        max_side: Annotated[int, Field(ge=28)] = LARGEST,
        matcher: Matcher = "rules",
        soft: bool = False,
    ) -> None:
        """Load a ``model``: a hub name, or a folder as ``save_pretrained`` writes it.

        ``device_map`` (``auto``, ``balanced``, ...) spreads it over several devices, in place of ``device``.
        ``batch_size`` is the most pictures at once; it is halved where memory runs out. Replies are greedy
        and at most ``max_tokens`` long, thoughts included. A picture whose longer side has more than
        ``max_side`` pixels is made smaller. Raises JudgeError for a model that cannot be loaded or does not
        converse about pictures, UsageError for a folder or device that is not there.
        """
        super().__init__(matcher, soft)
        self._max_tokens = max_tokens
        self._max_side = max_side
        self._batches = Batches(NAME, batch_size)
        self.batch_size = 4 * batch_size
        try:
            self._load(model, revision, device, device_map, dtype)
        except BackendError as error:
            raise JudgeError(str(error)) from error

    def _load(
        self, model: str, revision: str | None, device: str, device_map: str | None, dtype: Precision
    ) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils import logging

        place = checkpoint(NAME, model, "config.json")
        target, onto = placed(NAME, device, device_map)
        logging.set_verbosity_error()
        with one_line(NAME, model):
            processor: Any = AutoProcessor
            self._processor = processor.from_pretrained(place, revision=revision)
        if not hasattr(self._processor, "image_processor"):
            raise JudgeError(f"{NAME}: model={model} does not see: its processor takes no pictures.")
        if not getattr(self._processor, "chat_template", None):
            raise JudgeError(
                f"{NAME}: model={model} has no chat template. Judges follow instructions: name an instruct "
                "or chat model."
            )
        with one_line(NAME, model):
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                place, revision=revision, dtype=dtype, **onto
            )
        self._model = loaded.eval() if target is None else loaded.eval().to(target)
        self._weights = digest(loaded.state_dict().items())
        self._settle()

    def _settle(self) -> None:
        """Leave nothing of a checkpoint's own sampling; pad on the left, away from what is written."""
        from transformers import GenerationConfig

        own, tokenizer = self._model.generation_config, self._processor.tokenizer
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        ids = {
            name: value if (value := getattr(own, name)) is not None else getattr(tokenizer, name)
            for name in ("bos_token_id", "eos_token_id", "pad_token_id")
        }
        self._model.generation_config = GenerationConfig(**ids, do_sample=False)

    def describe(self) -> Fields:
        """What it is, how it is asked, and on what it runs."""
        return {
            "model": self._model.config.name_or_path,
            "revision": getattr(self._model.config, "_commit_hash", None),
            "weights": self._weights,
            "sampling": {"greedy": True, "max_tokens": self._max_tokens},
            "max_side": self._max_side,
            "device": device_label(self._model.device),
            "device_map": {name: str(at) for name, at in getattr(self._model, "hf_device_map", {}).items()},
            "dtype": number_format(self._model.dtype),
            "batch_size": self._batches.size,
            "versions": versions("torch", "transformers", "accelerate"),
            **self.about(),
        }

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Yield replies as batches are finished; a file that is no picture costs only itself."""
        asked: list[tuple[Question, PilImage | None, str]] = []
        for question in questions:
            try:
                picture, note = self._picture(question)
            except OSError as error:  # PIL.UnidentifiedImageError is one
                yield Reply(question.key, error=f"unreadable picture: {error}")
            else:
                asked.append((question, picture, note))
        yield from self._batches.over(
            asked, self._answer, alike=lambda one: (one[1] is None, one[0].logprobs)
        )

    def _picture(self, question: Question) -> tuple[PilImage | None, str]:
        """Return the picture as the model gets it, and how it was made smaller, if it was."""
        if question.image is None:
            return None, ""
        picture = question.image.pil()
        width, height = picture.size
        if max(width, height) <= self._max_side:
            return picture, ""
        picture.thumbnail((self._max_side, self._max_side))
        return picture, f"downscaled from {width}x{height} to {picture.width}x{picture.height}"

    def _answer(self, batch: Sequence[tuple[Question, PilImage | None, str]]) -> list[Reply]:
        import torch

        soft = batch[0][0].logprobs
        inputs = self._processor.apply_chat_template(
            [_conversation(question, picture) for question, picture, _ in batch],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._model.device, self._model.dtype)
        with torch.inference_mode():
            said = self._model.generate(
                **inputs, max_new_tokens=self._max_tokens, return_dict_in_generate=True, output_logits=soft
            )
        written = said.sequences[:, inputs["input_ids"].shape[1] :].cpu()
        ends = torch.tensor(self._model.generation_config.eos_token_id).reshape(-1)
        texts = self._processor.batch_decode(written, skip_special_tokens=True)
        replies = []
        for row, ((question, _, note), text, ids) in enumerate(zip(batch, texts, written, strict=True)):
            ended = bool(torch.isin(ids, ends).any())
            replies.append(
                Reply(
                    question.key,
                    text.strip(),
                    error=None if ended else cut_off(self._max_tokens),
                    tokens=self._tokens(ids, [step[row] for step in said.logits]) if soft else (),
                    notes={"picture": note} if note else {},
                )
            )
        return replies

    def _tokens(self, ids: Tensor, logits: Sequence[Tensor]) -> Tokens:
        """Return the tokens of one reply with the likeliest alternatives of each."""
        words = self._processor.tokenizer.decode
        tokens = []
        for chosen, scores in zip(ids.tolist(), logits, strict=True):
            values, places = scores.float().log_softmax(-1).topk(min(_ALTERNATIVES, scores.shape[-1]))
            others: dict[str, float] = {}
            for value, place in zip(values.tolist(), places.tolist(), strict=True):
                others.setdefault(words([place]), value)  # the likeliest of those that are written alike
            tokens.append((words([chosen]), others))
        return tokens


def _conversation(question: Question, picture: PilImage | None) -> list[dict[str, Any]]:
    seen = [] if picture is None else [{"type": "image", "image": picture}]
    return [{"role": "user", "content": [*seen, {"type": "text", "text": question.text}]}]
