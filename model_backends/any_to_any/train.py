"""Fine-tuning: questions, and the words or the tokens of the picture that should follow them.

A row is what ``generate`` puts in, and then what it should put out; the loss is on the latter, each example
counting the same however long it is. For a small share of the pictures the prompt is taken away as
classifier-free guidance does, so that what a prompt is set against is learned too. All that is the same for
every model is in ``unisandbox.training.finetuning``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from unisandbox.backend import TrainSpec
from unisandbox.errors import UsageError
from unisandbox.model_backends.any_to_any.families import NAME, Family
from unisandbox.model_backends.any_to_any.rows import Inputs
from unisandbox.records import Example, Turn
from unisandbox.training import finetuning
from unisandbox.training.finetuning import (
    EVERY,
    UNPROMPTED,
    Teaching,
    loading,
    nothing_left,
    places,
    prepared,
)

BLIND = "vision"
"""The part that never learns: no example holds a picture to look at."""


def settled(family: Family, spec: TrainSpec, device: torch.device) -> TrainSpec:
    """Return the specification with every choice made; raises UsageError for what cannot be meant."""
    made = finetuning.settled(NAME, spec, device, family.parts)
    if not _parts(family, made):
        raise nothing_left(NAME, made)
    return made


def _parts(family: Family, spec: TrainSpec) -> list[str]:
    """Return the parts that learn; adapters are for matrices, not for the vocabulary."""
    still = {BLIND, *spec.freeze, *(("vocabulary",) if spec.lora else ())}
    return [part for part in family.parts if part not in still]


# --- examples as tokens ---


@dataclass(frozen=True, slots=True)
class Lesson:
    """One example as tokens: what is put in, and what should follow."""

    prompt: Tensor
    """(length,)"""
    unprompted: Tensor
    """The same with the question taken away; of words, the prompt itself."""
    target: Tensor
    """(length,)"""
    drawn: bool
    """Whether the target is in a vocabulary of its own, that of pictures."""


@torch.no_grad()
def lessons(family: Family, examples: Sequence[Example], device: torch.device) -> list[Lesson]:
    """Return examples as tokens, found on a device; raises UsageError for one that is too long."""
    family.model.model.vqmodel.float().to(device)  # half precision would find other entries of the codebook
    most = family.model.config.get_text_config().max_position_embeddings
    found = []
    for number, example in enumerate(examples, 1):
        found.append(lesson := _lesson(family, example))
        if (length := len(lesson.prompt) + len(lesson.target)) > most:
            raise UsageError(
                f"{NAME}: example {number} ({example.prompt[:40]!r}) has {length} tokens; "
                f"this model reads at most {most}."
            )
    return found


def _lesson(family: Family, example: Example) -> Lesson:
    turns = (Turn("user", example.prompt),)
    if example.image is None:
        prompt = _tokens(family.words(turns))
        return Lesson(prompt, prompt, family.answer(turns, example.text or ""), drawn=False)
    inputs = family.picture(turns)
    codes = family.codes(example.image.pil())
    return Lesson(_tokens(inputs), family.unprompted(inputs)[0], codes, drawn=len(family.heads) > 1)


def _tokens(inputs: Inputs) -> Tensor:
    return inputs["input_ids"][0]


def drawn_for(lessons: Sequence[Lesson], spec: TrainSpec, step: int) -> Iterator[tuple[Tensor, Lesson]]:
    """Yield the examples of a step, each with what is put in."""
    for place, number in places(spec, len(lessons), step):
        lesson = lessons[number]
        without = Random(f"{spec.seed} without {place}").random() < UNPROMPTED
        yield (lesson.unprompted if without else lesson.prompt), lesson


def together(rows: Sequence[tuple[Tensor, Lesson]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens (rows, length), which of them are of pictures, and which are to be learned.

    Rows are padded behind, where nothing looks.
    """
    learned = [
        torch.cat([torch.zeros(len(prompt)), torch.ones(len(lesson.target))]).bool()
        for prompt, lesson in rows
    ]
    drawn = [mask & lesson.drawn for mask, (_, lesson) in zip(learned, rows, strict=True)]
    tokens = [torch.cat([prompt, lesson.target]) for prompt, lesson in rows]
    whole = (pad_sequence(each, batch_first=True) for each in (tokens, drawn, learned))
    return tuple(whole)  # type: ignore[return-value]


# --- the model while it learns ---


def save_memory(model: Any) -> None:
    """Keep less of each layer for the way back, and compute it again then."""
    old = "gradient_checkpointing_enable"  # the only name in older transformers
    enable = getattr(model, "activation_checkpointing_enable", None) or getattr(model, old)
    enable({"use_reentrant": False})


class Learner(finetuning.Learner):
    """One family as it learns."""

    def __init__(
        self, family: Family, spec: TrainSpec, device: torch.device, lessons: Sequence[Lesson] = ()
    ) -> None:
        """Take a loaded model, and where it will learn; makes its weights what the specification trains."""
        super().__init__()
        self._family = family
        self._spec = spec
        self._device = device
        self._lessons = lessons
        self._dtype = family.model.dtype
        self._kind = getattr(torch, spec.precision or "")
        if device.type != "cpu":
            save_memory(family.model)
        self.model = prepared(family.model, spec, lambda names: _learning(family, spec, names))
        self.train()
        family.model.model.vqmodel.eval()

    def share(self, step: int, part: slice, mean: Callable[[Tensor], Tensor]) -> tuple[tuple[Any, ...], int]:
        """Return what ``together`` makes of them: as many of each process, so that means are means."""
        tokens, drawn, learned = together(list(drawn_for(self._lessons, self._spec, step))[part])
        return tuple(each.to(self._device) for each in (tokens, drawn, learned)), tokens.numel()

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write it as it was loaded."""
        if self._spec.lora:
            self.model.save_pretrained(folder, state_dict=weights, save_embedding_layers=False)
        else:
            self.model.to(self._dtype)
            weights = {name: weight.to(self._dtype) for name, weight in weights.items()}
            self.model.save_pretrained(folder, state_dict=weights)
            self._family.processor.save_pretrained(folder)

    def forward(self, tokens: Tensor, drawn: Tensor, learned: Tensor) -> Tensor:
        """Return the mean over rows of each row's mean loss; for the arguments see ``together``."""
        with torch.autocast(tokens.device.type, self._kind, enabled=self._kind != torch.float32):
            embedded = self._family.embedded(tokens[:, :-1], drawn[:, :-1])
            inside = self._family.core(inputs_embeds=embedded, use_cache=False).last_hidden_state
            wanted, drawn, learned = tokens[:, 1:], drawn[:, 1:], learned[:, 1:]
            losses = torch.zeros(wanted.shape, device=wanted.device)
            for kind, head in enumerate(self._family.heads):
                chosen = learned & (drawn == bool(kind))
                scores = head(inside[chosen]).float()
                losses[chosen] = F.cross_entropy(scores, wanted[chosen], reduction="none")
        return (losses.sum(1) / learned.sum(1)).mean()


def _learning(family: Family, spec: TrainSpec, names: Iterable[str]) -> Iterator[str]:
    """Yield those modules or weights that lie in the parts that learn."""
    beginnings = tuple(start for part in _parts(family, spec) for start in family.parts[part])
    return (name for name in names if name.startswith(beginnings))


def teach(
    family: Family,
    examples: Sequence[Example],
    spec: TrainSpec,
    out: Path,
    *,
    every: int = EVERY,
    quiet: bool = False,
) -> Mapping[str, str]:
    """Train the model on examples; see ``Trainable``. Changes the weights of ``family``."""
    if len(set(getattr(family.model, "hf_device_map", {}).values())) > 1:
        raise UsageError(f"{NAME}: a model on several devices cannot be trained: leave out device_map.")
    teaching = Teaching(
        who=NAME,
        weights=family.weights,
        device=family.model.device,
        settle=lambda spec, device: settled(family, spec, device),
        learner=lambda spec, device: Learner(family, spec, device, lessons(family, examples, device)),
    )
    spec = finetuning.teach(teaching, examples, spec, out, every=every, quiet=quiet)
    return loading("model", out, spec, family.adapters)
