"""Does attribution give back the causes that were planted? Real runs of the oracle, with noise in verdicts.

Every setting draws at random how often the oracle knows, reasons, renders, transfers, and so on, and how good
its judges are. The run is asked, judged and logged as any other; then its verdicts are turned round at the
judges' error rates, and attribution is told only what a calibration of ``--calibration`` answers of each kind
would show of them. Printed: how often the 95 % intervals hold the planted figure.

    python benchmarks/attribution.py --settings 200 --units 100
"""

from __future__ import annotations

import argparse
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.random import Generator
from tabulate import tabulate

import unisandbox.tasks
from unisandbox import run
from unisandbox.attribution import Causes, causes
from unisandbox.stats import Accuracy, Estimate, wilson
from unisandbox.trials import Trials, read_trials

TASK = Path(unisandbox.tasks.__file__).parent / "knowledge" / "inverse_search.yaml"
MODES = ("direct", "cot", "answer", "recall", "render", "refined", "planted")


@dataclass(frozen=True)
class Planted:
    """The oracle's causes, each a rate."""

    knows: float
    reasons: float
    renders: float
    transfer: float
    transfer_cot: float
    elicits: float
    follows: float

    @classmethod
    def at_random(cls, draw: Generator) -> Planted:
        """Draw a setting."""
        return cls(*(round(float(draw.uniform(0.3, 0.95)), 3) for _ in fields(cls)))

    @property
    def model(self) -> str:
        """The model that has these causes."""
        return "oracle:size=64," + ",".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))

    def figures(self) -> dict[str, float]:
        """Return what attribution should find, from how the oracle works."""
        understood = self.knows * self.reasons
        failed = 1 - understood * self.renders * self.transfer
        return {
            "rendering": (1 - self.renders) / failed,
            "knowledge": self.renders * (1 - self.knows) / failed,
            "reasoning": self.renders * self.knows * (1 - self.reasons) / failed,
            "transfer": self.renders * understood * (1 - self.transfer) / failed,
            "recoverable": self.elicits * self.transfer_cot,
            "interference": self.elicits * (1 - self.transfer_cot),
            "elicitation": 1 - self.elicits,
            "direct passes": self.transfer,
            "cot passes": self.elicits * self.transfer_cot,
            "refined passes": self.elicits,
            "gap to independence": understood * self.renders * (1 - self.transfer),
            "follows planted text": self.follows * self.renders,
        }


@dataclass(frozen=True)
class Noise:
    """How good a judge really is."""

    sensitivity: float
    specificity: float

    def calibrated(self, answers: int, draw: Generator) -> Accuracy:
        """Return what a calibration on that many right and that many wrong answers shows."""
        passed = int(draw.binomial(answers, self.sensitivity))
        return Accuracy(passed, answers, int(draw.binomial(answers, self.specificity)), answers)

    def judged(self, truth: np.ndarray, draw: Generator) -> np.ndarray:
        """Return verdicts on answers whose truth is known."""
        passes = np.where(truth == 1, self.sensitivity, 1 - self.specificity)
        return np.where(np.isnan(truth), np.nan, draw.random(truth.shape) < passes)


def noisy(trials: Trials, judges: Mapping[str, Noise], draw: Generator) -> Trials:
    """Return the trials as judges with these error rates would have judged them."""
    turned = {(mode, who): judges[who].judged(passed, draw) for (mode, who), passed in trials.passed.items()}
    return replace(trials, passed=turned)


def found(cell: Causes) -> Iterator[tuple[str, Estimate]]:
    """Yield the figures that have a value."""
    for _, name, figure in cell.figures():
        if figure.known:
            yield name, figure


def measure(
    settings: int, units: int, repeats: int, calibration: int, seed: int
) -> dict[str, dict[str, list[tuple[bool, float, float]]]]:
    """Return, by raw or corrected and by figure, whether each interval holds, its width and its error."""
    draw = np.random.Generator(np.random.PCG64(seed))
    checks: dict[str, dict[str, list[tuple[bool, float, float]]]] = {}
    with TemporaryDirectory() as folder:
        for number in range(settings):
            planted, out = Planted.at_random(draw), Path(folder) / str(number)
            # lasting causes are drawn by task and sample: each setting needs a task name of its own
            file = Path(shutil.copy(TASK, Path(folder) / f"people_{seed}_{number}.yaml"))
            run(
                tasks=str(file),
                models=planted.model,
                modes=MODES,
                limit=units,
                repeats=repeats,
                seed=number,
                out=out,
            )
            (trials,) = read_trials(out)
            judges = {
                who: Noise(float(draw.uniform(0.85, 0.99)), float(draw.uniform(0.85, 0.99)))
                for who in sorted({who for _, who in trials.passed})
            }
            known = {who: noise.calibrated(calibration, draw) for who, noise in judges.items()}
            perfect = next(causes(trials, trials.judges("direct")[0], {}))
            raw, corrected = causes(noisy(trials, judges, draw), trials.judges("direct")[0], known)
            for kind, cell in (("no noise", perfect), ("noise, raw", raw), ("noise, corrected", corrected)):
                of_kind = checks.setdefault(kind, defaultdict(list))
                for name, figure in found(cell):
                    if name in planted.figures():
                        truth = planted.figures()[name]
                        value, low, high = figure.value or 0.0, figure.low or 0.0, figure.high or 0.0
                        of_kind[name].append((low <= truth <= high, high - low, value - truth))
    return checks


def coverage(checks: list[tuple[bool, float, float]]) -> str:
    """Return how often intervals hold, with the interval of that."""
    hit = sum(holds for holds, _, _ in checks)
    low, high = wilson(hit, len(checks))
    return f"{100 * hit / len(checks):.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    """Measure and print the table of docs/attribution.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("settings", 200),
        ("units", 100),
        ("repeats", 1),
        ("calibration", 300),
        ("seed", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"(default: {default})")
    given = parser.parse_args()
    checks = measure(given.settings, given.units, given.repeats, given.calibration, given.seed)
    for kind, of_kind in checks.items():
        rows = [
            [
                name,
                coverage(of_figure),
                f"{np.mean([width for _, width, _ in of_figure]):.2f}",
                f"{np.mean([error for _, _, error in of_figure]):+.3f}",
                len(of_figure),
            ]
            for name, of_figure in of_kind.items()
        ]
        everything = [check for of_figure in of_kind.values() for check in of_figure]
        rows.append(["all", coverage(everything), "", "", len(everything)])
        print(f"\n{kind}\n")
        headers = ["figure", "intervals that hold it", "mean width", "mean error", "intervals"]
        print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
