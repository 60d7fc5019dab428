"""The backend ``tiny``: conversations become tokens, and what follows them becomes answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

from unisandbox.backend import Hidden, TrainSpec
from unisandbox.errors import UsageError
from unisandbox.model_backends.tiny.checkpoint import digest, load
from unisandbox.model_backends.tiny.generation import GREEDY, LONGEST, Sampling, draw, inside, last, write
from unisandbox.model_backends.tiny.patches import TOKENS
from unisandbox.model_backends.tiny.words import END, MODEL, THINK, USER
from unisandbox.prompts import conclusion
from unisandbox.records import Example, Fields, Finish, Generation, Image, Request, Turn


class Tiny:
    """Runs one model; see the package."""

    batch_size = 64

    def __init__(
        self,
        path: Path,
        *,
        thought: Literal["reissued", "inline"] = "reissued",
        temperature: float = 1.0,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        """Load a checkpoint; for the options see the factory."""
        self._path = path
        self._model = load(path)
        self._digest = digest(self._model)
        try:
            self._model.network.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            fault = str(error).splitlines()[0]
            raise UsageError(
                f"tiny: device={device!r}: {fault}. Use cpu, or a device of this machine."
            ) from None
        torch.set_num_threads(threads)
        self._threads = threads
        self._thought = thought
        self._sampling = Sampling(temperature=temperature)
        self._device = device
        self._warned: set[str] = set()

    def describe(self) -> Fields:
        """What it is, how it samples, and on what."""
        return {
            "checkpoint": self._path.name,
            "weights": self._digest,
            "notes": dict(self._model.notes),
            "parameters": sum(parameter.numel() for parameter in self._model.network.parameters()),
            "thinking": f"native, {self._thought}",
            "pictures": {"temperature": self._sampling.temperature, "min_p": self._sampling.least},
            "words": "greedy",
            "device": self._device,
            "dtype": str(self._model.network.head.weight.dtype).removeprefix("torch."),
            "threads": self._threads,
        }

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Answer all requests of a kind together."""
        contexts = self._contexts(requests)
        fitting = []
        for request in requests:
            if (fault := self._too_long(contexts[request.key])) is None:
                fitting.append(request)
            else:
                yield Generation(request.key, finish="error", error=fault)
        words = [request for request in fitting if request.prompt.output == "text"]
        pictures = [request for request in fitting if request.prompt.output == "image"]
        if words:
            yield from self._say(words, contexts)
        if pictures:
            yield from self._draw(pictures, contexts)

    def hidden(self, requests: Sequence[Request], after: Sequence[int] = (0,)) -> Iterator[Hidden]:
        """Yield what is inside before words, before a picture, and after codes of it; see the protocol."""
        if not all(0 <= number < TOKENS for number in after):
            raise UsageError(
                f"tiny: after={max(after)}: a picture has {TOKENS} tokens; it is still about to draw after 0 "
                f"to {TOKENS - 1} of them."
            )
        contexts = self._contexts(requests)
        fitting = [request for request in requests if self._too_long(contexts[request.key]) is None]
        words = [request for request in fitting if request.prompt.output == "text"]
        pictures = [request for request in fitting if request.prompt.output == "image"]
        if words:
            states = last(self._model.network, [contexts[request.key] for request in words])
            for request, one in zip(words, states.float().cpu().numpy(), strict=True):
                yield Hidden(request.key, {0: one})
        if pictures and after:
            self._think(pictures, contexts)
            asked, seeds = zip(*((contexts[request.key], request.seed) for request in pictures), strict=True)
            found = inside(self._model.network, asked, seeds, self._sampling, after)
            arrays = {place: states.float().cpu().numpy() for place, states in found.items()}
            for row, request in enumerate(pictures):
                yield Hidden(request.key, {place: states[row] for place, states in arrays.items()})

    def train(
        self, examples: Sequence[Example], spec: TrainSpec, out: Path, *, quiet: bool = False
    ) -> Mapping[str, str]:
        """Fine-tune all weights; ``spec.batch`` counts rows of 256 tokens in each of two streams."""
        from unisandbox.model_backends.tiny.train import teach

        teach(self._path, examples, spec, out, device=self._device, quiet=quiet)
        return {"checkpoint": str(out)}

    def _say(self, requests: Sequence[Request], contexts: dict[str, list[int]]) -> Iterator[Generation]:
        for request, tokens in self._written(requests, contexts):
            finish: Finish = "complete" if tokens[-1] == END else "truncated"
            yield Generation(request.key, text=self._model.words.text(tokens), finish=finish)

    def _draw(self, requests: Sequence[Request], contexts: dict[str, list[int]]) -> Iterator[Generation]:
        thoughts = self._think(requests, contexts)
        drawn = draw(
            self._model.network,
            [contexts[request.key] for request in requests],
            [request.seed for request in requests],
            self._sampling,
        )
        for request, codes in zip(requests, drawn, strict=True):
            picture = Image.from_pil(self._model.patches.picture(codes))
            yield Generation(request.key, picture, thought=thoughts.get(request.key))

    def _think(self, requests: Sequence[Request], contexts: dict[str, list[int]]) -> dict[str, str]:
        """Return the thoughts of those that are to think, by key, having put them into the contexts."""
        thoughts: dict[str, str] = {}
        thinking = [request for request in requests if request.prompt.think]
        for request, tokens in self._written(thinking, contexts) if thinking else ():
            thoughts[request.key] = thought = self._model.words.text(tokens)
            again = []
            if self._thought == "reissued":
                again = [USER, *self._model.words.tokens(conclusion(thought))]
            contexts[request.key] += [*tokens[: -1 if tokens[-1] == END else None], END, *again, MODEL]
        return thoughts

    def _written(
        self, requests: Sequence[Request], contexts: dict[str, list[int]]
    ) -> Iterator[tuple[Request, list[int]]]:
        written = write(
            self._model.network,
            [contexts[request.key] for request in requests],
            [request.seed for request in requests],
            GREEDY,
        )
        return zip(requests, written, strict=True)

    def _contexts(self, requests: Sequence[Request]) -> dict[str, list[int]]:
        """Return what each request is read as, by key."""
        return {
            request.key: self._context(request.prompt.turns) + [THINK] * request.prompt.think
            for request in requests
        }

    def _context(self, turns: Sequence[Turn]) -> list[int]:
        """Return turns as tokens."""
        words, patches = self._model.words, self._model.patches
        tokens: list[int] = []
        for turn in turns:
            self._warn(turn.text)
            said = words.tokens(turn.text)
            if turn.role == "model":
                tokens += [*[THINK] * bool(turn.thought), *said, END]
                continue
            tokens.append(USER)
            for image in turn.images:
                (codes,) = patches.tokens([image.pil()])
                tokens += (len(words) + code for code in codes)
            tokens += [*said, MODEL]
        return tokens

    def _too_long(self, context: Sequence[int]) -> str | None:
        most = self._model.network.shape.context - TOKENS - 2 * LONGEST
        if len(context) <= most:
            return None
        return f"the prompt has {len(context)} tokens; this model reads at most {most}"

    def _warn(self, text: str) -> None:
        if new := set(self._model.words.unknown(text)) - self._warned:
            self._warned |= new
            print(
                f"warning: tiny was never taught the words {', '.join(map(repr, sorted(new)))}: it reads "
                "them letter by letter. It knows the language of the sandbox's own tasks.",
                file=sys.stderr,
            )
