"""A million simulated trials through the run log: written, taken up again, aggregated.

Run:  python benchmarks/scale_log.py [--models 11] [--out DIR]

Models that answer at once, with one and the same small picture, are asked the eight reasoning and knowledge
tasks in all modes with four repeats: 94,128 trials a model. Every step is an ordinary command in a process of
its own; reported are its wall and CPU seconds and its peak memory, and, from inside, when the first request
came and when ``results.json`` was there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unisandbox.hookspecs import Ability, RegisterJudge, RegisterModel, hookimpl
from unisandbox.judge import Case, View
from unisandbox.records import Generation, Image, Observation, Request, Verdict

TASKS = "math_*,mapping_*,forward_retrieval,inverse_search"
CUT = 64
"""Log lines taken away before the run is taken up again."""
STAMPS = "SCALE_LOG_STAMPS"
THOUGHT = "First I look for what is asked, then I work it out step by step. " * 3 + "Conclusion: three cups."
PICTURE = Image(b"no pixels")


def stamp(what: str) -> None:
    """Note once, where the environment says so, how much time the process took to come this far."""
    if (path := os.environ.get(STAMPS)) is not None and what not in _stamped:
        _stamped.add(what)
        with Path(path).open("a") as file:
            file.write(f"{time.time()} {time.process_time()}\n")


_stamped: set[str] = set()


class Simulated:
    """Answers at once."""

    batch_size = 256

    def __init__(self, number: int = 0) -> None:
        """Take a number, so that there can be several."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Return the picture, or a few words; say when the first request came."""
        stamp("first request")
        for request in requests:
            thought = THOUGHT if request.prompt.think else None
            if request.prompt.output == "image":
                yield Generation(request.key, PICTURE, thought=thought)
            else:
                yield Generation(request.key, text="Three cups.", thought=thought)


class Coin:
    """Finds two thirds right, by the trial's key."""

    batch_size = 256

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """See nothing much."""
        for view in views:
            yield Observation(view.key, {"count": 3, "object": "cup"}, raw="three cups")

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Toss the coin."""
        for case in cases:
            right = zlib.crc32(case.key.encode()) % 3 > 0
            outcome, reason = ("correct", "") if right else ("incorrect", "count: 3, not 4")
            yield Verdict(case.key, outcome, reason, case.observation.slots, raw=("three cups",))  # type: ignore[arg-type]

    def close(self) -> None:
        """All is over: ``results.json`` is there."""
        stamp("results.json")


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register the model."""
    does: tuple[Ability, ...] = ("image", "text", "think", "see")
    register("simulated", "scale_log:Simulated", summary="answers at once", does=does)


@hookimpl
def register_judges(register: RegisterJudge) -> None:
    """Register the judge."""
    register("coin", "scale_log:Coin", summary="tosses a coin", reads=("any", "text"))


@dataclass(frozen=True)
class Spent:
    """What one command took."""

    started: float
    """Seconds since the epoch."""
    wall: float
    cpu: float
    mebibytes: float
    """Peak of resident memory."""

    def print(self, step: str) -> None:
        """Print a row of the table."""
        print(f"{step:44} {self.wall:7.1f} {self.cpu:7.1f} {self.mebibytes:6.0f}", flush=True)


def measured(words: Sequence[str], environment: dict[str, str]) -> Spent:
    """Run a command of ``unisandbox``; exit when it fails."""
    started = time.time()
    process = subprocess.Popen(
        [sys.executable, "-m", "unisandbox", *words],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"unisandbox {' '.join(words)}: status {status}\n{said}")
    divisor = 1024 * 1024 if sys.platform == "darwin" else 1024
    return Spent(started, time.time() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / divisor)


def install_as_plugin(site: Path) -> None:
    """Give this file the metadata of an installed plugin, on a path of its own."""
    from tests.support_backends import install  # not where the commands read this file

    install(site, "scale_log", "scale_log")
    (site / "scale_log.py").symlink_to(Path(__file__).resolve())


def cut(path: Path) -> int:
    """Take the last lines off a log, as a sudden end does; return how many there were."""
    last: deque[int] = deque(maxlen=CUT)
    lines = 0
    with path.open("rb") as file:  # line by line: what this process holds counts as its children's peak too
        for line in file:
            last.append(len(line))
            lines += 1
    os.truncate(path, path.stat().st_size - sum(last))
    return lines


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--models", type=int, default=11, metavar="N", help="94,128 trials each (default: 11)"
    )
    parser.add_argument("--repeats", type=int, default=4, metavar="N", help="a sample (default: 4)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="an empty folder to keep the run in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.out) as name:
        work = Path(name)
        install_as_plugin(work / "site")
        path = os.pathsep.join(filter(None, (str(work / "site"), os.environ.get("PYTHONPATH"))))
        table(options.models, options.repeats, work / "run", {"PYTHONPATH": path}, work / "stamps")


def table(models: int, repeats: int, run: Path, environment: dict[str, str], stamps: Path) -> None:
    """Go through the steps."""
    names = [f"simulated:number={number}" for number in range(models)]
    words = ["run", "--tasks", TASKS, "--modes", "all", "--models", *names, "--judges", "coin"]
    words += ["--repeats", str(repeats), "--out", str(run), "--quiet", "--no-report"]
    print(f"{'step':44} {'wall s':>7} {'CPU s':>7} {'MiB':>6}", flush=True)
    written = measured(words, environment)
    results = (run / "results.json").read_bytes()
    trials = min(cut(run / log) for log in ("generations.jsonl", "verdicts.jsonl"))
    size = sum((run / log).stat().st_size for log in ("generations.jsonl", "verdicts.jsonl")) / 2**20
    written.print(f"{trials:,} trials run, judged, logged")
    again = measured(words, {**environment, STAMPS: str(stamps)})
    assert (run / "results.json").read_bytes() == results
    asked, there = (tuple(map(float, line.split())) for line in stamps.read_text().splitlines())
    again.print("the same command, cut short: all of it")
    replace(again, wall=asked[0] - again.started, cpu=asked[1]).print("   until the first request")
    replace(again, wall=there[0] - asked[0], cpu=there[1] - asked[1]).print("   from there to results.json")
    merged = run.with_name("merged")
    measured(["merge", str(run), "-o", str(merged), "--no-report"], environment).print("merge, of one folder")
    assert (merged / "results.json").read_bytes() == results
    (run / "results.json").unlink()
    measured(["show", str(run)], environment).print("show, from the logs alone")
    measured(["attribute", str(run)], environment).print("attribute")
    print(f"logs: {size:.0f} MiB; a trial: {1e6 * written.cpu / trials:.0f} us of CPU")


if __name__ == "__main__":
    main()
