"""Fine-tuning BAGEL: questions, and the words or the picture that should follow them.

A row is what ``generate`` puts in, and then the answer. Words are learned by the cross entropy of their
tokens; a picture by the velocity from its latents to noise at a random time (rectified flow), a tenth of
them without the prompt, as guidance needs it. The loss is that of the authors' trainer: the mean over all
tokens of words, plus the mean over all values of pictures. What is the same for every model is in
``unisandbox.training.finetuning``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from unisandbox.backend import TrainSpec
from unisandbox.errors import UsageError
from unisandbox.loading import number_format
from unisandbox.model_backends.bagel.checkpoint import AUTOENCODER, NAME, SETTINGS, TOKENIZER, WEIGHTS, Loaded
from unisandbox.model_backends.bagel.context import Latent, Row, Text, length_of
from unisandbox.model_backends.bagel.prompts import Prompts
from unisandbox.records import Example, Image, Prompt, Turn
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

PARTS = ("understanding", "generation", "vocabulary", "vit", "vae")
"""What can be frozen."""
BLIND = ("vit", "vae")
"""What never learns: no example holds a picture to look at, and the authors freeze the autoencoder."""
RATE, LORA_RATE = 2e-5, 2e-4


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings that arXiv 2511.20561 publishes. The rate rises to the last of them, and is constant then."""

    rate: float
    batch: int
    """Examples of a step, of 8 GPUs together: what their packs of tokens hold."""
    epochs: int
    warm_up: int = 2000
    """More steps than there are: the rate never gets as high as it is set."""


Preset = Literal["stars", "injection"]
RECIPES: Mapping[str, Recipe] = {
    "stars": Recipe(rate=2e-5, batch=64, epochs=6),  # 8 x 32768 tokens, of which a picture has 4096
    "injection": Recipe(rate=4e-5, batch=24, epochs=60),  # 8 x 64 tokens, of which a line has some 25
}


def part_of(name: str) -> str:
    """Return the part that a weight belongs to.

    >>> part_of("language_model.model.layers.0.mlp_moe_gen.up_proj.weight")
    'generation'
    """
    if name.startswith(("vit_model", "vit_pos_embed", "connector")):
        return "vit"
    if "embed_tokens" in name or "lm_head" in name:
        return "vocabulary"
    is_drawing = name.startswith(("time_embedder", "vae2llm", "llm2vae", "latent_pos_embed"))
    return "generation" if is_drawing or "_moe_gen" in name else "understanding"


def learning(names: Iterable[str], spec: TrainSpec, examples: Sequence[Example]) -> Iterator[str]:
    """Yield those weights or modules that learn: what is frozen, or what no example reaches, does not.

    Adapters are for matrices, not for the vocabulary. Positions are fixed.
    """
    still = {*BLIND, *spec.freeze}
    still |= {"vocabulary"} if spec.lora else set()
    still |= set() if any(example.image for example in examples) else {"generation"}
    says = any(example.text is not None for example in examples)
    for name in names:
        is_reached = says or "lm_head" not in name
        if is_reached and part_of(name) not in still and "pos_embed" not in name:
            yield name


def settled(
    loaded: Loaded, examples: Sequence[Example], spec: TrainSpec, device: torch.device, preset: Preset | None
) -> TrainSpec:
    """Return the specification with every choice made; raises UsageError for what cannot be meant."""
    if preset:
        recipe = RECIPES[preset]
        if spec.schedule == "cosine":
            raise UsageError(f"{NAME}: preset={preset} has a constant rate: leave out schedule='cosine'.")
        batch = recipe.batch if spec.batch is None else spec.batch
        spec = replace(
            spec,
            batch=batch,
            steps=ceil(recipe.epochs * len(examples) / max(batch, 1)) if spec.steps is None else spec.steps,
            rate=recipe.rate if spec.rate is None else spec.rate,
            schedule="constant",
        )
    made = finetuning.settled(NAME, spec, device, PARTS, rate=RATE, lora_rate=LORA_RATE)
    if loaded.places:
        raise UsageError(f"{NAME}: a model on several devices cannot be trained: leave out device_map.")
    if loaded.quantize == "8bit" or (loaded.quantize and not made.lora):
        raise UsageError(
            f"{NAME}: quantize={loaded.quantize} cannot be trained so: pass lora, with quantize=4bit, or "
            "leave it out."
        )
    if not any(learning((name for name, _ in loaded.model.named_parameters()), made, examples)):
        raise nothing_left(NAME, made)
    return made


# --- what is learned ---


@dataclass(frozen=True, slots=True)
class Lesson:
    """An example: what is read, and the words or the picture that should follow."""

    prompt: Row
    answer: Text | Image


def lessons(prompts: Prompts, examples: Sequence[Example]) -> list[Lesson]:
    """Return examples as ``generate`` puts them in."""
    return [_lesson(prompts, example) for example in examples]


def _lesson(prompts: Prompts, example: Example) -> Lesson:
    turns = (Turn("user", example.prompt),)
    if example.image is None:
        return Lesson(prompts.answer(Prompt(turns, "text")), prompts.text(example.text or ""))
    return Lesson(prompts.picture(Prompt(turns, "image"))[0], example.image)


@dataclass(frozen=True, slots=True)
class Learned:
    """A row whose last piece is learned: words, or noisy latents with the velocity that they have."""

    row: Row
    velocity: Tensor | None = None
    """(height x width, values)"""

    @property
    def tokens(self) -> tuple[int, int]:
        """Return how many tokens are learned: of words, and of pictures."""
        last = self.row[-1].length
        return (last - 1, 0) if self.velocity is None else (0, last - 2)


def noised(prompt: Row, clean: Latent, noise: Tensor, time: float) -> Learned:
    """Return a picture between its latents (time 0) and noise (1)."""
    values = (1 - time) * clean.values + time * noise
    return Learned((*prompt, replace(clean, values=values, time=time)), noise - clean.values)


class Learner(finetuning.Learner):
    """BAGEL as it learns."""

    epsilon = 1e-15

    def __init__(
        self, loaded: Loaded, examples: Sequence[Example], spec: TrainSpec, device: torch.device
    ) -> None:
        """Take a loaded model, and where it will learn; makes its weights what the specification trains."""
        super().__init__()
        self._loaded, self._spec, self._device = loaded, spec, device
        self._prompts = Prompts(loaded)
        self._lessons = lessons(self._prompts, examples)
        self._kind = getattr(torch, spec.precision or "")
        self._dtype = loaded.model.dtype
        loaded.autoencoder.to(device)
        loaded.model.language_model.model.gradient_checkpointing = device.type != "cpu"
        self.model = prepared(loaded.model, spec, lambda names: learning(names, spec, examples))
        self.train()

    @torch.no_grad()
    def share(self, step: int, part: slice, mean: Callable[[Tensor], Tensor]) -> tuple[tuple[Any, ...], int]:
        """Return rows, and how many tokens of words and of pictures a process has on average."""
        chosen = list(places(self._spec, len(self._lessons), step))[part]
        rows = [self._learned(place, self._lessons[number]) for place, number in chosen]
        counts = torch.tensor([row.tokens for row in rows], dtype=torch.float32, device=self._device).sum(0)
        return (rows, mean(counts)), sum(length_of(each.row) for each in rows)

    def _learned(self, place: int, lesson: Lesson) -> Learned:
        """Return a row; what is random of it follows from the seed and its place."""
        if isinstance(lesson.answer, Text):
            return Learned((*lesson.prompt, lesson.answer))
        random = Random(f"{self._spec.seed} drawn {place}")
        prompt = () if random.random() < UNPROMPTED else lesson.prompt
        stream = torch.Generator().manual_seed(random.getrandbits(63))
        time = torch.randn(1, generator=stream).sigmoid().item()
        clean = self._prompts.known(lesson.answer.pil(), stream)
        clean = replace(clean, values=clean.values.cpu())
        return noised(prompt, clean, torch.randn(clean.values.shape, generator=stream), time)

    def forward(self, rows: Sequence[Learned], counts: Tensor) -> Tensor:
        """Return the loss of these rows; ``counts`` (2,) is what words and pictures are divided by.

        It is that of ``share``, so that the mean over processes is the loss of all rows of a step.
        """
        model = self._loaded.model
        with torch.autocast(self._device.type, self._kind, enabled=self._kind != torch.float32):
            hidden, layout = model([each.row for each in rows])
            grid = layout.spread(hidden)
            words, pictures, velocities = [], [], []
            ids: list[int] = []
            for each, line in zip(rows, grid, strict=True):
                last, start = each.row[-1], length_of(each.row[:-1])
                if isinstance(last, Text):
                    words.append(line[start : start + last.length - 1])
                    ids += last.ids[1:]
                elif each.velocity is not None:
                    pictures.append(line[start + 1 : start + last.length - 1])
                    velocities.append(each.velocity)
            loss = torch.zeros((), device=self._device)
            if words:
                scores = model.language_model.lm_head(torch.cat(words)).float()
                wanted = torch.tensor(ids, device=self._device)
                loss = loss + F.cross_entropy(scores, wanted, reduction="sum") / counts[0]
            if pictures:
                found = model.llm2vae(torch.cat(pictures)).float()
                away = (found - torch.cat(velocities).to(found)) ** 2
                loss = loss + away.mean(-1).sum() / counts[1]
        return loss

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write adapters, or a folder in the published layout, in the number format that was loaded."""
        if self._spec.lora:
            self.model.save_pretrained(folder, state_dict=weights, save_embedding_layers=False)
            return
        folder.mkdir()
        kept = {name: each.to(self._dtype).contiguous() for name, each in weights.items()}
        save_file(kept, folder / WEIGHTS)
        for name in (*SETTINGS, AUTOENCODER, *TOKENIZER):
            shutil.copyfile(self._loaded.folder / name, folder / name)


def teach(
    loaded: Loaded,
    examples: Sequence[Example],
    spec: TrainSpec,
    out: Path,
    *,
    preset: Preset | None = None,
    every: int = EVERY,
    quiet: bool = False,
) -> Mapping[str, str]:
    """Train the model on examples; see ``Trainable``. Changes the weights in memory."""

    def learner(spec: TrainSpec, device: torch.device) -> Learner:
        from accelerate import PartialState

        if PartialState().num_processes > 1 and len({example.image is None for example in examples}) > 1:
            raise UsageError(
                f"{NAME}: words and pictures together are learned by one process only, as a step of one of "
                "several may have none of a kind. Train on one after the other."
            )
        made = Learner(loaded, examples, spec, device)
        made.warm_up = RECIPES[preset].warm_up if preset else None
        return made

    teaching = Teaching(
        who=NAME,
        weights=loaded.digest,
        device=loaded.model.device,
        settle=lambda spec, device: settled(loaded, examples, spec, device, preset),
        learner=learner,
        about={"preset": preset, "dtype": number_format(loaded.model.dtype)},
    )
    made = finetuning.teach(teaching, examples, spec, out, every=every, quiet=quiet)
    found = loading("path", out, made, loaded.adapters)
    return found if made.lora else {**found, "weights": WEIGHTS}
