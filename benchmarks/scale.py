"""How well replicas share work, and how many trials a second each executor can move at most.

A simulated model that only sleeps, on actors of a Ray cluster with logical GPUs, on this machine. What is
measured is the harness, and needs no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from unisandbox import api
from unisandbox.hookspecs import RegisterModel, hookimpl
from unisandbox.matrix import Ask
from unisandbox.records import Generation, Request
from unisandbox.run_log import GENERATIONS, read_lines
from unisandbox.runner import Silent

NAME = "scale"
TASK = """\
description: Add two numbers.
dataset: {source: jsonl, path: rows.jsonl}
prompts: {answer: "{{ question }}"}
scoring: {rubric: words, target: {answer: "{{ answer }}"}}
"""


class Sleeper:
    """Takes ``seconds`` a request, and says when it began and in which process."""

    def __init__(self, *, seconds: float = 0.5, batch: int = 1) -> None:
        self.batch_size = batch
        self._seconds = seconds

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Sleep over each."""
        for request in requests:
            notes = {"begun": time.time(), "process": os.getpid()}
            time.sleep(self._seconds)
            yield Generation(request.key, text="4", notes=notes)


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register the model."""
    register("sleeper", f"{__name__}:Sleeper", summary="only sleeps", does=("text",))


class Clock(Silent):
    """Notes when the asking began, and when the last answer was logged."""

    def asking(self, ask: Ask) -> None:
        """The first replica is loaded."""
        self.began = time.time()

    def generated(self, error: bool) -> None:
        """One more is there."""
        self.ended = time.time()
        if error:
            raise SystemExit("a request failed")


def prepare(folder: Path, trials: int) -> None:
    """Write the task, and give this file the metadata of an installed plugin."""
    (folder / "task.yaml").write_text(TASK)
    rows = [{"id": f"{i:07d}", "question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(trials)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    from tests.support_backends import install  # not where actors read this file

    install(folder, NAME, NAME)


def ask(folder: Path, model: str, trials: int, executor: str, replicas: int | None = None) -> Clock:
    """Run it into ``folder/out``."""
    clock = Clock()
    api.run(
        tasks=str(folder / "task.yaml"),
        models=model,
        modes="answer",
        judges="rules",
        limit=trials,
        executor=executor,
        replicas=replicas,
        out=folder / "out",
        fresh=(folder / "out").exists(),
        progress=clock,
    )
    return clock


def efficiency(folder: Path, seconds: float) -> tuple[float, float]:
    """Return the share of their time that replicas slept, from each one's first request to the last answer.

    And in how many seconds after the first replica the last one began: it loads meanwhile.
    """
    begun: dict[int, list[float]] = {}
    for line in read_lines(folder / "out" / GENERATIONS):
        begun.setdefault(line["notes"]["process"], []).append(line["notes"]["begun"])
    ended = max(max(times) for times in begun.values()) + seconds
    slept = seconds * sum(map(len, begun.values()))
    first = [min(times) for times in begun.values()]
    return slept / sum(ended - time for time in first), max(first) - min(first)


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--replicas", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=0.5, help="a picture")
    parser.add_argument("--each", type=int, default=40, help="pictures a replica")
    parser.add_argument("--trials", type=int, default=5000, help="of the second table")
    options = parser.parse_args()
    import ray

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, max(options.trials, options.each * max(options.replicas, default=0)))
        (folder / f"{NAME}.py").write_text(Path(__file__).read_text())
        sys.path.insert(0, name)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        ray.init(
            "local", num_gpus=max(options.replicas, default=2), include_dashboard=False, log_to_driver=False
        )
        print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"{'replicas':>8} {'pictures':>8} {'efficiency':>10} {'all up after s':>14}")
        for number in options.replicas:
            pictures = number * options.each
            ask(folder, f"sleeper:seconds={options.seconds}", pictures, "ray", number)
            share, spread = efficiency(folder, options.seconds)
            print(f"{number:8d} {pictures:8d} {share:10.3f} {spread:14.1f}", flush=True)
        print(f"{'executor':>9} {'batch':>5} {'trials/s':>8}")
        for executor, replicas in (("local", None), ("workers=2", None), ("ray", 2)):
            for batch in (1, 16):
                clock = ask(folder, f"sleeper:seconds=0,batch={batch}", options.trials, executor, replicas)
                rate = options.trials / (clock.ended - clock.began)
                print(f"{executor:>9} {batch:5d} {rate:8.0f}", flush=True)
        ray.shutdown()


if __name__ == "__main__":
    main()
