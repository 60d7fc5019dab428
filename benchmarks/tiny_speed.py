"""Measures how fast the tiny model draws and writes.

OMP_NUM_THREADS=1 python benchmarks/tiny_speed.py
python benchmarks/tiny_speed.py --threads 2 --batches 64 256
"""

import argparse
import resource
import time

from unisandbox.model_backends.tiny.backend import Tiny
from unisandbox.records import Prompt, Request, Turn

DRAW = "Draw 3 cups, and nothing else."
THINK = "Draw as many cups as 24 / √36 comes to."


def seconds(model: Tiny, prompt: Prompt, batch: int, total: int) -> float:
    """Return how long so many requests take in batches of a size."""
    requests = [Request(str(n), prompt, n, "speed", str(n), "render") for n in range(total)]
    began = time.perf_counter()
    for start in range(0, total, batch):
        for _ in model.generate(requests[start : start + batch]):
            pass
    return time.perf_counter() - began


def main() -> None:
    """Print a line a batch size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64, 256])
    given = parser.parse_args()
    began = time.perf_counter()
    model = Tiny(threads=given.threads)
    print(f"loaded in {time.perf_counter() - began:.2f} s; {given.threads} thread(s)")
    direct = Prompt((Turn("user", DRAW),), "image")
    thought = Prompt((Turn("user", THINK),), "image", think=True)
    seconds(model, direct, 8, 8)
    for batch in given.batches:
        total = max(4 * min(batch, 64), batch, 16)
        drawn, reasoned = (total / seconds(model, prompt, batch, total) for prompt in (direct, thought))
        print(f"batch {batch:4}: {drawn:6.1f} pictures/s, {reasoned:6.1f} pictures/s with thoughts")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
