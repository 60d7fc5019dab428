"""Fine-tuning, as far as it is the same for every model: settings, order, steps, checkpoints, students.

A step draws its examples, and whatever else is random, from the seed and its own number alone, so a training
that is killed goes on from its last checkpoint and ends with the same weights. Several processes, started by
``accelerate launch``, share the examples of each step.
"""

from __future__ import annotations

import json
import math
import shutil
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)

from unisandbox.backend import TrainSpec
from unisandbox.batching import free, out_of_memory
from unisandbox.errors import BackendError, UsageError, unknown
from unisandbox.files import whole
from unisandbox.loading import needed
from unisandbox.records import Example
from unisandbox.training.adapters import adapted
from unisandbox.training.examples import digest
from unisandbox.training.record import Record

if TYPE_CHECKING:
    from accelerate import Accelerator

STEPS, BATCH = 500, 8
RATE, LORA_RATE = 1e-5, 2e-4
WARM_UP = 50
"""Steps in which the rate rises; never more than a tenth of all."""
UNPROMPTED = 0.1
"""Share of the pictures that are learned without their prompt."""
LOUDEST = 1.0
"""Gradients are scaled down to this norm."""
EVERY = 200
"""Steps between checkpoints."""
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
PLAN, STATE = "training.json", "state.pt"


# --- settings ---


def settled(
    who: str,
    spec: TrainSpec,
    device: torch.device,
    parts: Collection[str],
    *,
    rate: float = RATE,
    lora_rate: float = LORA_RATE,
) -> TrainSpec:
    """Return the specification with every choice made; raises UsageError for what cannot be meant."""

    def refuse(name: str, expected: str) -> UsageError:
        return UsageError(f"{who} cannot be trained with {name}={getattr(spec, name)!r}: {expected}.")

    made = replace(
        spec,
        steps=STEPS if spec.steps is None else spec.steps,
        batch=BATCH if spec.batch is None else spec.batch,
        rate=(lora_rate if spec.lora else rate) if spec.rate is None else spec.rate,
        precision=spec.precision or ("float32" if device.type == "cpu" else "bfloat16"),
    )
    for name, least in (("steps", 1), ("batch", 1), ("lora", 0)):
        if getattr(made, name) < least:
            raise refuse(name, f"expected a whole number of at least {least}")
    if not 0 < (made.rate or 0) < 1:
        raise refuse("rate", "expected a number between 0 and 1")
    if made.schedule not in (schedules := get_args(get_type_hints(TrainSpec)["schedule"])):
        raise refuse("schedule", f"expected {', '.join(schedules)}")
    if made.precision not in ("float32", "bfloat16"):
        raise refuse("precision", "expected float32 or bfloat16")
    if made.mix:
        raise refuse(
            "mix", "it has nothing of what it was trained on before; put examples of that among yours"
        )
    for part in made.freeze:
        if part not in parts:
            raise UsageError(f"{who}: freeze: {unknown('part', part, parts)}")
    return made


def nothing_left(who: str, spec: TrainSpec) -> UsageError:
    """Return the error of a specification that freezes all that could learn."""
    return UsageError(f"{who} cannot be trained with freeze={spec.freeze!r}: that leaves nothing to learn.")


def rate(spec: TrainSpec, step: int, warm_up: int | None = None) -> float:
    """Return the learning rate of a step, counted from 0; it rises for ``warm_up`` steps."""
    assert spec.steps is not None and spec.rate is not None
    if warm_up is None:
        warm_up = min(WARM_UP, spec.steps // 10)
    if step < warm_up:
        return spec.rate * (step + 1) / warm_up
    gone = (step - warm_up) / (spec.steps - warm_up)
    falling = {"linear": 1 - gone, "cosine": (1 + math.cos(math.pi * gone)) / 2, "constant": 1.0}
    return spec.rate * falling[spec.schedule]


def places(spec: TrainSpec, many: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield the place in the whole training, and the number, of each example of a step.

    Of ``many`` examples, every one comes once before any comes again.
    """
    assert spec.batch is not None
    for place in range(step * spec.batch, (step + 1) * spec.batch):
        turn, number = divmod(place, many)
        yield place, _order(spec.seed, turn, many)[number]


@lru_cache(maxsize=2)
def _order(seed: int, turn: int, many: int) -> list[int]:
    return Random(f"{seed} {turn}").sample(range(many), many)


# --- what learns, and what is told of it ---


def prepared(model: Any, spec: TrainSpec, learning: Callable[[Iterable[str]], Iterable[str]]) -> Any:
    """Return a model of which only some weights learn, or only adapters to some matrices.

    ``learning`` chooses among the names of all weights, or of all modules that are matrices.
    """
    if not spec.lora or spec.precision == "float32":
        model.float()  # steps in half precision would be lost in rounding
    model.requires_grad_(requires_grad=False)
    if spec.lora:
        matrices = (name for name, module in model.named_modules() if isinstance(module, nn.Linear))
        return adapted(model, list(learning(matrices)), spec)
    for name in learning([name for name, _ in model.named_parameters()]):
        model.get_parameter(name).requires_grad_()
    return model


def loading(option: str, out: Path, spec: TrainSpec, adapters: Sequence[Path]) -> dict[str, str]:
    """Return the options that load a student: of weights, ``option`` and no adapter of before."""
    if spec.lora:
        return {"adapter": "+".join(map(str, [*adapters, student(out, spec)]))}
    return {option: str(student(out, spec)), **({"adapter": ""} if adapters else {})}


# --- a whole training ---


class Learner(nn.Module):
    """A model whose output is its loss, as what spreads models over devices wants it.

    ``forward`` takes what ``share`` returns.
    """

    model: Any
    """What is trained and saved; those of its weights learn that require a gradient."""
    warm_up: int | None = None
    """Steps in which the rate rises, if not as ``rate`` has it."""
    epsilon = 1e-8
    """Of the optimiser."""

    @abstractmethod
    def share(self, step: int, part: slice, mean: Callable[[Tensor], Tensor]) -> tuple[tuple[Any, ...], int]:
        """Return what is learned from a part of the examples of a step, and how many tokens it has.

        ``mean`` is over the processes, which learn from one part each.
        """

    @abstractmethod
    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write a student of these weights of ``model``: adapters alone, or all."""


class Training:
    """Trains a model in a folder, alone or as one of several processes."""

    def __init__(
        self,
        who: str,
        learner: Learner,
        spec: TrainSpec,
        out: Path,
        *,
        accelerator: Accelerator,
        device: torch.device,
    ) -> None:
        """Take what to learn; goes on from the checkpoint in ``out``, where there is one."""
        self._who = who
        self._spec = spec
        self._out = out
        self._accelerator = accelerator
        self._plain = learner
        self.model: Any = learner.model
        if accelerator.distributed_type != "FSDP":  # which moves only what it keeps there
            learner.to(device)
        weights = [weight for weight in learner.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.95), eps=learner.epsilon, weight_decay=0.0)
        self._learner, self._optimizer = accelerator.prepare(learner, optimizer)
        self._first = self._restored()

    def run(self, every: int, *, quiet: bool) -> None:
        """Do the steps that are left, keeping a checkpoint every so many of them, and write the student."""
        spec, mine, warm_up = self._spec, self._accelerator.is_main_process, self._plain.warm_up
        assert spec.steps is not None
        with Record(self._out, spec.steps, self._first, kept=mine, shown=mine and not quiet) as record:
            for number in range(self._first, spec.steps):
                loss, tokens = self.step(number)
                record.add(number, {"loss": loss}, tokens=tokens, rate=rate(spec, number, warm_up))
                if (number + 1) % every == 0 and number + 1 < spec.steps:
                    self._keep(number + 1)
        self._write()

    def step(self, number: int) -> tuple[float, int]:
        """Do one step, counted from 0; return its loss, and how many tokens were read."""
        spec, accelerator = self._spec, self._accelerator
        torch.manual_seed(spec.seed + number)  # of dropout, where a model has it
        for group in self._optimizer.param_groups:
            group["lr"] = rate(spec, number, self._plain.warm_up)
        part = slice(accelerator.process_index, None, accelerator.num_processes)
        inputs, tokens = self._plain.share(number, part, lambda each: accelerator.reduce(each, "mean"))
        loss = self._learner(*inputs)
        accelerator.backward(loss)
        loudness = accelerator.clip_grad_norm_(self._learner.parameters(), LOUDEST)
        seen = accelerator.reduce(loss.detach(), "mean").item()
        if not math.isfinite(seen + loudness):
            raise BackendError(
                f"{self._who}: the loss is no number any more in step {number + 1}. The last checkpoint is "
                f"kept; lower the rate ({spec.rate:g}), in a new folder."
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        return seen, tokens * accelerator.num_processes

    # --- on disk ---

    def _restored(self) -> int:
        """Load the checkpoint, and return how many steps were done."""
        path = self._out / STATE
        if not path.exists():
            return 0
        with _one_line(self._who, "read", path):
            kept = torch.load(path, map_location="cpu", weights_only=True)
            set_state_dict(
                self._learner,
                self._optimizer.optimizer,
                model_state_dict=kept["weights"],
                optim_state_dict=kept["optimizer"],
                options=StateDictOptions(full_state_dict=True, strict=False),
            )
        return int(kept["step"])

    def _keep(self, done: int) -> None:
        """Write a checkpoint, beside the last one and then in its place."""
        weights, optimizer = get_state_dict(
            self._learner,
            self._optimizer.optimizer,
            options=replace(_WHOLE, ignore_frozen_params=True),
        )
        if self._accelerator.is_main_process:
            with _one_line(self._who, "written", self._out), whole(self._out / STATE) as beside:
                torch.save({"weights": weights, "optimizer": optimizer, "step": done}, beside)

    def _write(self) -> None:
        """Write the student, beside and then in its place; the checkpoint goes."""
        options = replace(_WHOLE, ignore_frozen_params=self._spec.lora > 0)
        found: Mapping[str, Any] = get_model_state_dict(self._learner, options=options)
        if self._accelerator.is_main_process:
            final = student(self._out, self._spec)
            beside = final.with_name(f".{final.name}.part")
            weights = {name.removeprefix("model."): weight for name, weight in found.items()}
            with _one_line(self._who, "written", self._out):
                shutil.rmtree(beside, ignore_errors=True)
                self._plain.save(beside, weights)
                beside.rename(final)
            (self._out / STATE).unlink(missing_ok=True)
        self._accelerator.wait_for_everyone()


def student(out: Path, spec: TrainSpec) -> Path:
    """Return where what is learned is written."""
    return out / ("adapter" if spec.lora else "model")


@dataclass(frozen=True, kw_only=True, slots=True)
class Teaching:
    """What a backend brings to a training."""

    who: str
    """Its name."""
    weights: str
    """A digest of those that are trained."""
    device: torch.device
    """Where they are; of several processes each has its own."""
    settle: Callable[[TrainSpec, torch.device], TrainSpec]
    """Makes every choice that is left; raises UsageError."""
    learner: Callable[[TrainSpec, torch.device], Learner]
    """Makes what learns, from the examples; raises UsageError for one that cannot be learned."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else tells this training from another in the same folder."""


def teach(
    teaching: Teaching,
    examples: Sequence[Example],
    spec: TrainSpec,
    out: Path,
    *,
    every: int = EVERY,
    quiet: bool = False,
) -> TrainSpec:
    """Train a model on examples, see ``Trainable``; return the specification with every choice made.

    Changes the weights in memory.
    """
    who = teaching.who
    needed(who, "accelerate", "training")
    if spec.lora:
        needed(who, "peft", f"lora={spec.lora}")
    if not examples:
        raise UsageError(f"{who} was given no examples to learn.")
    from accelerate import Accelerator

    accelerator = Accelerator(device_placement=False)
    device = accelerator.device if accelerator.num_processes > 1 else teaching.device
    spec = teaching.settle(spec, device)
    if (spec.batch or 0) % accelerator.num_processes:
        raise UsageError(
            f"{who}: batch={spec.batch} cannot be shared by {accelerator.num_processes} processes."
        )
    plan = {
        "spec": asdict(spec),
        "examples": digest(examples),
        "base": teaching.weights,
        **teaching.about,
    }
    _refuse_another(who, out, plan)
    if not student(out, spec).exists():
        try:
            learner = teaching.learner(spec, device)
            if accelerator.is_main_process:
                _write_down(who, out, plan)
            training = Training(who, learner, spec, out, accelerator=accelerator, device=device)
            training.run(every, quiet=quiet)
        except Exception as error:
            if not out_of_memory(error):
                raise
            raise BackendError(
                f"{who}: out of memory with batch={spec.batch}. The last checkpoint is kept; take a smaller "
                "batch, in a new folder, or lora."
            ) from None
        finally:
            free()
    return spec


def _refuse_another(who: str, out: Path, plan: Mapping[str, Any]) -> None:
    """Raise UsageError where the folder holds a training of something else."""
    if not (path := out / PLAN).exists():
        return
    with _one_line(who, "read", path):
        before = json.loads(path.read_text())
    if other := [name for name, value in plan.items() if before.get(name) != json.loads(json.dumps(value))]:
        raise UsageError(
            f"{out} holds a training with another {', '.join(other)}. Choose another folder, or delete it."
        )


def _write_down(who: str, out: Path, plan: Mapping[str, Any]) -> None:
    with _one_line(who, "written", out):
        out.mkdir(parents=True, exist_ok=True)
        with whole(out / PLAN) as beside:
            beside.write_text(json.dumps(plan, indent=1) + "\n")


@contextmanager
def _one_line(who: str, done: str, path: Path) -> Iterator[None]:
    """Turn what reading and writing can raise into a BackendError; what was whole before stays so."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BackendError(f"{who}: {path} cannot be {done}: {reason}") from error
