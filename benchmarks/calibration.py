"""Do corrected scores hold the true ones? Simulated verdicts of judges that err, and calibrations of them.

Every setting draws at random how good the model and its judge are; the judge's verdicts on the run and on the
pictures of its calibration are then drawn with its error rates. Printed: how often the 95 % intervals of the
raw and of the corrected score hold the score that a judge without errors would give on endless samples.

    python benchmarks/calibration.py --settings 4000
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from tabulate import tabulate

from unisandbox.calibration import corrected_score
from unisandbox.records import Score
from unisandbox.scores import CODES, score
from unisandbox.stats import Accuracy, Estimate, wilson
from unisandbox.trials import Trials

JUDGE, RUBRICS = "eye", ("object_count", "portrait")


@dataclass(frozen=True)
class Design:
    """What one cell is made of."""

    name: str
    units: int = 200
    size: int = 1
    """Samples of a unit, all of which must be right."""
    repeats: int = 1
    rubrics: int = 1
    unanswered: float = 0.0
    """Share of trials in which the model gives no picture."""
    rates: tuple[float, float] = (0.7, 0.99)
    """Where sensitivities and specificities are drawn from."""


DESIGNS = (
    Design("plain"),
    Design("plain, 50 units", units=50),
    Design("some unanswered", unanswered=0.2),
    Design("A/B pairs", size=2),
    Design("3 repeats", units=100, repeats=3),
    Design("two rubrics", rubrics=2),
    Design("pairs, 3 repeats", units=100, size=2, repeats=3),
    Design("plain, weak judge", rates=(0.55, 0.75)),
    Design("A/B pairs, weak judge", size=2, rates=(0.55, 0.75)),
)


@dataclass
class Checks:
    """Whether intervals held the true score, and by how much the value was off it."""

    held: list[bool] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def add(self, figure: Score | Estimate, truth: float) -> None:
        """Add a figure that has a value."""
        assert figure.value is not None and figure.low is not None and figure.high is not None
        self.held.append(figure.low <= truth <= figure.high)
        self.errors.append(figure.value - truth)

    def row(self) -> list[str]:
        """Return the share that held with its interval, and the mean error."""
        low, high = wilson(sum(self.held), len(self.held))
        held = f"{100 * np.mean(self.held):.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        return [held, f"{np.mean(self.errors):+.3f}"]


def simulate(design: Design, pictures: int, draw: Generator) -> tuple[Score, Estimate | None, float]:
    """Return the raw score of one setting, the corrected one, and the true one."""
    shape = (design.units, design.size, design.repeats)
    mean, spread = draw.uniform(0.05, 0.95), draw.uniform(1, 10)
    rubric_of = np.arange(design.units) % design.rubrics
    # some samples are harder than others, whatever the seed
    right = draw.random(shape) < draw.beta(mean * spread, (1 - mean) * spread, (*shape[:2], 1))
    known, passes = {}, np.zeros(shape)
    for number, rubric in enumerate(RUBRICS[: design.rubrics]):
        rates = draw.uniform(*design.rates, 2)
        passed, failed = draw.binomial(pictures, rates)
        known[JUDGE, rubric] = Accuracy(int(passed), pictures, int(failed), pictures)
        own = rubric_of == number
        passes[own] = draw.random(right[own].shape) < np.where(right[own], rates[0], 1 - rates[1])
    seen = draw.random(shape) >= design.unanswered
    names = np.array(RUBRICS, dtype=object)[rubric_of][:, None, None]
    trials = _trials(design, passes * seen, np.where(seen, names, ""))
    codes = [
        CODES["correct"] if value else CODES["incorrect"] for value in trials.passed["direct", JUDGE].flat
    ]
    raw = score(codes, trials.unit_of.tolist(), design.units, design.repeats)
    truth = (mean * (1 - design.unanswered)) ** design.size
    return raw, corrected_score(trials, "direct", JUDGE, known), truth


def _trials(design: Design, passes: NDArray[np.float64], rubrics: NDArray[np.object_]) -> Trials:
    number = design.units * design.size
    flat = (number, design.repeats)
    return Trials(
        "task",
        "family",
        "model",
        "print",
        tuple(f"s{n}" for n in range(number)),
        tuple(f"u{n // design.size}" for n in range(number)),
        {("direct", JUDGE): passes.reshape(flat)},
        {},
        0,
        number,
        {("direct", JUDGE): rubrics.reshape(flat)},
    )


def measure(design: Design, settings: int, pictures: int, seed: int) -> tuple[Checks, Checks]:
    """Return the checks of many settings: of the raw score, and of the corrected one."""
    draw = np.random.Generator(np.random.PCG64(seed))
    raw, corrected = Checks(), Checks()
    for _ in range(settings):
        seen, figure, truth = simulate(design, pictures, draw)
        raw.add(seen, truth)
        if figure is not None and figure.known:  # else it counts as no better than guessing
            corrected.add(figure, truth)
    return raw, corrected


def main() -> None:
    """Measure and print the table of docs/calibration.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", type=int, default=4000, help="a design (default: 4000)")
    parser.add_argument("--pictures", type=int, default=200, help="right, and wrong (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    given = parser.parse_args()
    rows = []
    for design in DESIGNS:
        raw, corrected = measure(design, given.settings, given.pictures, given.seed)
        rows.append([design.name, *raw.row(), *corrected.row()])
    names = ["cell", "raw holds", "mean error", "corrected holds", "mean error"]
    print(tabulate(rows, headers=names, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
