"""How fast the embedded model draws, writes and trains on this machine.

Run:  python benchmarks/tiny_speed.py [--threads 1 2] [--repeat 3] [--quick-start]

Prints pictures a second by batch size, tokens of words a second, and training tokens a second by number
format; each the best of the repeats. ``--quick-start`` also times the main job of the README, start to end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from unisandbox.model_backends.tiny import checkpoint
from unisandbox.model_backends.tiny.documents import Material, Writer
from unisandbox.model_backends.tiny.factory import WEIGHTS
from unisandbox.model_backends.tiny.generation import Sampling, draw, write
from unisandbox.model_backends.tiny.train import LENGTH, Recipe, Trainer
from unisandbox.model_backends.tiny.words import MODEL, THINK, USER

BATCHES = (1, 8, 64, 128)
QUESTION = "Draw as many cups as (12 - 4) / 2 comes to."


def best(work: Callable[[], float], repeat: int) -> float:
    """Return the best rate: how much is done a second."""
    rates = []
    for _ in range(repeat):
        start = time.perf_counter()
        done = work()
        rates.append(done / (time.perf_counter() - start))
    return max(rates)


def sampling(model: checkpoint.Model, threads: int, repeat: int) -> None:
    """Print how fast pictures and words come."""
    torch.set_num_threads(threads)
    context = [USER, *model.words.tokens(QUESTION), MODEL]
    for batch in BATCHES:
        contexts = [context] * batch

        def pictures(contexts: list[list[int]] = contexts) -> float:
            return len(draw(model.network, contexts, range(len(contexts)), Sampling()))

        print(f"{threads} threads, batch {batch:3}: {best(pictures, repeat):7.1f} pictures/s")

    def words() -> float:
        return sum(map(len, write(model.network, [[*context, THINK]] * 64, range(64))))

    print(f"{threads} threads, batch  64: {best(words, repeat):7.0f} tokens of thought/s")


def training(model: checkpoint.Model, repeat: int) -> None:
    """Print how fast one process trains."""
    torch.set_num_threads(1)
    writer = Writer(model.words, model.patches, Material(rows=500))
    for precision in ("float32", "bfloat16"):
        recipe = Recipe(precision=precision)
        trainer = Trainer(model, recipe, writer)
        trainer.step(0)

        def step(trainer: Trainer = trainer) -> float:
            trainer.step(1)
            return 2 * trainer.recipe.batch * LENGTH

        print(f"training, 1 process, {precision}: {best(step, repeat):7.0f} tokens/s")


def quick_start() -> None:
    """Print how long the main job takes as a command."""
    command = [sys.executable, "-m", "unisandbox", "run", "--tasks", "math_*,inverse_search", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([*command, "--out", str(Path(folder) / "run")], check=True, stdout=subprocess.DEVNULL)
        print(f"{' '.join(command[2:6])}: {time.perf_counter() - start:.1f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--quick-start", action="store_true")
    given = parser.parse_args()
    model = checkpoint.load(WEIGHTS / "injected.safetensors")
    for threads in given.threads:
        sampling(model, threads, given.repeat)
    training(model, given.repeat)
    if given.quick_start:
        quick_start()


if __name__ == "__main__":
    main()
