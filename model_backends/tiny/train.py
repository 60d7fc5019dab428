"""Trains the tiny model from nothing:  python -m unisandbox.model_backends.tiny.train --out DIR

Muon for the matrices, Adam for the tables; the rate falls over the last part. Every step's documents follow
from the seed, the process and the step alone, so a training that is resumed ends with the same weights.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from unisandbox.datasets.cast import invented
from unisandbox.datasets.characters import HOME
from unisandbox.errors import UsageError
from unisandbox.model_backends.tiny.data import (
    LOOSE,
    NUMERALS,
    PEOPLE,
    PLACES,
    REQUESTS,
    SHARES,
    STRANGERS,
    TEXT_ALONE,
    Document,
    Stream,
    context,
)
from unisandbox.model_backends.tiny.model import Config, Transformer
from unisandbox.model_backends.tiny.tokenizer import PATCH, Codebook, Tokenizer, Words, fit_codebook, to_patches
from unisandbox.world import Scene, all_people, compose, kinds
from unisandbox.world.people import SYNONYMS
from unisandbox.world.vocabulary import words as words_of

if TYPE_CHECKING:
    from collections.abc import Iterable

CODES = 2048
"""Patches in the codebook: with fewer, some portraits are no longer read as the person they show."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How much is trained, and how fast."""

    steps: int = 7000
    rows: int = 10
    """Rows of a step, in each process."""
    length: int = 288
    """Ids in a row; documents are packed, none is cut."""
    matrix_rate: float = 0.02
    table_rate: float = 0.004
    warmup: int = 20
    decay: float = 0.4
    """The last share of the steps, over which the rate falls to nothing."""
    seed: int = 0

    def rate(self, step: int) -> float:
        """Return the share of the full rate at a step."""
        falling = (self.steps - step) / (self.decay * self.steps)
        return min(1.0, (step + 1) / self.warmup, max(0.01, falling))


# --- what is read ---


def new_tokenizer() -> Tokenizer:
    """Return the tokenizer of the sandbox's language, from its words and all it can draw."""
    sprites = torch.cat([to_patches(compose(Scene(objects=(name,)), 64, lattice=8)) for name in kinds()])
    portraits = torch.cat([to_patches(compose(Scene(person=person), 64)) for person in all_people()])
    return Tokenizer(Words(_language()), fit_codebook(sprites, portraits, CODES))


def _language() -> list[str]:
    """Return every word of the language: names excepted, which are spelled."""
    texts = [*REQUESTS, *LOOSE, *STRANGERS, *PLACES, *NUMERALS, HOME]
    texts += [word for kind in kinds().values() for word in words_of(kind)]
    texts += [word for values in SYNONYMS.values() for value, more in values.items() for word in (value, *more)]
    speechless = Tokenizer(Words(()), Codebook(torch.zeros(1, 3 * PATCH**2, dtype=torch.uint8)))
    stream = Stream(speechless, TEXT_ALONE, rows=4000)
    documents = stream.documents(Random("language"))
    texts += [part.text for _ in range(12_000) for part in next(documents)]
    names = "|".join(person.name for person in invented("train", PEOPLE))
    plain = re.sub(rf"\b({names})\b|\{{\w+\}}", " ", "\n".join(texts)).lower()
    return sorted({word for word in re.findall(r"[a-z]{2,}", plain) if len(set(word)) > 1})


def batch(
    documents: Iterable[Document], tokenizer: Tokenizer, rows: int, length: int
) -> tuple[Tensor, Tensor]:
    """Pack documents into rows of a length: ids and which to learn, (rows, length) each."""
    ids = torch.zeros(rows, length, dtype=torch.long)
    learn = torch.zeros(rows, length, dtype=torch.bool)
    filled = [0] * rows
    misses = 0
    for document in documents:
        made, learned = context(document, tokenizer)
        row = next((row for row in range(rows) if filled[row] + len(made) <= length), None)
        if row is None:
            misses += 1
            if misses == 12:
                break
            continue
        place = slice(filled[row], filled[row] + len(made))
        ids[row, place], learn[row, place] = torch.tensor(made), torch.tensor(learned)
        filled[row] += len(made)
    return ids, learn


# --- how weights change ---


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Return about the nearest matrix whose singular values are all alike (Newton-Schulz)."""
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(rounds):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal: for matrices inside the blocks."""

    def __init__(self, matrices: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every matrix."""
        for group in self.param_groups:
            for matrix in group["params"]:
                state = self.state[matrix]
                if "mean" not in state:
                    state["mean"] = torch.zeros_like(matrix)
                mean = state["mean"].mul_(group["momentum"]).add_(matrix.grad)
                update = matrix.grad + group["momentum"] * mean
                square = len(update) == 3 * update.shape[1]  # queries, keys and values: three matrices
                parts = update.chunk(3) if square else (update,)
                scale = max(1.0, len(parts[0]) / parts[0].shape[1]) ** 0.5
                matrix.add_(torch.cat([orthogonal(part) for part in parts]), alpha=-group["lr"] * scale)


class Trainer:
    """A model, its optimisers and how far it is."""

    def __init__(self, model: Transformer, recipe: Recipe) -> None:
        self.model, self.recipe, self.step = model, recipe, 0
        matrices = list(model.blocks.parameters())
        tables = [*model.embedding.parameters(), *model.head.parameters()]
        self.optimisers: list[torch.optim.Optimizer] = [
            Muon(matrices, recipe.matrix_rate),
            torch.optim.Adam(tables, recipe.table_rate, betas=(0.9, 0.98)),
        ]
        self._full = [recipe.matrix_rate, recipe.table_rate]

    def train(self, ids: Tensor, learn: Tensor, processes: int = 1) -> tuple[float, float]:
        """Take one step on a batch; return the mean loss of words and of patches."""
        losses = self.model.losses(ids, learn)
        torch.cat(losses).mean().backward()  # type: ignore[no-untyped-call]
        if processes > 1:
            self._share(processes)
        for optimiser, rate in zip(self.optimisers, self._full, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * self.recipe.rate(self.step)
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        words, patches = (loss.detach().mean().item() if len(loss) else 0.0 for loss in losses)
        return words, patches

    def _share(self, processes: int) -> None:
        """Average the gradients of all processes."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.view(-1) for gradient in gradients])
        torch.distributed.all_reduce(flat)
        flat /= processes
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def save(self, path: Path) -> None:
        """Write everything a resumed training needs, whole or not at all."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for number, optimiser in enumerate(self.optimisers):
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{number}.{index}.{name}": tensor for name, tensor in state.items()}
        save_file(tensors, path.with_suffix(".part"), {"step": str(self.step)})
        os.replace(path.with_suffix(".part"), path)

    def resume(self, path: Path) -> None:
        """Take up what ``save`` wrote."""
        with safe_open(path, "pt") as file:
            self.step = int(file.metadata()["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        self.model.load_state_dict({n[6:]: t for n, t in tensors.items() if n.startswith("model.")})
        for number, optimiser in enumerate(self.optimisers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                match name.split("."):
                    case ["optimiser", which, index, key] if int(which) == number:
                        state.setdefault(int(index), {})[key] = tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


# --- the run ---


def fit(
    trainer: Trainer,
    read: Callable[[int], tuple[Tensor, Tensor]],
    *,
    processes: int = 1,
    after: Callable[[int, Mapping[str, float]], None] = lambda step, log: None,
    every: int = 50,
) -> None:
    """Train to the end of the recipe; ``read`` gives the batch of a step, ``after`` hears how it goes."""
    began, losses = time.perf_counter(), []
    while trainer.step < trainer.recipe.steps:
        losses.append(trainer.train(*read(trainer.step), processes))
        if trainer.step % every == 0 or trainer.step == trainer.recipe.steps:
            words, patches = (sum(column) / len(column) for column in zip(*losses, strict=True))
            seconds = time.perf_counter() - began
            after(trainer.step, {"words": round(words, 4), "patches": round(patches, 4), "s": round(seconds, 1)})
            losses = []


def train(rank: int, processes: int, out: Path, recipe: Recipe, minutes: float, eager: bool) -> None:
    """Train in one process of several; the first writes log and checkpoints."""
    torch.set_num_threads(1)
    if processes > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{out.resolve()}/meeting", rank=rank, world_size=processes
        )
    tokenizer = Tokenizer.load(out)
    torch.manual_seed(recipe.seed)
    trainer = Trainer(Transformer(Config(len(tokenizer), len(tokenizer.words))), recipe)
    if (out / "training.safetensors").exists():
        trainer.resume(out / "training.safetensors")
    if not eager:
        trainer.model.forward = torch.compile(trainer.model.forward, dynamic=False)  # type: ignore[method-assign]
    stream = Stream(tokenizer, SHARES)

    def read(step: int) -> tuple[Tensor, Tensor]:
        documents = stream.documents(Random(f"{recipe.seed}/{rank}/{step}"))
        return batch(documents, tokenizer, recipe.rows, recipe.length)

    saved = time.monotonic()

    def after(step: int, log: Mapping[str, float]) -> None:
        nonlocal saved
        if rank:
            return
        line = {"step": step, **log}
        print(f"step {step}/{recipe.steps}  words {log['words']:.3f}  patches {log['patches']:.3f}  {log['s']:.0f} s",
              flush=True)
        with (out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if step == recipe.steps or time.monotonic() - saved > 60 * minutes:
            trainer.save(out / "training.safetensors")
            saved = time.monotonic()

    fit(trainer, read, processes=processes, after=after)
    if rank == 0:
        save_weights(trainer.model, out / "model.safetensors")
    if processes > 1:
        torch.distributed.destroy_process_group()


def save_weights(model: Transformer, path: Path) -> None:
    """Write weights to ship: half precision, with the shape of the model."""
    tensors = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path, model.config.metadata())


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints; resumed if it has one")
    parser.add_argument("--processes", type=int, default=2, help="one thread each (2)")
    parser.add_argument("--minutes", type=float, default=2.0, help="between two checkpoints (2)")
    parser.add_argument("--eager", action="store_true", help="do not compile (a third slower; needs no C++ compiler)")
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"({value})")
    given = vars(parser.parse_args(arguments))
    out, processes = given.pop("out"), given.pop("processes")
    minutes, eager = given.pop("minutes"), given.pop("eager")
    if processes < 1:
        raise UsageError(f"--processes {processes}: expected 1 or more.")
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "vocabulary.json").exists():
        new_tokenizer().save(out)
    (out / "meeting").unlink(missing_ok=True)
    work = (processes, out, Recipe(**given), minutes, eager)
    if processes == 1:
        train(0, *work)
    else:
        torch.multiprocessing.spawn(train, work, processes)


if __name__ == "__main__":
    main()
