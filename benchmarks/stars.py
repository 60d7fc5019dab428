"""STARS on the embedded model: what it learns, on what it never saw, beside controls.

Run:  python benchmarks/stars.py FOLDER [--seeds 0 1] [--family math|mapping] [--steps 500] [--prompts 5000]
          [--candidates 1] [--model tiny] [--arms curriculum] [--controls]

Trains on the three levels of a family with half of the objects held out, evaluates on both families,
and prints markdown. A killed run goes on in its folder. One arm takes some 36 minutes a seed on two cores
that do other things now and then, and nearly as much again for each control.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from unisandbox.backend import TrainSpec
from unisandbox.cli.stars import runner, told
from unisandbox.report.stars import COLUMNS, row
from unisandbox.report.table import texts_as
from unisandbox.training.stars import CONTROLS, Pipeline, Stars, StarsOptions

LEVELS = {
    "math": ("math_1", "math_2", "math_3"),
    "mapping": ("mapping_1", "mapping_2", "mapping_3"),
}


def taught(given: argparse.Namespace, seed: int) -> Stars:
    """Run STARS for one seed."""
    other = "mapping" if given.family == "math" else "math"
    options = StarsOptions(
        tasks=LEVELS[given.family],
        model=given.model,
        prompts=given.prompts,
        candidates=given.candidates,
        curriculum=given.arms != "union",
        compare=given.arms == "both",
        controls=CONTROLS if given.controls else (),
        hold_out=("object",),
        also=(LEVELS[other][0],),
        spec=TrainSpec(steps=given.steps, rate=given.rate, mix=given.mix),
        seed=seed,
    )
    folder = given.folder / f"{given.family}-{seed}"
    run = runner(given.executor, quiet=False)
    return Pipeline(options, folder, run=run, told=told).run()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--family", choices=LEVELS, default="math")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--prompts", type=int, default=5000, help="of a level, held-out objects included")
    parser.add_argument("--candidates", type=int, default=1, help="pictures of a prompt")
    parser.add_argument("--executor", default="workers=2", help="of runs (default: workers=2)")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--mix", type=float)
    parser.add_argument("--arms", choices=("curriculum", "union", "both"), default="curriculum")
    parser.add_argument("--controls", action="store_true")
    given = parser.parse_args()
    for seed in given.seeds:
        found = taught(given, seed)
        print(f"seed {seed}\n")
        for stage, rates in found.rates.items():
            drawn, right = sum(one.candidates for one in rates), sum(one.correct for one in rates)
            kept = sum(one.kept for one in rates)
            print(f"- {stage}: {drawn} candidates, {right / drawn:.3f} correct, {kept} kept")
        print(f"\n{texts_as([row(line) for line in found.lines], COLUMNS, 'md')}\n")
        if not found.finished:
            sys.exit(130)


if __name__ == "__main__":
    main()
