"""How many pictures a second the backend any-to-any draws, by batch size.

Run:  python benchmarks/batching.py [--batches 1 8 32] [--pictures 32] [--size tiny|pro-1b] [--device auto]

The weights are random, saved and loaded as real ones are: a tiny Janus on a CPU, one of the size of
Janus-Pro-1B in bfloat16 where there is a GPU. Prints pictures a second at each batch size, and on a GPU the
most memory that was taken.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from tests.support_local import TINY_JANUS, asked, save_janus
from unisandbox.backend import Backend
from unisandbox.model_backends.any_to_any.factory import any_to_any

PRO_1B = {
    "text_config": {
        "vocab_size": 102400,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "max_position_embeddings": 16384,
    }
}
QUESTION = "Draw as many cups as (12 - 4) / 2 comes to."


def saved(size: str, folder: Path) -> Path:
    """Write random weights of a size."""
    if size == "tiny":
        return save_janus(folder, TINY_JANUS)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            return save_janus(folder, PRO_1B)
    finally:
        torch.set_default_dtype(torch.float32)


def rate(backend: Backend, pictures: int) -> float:
    """Return pictures a second."""
    requests = [asked(QUESTION, key=str(number), seed=number) for number in range(pictures)]
    start = time.perf_counter()
    assert all(answer.image for answer in backend.generate(requests))
    return pictures / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--size", choices=["tiny", "pro-1b"], default=None)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    size = given.size or ("pro-1b" if torch.cuda.is_available() else "tiny")
    with tempfile.TemporaryDirectory() as folder:
        model = str(saved(size, Path(folder)))
        for batch in given.batches:
            backend = any_to_any(model=model, device=given.device, batch_size=batch)
            told = backend.describe()  # type: ignore[attr-defined]
            rate(backend, min(batch, given.pictures))  # warm up
            found = rate(backend, max(batch, given.pictures))
            memory = ""
            if torch.cuda.is_available():
                memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
                torch.cuda.reset_peak_memory_stats()
            print(
                f"{size}, {told['device']}, {told['dtype']}, batch {batch:3}: {found:8.2f} pictures/s{memory}"
            )


if __name__ == "__main__":
    main()
