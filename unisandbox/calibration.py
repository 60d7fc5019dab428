"""Calibration: a judge's own errors, as counted on pictures whose truth is known, and scores without them.

A judge that passes the share ``sensitivity`` of right pictures and fails the share ``specificity`` of wrong
ones sees a score s where the true one is (s + specificity - 1) / (sensitivity + specificity - 1) (Rogan &
Gladen 1978). The corrected score stands beside the raw one, never instead of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisandbox.errors import RunFolderError, UsageError
from unisandbox.modes import MODES
from unisandbox.results import Cell, Results
from unisandbox.run_log import CALIBRATION, RUN, RUNS, difference, read_json
from unisandbox.stats import Accuracy, Estimate, cohens_kappa, rogan_gladen, share, wilson
from unisandbox.trials import Trials, read_trials

PLACE = RUNS / "calibration"
"""Where calibrations lie when nobody says where."""
COMPOSED, LABELLED = "composed scenes", "labelled pictures"

Floats = NDArray[np.float64]
Known = Mapping[tuple[str, str], Accuracy]
"""(judge, rubric) -> its errors."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a judge said of pictures of one truth."""

    passed: int = 0
    """Called correct."""
    incorrect: int = 0
    rejected: int = 0
    errors: int = 0
    """No verdict: in no rate."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{name: number + getattr(other, name) for name, number in asdict(self).items()})

    @property
    def failed(self) -> int:
        """Called wrong, in either way."""
        return self.incorrect + self.rejected

    @property
    def n(self) -> int:
        """Pictures with a verdict."""
        return self.passed + self.failed


@dataclass(frozen=True)
class Rates:
    """A judge's errors under one rubric."""

    fingerprint: str
    """Of the rubric: under another version of it the judge may err otherwise."""
    right: Tally
    wrong: Mapping[str, Tally]
    """Kind of wrongness ('' where it is not known) -> what the judge said."""

    @property
    def all_wrong(self) -> Tally:
        """All kinds of wrongness together."""
        return sum(self.wrong.values(), Tally())

    @property
    def sensitivity(self) -> Estimate:
        """Share of the right pictures called correct."""
        return _rate(self.right.passed, self.right.n)

    def specificity(self, kind: str | None = None) -> Estimate:
        """Share of the wrong pictures called wrong: of one kind, or of all."""
        tally = self.all_wrong if kind is None else self.wrong[kind]
        return _rate(tally.failed, tally.n)

    @property
    def accuracy(self) -> Accuracy | None:
        """Both rates as counts; None where there are no right, or no wrong, pictures with a verdict."""
        right, wrong = self.right, self.all_wrong
        return Accuracy(right.passed, right.n, wrong.failed, wrong.n) if right.n and wrong.n else None

    @property
    def kappa(self) -> Estimate:
        """Agreement of the judge with the truth, beyond chance."""
        cells = {
            (True, True): self.right.passed,
            (True, False): self.right.failed,
            (False, True): self.all_wrong.passed,
            (False, False): self.all_wrong.failed,
        }
        pairs = [pair for pair, number in cells.items() for _ in range(number)]
        return cohens_kappa([truth for truth, _ in pairs], [said for _, said in pairs])


def _rate(part: int, whole: int) -> Estimate:
    if not whole:
        return Estimate(None, reason="no pictures")
    return Estimate(part / whole, *wilson(part, whole), whole)


@dataclass(frozen=True)
class Calibration:
    """A judge's errors, by rubric."""

    judge: str
    """Its label."""
    about: Mapping[str, Any]
    """What it says of itself: another version of it may err otherwise."""
    pictures: str
    """``COMPOSED`` or ``LABELLED``."""
    started: str
    """When; the latest counts."""
    rubrics: Mapping[str, Rates]
    folder: Path

    def to_json(self) -> dict[str, Any]:
        """Return what ``calibration.json`` holds."""
        return {"format": 1, **{name: value for name, value in asdict(self).items() if name != "folder"}}

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a mapping a rubric and kind of picture: the rate with its interval, and the counts."""
        return [
            {
                "judge": self.judge,
                "rubric": rubric,
                "truth": truth,
                "kind": kind,
                "rate": rate.value,
                "low": rate.low,
                "high": rate.high,
                "n": tally.n,
                **asdict(tally),
            }
            for rubric, rates in self.rubrics.items()
            for truth, kind, tally, rate in lines(rates)
        ]


def lines(rates: Rates) -> list[tuple[str, str, Tally, Estimate]]:
    """Return truth, kind, tally and share called as it is: of right pictures, of wrong ones, of each kind."""
    kinds = [kind for kind in rates.wrong if kind]
    return [
        ("right", "", rates.right, rates.sensitivity),
        ("wrong", "", rates.all_wrong, rates.specificity()),
        *(("wrong", kind, rates.wrong[kind], rates.specificity(kind)) for kind in kinds),
    ]


def read_calibrations(place: Path) -> list[Calibration]:
    """Read a calibration's folder, or every one in a folder; raises UsageError where there is none."""
    alone = place / CALIBRATION
    found = [alone] if alone.is_file() else sorted(place.glob(f"*/{CALIBRATION}"))
    if not found:
        raise UsageError(f"{place} holds no calibration. Make one: unisandbox calibrate JUDGE --out {place}")
    return [_read(path) for path in found]


def _read(path: Path) -> Calibration:
    value = read_json(path)
    try:
        rubrics = {
            name: Rates(
                rates["fingerprint"],
                Tally(**rates["right"]),
                {kind: Tally(**tally) for kind, tally in rates["wrong"].items()},
            )
            for name, rates in value["rubrics"].items()
        }
        about = {name: value[name] for name in ("judge", "about", "pictures", "started")}
        return Calibration(**about, rubrics=rubrics, folder=path.parent)
    except (AttributeError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} cannot be read: not a calibration: {error}.") from None


@dataclass(frozen=True)
class Fit:
    """What calibrations say of the judges of one run."""

    known: Known
    used: tuple[Calibration, ...]
    notes: tuple[str, ...]
    """Why a calibration of one of its judges is not used."""


def fit_from(folder: Path, place: Path | None) -> Fit:
    """Return what the calibrations in ``place`` say of a run's judges; None: those in ``PLACE``, if any.

    Raises UsageError where ``place`` holds none, RunFolderError for one that cannot be read; in ``PLACE``,
    which nobody named, that is but a note.
    """
    if place is not None:
        return fit(folder, read_calibrations(place))
    found, notes = [], []
    for path in sorted(PLACE.glob(f"*/{CALIBRATION}")):
        try:
            found.append(_read(path))
        except RunFolderError as error:
            notes.append(str(error))
    known = fit(folder, found)
    return replace(known, notes=(*notes, *known.notes))


def fit(folder: Path, calibrations: Iterable[Calibration]) -> Fit:
    """Return what is known of a run's judges under its rubrics; the latest calibration counts.

    One of another version of the judge or of the rubric is left out, and a note says so.
    """
    run = read_json(folder / RUN)
    known: dict[tuple[str, str], Accuracy] = {}
    used: dict[Path, Calibration] = {}
    notes: list[str] = []
    for one in sorted(calibrations, key=lambda one: one.started, reverse=True):
        if one.judge not in run["matrix"]["judges"]:
            continue
        if changed := difference(one.about, run.get("judges", {}).get(one.judge, {})):
            notes.append(f"{one.folder} is of another version of {one.judge} and left out: {changed}.")
            continue
        for name, rates in one.rubrics.items():
            fingerprint = run["matrix"]["rubrics"].get(name)
            if fingerprint is None or (one.judge, name) in known:
                continue
            if rates.fingerprint != fingerprint:
                notes.append(f"{one.folder} is of another version of rubric {name}: left out for it.")
            elif (accuracy := rates.accuracy) is None:
                notes.append(
                    f"{one.folder} holds no right, or no wrong, pictures for rubric {name}: left out."
                )
            else:
                known[one.judge, name] = accuracy
                used[one.folder] = one
    return Fit(known, tuple(used.values()), tuple(notes))


def correct(results: Results, known: Known) -> Results:
    """Return the results with corrected scores, where all that a cell's judge went by is known.

    Only pictures: what is known of a judge was counted on pictures, not on words.
    """
    if not known:
        return results
    tables = {(trials.task, trials.model): trials for trials in read_trials(results.folder)}

    def corrected(cell: Cell) -> Cell:
        trials = tables.get((cell.task, cell.model))
        if trials is None or MODES[cell.mode].output != "image":
            return cell
        return replace(cell, corrected=corrected_score(trials, cell.mode, cell.judge, known))

    return replace(results, cells=tuple(corrected(cell) if cell.supported else cell for cell in results))


def corrected_score(trials: Trials, mode: str, judge: str, known: Known) -> Estimate | None:
    """Return a cell's score without its judge's errors; None where they are not known.

    Plain trials, each its own unit: Rogan & Gladen, with the interval of Lang & Reiczigel 2014. Pairs,
    repeats, or several rubrics: every verdict v is replaced by (v + specificity - 1) / (sensitivity +
    specificity - 1), a unit's by their product, and the mean is taken, with the linearised interval of
    ``stats.share``; this supposes that the judge errs independently from picture to picture, given the truth.
    Pictures that no judge saw, since the model gave none, are wrong for certain.
    """
    passed, rubrics = trials.passed[mode, judge], trials.rubrics[mode, judge]
    names = trials.went_by(mode, judge)
    if not names or any((judge, name) not in known for name in names):
        return None
    rates = {name: known[judge, name] for name in names}
    if any(one.youden <= 0 for one in rates.values()):
        return Estimate(None, reason="the judge is no better than guessing")
    scored = ~np.isnan(passed)
    pairs = len(set(trials.units)) < len(trials.units)
    if pairs and len(trials.samples) < trials.expected:
        return None  # half a pair is not right
    if not pairs and passed.shape[1] == 1 and len(names) == 1 and "" not in rubrics[scored]:
        return rogan_gladen(float(passed[scored].sum()), int(scored.sum()), rates[names[0]])
    return _over_units(trials, passed, rubrics, rates)


def _over_units(
    trials: Trials, passed: Floats, rubrics: NDArray[np.object_], rates: Mapping[str, Accuracy]
) -> Estimate:
    order = np.argsort(trials.unit_of, kind="stable")
    starts = np.flatnonzero(np.diff(trials.unit_of[order], prepend=-1))

    def by_unit(values: Floats) -> Floats:
        """Return the product over the samples of each unit: (units, repeats)."""
        return np.asarray(np.multiply.reduceat(values[order], starts, axis=0))

    def part(name: str = "", sensitivity: float = 0.0, specificity: float = 0.0) -> Floats:
        """Return what each unit adds to the score, with a judge whose rates under one rubric are shifted."""
        values = passed.copy()
        for rubric, accuracy in rates.items():
            this = rubric == name
            right = accuracy.sensitivity + this * sensitivity
            wrong = accuracy.specificity + this * specificity
            values[rubrics == rubric] = (passed[rubrics == rubric] + wrong - 1) / (right + wrong - 1)
        return np.asarray(np.nansum(by_unit(values), axis=1))

    repeats = passed.shape[1]
    whole = np.isfinite(by_unit(passed)).sum(axis=1).astype(float)
    if not whole.any():
        return Estimate(None, reason="nothing was scored")
    found, step = part(), -1e-3 * min(one.youden for one in rates.values())
    moves = [
        ((part(name, *shift) - found).sum() / step * error, 0.0)
        for name, accuracy in rates.items()
        for shift, error in zip(((step, 0.0), (0.0, step)), accuracy.standard_errors, strict=True)
    ]
    return share(found / repeats, whole / repeats, float(whole.sum()), np.array(moves).T / repeats)
