"""How long the command line takes to start, beside a bare interpreter.

Run:  python benchmarks/startup.py [--repeat 15]

Wall seconds, minimum and median, of ``python -c pass``, ``unisandbox --help``, ``unisandbox tasks`` with the
shipped tasks, and with 200 task files more. The commands take turns, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TASK = """\
family: bulk_{group}
description: Task number {number}, to measure listing.
dataset: {{source: jsonl, path: rows.jsonl}}
prompts:
  direct: "{{{{ question }}}}"
  cot: "{{{{ question }}}}"
  answer: "{{{{ question }}}} Answer in words."
  render: "Draw {{{{ answer }}}}."
scoring:
  rubric: object_identity
  target: {{object: "{{{{ answer }}}}"}}
"""


def seconds(command: list[str]) -> float:
    """Return the wall time of one run; raises CalledProcessError when it fails."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeat", type=int, default=15)
    repeat = parser.parse_args().repeat
    script = str(Path(sys.executable).with_name("unisandbox"))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(200):
            text = TASK.format(number=number, group=number // 20)
            (Path(folder) / f"bulk_{number}.yaml").write_text(text)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "unisandbox --help": [script, "--help"],
            "unisandbox run --help": [script, "run", "--help"],
            "unisandbox tasks": [script, "tasks"],
            "unisandbox tasks, 200 files more": [script, "tasks", "--include-path", folder],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for command in commands.values():
            seconds(command)  # fills the page cache
        for _ in range(repeat):
            for name, command in commands.items():
                times[name].append(seconds(command))
    bare = statistics.median(times["python -c pass"])
    print(f"{'command':34} {'min s':>7} {'median s':>9} {'times bare':>11}")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:34} {min(found):7.3f} {median:9.3f} {median / bare:11.1f}")


if __name__ == "__main__":
    main()
