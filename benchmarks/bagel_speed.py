"""How long BAGEL takes for a picture: measured with random weights, and counted for BAGEL-7B-MoT.

Run:  python benchmarks/bagel_speed.py [--size small|7b] [--batches 1 2 4 8] [--words 300] [--device auto]

Prints two tables as Markdown. The first is measured: seconds a picture, drawn directly and after a thought of
``--words`` tokens, and on a GPU the most memory that was taken. On a CPU seconds are of the processor. The
size is that of BAGEL-7B-MoT where there is a GPU with the memory for it, else a small one. The second is
counted, not measured: what the same code does at the published sizes, operation by operation, and how long
that would take on an 80-GB H100 at the shares of its speed that are assumed below.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unisandbox.loading import device_label, device_named
from unisandbox.model_backends.bagel.autoencoder import Autoencoder
from unisandbox.model_backends.bagel.config import (
    AutoencoderConfig,
    BagelConfig,
    LanguageConfig,
    VisionConfig,
)
from unisandbox.model_backends.bagel.context import Context, Row, write
from unisandbox.model_backends.bagel.model import Bagel, Frame
from unisandbox.model_backends.bagel.sampler import Sampling, draw, times
from unisandbox.model_backends.bagel.vision import whole

FULL = BagelConfig()
SMALL = BagelConfig(
    LanguageConfig(1024, 256, 704, 4, 8, 2),
    VisionConfig(64, 128, 1, 2),
    AutoencoderConfig(base_channels=32),
)
PIXELS = {"7b": 1024, "small": 128}
PROMPT, INSTRUCTION = 60, 70
"""Tokens of a question, and of the instruction to think first."""
ENOUGH = 60 * 2**30
"""Bytes of a GPU that the full size is measured on."""
PEAK, PEAK_SHARE = 989e12, 0.4
"""Operations a second of an H100 in bfloat16, by its data sheet, and the share of them that is assumed."""
BANDWIDTH, BANDWIDTH_SHARE = 3.35e12, 0.6
"""Bytes a second of its memory, likewise."""


@dataclass(frozen=True)
class Model:
    """Random weights of a size."""

    bagel: Bagel
    autoencoder: Autoencoder
    side: int
    """Tokens a side of a picture."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Height and width in tokens."""
        return self.side, self.side

    def row(self, tokens: int) -> Row:
        """Return a text of so many tokens."""
        return (self.bagel.frame.text([7] * (tokens - 2)),)


@torch.no_grad()
def made(size: str, device: torch.device) -> Model:
    """Build a model; on the device ``meta`` it has no weights."""
    config = FULL if size == "7b" else SMALL
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    torch.set_default_dtype(dtype)
    torch.manual_seed(0)
    try:
        with device:
            bagel, autoencoder = Bagel(config, Frame(1, 2, 3, 4)), Autoencoder(config.autoencoder)
    finally:
        torch.set_default_dtype(torch.float32)
    bagel.to(dtype)  # the fixed positions too
    bagel.language_model.lm_head.weight[2] = 0  # what ends a text is never the likeliest
    return Model(bagel.eval(), autoencoder.eval(), PIXELS[size] // config.stride)


@torch.inference_mode()
def pictures(model: Model, batch: int, words: int) -> Tensor:
    """Draw; after a thought where ``words`` is not 0. Return the last one's pixels."""
    question = model.row(PROMPT)
    system: Row = model.row(INSTRUCTION) if words else ()
    context = (*system, *question)
    rows = [context] * batch
    if words:
        thoughts = write(model.bagel, rows, words)
        rows = [(*context, model.bagel.frame.text(ids)) for ids, _ in thoughts]
    noise = torch.randn(batch, model.side**2, model.bagel.config.latent_width)
    latents = draw(model.bagel, (rows, [system] * batch), noise, model.sizes, Sampling())
    patch = model.bagel.config.latent_patch_size
    return [model.autoencoder.decode(whole(each, *model.sizes, patch)) for each in latents][-1]


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long it takes: on a CPU, of the processor."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def measured(model: Model, size: str, batches: Iterable[int], words: int) -> None:
    """Measure, and print a table."""
    device = model.bagel.device
    pixels = model.side * model.bagel.config.stride
    print(f"## Measured: {size}, {pixels} px, {device_label(device)}, {model.bagel.dtype}, random weights\n")
    print(f"| batch | direct, s/picture | after {words} tokens of thought, s/picture | most memory, GiB |")
    print("|---|---|---|---|")
    pictures(model, 1, 2)  # warm up
    for batch in batches:
        try:
            found = [seconds(partial(pictures, model, batch, many), device) / batch for many in (0, words)]
        except torch.OutOfMemoryError:
            print(f"| {batch} | out of memory | | |")
            return
        memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if device.type == "cuda" else "-"
        print(f"| {batch} | {found[0]:.2f} | {found[1]:.2f} | {memory} |", flush=True)


# --- counted ---


@dataclass(frozen=True)
class Cost:
    """What a piece of work takes."""

    name: str
    times: int
    """How often it is done for a picture."""
    operations: float
    """Of one time, floating point: an addition and a multiplication are two."""
    read: float
    """Bytes of weights that one time reads, however many rows."""

    def seconds(self, batch: int) -> float:
        """Return what is predicted for a picture in a batch, on the card that is assumed."""
        computing = batch * self.operations / (PEAK * PEAK_SHARE)
        reading = self.read / (BANDWIDTH * BANDWIDTH_SHARE)
        return self.times * max(computing, reading) / batch


def operations(work: Callable[[], object]) -> float:
    """Count multiplications and additions of matrices and attention."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        work()
    return float(counter.get_total_flops())


def bytes_of(*parts: nn.Module) -> float:
    """Return the bytes of weights in bfloat16."""
    return 2.0 * sum(weight.numel() for part in parts for weight in part.parameters())


def costs(model: Model, words: int) -> list[Cost]:
    """Count what a picture after a thought takes, by running the code on tensors without values."""
    bagel, meta = model.bagel, torch.device("meta")
    context = model.row(INSTRUCTION + PROMPT)
    read = Context(bagel, [context])
    full = Context(bagel, [(*context, *model.row(words + 2))])
    bare = Context(bagel, [model.row(INSTRUCTION)])
    noise = torch.zeros(1, model.side**2, bagel.config.latent_width, device=meta)
    both = bytes_of(bagel.language_model.model.layers)

    def step(held: Context) -> float:
        return operations(lambda: held.velocity(held.canvas(1, model.side**2), noise, 0.5, *model.sizes))

    steps = times(Sampling())[:-1]
    low, high = Sampling().cfg_interval
    guided = int(((steps > low) & (steps <= high)).sum())
    latents = torch.zeros(
        bagel.config.autoencoder.latent_channels,
        *(side * bagel.config.latent_patch_size for side in model.sizes),
        device=meta,
    )
    return [
        Cost("reading the prompt", 1, operations(lambda: Context(bagel, [context])), both / 2),
        Cost(
            "a token of thought",
            words,
            operations(lambda: read.say(torch.tensor([7]))),
            both / 2 + bytes_of(bagel.language_model.lm_head),
        ),
        Cost("a step, with all", len(steps), step(full), both),
        Cost("a step, without the text", guided, step(bare), 0.0),
        Cost("decoding", 1, operations(lambda: model.autoencoder.decode(latents)), 0.0),
    ]


def counted(words: int) -> None:
    """Count, and print a table."""
    model = made("7b", torch.device("meta"))
    found = costs(model, words)
    language = model.bagel.config.language
    expert = bytes_of(model.bagel.language_model.model.layers) / 4 / 1e9
    a_column = 2 * 2 * language.num_hidden_layers * language.num_key_value_heads * language.head_size
    columns = INSTRUCTION + PROMPT + words + model.side**2 + 2
    print("\n## Counted, and predicted for an 80-GB H100: BAGEL-7B-MoT, 1024 px. Not measured\n")
    print(
        f"{model.side} x {model.side} = {model.side**2} tokens a picture and {expert:.2f} billion weights an "
        f"expert: 2 x {model.side**2 + 2} x {expert:.2f}e9 = {2 * (model.side**2 + 2) * expert / 1e3:.1f} "
        "TFLOP of a step and branch are matrices, the rest attention. Assumed: "
        f"{PEAK_SHARE:.0%} of {PEAK / 1e12:.0f} TFLOP/s, {BANDWIDTH_SHARE:.0%} of "
        f"{BANDWIDTH / 1e12:.2f} TB/s.\n"
    )
    print("| | times | TFLOP each | GB read each | s/picture, batch 1 | batch 8 |\n|---|---|---|---|---|---|")
    for each in found:
        print(
            f"| {each.name} | {each.times} | {each.operations / 1e12:.3f} | {each.read / 1e9:.1f} | "
            f"{each.seconds(1):.2f} | {each.seconds(8):.2f} |"
        )
    for name, some in (("think", found), ("direct", [*found[:1], *found[2:]])):
        total = sum(each.times * each.operations for each in some) / 1e15
        alone, eight = (sum(each.seconds(batch) for each in some) for batch in (1, 8))
        print(f"| **{name}** | | {total * 1e3:.0f} in all | | **{alone:.1f}** | **{eight:.1f}** |")
    weights = bytes_of(model.bagel, model.autoencoder) / 1e9
    print(
        f"\nMemory: {weights:.1f} GB of weights in bfloat16; a row of {columns} columns keeps "
        f"{a_column * columns / 1e9:.2f} GB of keys and values, and its widest layer "
        f"{3 * 2 * model.side**2 * language.intermediate_size / 1e9:.2f} GB; two rows a picture."
    )


def main() -> None:
    """Measure, count, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", choices=list(PIXELS))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--words", type=int, default=300)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    device = device_named("bagel_speed", given.device)
    roomy = device.type == "cuda" and torch.cuda.get_device_properties(device).total_memory > ENOUGH
    size = given.size or ("7b" if roomy else "small")
    measured(made(size, device), size, given.batches, given.words)
    counted(given.words)


if __name__ == "__main__":
    main()
