"""What the harness itself costs a sample: a no-op backend and judge on text samples.

Run:  python benchmarks/overhead.py [--samples 1000 10000 100000] [--repeat 3]

Each run is a process of its own: ``unisandbox run`` over a JSON-lines file of arithmetic questions. Reported
are CPU seconds (user and system, children included), wall seconds and peak memory of the whole process; and
the marginal cost a sample between two sizes, which leaves start-up out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from unisandbox.hookspecs import RegisterJudge, RegisterModel, hookimpl
from unisandbox.judge import Case, View
from unisandbox.records import Generation, Observation, Request, Verdict

TASK = """\
description: Arithmetic in words, to measure overhead.
dataset: {source: jsonl, path: rows.jsonl}
prompts: {answer: "Question: {{ question }}\\nAnswer:"}
scoring: {rubric: words, target: {answer: "{{ answer }}"}}
"""


class NoModel:
    """Answers at once."""

    batch_size = 256

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Say nothing much."""
        for request in requests:
            yield Generation(request.key, text="7")


class NoJudge:
    """Agrees at once."""

    batch_size = 256

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """See nothing."""
        for view in views:
            yield Observation(view.key)

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Find it right."""
        for case in cases:
            yield Verdict(case.key, "correct")


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register the model."""
    register("noop", "overhead:NoModel", summary="answers at once", does=("text",))


@hookimpl
def register_judges(register: RegisterJudge) -> None:
    """Register the judge."""
    register("noop", "overhead:NoJudge", summary="agrees at once", reads=("text",))


def _install_as_plugin(site: Path) -> None:
    """Give this file the metadata of an installed plugin, on a path of its own."""
    from tests.support_backends import install  # not where the commands read this file

    shutil.copy(__file__, site / "overhead.py")
    install(site, "overhead", "overhead")


def _write_task(folder: Path, samples: int) -> None:
    folder.mkdir()
    (folder / "task.yaml").write_text(TASK)
    with (folder / "rows.jsonl").open("w") as rows:
        for i in range(samples):
            row = {"id": f"{i:07d}", "question": f"What is {i} + {i % 97}?", "answer": str(i + i % 97)}
            rows.write(json.dumps(row) + "\n")


def measure(samples: int, site: Path, work: Path) -> tuple[float, float, float]:
    """Return CPU seconds, wall seconds and peak memory in MiB of one run."""
    folder = work / f"task{samples}"
    if not folder.exists():
        _write_task(folder, samples)
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "unisandbox",
        "run",
        "--tasks",
        str(folder / "task.yaml"),
        "--modes",
        "answer",
    ]
    command += ["--models", "noop", "--judges", "noop", "--out", str(out)]
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(site)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    lines = sum(1 for _ in (out / "verdicts.jsonl").open())
    if status or lines != samples:
        raise SystemExit(f"the run failed: status {status}, {lines} verdicts for {samples} samples")
    return usage.ru_utime + usage.ru_stime, wall, _mebibytes(usage)


def _mebibytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--repeat", type=int, default=3, help="runs a size; the median is shown")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        site, work = Path(name) / "site", Path(name)
        site.mkdir()
        _install_as_plugin(site)
        measure(options.samples[0], site, work)  # fills the page cache
        print(f"{'samples':>8} {'CPU s':>8} {'wall s':>8} {'MiB':>7} {'us CPU/sample':>14}")
        before: tuple[int, float, float] | None = None
        for samples in options.samples:
            runs = sorted(measure(samples, site, work) for _ in range(options.repeat))
            cpu, wall, memory = (sorted(column)[len(runs) // 2] for column in zip(*runs, strict=True))
            print(f"{samples:8d} {cpu:8.2f} {wall:8.2f} {memory:7.0f} {1e6 * cpu / samples:14.0f}", end="")
            if before:
                more = samples - before[0]
                marginal, growth = 1e6 * (cpu - before[1]) / more, 1024 * (memory - before[2]) / more
                print(f"   marginal {marginal:.0f} us, {growth:.2f} KiB a sample", end="")
            print()
            before = (samples, cpu, memory)


if __name__ == "__main__":
    main()
