"""Attribution: modes -> causes. Why the direct pictures that failed did fail.

Of every failed ``direct`` trial the first thing that fails on the way names the cause: drawing the resolved
prompt (``render``), the facts (``recall``), the answer in words (``answer``); where all of them pass, what
was understood did not reach the picture: *transfer*. The trials that are compared share sample and seed.

A judge that errs makes wrong patterns of passes. Where its error rates are known, every verdict v becomes
(v + specificity - 1) / (sensitivity + specificity - 1), whose mean is the true rate (Rogan & Gladen 1978).
Its errors in different modes are taken to be independent given the truth: then a product of such values has
the mean of the true product, and the same sums give the causes without the judge's share in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unisandbox.calibration import Known
from unisandbox.errors import UsageError, unknown
from unisandbox.modes import MODES
from unisandbox.results import matches, words_of
from unisandbox.stats import SEED, Accuracy, Estimate, bootstrap, share
from unisandbox.trials import Trials, read_trials

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

STEPS = (("rendering", "render"), ("knowledge", "recall"), ("reasoning", "answer"))
"""Cause, and the mode whose failure names it, in order."""
CAUSES = ("rendering", "knowledge", "reasoning", "transfer", "unscored")
SPLIT = {
    "recoverable": "recovered by cot",
    "interference": "context interference",
    "elicitation": "elicitation",
}
"""What a transfer failure can be: ``cot`` passes; ``cot`` fails but ``refined`` passes; both fail."""
DRAWN = ("direct", "cot", "refined", "gold")
RELIABLE = 0.5
"""Sensitivity + specificity - 1 below which a judge's verdicts are not attributed: the correction would more
than quadruple their variance."""

_Rates = tuple[float, float]
"""Sensitivity and specificity."""
_Sums = dict[str, tuple[Floats, Floats]]
"""Figure -> (part, whole), a number a unit."""


@dataclass(frozen=True)
class Causes:
    """Why the direct pictures of one task and model failed, as one judge sees it."""

    task: str
    family: str
    model: str
    judge: str
    corrected: bool
    """Whether the judge's own error rates are taken out."""
    samples: int
    repeats: int
    failed: float
    """Direct pictures that failed, in samples: a sample that fails in one of two repeats counts a half."""
    rates: Mapping[str, Estimate]
    """Mode -> share of samples that pass."""
    causes: Mapping[str, Estimate]
    """Shares of the failures, see ``CAUSES``; they add up to 1."""
    split: Mapping[str, Estimate]
    """Shares of the transfer failures, see ``SPLIT``."""
    efficiency: Mapping[str, Estimate]
    """Mode -> P(it passes | answer, render and recall pass)."""
    gap: Estimate
    """Gap to independence: mean(answer) x mean(render) - mean(direct)."""
    follows: Estimate
    """Share of ``planted`` pictures that follow the planted text."""
    captioned: Estimate
    """Share of failed direct pictures that the model itself reads as right: it, or the judge, misreads."""
    missing: Mapping[str, str]
    """Mode -> why it is not there."""
    by_sample: Mapping[str, Floats] = field(repr=False, compare=False)
    """Cause -> expected number of failures a sample, from the verdicts as they are."""
    sample_ids: tuple[str, ...] = field(repr=False, compare=False)

    def figures(self) -> Iterator[tuple[str, str, Estimate]]:
        """Yield every figure: what it is a share of, its name, its estimate."""
        for cause in CAUSES:
            yield "failures", cause, self.causes[cause]
        for part in SPLIT:
            yield "transfer", part, self.split[part]
        for mode in DRAWN:
            yield "understood", f"{mode} passes", self.efficiency[mode]
        yield "all", "gap to independence", self.gap
        yield "planted", "follows planted text", self.follows
        yield "failures", "caption says right", self.captioned

    def sentence(self, who: str = "") -> str:
        """Return the figures in words, by fixed rules; ``who`` begins the sentence."""
        return _in_words(self, who or f"{self.model} on {self.task}")

    def sample_rows(self) -> Iterator[dict[str, Any]]:
        """Yield a mapping a failed sample: expected number of failures by cause, and the commonest cause."""
        for row, sample in enumerate(self.sample_ids):
            counts = {cause: float(self.by_sample[cause][row]) for cause in self.by_sample}
            if (failed := sum(counts.values())) > 0:
                named = {"task": self.task, "model": self.model, "judge": self.judge, "sample": sample}
                cause = max(counts, key=lambda name: counts[name])
                yield {**named, "cause": cause, "failed": failed, **counts}


@dataclass(frozen=True)
class Attribution:
    """The causes of every task, model and judge of a run."""

    folder: Path
    cells: tuple[Causes, ...]

    def __iter__(self) -> Iterator[Causes]:
        return iter(self.cells)

    def only(self, **patterns: Sequence[str]) -> Attribution:
        """Return the cells whose ``task`` (or family), ``model`` or ``judge`` match a glob."""

        def keep(cell: Causes) -> bool:
            return all(matches(globs, *words_of(cell, name)) for name, globs in patterns.items())

        return Attribution(self.folder, tuple(filter(keep, self.cells)))

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a mapping a figure.

        task, family, model, judge, verdicts (raw or corrected), of, figure, value, low, high, n, reason.
        """
        return [
            {
                "task": cell.task,
                "family": cell.family,
                "model": cell.model,
                "judge": cell.judge,
                "verdicts": "corrected" if cell.corrected else "raw",
                "of": of,
                "figure": name,
                "value": figure.value,
                "low": figure.low,
                "high": figure.high,
                "n": figure.n,
                "reason": figure.reason,
            }
            for cell in self
            for of, name, figure in cell.figures()
        ]

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a figure, with the columns of ``to_rows``."""
        import pandas as pd

        return pd.DataFrame(self.to_rows())

    def sample_rows(self) -> list[dict[str, Any]]:
        """Return a mapping a failed sample, with its cause."""
        return [row for cell in self if not cell.corrected for row in cell.sample_rows()]

    def reading(self) -> str:
        """Return the figures in plain words, a few sentences a task, model and judge."""
        several = len({cell.judge for cell in self}) > 1
        said, before = [], ""
        for cell in self:
            who = f"On {cell.task} it" if cell.model == before else f"{cell.model} on {cell.task}"
            marks = [f"judge {cell.judge}"] if several else []
            marks += ["corrected for the judge"] if cell.corrected else []
            said.append(cell.sentence(f"{who} ({', '.join(marks)})" if marks else who))
            before = cell.model
        return " ".join(said)


def attribute(
    folder: str | Path, accuracy: Mapping[str, Accuracy] | None = None, known: Known | None = None
) -> Attribution:
    """Attribute the failures of a run.

    ``accuracy`` holds what is known of a judge's errors, by the judge's label; ``known`` what calibrations
    say of them, by judge and rubric (see ``unisandbox.calibration.fit``), for pictures, where ``accuracy``
    does not name the judge. Corrected figures then stand beside the raw ones. Raises RunFolderError when the
    folder is no run, UsageError when it asked nothing directly or ``accuracy`` names a judge that it does not
    have.
    """
    folder, accuracy = Path(folder), accuracy or {}
    tables = read_trials(folder)
    judges = {judge for trials in tables for _, judge in trials.passed}
    for name in accuracy:
        if name not in judges:
            raise UsageError(f"{folder}: {unknown('judge', name, judges)}")
    cells = [
        cell
        for trials in tables
        for judge in trials.judges("direct")
        for cell in causes(trials, judge, accuracy, known or {})
    ]
    if not cells:
        raise UsageError(f"{folder}: nothing was asked in mode 'direct', so there is nothing to attribute.")
    return Attribution(folder, tuple(cells))


def causes(
    trials: Trials, judge: str, accuracy: Mapping[str, Accuracy], known: Known | None = None
) -> Iterator[Causes]:
    """Yield the causes as one judge sees them: raw, and corrected where its accuracy is known and fair."""
    view = _View.of(trials, judge, accuracy, known or {})
    yield view.causes(corrected=False)
    if view.accuracy and not view.unreliable:
        yield view.causes(corrected=True)


@dataclass(frozen=True)
class _View:
    """The verdicts that one judge, and those who stand in for it, gave."""

    trials: Trials
    judge: str
    passed: Mapping[str, Floats]
    """Mode -> (samples, repeats)."""
    judge_of: Mapping[str, str]
    """Mode -> who judged it; "JUDGE on RUBRIC" where its errors are known by rubric."""
    accuracy: Mapping[str, Accuracy]
    """By judge; those whose errors are not known are taken at their word."""

    @classmethod
    def of(cls, trials: Trials, judge: str, accuracy: Mapping[str, Accuracy], known: Known) -> _View:
        judge_of = {mode: who for mode in MODES if (who := trials.judge_for(mode, judge)) is not None}
        passed = {mode: trials.passed[mode, who] for mode, who in judge_of.items()}
        used = {who: accuracy[who] for who in judge_of.values() if who in accuracy}
        for mode, who in judge_of.items():
            if who not in accuracy and (rubric := _one_rubric(trials, mode, who, known)):
                judge_of[mode] = f"{who} on {rubric}"
                used[judge_of[mode]] = known[who, rubric]
        return cls(trials, judge, passed, judge_of, used)

    def causes(self, *, corrected: bool) -> Causes:
        rates = {who: (one.sensitivity, one.specificity) for who, one in self.accuracy.items()}
        values = self._values(rates if corrected else {})
        sums = self._sums(values)
        moves = self._moves(sums, rates) if corrected else {}
        repeats = values["direct"].shape[1]

        def estimate(name: str, otherwise: str) -> Estimate:
            if name not in sums:
                return Estimate(None, reason=otherwise)
            found = share(*sums[name], float(sums[name][1].sum()) * repeats, moves.get(name))
            return found if found.known else Estimate(None, reason=otherwise)

        return Causes(
            self.trials.task,
            self.trials.family,
            self.trials.model,
            self.judge,
            corrected,
            len(self.trials.samples),
            repeats,
            max(0.0, float(sums["cause unscored"][1].sum())),
            {mode: estimate(f"rate {mode}", "nothing was scored") for mode in self.passed},
            self._causes(estimate),
            {part: estimate(f"split {part}", self._why_no_split(sums)) for part in SPLIT},
            {mode: estimate(f"efficiency {mode}", self._why_no_efficiency(mode)) for mode in DRAWN},
            self._gap(corrected=corrected),
            estimate("follows", self._why("planted")),
            estimate("captioned", self._why("caption") or "no direct picture failed"),
            dict(self.trials.absent),
            {cause: part.mean(axis=1) for cause, part in _flow(self._values({}))[1].items()},
            self.trials.samples,
        )

    def _values(self, rates: Mapping[str, _Rates]) -> dict[str, Floats]:
        """Return verdicts, or their unbiased corrections for judges with these rates."""
        values = {}
        for mode, passed in self.passed.items():
            sensitivity, specificity = rates.get(self.judge_of[mode], (1.0, 1.0))
            values[mode] = (passed + specificity - 1) / (sensitivity + specificity - 1)
        return values

    def _sums(self, values: Mapping[str, Floats]) -> _Sums:
        """Return part and whole of every figure, a number a unit (repeats averaged)."""
        unit_of = self.trials.unit_of
        units = int(unit_of.max()) + 1 if unit_of.size else 0

        def by_unit(value: Floats) -> Floats:
            return np.bincount(unit_of, value.mean(axis=1) if value.size else None, units).astype(float)

        return {name: (by_unit(part), by_unit(whole)) for name, part, whole in _figures(values)}

    def _moves(self, sums: _Sums, rates: Mapping[str, _Rates]) -> dict[str, Floats]:
        """Return how far part and whole of every figure move with a standard error of each error rate."""
        columns: dict[str, list[tuple[float, float]]] = {name: [] for name in sums}
        for who, (sensitivity, specificity) in rates.items():
            for_right, for_wrong = self.accuracy[who].standard_errors
            for shifted, step in (
                ((sensitivity - 1e-4, specificity), for_right),
                ((sensitivity, specificity - 1e-4), for_wrong),
            ):
                moved = self._sums(self._values({**rates, who: shifted}))
                for name, (part, whole) in sums.items():
                    by = step / 1e-4
                    there = moved[name]
                    columns[name].append(
                        (float((there[0] - part).sum()) * by, float((there[1] - whole).sum()) * by)
                    )
        return {name: np.array(column).T for name, column in columns.items()}

    def _causes(self, estimate: Callable[[str, str], Estimate]) -> dict[str, Estimate]:
        if self.unreliable:
            nothing = {cause: Estimate(None, reason=self.unreliable) for cause in CAUSES}
            return {**nothing, "unscored": Estimate(1.0, reason=self.unreliable)}
        for mode in ("render", "answer"):
            if why := self._why(mode):
                return {cause: Estimate(None, reason=f"needs {mode}: {why}") for cause in CAUSES}
        found = {cause: estimate(f"cause {cause}", "no direct picture failed") for cause in CAUSES}
        # what has no verdict is counted, not estimated
        found["unscored"] = replace(found["unscored"], low=None, high=None)
        if why := self._why("recall"):
            found["knowledge"] = Estimate(None, reason=f"needs recall: {why}")
        return found

    @property
    def unreliable(self) -> str:
        """Who judges too badly for its verdicts to be attributed, if somebody does."""
        needed = {
            self.judge_of[mode] for mode in ("direct", "render", "recall", "answer") if mode in self.judge_of
        }
        for who in sorted(needed & self.accuracy.keys()):
            if (youden := self.accuracy[who].youden) < RELIABLE:
                return f"judge {who} is unreliable: sensitivity + specificity - 1 = {youden:.2f}"
        return ""

    def _why(self, mode: str) -> str:
        """Return why a mode is not there, '' when it is."""
        return "" if mode in self.passed else self.trials.absent.get(mode, "not asked")

    def _why_no_split(self, sums: _Sums) -> str:
        for mode in ("render", "answer", "cot", "refined"):
            if why := self._why(mode):
                return f"needs {mode}: {why}"
        return "there are no transfer failures"

    def _why_no_efficiency(self, mode: str) -> str:
        for needed in (mode, "render", "answer"):
            if why := self._why(needed):
                return f"needs {needed}: {why}"
        return "no sample passes answer, render and recall"

    def _gap(self, *, corrected: bool) -> Estimate:
        """Return mean(answer) x mean(render) - mean(direct), with a bootstrap over units."""
        modes = ("answer", "render", "direct")
        for mode in modes:
            if why := self._why(mode):
                return Estimate(None, reason=f"needs {mode}: {why}")
        sums = self._sums(self.passed)
        columns = np.concatenate([np.stack(sums[f"rate {mode}"]) for mode in modes])
        if not columns[1::2].sum(axis=1).all():
            return Estimate(None, reason="nothing was scored")
        judges = [self.accuracy.get(self.judge_of[mode]) if corrected else None for mode in modes]
        draw = np.random.Generator(np.random.PCG64(SEED))

        def statistic(totals: Floats, *, redraw: bool = True) -> Floats:
            rates = {one: _rates(one, len(totals), draw if redraw else None) for one in judges if one}
            with np.errstate(invalid="ignore", divide="ignore"):
                means = [totals[:, 2 * i] / totals[:, 2 * i + 1] for i in range(3)]
            for i, one in enumerate(judges):
                if one:
                    sensitivity, specificity = rates[one]
                    youden = np.maximum(sensitivity + specificity - 1, RELIABLE / 10)
                    means[i] = (means[i] + specificity - 1) / youden
            return np.clip(means[0] * means[1] - means[2], -1.0, 1.0)

        value = float(statistic(columns.sum(axis=1)[None], redraw=False)[0])
        low, high = bootstrap(columns, statistic)
        number = float(columns[5].sum())
        if np.isnan(low):
            return Estimate(value, -1.0, 1.0, number)
        return Estimate(value, min(low, value), max(high, value), number)


def _one_rubric(trials: Trials, mode: str, judge: str, known: Known) -> str:
    """Return the rubric whose known errors are those of a mode, '' if there is none.

    Where a judge went by several, that is one under which it is unreliable: a mix is not corrected.
    """
    if MODES[mode].output != "image":
        return ""
    rubrics = trials.went_by(mode, judge)
    fit = [rubric for rubric in rubrics if (judge, rubric) in known]
    if len(rubrics) > 1:
        fit = [rubric for rubric in fit if known[judge, rubric].youden < RELIABLE]
    return fit[0] if fit else ""


def _rates(judge: Accuracy, number: int, draw: np.random.Generator | None) -> tuple[Floats, Floats]:
    """Return a judge's rates as counted, or drawn from what the counts leave open (Jeffreys prior)."""
    if draw is None:
        return np.full(number, judge.sensitivity), np.full(number, judge.specificity)
    return (
        draw.beta(judge.passed + 0.5, judge.right - judge.passed + 0.5, number),
        draw.beta(judge.failed + 0.5, judge.wrong - judge.failed + 0.5, number),
    )


def _flow(values: Mapping[str, Floats]) -> tuple[Floats, dict[str, Floats]]:
    """Return which direct trials failed, and how much of each goes to each cause; (samples, repeats).

    A failure goes from step to step: what fails there stays, what passes goes on, and what has no verdict
    there is unscored. With a perfect judge these are ones and zeros. A step not asked lets everything pass.
    """
    failed = np.nan_to_num(1 - values["direct"])
    going, unscored, found = failed, np.zeros_like(failed), {}
    for cause, mode in STEPS:
        passes = values.get(mode)
        if passes is None:
            continue
        open_ = np.isnan(passes)
        unscored = unscored + going * open_
        going = going * ~open_
        passes = np.nan_to_num(passes)
        found[cause] = going * (1 - passes)
        going = going * passes
    return failed, {**found, "transfer": going, "unscored": unscored}


def _figures(values: Mapping[str, Floats]) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield every figure that these modes allow: name, part, whole; each (samples, repeats)."""
    scored = {mode: (~np.isnan(value)).astype(float) for mode, value in values.items()}
    value = {mode: np.nan_to_num(each) for mode, each in values.items()}
    for mode in values:
        yield f"rate {mode}", value[mode], scored[mode]
    failed, flow = _flow(values)
    for cause, part in flow.items():
        yield f"cause {cause}", part, failed
    if {"render", "answer"} <= values.keys():
        yield from _of_transfer(flow["transfer"], value, scored)
        understood = value["render"] * value["answer"] * value.get("recall", np.ones_like(failed))
        for mode in (mode for mode in DRAWN if mode in values):
            yield f"efficiency {mode}", understood * value[mode], understood * scored[mode]
    if "planted" in values:
        yield "follows", value["planted"], scored["planted"]
    if "caption" in values:
        yield "captioned", failed * value["caption"], failed * scored["caption"]


def _of_transfer(
    transfer: Floats, value: Mapping[str, Floats], scored: Mapping[str, Floats]
) -> Iterator[tuple[str, Floats, Floats]]:
    if not {"cot", "refined"} <= value.keys():
        return
    whole = transfer * scored["cot"] * scored["refined"]
    left = whole * (1 - value["cot"])
    yield "split recoverable", whole * value["cot"], whole
    yield "split interference", left * value["refined"], whole
    yield "split elicitation", left * (1 - value["refined"]), whole


FEW = 10
"""Failures below which shares of them are not put into words."""


def percent(figure: Estimate) -> str:
    """Return a share in percent.

    >>> percent(Estimate(0.876, 0.8, 0.9, 50))
    '88 %'
    """
    return "-" if figure.value is None else f"{100 * figure.value:.0f} %"


def _in_words(cell: Causes, who: str) -> str:
    """Say what the model does, whether that is less than it could, why, and what helps."""
    words = [f"{who} {_does(cell)}."]
    if cell.failed < FEW:
        few = f"Only {cell.failed:.4g} of {cell.samples} samples failed: too few to tell causes apart."
        return " ".join([*words, few if cell.failed else "No picture failed."])
    known = {cause: one for cause, one in cell.causes.items() if one.value is not None}
    if not {"rendering", "transfer"} & known.keys():
        return " ".join([*words, f"Its failures cannot be attributed ({cell.causes['transfer'].reason})."])
    ranked = sorted(known, key=lambda cause: -(known[cause].value or 0))
    named = [cause for cause in ranked if (known[cause].value or 0) >= 0.1 and cause != "unscored"]
    listed = ", ".join(
        f"{percent(known[cause])} {'are ' if cause == named[0] else ''}{cause}" for cause in named
    )
    thinking = cell.split["recoverable"]
    recovers = f"; thinking first recovers {percent(thinking)} of what is transfer" if thinking.known else ""
    if listed:
        words.append(f"Of its failures {listed}{recovers if 'transfer' in named else ''}.")
    if (unscored := known["unscored"].value or 0) >= 0.01:
        words.append(f"{100 * unscored:.0f} % of its failures could not be attributed.")
    if cell.follows.low is not None and cell.follows.high is not None:
        if cell.follows.low > 0.5:
            words.append(f"Its pictures follow a wrong thought put in ({percent(cell.follows)}).")
        elif cell.follows.high < 0.5:
            words.append(
                f"Its pictures mostly do not follow a wrong thought put in ({percent(cell.follows)})."
            )
    return " ".join(words)


def _does(cell: Causes) -> str:
    """Return what passes in which mode; 'but' only where the gap to independence is there beyond doubt."""
    said = [
        text.format(percent(cell.rates[mode]))
        for mode, text in (
            ("answer", "answers {} in words"),
            ("recall", "knows the facts of {}"),
            ("render", "draws {} of the resolved prompts"),
        )
        if mode in cell.rates and cell.rates[mode].known
    ]
    direct = cell.rates["direct"]
    asked = f"draws {percent(direct)} when asked directly" if direct.known else "has no scored direct picture"
    if not said:
        return asked
    if cell.gap.low is not None and cell.gap.low > 0:
        return f"{', '.join(said)}, but {asked.replace('draws', 'draws only', 1)}"
    return f"{', '.join(said)}, and {asked}"


def parse_accuracy(text: str) -> tuple[str, Accuracy]:
    """Read ``JUDGE=PASSED/RIGHT,FAILED/WRONG``; raises UsageError.

    >>> parse_accuracy("vlm=96/100,88/100")[1].sensitivity
    0.96
    """
    judge, _, counts = text.rpartition("=")
    try:
        (passed, right), (failed, wrong) = (map(int, part.split("/")) for part in counts.split(","))
        if not judge:
            raise ValueError("no judge is named")
        return judge, Accuracy(passed, right, failed, wrong)
    except ValueError as error:
        why = f" ({error})" if "share" in str(error) else ""
        raise UsageError(
            f"--accuracy {text!r}{why}: expected JUDGE=PASSED/RIGHT,FAILED/WRONG, such as vlm=96/100,88/100: "
            "of 100 right answers it passed 96, of 100 wrong ones it failed 88."
        ) from None
