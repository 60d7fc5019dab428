"""Agreement: how far two judges of one run see the same, trial by trial."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from unisandbox.results import Results
from unisandbox.stats import Estimate, cohens_kappa, ratio
from unisandbox.trials import JUDGED, read_verdicts

UNJUDGED = "no verdict"

_Ask = tuple[str, str, str]
_Said = tuple[tuple[str, ...], str, str]
"""The unit of a trial, and what each of two judges said."""


@dataclass(frozen=True)
class Agreement:
    """Two judges on the trials of one task, or of all."""

    first: str
    second: str
    task: str
    """Empty for all tasks together."""
    table: Mapping[tuple[str, str], int]
    """What the first and the second said -> trials; ``UNJUDGED`` for an error, or no verdict yet."""
    agreed: Estimate
    """Share of the trials with two verdicts on which both, or neither, say correct."""
    kappa: Estimate
    """Cohen's kappa of the same."""

    @property
    def n(self) -> int:
        """Trials with two verdicts."""
        return sum(number for pair, number in self.table.items() if UNJUDGED not in pair)

    @property
    def unjudged(self) -> int:
        """Trials that one of the two, or both, have no verdict on."""
        return sum(self.table.values()) - self.n

    def to_row(self) -> dict[str, Any]:
        """Return a flat mapping: judges, task, n, unjudged, both figures with intervals, the table."""
        figures = {"agreed": self.agreed, "kappa": self.kappa}
        ends = {
            f"{name}_{end}": getattr(one, end) for name, one in figures.items() for end in ("low", "high")
        }
        return {
            "first": self.first,
            "second": self.second,
            "task": self.task or "all",
            "n": self.n,
            "unjudged": self.unjudged,
            **{name: one.value for name, one in figures.items()},
            **ends,
            **{f"{a} / {b}": self.table.get((a, b), 0) for a in JUDGED for b in JUDGED},
        }


def agreements(results: Results) -> list[Agreement]:
    """Return, for every two judges with trials in common, their agreement by task, then over all tasks.

    Trials of one unit are not independent, so the intervals are over units.
    """
    judges: dict[_Ask, list[str]] = defaultdict(list)
    for cell in results:
        judges[cell.task, cell.mode, cell.model].append(cell.judge)
    shared = {ask: tuple(combinations(names, 2)) for ask, names in judges.items() if len(names) > 1}
    said: dict[tuple[str, str], dict[str, list[_Said]]] = defaultdict(lambda: defaultdict(list))
    for (task, mode, model), trials in _trials(results, shared).items():
        for pair in shared[task, mode, model]:
            for unit, outcome_of in trials:
                first, second = (outcome_of.get(judge, UNJUDGED) for judge in pair)
                said[pair][task].append(((task, model, unit), first, second))
    return [one for pair, by_task in said.items() for one in _of_pair(pair, by_task)]


def _of_pair(pair: tuple[str, str], by_task: Mapping[str, list[_Said]]) -> Iterator[Agreement]:
    for task, said in by_task.items():
        yield _agreement(*pair, task, said)
    if len(by_task) > 1:
        yield _agreement(*pair, "", [one for said in by_task.values() for one in said])


def _trials(results: Results, asks: Iterable[_Ask]) -> dict[_Ask, list[tuple[str, dict[str, str]]]]:
    """Return the trials of these asks that a judge was given: the unit, and judge -> outcome."""
    found: dict[_Ask, dict[str, tuple[str, dict[str, str]]]] = {ask: {} for ask in asks}
    for line in read_verdicts(results.folder) if found else ():
        ask = line["task"], line["mode"], line["model"]
        outcome = UNJUDGED if line["outcome"] == "error" else line["outcome"]
        if ask in found and outcome in (*JUDGED, UNJUDGED):
            found[ask].setdefault(line["key"], (line["unit"], {}))[1][line["judge"]] = outcome
    # in an order of their own, so that the order in which they were judged moves no interval
    return {ask: [trials[key] for key in sorted(trials)] for ask, trials in found.items()}


def _agreement(first: str, second: str, task: str, said: list[_Said]) -> Agreement:
    both = [(unit, a == "correct", b == "correct") for unit, a, b in said if UNJUDGED not in (a, b)]
    units = [unit for unit, _, _ in both]
    return Agreement(
        first,
        second,
        task,
        Counter((a, b) for _, a, b in said),
        ratio([a == b for _, a, b in both], units),
        cohens_kappa([a for _, a, _ in both], [b for _, _, b in both], units),
    )
