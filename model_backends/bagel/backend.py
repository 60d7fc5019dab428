"""The backend ``bagel``: requests become rows, and what follows from them becomes words or pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from unisandbox.backend import TrainSpec
from unisandbox.batching import Batches
from unisandbox.errors import BackendError, UsageError
from unisandbox.loading import device_label, number_format, versions
from unisandbox.model_backends.any_to_any.sampling import Seeded
from unisandbox.model_backends.bagel.checkpoint import FRAME, NAME, Loaded
from unisandbox.model_backends.bagel.context import Row, length_of, write
from unisandbox.model_backends.bagel.prompts import Prompts, from_pixels
from unisandbox.model_backends.bagel.sampler import Sampling, draw
from unisandbox.model_backends.bagel.vision import whole
from unisandbox.records import Example, Fields, Finish, Generation, Image, Prompt, Request

if TYPE_CHECKING:
    from unisandbox.model_backends.bagel.train import Preset

WORDS = 4
"""Rows that are continued in words at once, for each picture that is drawn at once."""
STEP = 512
"""In half precision rows take up a multiple of so many columns."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and the rows that its answer follows from; of a picture three, see ``Prompts.picture``."""

    request: Request
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """Words that followed from a request."""

    text: str
    finish: Finish


class BagelBackend:
    """Runs one BAGEL; see the package.

    In float32 the company of a row changes nothing but the last digits. In half precision it would change
    words, so there batches have one size, and rows a length that they do not take from their company.
    """

    def __init__(
        self,
        loaded: Loaded,
        name: str,
        sampling: Sampling,
        *,
        image_size: int,
        batch_size: int,
        max_tokens: int,
        text_temperature: float,
        instruction: str | None = None,
        preset: Preset | None = None,
    ) -> None:
        """Take a loaded model; for the options see the factory. Raises UsageError for an ``image_size``."""
        stride, most = loaded.model.config.stride, loaded.model.config.max_latent_size
        if image_size % stride or image_size > stride * most:
            raise UsageError(
                f"{NAME}: image_size={image_size}: expected a multiple of {stride}, {stride * most} at most."
            )
        self.loaded = loaded
        self.prompts = Prompts(loaded, instruction)
        self._name, self._sampling, self._image_size = name, sampling, image_size
        self._instruction = instruction
        self._max_tokens, self._temperature = max_tokens, text_temperature
        self._preset: Preset | None = preset
        self._rounds = loaded.model.dtype != torch.float32
        # LLM.int8 takes the columns that stand out from all of a batch: its company would change an answer
        alone = loaded.quantize == "8bit"
        self._writing = Batches(NAME, 1 if alone else batch_size * WORDS, filled=self._rounds)
        self._drawing = Batches(NAME, 1 if alone else batch_size, filled=self._rounds)
        self.batch_size = self._writing.size

    def describe(self) -> Fields:
        """What it is, how it samples, and on what."""
        model = self.loaded.model
        return {
            "model": self._name,
            "weights": self.loaded.digest,
            "parameters": self.loaded.parameters,
            "thinking": "native",
            "instruction": self._instruction or "the default",
            "pictures": {**asdict(self._sampling), "image_size": self._image_size},
            "words": {"temperature": self._temperature, "max_tokens": self._max_tokens},
            "device": device_label(model.device),
            "device_map": {number: str(place) for number, place in self.loaded.places.items()},
            "dtype": number_format(model.dtype),
            "quantize": self.loaded.quantize,
            "batch_size": {"pictures": self._drawing.size, "words": self._writing.size},
            "versions": versions("torch", "transformers", "diffusers"),
        }

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Answer in words, think, and draw, each together for all who ask for it.

        Raises BackendError once its weights were trained.
        """
        if self.loaded.model.training:
            raise BackendError(f"{NAME}: these weights were trained. Load the student that came of them.")
        words = [request for request in requests if request.prompt.output == "text"]
        for request, written in self._write(words, self.prompts.answer):
            yield _answered(request, written)
        pictures = [request for request in requests if request.prompt.output == "image"]
        thinking = [request for request in pictures if request.prompt.think]
        thoughts = {request.key: written for request, written in self._write(thinking, self.prompts.thinking)}
        asked = []
        for request in pictures:
            thought = thoughts[request.key].text if request.prompt.think else None
            asked.append(Asked(request, self.prompts.picture(request.prompt, thought)))
        for request, picture in self._drawing.over(asked, self._draw, self._columns):
            yield _drawn(request, picture, thoughts.get(request.key))

    def train(
        self, examples: Sequence[Example], spec: TrainSpec, out: Path, *, quiet: bool = False
    ) -> Mapping[str, str]:
        """Train adapters or all weights; ``spec.batch`` counts examples. Uses up the weights in memory."""
        from unisandbox.model_backends.bagel.train import teach

        return teach(self.loaded, examples, spec, out, preset=self._preset, quiet=quiet)

    def _write(
        self, requests: Sequence[Request], row: Callable[[Prompt], Row]
    ) -> Iterator[tuple[Request, Written]]:
        asked = [Asked(request, (row(request.prompt),)) for request in requests]
        yield from self._writing.over(asked, self._continue, self._columns)

    def _continue(self, asked: Sequence[Asked]) -> list[tuple[Request, Written]]:
        """Go on in words."""
        chosen = Seeded([one.request.seed for one in asked], self._temperature)
        written = write(
            self.loaded.model,
            [one.rows[0] for one in asked],
            self._max_tokens,
            lambda scores: chosen.noisy(scores).argmax(-1),
            self._columns(asked[0]),
        )
        found = []
        for one, (tokens, is_whole) in zip(asked, written, strict=True):
            text = self.loaded.tokenizer.decode(tokens).split(FRAME[0])[0]
            found.append((one.request, Written(text, "complete" if is_whole else "truncated")))
        return found

    def _draw(self, asked: Sequence[Asked]) -> list[tuple[Request, Image]]:
        config = self.loaded.model.config
        side = self._image_size // config.stride
        streams = (torch.Generator().manual_seed(one.request.seed) for one in asked)
        noise = torch.stack([torch.randn(side**2, config.latent_width, generator=one) for one in streams])
        latents = draw(
            self.loaded.model,
            tuple(zip(*(one.rows for one in asked), strict=True)),
            noise,
            (side, side),
            self._sampling,
            self._columns(asked[0]),
        )
        decode, patch = self.loaded.autoencoder.decode, config.latent_patch_size
        pixels = (decode(whole(picture, side, side, patch)) for picture in latents)
        return [(one.request, from_pixels(each)) for one, each in zip(asked, pixels, strict=True)]

    def _columns(self, one: Asked) -> int:
        """Return the columns that rows have before what follows, or 0: those that their company takes."""
        return -(-length_of(one.rows[0]) // STEP) * STEP if self._rounds else 0


def _answered(request: Request, written: Written) -> Generation:
    thought, text = _split(written.text) if request.prompt.think else (None, written.text.strip())
    return Generation(request.key, text=text, thought=thought, finish=written.finish)


def _drawn(request: Request, picture: Image, thought: Written | None) -> Generation:
    if thought is None:
        return Generation(request.key, picture)
    said = re.sub(r"</?think>", "", thought.text).strip()
    return Generation(request.key, picture, thought=said, finish=thought.finish)


def _split(said: str) -> tuple[str, str]:
    """Return the thought, and what follows it.

    >>> _split("<think>8 / 4 is 2.</think>2 cups")
    ('8 / 4 is 2.', '2 cups')
    """
    thought, _, rest = said.rpartition("</think>")
    return thought.replace("<think>", "").strip(), rest.strip()
