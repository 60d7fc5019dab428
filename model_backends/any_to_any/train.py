"""Fine-tuning: questions, and the words or the tokens of the picture that should follow them.

A row is what ``generate`` puts in, and then what it should put out; the loss is on the latter, each example
counting the same however long it is. For a small share of the pictures the prompt is taken away as
classifier-free guidance does, so that what a prompt is set against is learned too. A step draws its
examples from the seed and its own number alone, so a training that is killed goes on from its last
checkpoint and ends with the same weights. Several processes, started by ``accelerate launch``, share the
examples of each step.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.nn.utils.rnn import pad_sequence

from unisandbox.backend import TrainSpec
from unisandbox.batching import free, out_of_memory
from unisandbox.errors import BackendError, UsageError, unknown
from unisandbox.files import whole
from unisandbox.loading import needed
from unisandbox.model_backends.any_to_any.families import NAME, Family
from unisandbox.model_backends.any_to_any.rows import Inputs
from unisandbox.records import Example, Turn
from unisandbox.training.examples import digest
from unisandbox.training.record import Record

if TYPE_CHECKING:
    from accelerate import Accelerator

Thing = TypeVar("Thing")

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
BLIND = "vision"
"""The part that never learns: no example holds a picture to look at."""


def settled(family: Family, spec: TrainSpec, device: torch.device) -> TrainSpec:
    """Return the specification with every choice made; raises UsageError for what cannot be meant."""

    def refuse(name: str, expected: str) -> UsageError:
        return UsageError(f"{NAME} cannot be trained with {name}={getattr(spec, name)!r}: {expected}.")

    made = replace(
        spec,
        steps=STEPS if spec.steps is None else spec.steps,
        batch=BATCH if spec.batch is None else spec.batch,
        rate=(LORA_RATE if spec.lora else RATE) if spec.rate is None else spec.rate,
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
        if part not in family.parts:
            raise UsageError(f"{NAME}: freeze: {unknown('part', part, family.parts)}")
    if not _parts(family, made):
        raise refuse("freeze", "that leaves nothing to learn")
    return made


def _parts(family: Family, spec: TrainSpec) -> list[str]:
    """Return the parts that learn; adapters are for matrices, not for the vocabulary."""
    still = {BLIND, *spec.freeze, *(("vocabulary",) if spec.lora else ())}
    return [part for part in family.parts if part not in still]


def rate(spec: TrainSpec, step: int) -> float:
    """Return the learning rate of a step, counted from 0."""
    assert spec.steps is not None and spec.rate is not None
    warm_up = min(WARM_UP, spec.steps // 10)
    if step < warm_up:
        return spec.rate * (step + 1) / warm_up
    gone = (step - warm_up) / (spec.steps - warm_up)
    falling = {"linear": 1 - gone, "cosine": (1 + math.cos(math.pi * gone)) / 2, "constant": 1.0}
    return spec.rate * falling[spec.schedule]


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
    if not examples:
        raise UsageError(f"{NAME} was given no examples to learn.")
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
    """Yield the examples of a step, each with what is put in: every example once before any comes again."""
    assert spec.batch is not None
    for place in range(step * spec.batch, (step + 1) * spec.batch):
        turn, number = divmod(place, len(lessons))
        lesson = lessons[_order(spec.seed, turn, len(lessons))[number]]
        without = Random(f"{spec.seed} without {place}").random() < UNPROMPTED
        yield (lesson.unprompted if without else lesson.prompt), lesson


@lru_cache(maxsize=2)
def _order(seed: int, turn: int, many: int) -> list[int]:
    return Random(f"{seed} {turn}").sample(range(many), many)


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


class Learner(torch.nn.Module):
    """A model whose output is its loss, as what spreads models over devices wants it."""

    def __init__(self, family: Family, spec: TrainSpec, device: torch.device) -> None:
        """Take a loaded model, and where it will learn; makes its weights what the specification trains."""
        super().__init__()
        self._family = family
        self._kind = getattr(torch, spec.precision or "")
        model = family.model
        if not spec.lora or spec.precision == "float32":
            model.float()  # steps in half precision would be lost in rounding
        if device.type != "cpu":
            save_memory(model)
        model.requires_grad_(requires_grad=False)
        self.model = _adapted(family, spec) if spec.lora else model
        if not spec.lora:
            for _, weight in _learning(family, spec, model.named_parameters()):
                weight.requires_grad_()
        self.train()
        model.model.vqmodel.eval()

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


def _learning(
    family: Family, spec: TrainSpec, named: Iterable[tuple[str, Thing]]
) -> Iterator[tuple[str, Thing]]:
    """Yield what lies in the parts that learn, of modules or weights by name."""
    beginnings = tuple(start for part in _parts(family, spec) for start in family.parts[part])
    yield from ((name, thing) for name, thing in named if name.startswith(beginnings))


def _adapted(family: Family, spec: TrainSpec) -> torch.nn.Module:
    """Put adapters to the matrices of the parts that learn."""
    from peft import LoraConfig, get_peft_model

    modules = _learning(family, spec, family.model.named_modules())
    names = [name for name, module in modules if isinstance(module, torch.nn.Linear)]
    torch.manual_seed(spec.seed)
    config = LoraConfig(r=spec.lora, lora_alpha=2 * spec.lora, target_modules=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft behind transformers
        return get_peft_model(family.model, config)


# --- a whole training ---


class Training:
    """Trains a model in a folder, alone or as one of several processes."""

    def __init__(
        self,
        family: Family,
        lessons: Sequence[Lesson],
        spec: TrainSpec,
        out: Path,
        *,
        accelerator: Accelerator,
        device: torch.device,
    ) -> None:
        """Take what to learn; goes on from the checkpoint in ``out``, where there is one."""
        self._lessons = lessons
        self._spec = spec
        self._out = out
        self._accelerator = accelerator
        self._processor = family.processor
        self._dtype = family.model.dtype
        self._device = device
        learner = Learner(family, spec, device)
        self.model: Any = learner.model
        if accelerator.distributed_type != "FSDP":  # which moves only what it keeps there
            learner.to(device)
        weights = [weight for weight in learner.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.95), weight_decay=0.0)
        self._learner, self._optimizer = accelerator.prepare(learner, optimizer)
        self._first = self._restored()

    def run(self, every: int, *, quiet: bool) -> None:
        """Do the steps that are left, keeping a checkpoint every so many of them, and write the student."""
        spec, mine = self._spec, self._accelerator.is_main_process
        assert spec.steps is not None
        with Record(self._out, spec.steps, self._first, kept=mine, shown=mine and not quiet) as record:
            for number in range(self._first, spec.steps):
                loss, tokens = self.step(number)
                record.add(number, {"loss": loss}, tokens=tokens, rate=rate(spec, number))
                if (number + 1) % every == 0 and number + 1 < spec.steps:
                    self._keep(number + 1)
        self._write()

    def step(self, number: int) -> tuple[float, int]:
        """Do one step, counted from 0; return its loss, and how many tokens were read."""
        spec, accelerator = self._spec, self._accelerator
        torch.manual_seed(spec.seed + number)  # of dropout, where a model has it
        for group in self._optimizer.param_groups:
            group["lr"] = rate(spec, number)
        rows = list(drawn_for(self._lessons, spec, number))
        tokens, drawn, learned = together(rows[accelerator.process_index :: accelerator.num_processes])
        loss = self._learner(*(each.to(self._device) for each in (tokens, drawn, learned)))
        accelerator.backward(loss)
        loudness = accelerator.clip_grad_norm_(self._learner.parameters(), LOUDEST)
        seen = accelerator.reduce(loss.detach(), "mean").item()
        if not math.isfinite(seen + loudness):
            raise BackendError(
                f"{NAME}: the loss is no number any more in step {number + 1}. The last checkpoint is kept; "
                f"lower the rate ({spec.rate:g}), in a new folder."
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        return seen, tokens.numel() * accelerator.num_processes

    # --- on disk ---

    def _restored(self) -> int:
        """Load the checkpoint, and return how many steps were done."""
        path = self._out / STATE
        if not path.exists():
            return 0
        with _one_line("read", path):
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
            with _one_line("written", self._out), whole(self._out / STATE) as beside:
                torch.save({"weights": weights, "optimizer": optimizer, "step": done}, beside)

    def _write(self) -> None:
        """Write the student, beside and then in its place; the checkpoint goes."""
        options = replace(_WHOLE, ignore_frozen_params=self._spec.lora > 0)
        found: Mapping[str, Any] = get_model_state_dict(self._learner, options=options)
        if self._accelerator.is_main_process:
            final = student(self._out, self._spec)
            beside = final.with_name(f".{final.name}.part")
            weights = {name.removeprefix("model."): weight for name, weight in found.items()}
            with _one_line("written", self._out):
                shutil.rmtree(beside, ignore_errors=True)
                if self._spec.lora:
                    self.model.save_pretrained(beside, state_dict=weights, save_embedding_layers=False)
                else:
                    self.model.to(self._dtype)
                    weights = {name: weight.to(self._dtype) for name, weight in weights.items()}
                    self.model.save_pretrained(beside, state_dict=weights)
                    self._processor.save_pretrained(beside)
                beside.rename(final)
            (self._out / STATE).unlink(missing_ok=True)
        self._accelerator.wait_for_everyone()


def student(out: Path, spec: TrainSpec) -> Path:
    """Return where what is learned is written."""
    return out / ("adapter" if spec.lora else "model")


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
    needed(NAME, "accelerate", "training")
    if spec.lora:
        needed(NAME, "peft", f"lora={spec.lora}")
    if len(set(getattr(family.model, "hf_device_map", {}).values())) > 1:
        raise UsageError(f"{NAME}: a model on several devices cannot be trained: leave out device_map.")
    from accelerate import Accelerator

    accelerator = Accelerator(device_placement=False)
    device = accelerator.device if accelerator.num_processes > 1 else family.model.device
    spec = settled(family, spec, device)
    if (spec.batch or 0) % accelerator.num_processes:
        raise UsageError(
            f"{NAME}: batch={spec.batch} cannot be shared by {accelerator.num_processes} processes."
        )
    plan = {"spec": asdict(spec), "examples": digest(examples), "base": family.weights}
    _refuse_another(out, plan)
    if not student(out, spec).exists():
        taught = lessons(family, examples, device)
        if accelerator.is_main_process:
            _write_down(out, plan)
        try:
            training = Training(family, taught, spec, out, accelerator=accelerator, device=device)
            training.run(every, quiet=quiet)
        except Exception as error:
            if not out_of_memory(error):
                raise
            raise BackendError(
                f"{NAME}: out of memory with batch={spec.batch}. The last checkpoint is kept; take a smaller "
                "batch, in a new folder, or lora."
            ) from None
        finally:
            free()
    return _options(family, spec, out)


def _refuse_another(out: Path, plan: Mapping[str, Any]) -> None:
    """Raise UsageError where the folder holds a training of something else."""
    if not (path := out / PLAN).exists():
        return
    with _one_line("read", path):
        before = json.loads(path.read_text())
    if other := [name for name, value in plan.items() if before.get(name) != json.loads(json.dumps(value))]:
        raise UsageError(
            f"{out} holds a training with another {', '.join(other)}. Choose another folder, or delete it."
        )


def _write_down(out: Path, plan: Mapping[str, Any]) -> None:
    with _one_line("written", out):
        out.mkdir(parents=True, exist_ok=True)
        with whole(out / PLAN) as beside:
            beside.write_text(json.dumps(plan, indent=1) + "\n")


def _options(family: Family, spec: TrainSpec, out: Path) -> Mapping[str, str]:
    if spec.lora:
        return {"adapter": "+".join(map(str, [*family.adapters, student(out, spec)]))}
    merged = {"adapter": ""} if family.adapters else {}
    return {"model": str(student(out, spec)), **merged}


@contextmanager
def _one_line(done: str, path: Path) -> Iterator[None]:
    """Turn what reading and writing can raise into a BackendError; what was whole before stays so."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BackendError(f"{NAME}: {path} cannot be {done}: {reason}") from error
