"""Trains the model: ``python -m unisandbox.model_backends.tiny.train OUT [--inject BASE]``.

From nothing, or with ``--inject`` a trained one further, to teach it the benchmark's people in words alone;
``teach`` is the same for any examples, in words or pictures.
Two streams of documents make every step, one a process with ``--workers 2``. A step draws its documents from
the seed and its own number alone, so a run that is killed goes on from its last checkpoint and ends with the
same weights, and one process gets the same as two but for rounding.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from unisandbox.backend import TrainSpec
from unisandbox.errors import BackendError, UnisandboxError, UsageError
from unisandbox.model_backends.tiny import checkpoint, patches, words
from unisandbox.model_backends.tiny.checkpoint import Model
from unisandbox.model_backends.tiny.documents import (
    OPENING,
    ROWS,
    SHARES,
    TEXT_REPLAY,
    Document,
    Material,
    Writer,
    vocabulary_texts,
)
from unisandbox.model_backends.tiny.network import Network, Pair
from unisandbox.model_backends.tiny.optimiser import ADAM_RATE, MUON_RATE, Optimiser
from unisandbox.model_backends.tiny.patches import TOKENS
from unisandbox.model_backends.tiny.words import PAD
from unisandbox.records import Example
from unisandbox.training.examples import digest
from unisandbox.training.injection import lessons
from unisandbox.training.record import Record

STREAMS = 2
LENGTH = 256
"""Tokens of a row of documents."""
FILL = 0.96
"""Share of the rows that documents are drawn for; more would often not fit."""
STATE = "state.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides the weights."""

    seed: int = 0
    steps: int = 5000
    batch: int = 12
    """Rows of LENGTH tokens in each stream of a step."""
    muon_rate: float = MUON_RATE
    adam_rate: float = ADAM_RATE
    warm_up: int = 50
    """Steps in which the rates rise."""
    decay: float = 0.6
    """The last part of the steps, in which the rates fall to nothing, as a share."""
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    """Of the documents, how many are of each sort."""
    opening: Mapping[str, float] = field(default_factory=lambda: dict(OPENING))
    """The same for the first steps."""
    opening_steps: int = 500
    reading: float = 0.5
    """The first part of the steps, in which ever fewer pictures see the text that they are drawn by, as a
    share. A picture is to be drawn from the last state of the text alone, but so it learned kinds slowly."""
    examples: str = ""
    """Digest of the examples that are taught beside, of the sort ``example``; empty for none."""
    inverse: str = "first"
    """How thoughts search for a person: the name ``first``, or ``enumerate`` both favourites before."""
    rows: int = ROWS
    """Rows of each reasoning task to draw from."""
    width: int = 128
    layers: int = 8
    precision: str = "float32"
    """Number format of the matrix products: float32, or bfloat16 where the processor is good at it."""

    def rate(self, step: int) -> float:
        """Return the share of the full rates for a step, counted from 0."""
        rising = min(1.0, (step + 1) / max(1, self.warm_up))
        falling = min(1.0, (self.steps - step) / max(1.0, self.decay * self.steps))
        return rising * falling


TEACHING = Recipe(
    steps=700, muon_rate=0.008, adam_rate=0.0015, decay=1.0, opening_steps=0, reading=0, rows=6000
)
"""How a trained model is taught examples."""
MIX = 0.55
"""Share of other documents while examples are taught, against forgetting."""


def teaching(examples: Sequence[Example], spec: TrainSpec) -> Recipe:
    """Return the recipe that teaches examples to a trained model.

    Where all of them are words, what is repeated beside them is mostly words, too. Raises UsageError for
    what it cannot do.
    """
    for name, plain in (("schedule", "linear"), ("freeze", ()), ("lora", 0)):
        if (found := getattr(spec, name)) != plain:
            raise UsageError(f"tiny cannot be trained with {name}={found!r}: leave it at {plain!r}.")
    if not examples:
        raise UsageError("tiny was given no examples to learn.")
    mix = MIX if spec.mix is None else spec.mix
    replay = SHARES if any(example.image for example in examples) else TEXT_REPLAY
    rate, steps = spec.rate or TEACHING.muon_rate, spec.steps or TEACHING.steps
    return replace(
        TEACHING,
        seed=spec.seed,
        steps=steps,
        warm_up=min(TEACHING.warm_up, steps // 10),
        batch=spec.batch or TEACHING.batch,
        muon_rate=rate,
        adam_rate=TEACHING.adam_rate * rate / TEACHING.muon_rate,
        shares={"example": 1 - mix} | {sort: mix * share for sort, share in replay.items()},
        examples=digest(examples),
        precision=spec.precision or best_precision(),
    )


def best_precision() -> str:
    """Return bfloat16 where the processor multiplies it natively, which halves the time; else float32."""
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return "bfloat16" if native or torch.cuda.is_available() else "float32"


# --- one step ---


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of documents, each seeing only itself."""

    tokens: Tensor
    """(rows, length)"""
    learned: Tensor
    """(rows, length): whether the token is to be predicted."""
    document: Tensor
    """(rows, length): the number of its document in the row; 0 is padding."""
    pictures: Tensor
    """(pictures, TOKENS): the tokens of the pictures that documents end in."""
    drawn: Tensor
    """(pictures, 2): the row and the place of the token that each is drawn from."""
    reads: Tensor
    """(pictures,): whether it sees the text before that token, too."""


def packed(documents: Iterator[Document], rows: int, length: int = LENGTH) -> Batch:
    """Fill rows with whole documents: the longest first, each into the first row that has room."""
    drawn, room = [], FILL * rows * length
    while room > 0:
        drawn.append(next(documents))
        room -= len(drawn[-1].tokens)
    tokens = torch.full((rows, length), PAD)
    learned = torch.zeros((rows, length), dtype=torch.bool)
    owner = torch.zeros((rows, length), dtype=torch.long)
    starts = [0] * rows
    pictures, ends, reads = [], [], []
    for number, document in enumerate(sorted(drawn, key=lambda one: -len(one.tokens)), 1):
        size = len(document.tokens)
        row = next((row for row, start in enumerate(starts) if start + size <= length), None)
        if row is None:
            continue  # one or two at the end of a step
        place = slice(starts[row], starts[row] + size)
        tokens[row, place] = torch.tensor(document.tokens)
        learned[row, place] = torch.tensor(document.learned)
        owner[row, place] = number
        starts[row] += size
        if document.picture:
            pictures.append(document.picture)
            ends.append((row, starts[row] - 1))
            reads.append(document.reads)
    return Batch(
        tokens,
        learned,
        owner,
        torch.tensor(pictures, dtype=torch.long).view(-1, TOKENS),
        torch.tensor(ends, dtype=torch.long).view(-1, 2),
        torch.tensor(reads, dtype=torch.bool),
    )


def losses(network: Network, batch: Batch, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the mean loss of the learned words, and that of the pictures' tokens.

    A picture opens with the last state of its text, in the place of a token.
    """
    split, owner = network.shape.words, batch.document
    kept: list[Pair] = []
    places = torch.arange(owner.shape[1], device=owner.device).expand_as(owner)
    own = (owner[:, :, None] == owner[:, None, :]).tril()
    read = network(network.embedded(batch.tokens), places, _mask(own, kind), keep=kept)
    learned = batch.learned[:, 1:]
    words = batch.tokens[:, 1:][learned]
    said = _loss(read[:, :-1][learned], words, network.head.weight[:split], kind)

    halves = batch.reads, ~batch.reads
    drawn = [_drawn(network, batch, which, read, kept, kind) for which in halves]
    pictures = torch.cat([batch.pictures[which] for which in halves])
    return said, _loss(torch.cat(drawn), pictures.flatten() - split, network.head.weight[split:], kind)


def _drawn(
    network: Network, batch: Batch, which: Tensor, read: Tensor, kept: Sequence[Pair], kind: torch.dtype
) -> Tensor:
    """Return the last states of some of the pictures' tokens, all of which see the text or none, flat."""
    (row, place), pictures = batch.drawn[which].T, batch.pictures[which]
    x = torch.cat([read[row, place][:, None], network.embedded(pictures[:, :-1])], 1)
    after = torch.arange(TOKENS, device=x.device)
    seen, before = (after <= after[:, None]).expand(len(row), -1, -1), []
    if batch.reads[which].any():
        text = batch.document[row] == batch.document[row, place][:, None]
        seen = torch.cat([text[:, None].expand(-1, TOKENS, -1), seen], 2)
        before = [(key[row], value[row]) for key, value in kept]
    drawn: Tensor = network(x, place[:, None] + 1 + after, _mask(seen, kind), before=before)
    return drawn.flatten(0, 1)


def _mask(seen: Tensor, kind: torch.dtype) -> Tensor:
    """Return what is added to attention scores, where (batch, length, keys) says what is seen."""
    return torch.zeros(seen.shape, dtype=kind, device=seen.device).masked_fill(~seen, float("-inf"))[:, None]


def _loss(hidden: Tensor, wanted: Tensor, weight: Tensor, kind: torch.dtype) -> Tensor:
    """Return the mean loss of tokens (many,) given what comes before them (many, width); 0 of none."""
    scores = F.linear(hidden.to(kind), weight.to(kind)).float()
    return F.cross_entropy(scores, wanted) if len(wanted) else scores.sum()


def stream(writer: Writer, recipe: Recipe, step: int, number: int) -> Iterator[Document]:
    """Yield the documents of one stream of one step."""
    draws = Random(f"{recipe.seed} {step} {number}")
    shares = recipe.opening if step < recipe.opening_steps else recipe.shares
    reading = 1 - step / (recipe.reading * recipe.steps) if recipe.reading else 0
    while True:
        document = writer.write(draws, shares)
        yield replace(document, reads=draws.random() < reading) if document.picture else document


class Trainer:
    """Trains a model in place, alone or as one of several processes."""

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        writer: Writer,
        *,
        worker: int = 0,
        workers: int = 1,
        device: str = "cpu",
    ) -> None:
        self.model = model
        self.recipe = recipe
        self._writer = writer
        self._mine = [number for number in range(STREAMS) if number % workers == worker]
        self._shared = workers > 1
        self._device = torch.device(device)
        self._kind = getattr(torch, recipe.precision)
        model.network.to(self._device)
        self.optimiser = Optimiser(model.network, recipe.muon_rate, recipe.adam_rate)

    def step(self, number: int) -> tuple[float, float]:
        """Do one step, counted from 0; return the losses of words and of image tokens."""
        network = self.model.network
        seen = torch.zeros(2)
        for which in self._mine:
            documents = stream(self._writer, self.recipe, number, which)
            batch = packed(documents, self.recipe.batch)
            batch = Batch(*(getattr(batch, part.name).to(self._device) for part in fields(batch)))
            pair = losses(network, batch, self._kind)
            (sum(pair, torch.zeros(())) / STREAMS).backward()  # type: ignore[no-untyped-call]
            seen += torch.tensor([loss.item() for loss in pair]) / STREAMS
        if self._shared:
            _add_up([*(parameter.grad for parameter in network.parameters()), seen])
        if not seen.isfinite().all():
            raise BackendError(
                f"tiny: the loss is no number any more in step {number + 1}. The last checkpoint is kept; "
                f"lower the rate ({self.recipe.muon_rate:g})."
            )
        self.optimiser.step(self.recipe.rate(number))
        return seen[0].item(), seen[1].item()


def _add_up(tensors: Sequence[Tensor | None]) -> None:
    """Replace tensors by their sums over all processes."""
    given = [tensor for tensor in tensors if tensor is not None]
    flat = torch.cat([tensor.flatten() for tensor in given])
    dist.all_reduce(flat)
    start = 0
    for tensor in given:
        tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()


# --- a whole training ---


def train(
    recipe: Recipe,
    out: Path,
    base: Path | None = None,
    examples: Sequence[Example] = (),
    *,
    worker: int = 0,
    workers: int = 1,
    device: str = "cpu",
    every: int = 200,
    quiet: bool = False,
) -> None:
    """Train from nothing or from ``base``, or go on with what ``out`` holds; write the model there.

    Every so many steps a checkpoint is kept. Raises UsageError where ``out`` holds another training,
    BackendError when the loss is no longer a number.
    """
    if workers > 1:
        torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    material = Material(rows=recipe.rows, inverse=recipe.inverse)
    model, state = _begin(recipe, out, base, material)
    writer = Writer(model.words, model.patches, material, examples)
    trainer = Trainer(model, recipe, writer, worker=worker, workers=workers, device=device)
    first = int(state.pop("step", torch.tensor(0)))
    trainer.optimiser.restore({name: tensor.to(device) for name, tensor in state.items()})
    tokens = STREAMS * recipe.batch * LENGTH
    with Record(out, recipe.steps, first, kept=worker == 0, shown=worker == 0 and not quiet) as record:
        for number in range(first, recipe.steps):
            said, drawn = trainer.step(number)
            seen = {"loss_words": said, "loss_images": drawn}
            record.add(number, seen, tokens=tokens, rate=recipe.rate(number))
            if worker == 0 and (number + 1) % every == 0 and number + 1 < recipe.steps:
                extra = {**trainer.optimiser.state(), "step": torch.tensor(number + 1)}
                checkpoint.save(model, out / STATE, asdict(recipe), extra)
    if worker == 0:
        notes = {"recipe": asdict(recipe), "base": dict(model.notes), "torch": torch.__version__}
        checkpoint.save(model, out / checkpoint.FILE, notes, half=True)
        (out / STATE).unlink(missing_ok=True)


def _is_done(recipe: Recipe, out: Path, base: Path | None) -> bool:
    """Whether ``out`` holds what this training would make; raises UsageError when it holds something else."""
    if not (out / checkpoint.FILE).exists():
        return False
    notes = checkpoint.load(out / checkpoint.FILE).notes
    start = dict(checkpoint.load(base).notes) if base else {}
    if _plain(notes.get("recipe")) == _plain(asdict(recipe)) and _plain(notes.get("base")) == _plain(start):
        return True
    raise UsageError(f"{out} holds a model that was trained otherwise. Choose another folder, or delete it.")


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _begin(
    recipe: Recipe, out: Path, base: Path | None, material: Material
) -> tuple[Model, dict[str, Tensor]]:
    """Return the model to go on with, and the state of its optimiser."""
    if (out / STATE).exists():
        model, state = checkpoint.load_with_extra(out / STATE)
        if other := [name for name, value in asdict(recipe).items() if model.notes.get(name) != value]:
            raise UsageError(
                f"{out} holds an unfinished training with another {', '.join(other)}. "
                "Give the same options, or another folder."
            )
        return model, state
    if base:
        return checkpoint.load(base), {}
    vocabulary = words.learned(vocabulary_texts(material), material.names)
    size = {"seed": recipe.seed, "width": recipe.width, "layers": recipe.layers}
    return checkpoint.fresh(vocabulary, patches.learned(), **size), {}


# --- several processes ---


def _worker(worker: int, workers: int, meeting: str, arguments: dict[str, Any]) -> None:
    if "GLOO_SOCKET_IFNAME" not in os.environ:  # the machine's own name need not resolve
        loops = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
        os.environ |= {"GLOO_SOCKET_IFNAME": loops[0]} if loops else {}
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=worker, world_size=workers)
    try:
        train(**arguments, worker=worker, workers=workers)
    except UnisandboxError as error:  # all of them meet the same one
        Path(f"{meeting}.{worker}").write_bytes(pickle.dumps(error))
    finally:
        dist.destroy_process_group()


def spread(workers: int, *, recipe: Recipe, out: Path, base: Path | None = None, **more: Any) -> None:
    """Call ``train`` in so many processes on this machine, unless ``out`` holds what it would make.

    Raises what it raises, and UsageError where ``out`` holds another model.
    """
    if _is_done(recipe, out, base):
        return
    arguments = {"recipe": recipe, "out": out, "base": base, **more}
    if workers == 1:
        train(**arguments)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        spawn(_worker, (workers, str(meeting), arguments), nprocs=workers)  # type: ignore[no-untyped-call]
        for fault in Path(folder).glob("meeting.*"):
            raise pickle.loads(fault.read_bytes())


def teach(
    base: Path,
    examples: Sequence[Example],
    spec: TrainSpec,
    out: Path,
    *,
    workers: int | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> None:
    """Teach examples to a copy of a trained model; see ``Trainable``."""
    recipe = teaching(examples, spec)
    count = workers or (default_workers() if device == "cpu" else 1)
    spread(count, recipe=recipe, out=out, base=base, examples=examples, device=device, quiet=quiet)


def default_workers() -> int:
    """Return how many processes train on a processor: as many as there are streams, and cores for."""
    return min(STREAMS, os.cpu_count() or 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m unisandbox.model_backends.tiny.train",
        description=(__doc__ or "").partition("\n\n")[2],
        epilog="examples: ...train trained; ...train taught --inject trained/model.safetensors",
    )
    parser.add_argument("out", type=Path, help="folder for the model; an unfinished training there goes on")
    parser.add_argument("--inject", type=Path, metavar="BASE", help="teach this model the benchmark's people")
    parser.add_argument("--seed", type=int, default=0, help="decides weights and documents (default: 0)")
    parser.add_argument("--steps", type=int, help=f"default: {Recipe().steps}, or {TEACHING.steps} to inject")
    parser.add_argument(
        "--inverse",
        choices=("first", "enumerate"),
        default="first",
        help="how thoughts search for a person: name one at once, or recall both favourites first",
    )
    parser.add_argument("--workers", type=int, choices=(1, 2), default=default_workers())
    parser.add_argument("--device", default="cpu", help="cpu, or cuda with --workers 1 (default: cpu)")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default=best_precision(),
        help="of matrix products (default here: %(default)s)",
    )
    given = parser.parse_args(argv)
    examples = lessons() if given.inject else []
    plain = teaching(examples, TrainSpec()) if given.inject else Recipe()
    recipe = replace(
        plain,
        seed=given.seed,
        steps=given.steps or plain.steps,
        inverse=given.inverse,
        precision=given.precision,
    )
    try:
        spread(
            given.workers,
            recipe=recipe,
            out=given.out,
            base=given.inject,
            examples=examples,
            device=given.device,
        )
    except UnisandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"The model is in {given.out / checkpoint.FILE}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
