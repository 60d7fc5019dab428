"""Runs as data for people to look at: scores, causes, and every sample with all that came of it.

Nothing here knows of HTML; see ``unisandbox.report.page`` for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unisandbox.agreement import Agreement, agreements
from unisandbox.attribution import Attribution, attribute
from unisandbox.calibration import correct, fit_from
from unisandbox.contrast import Contrast, between_modes, between_runs
from unisandbox.errors import UsageError
from unisandbox.labels import Standing, standings
from unisandbox.modes import MODES
from unisandbox.results import Results, load_run
from unisandbox.rubric import say
from unisandbox.run_log import GENERATIONS, RUN, VERDICTS, pictures_in, read_json, read_lines

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one judge says of an answer."""

    judge: str
    outcome: str
    reason: str = ""
    observed: str = ""
    """The slots it filled in, in words."""
    raw: tuple[str, ...] = ()
    """Its own words."""

    @property
    def passes(self) -> bool | None:
        """Whether it found the answer right; None where it has no verdict."""
        return None if self.outcome == "error" else self.outcome == "correct"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back when a sample was asked in one mode."""

    run: int
    """Number of the run, from 0."""
    mode: str
    model: str
    seed: int
    finish: str
    prompt: str = ""
    image: str = ""
    """Name of the picture's file, without its folder."""
    gone: bool = False
    """Whether the picture's file is not there."""
    text: str = ""
    thought: str = ""
    error: str = ""
    rubric: str = ""
    target: str = ""
    """What the judges held it against, in words."""
    opinions: tuple[Opinion, ...] = ()

    @property
    def passes(self) -> bool | None:
        """Whether the first judge found it right; None where there is no verdict."""
        return self.opinions[0].passes if self.opinions else None


@dataclass(frozen=True, slots=True)
class Item:
    """One sample and repeat, with what every mode, and every run, made of it."""

    id: str
    """Names it in links."""
    task: str
    model: str
    sample: str
    unit: str
    repeat: int
    answers: tuple[Answer, ...]
    """By mode, then by run."""
    causes: tuple[str, ...] = ()
    """Why its direct pictures failed, one for each run and judge that differ."""
    flips: Mapping[str, str] = field(default_factory=dict)
    """Mode -> ``gained`` or ``lost``, where the last run differs from the first."""
    differs: bool = False
    """Whether two judges disagree about an answer."""


@dataclass(frozen=True)
class Shown:
    """One run, as far as it got."""

    folder: Path
    about: Mapping[str, Any]
    """Its ``run.json``."""
    results: Results
    """With scores corrected for judges whose errors are known, beside the raw ones."""
    attribution: Attribution | None
    """None when nothing was asked directly."""
    standings: tuple[Standing, ...]
    """How judges stand to a person's labels; empty when there are none."""
    agreements: tuple[Agreement, ...]
    """How judges of the same answers agree."""

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    @property
    def models(self) -> tuple[str, ...]:
        """The models asked."""
        return tuple(dict.fromkeys(ask["model"] for ask in self.about["asks"]))


@dataclass(frozen=True)
class Report:
    """One run, or several to be held side by side."""

    runs: tuple[Shown, ...]
    items: tuple[Item, ...]
    contrasts: Mapping[str, Sequence[Contrast]]
    """By heading: what thinking first changes; of several runs, each against the first."""

    @property
    def lost(self) -> int:
        """Pictures whose files are not there."""
        return sum(answer.gone for item in self.items for answer in item.answers)


def read_report(folders: Sequence[Path]) -> Report:
    """Describe runs, finished or not; raises RunFolderError when a folder is no run."""
    runs = tuple(map(_shown, folders))
    return Report(runs, tuple(_items(runs)), dict(_contrasts(runs)))


def _shown(folder: Path) -> Shown:
    about = read_json(folder / RUN)
    causes = None
    with suppress(UsageError):  # nothing was asked directly
        causes = attribute(folder)
    results = correct(load_run(folder), fit_from(folder, None).known)
    return Shown(folder, about, results, causes, tuple(standings(folder)), tuple(agreements(results)))


def _contrasts(runs: Sequence[Shown]) -> Iterator[tuple[str, Sequence[Contrast]]]:
    first, *others = runs
    if not others and (found := between_modes(first.folder)):
        yield "What thinking first changes", found
    for other in others:
        with suppress(UsageError):  # nothing in common
            yield f"From {first.name} to {other.name}", between_runs(first.folder, other.folder)


_Key = tuple[str, str, str, str, int]
"""Task, its fingerprint, model, sample, repeat."""


def _items(runs: Sequence[Shown]) -> Iterator[Item]:
    """Yield the samples by task, model and id; what several runs asked alike stands together.

    Models are the same when their labels are, or when each run has but one.
    """
    alone = len(runs) > 1 and all(len(run.models) == 1 for run in runs)
    units: dict[_Key, str] = {}
    answers: dict[_Key, list[Answer]] = {}
    causes: dict[_Key, list[str]] = {}
    for number, run in enumerate(runs):
        why = _causes(run.attribution)
        for line, answer in _answers(number, run):
            key = _key(run, line, "" if alone else line["model"])
            units[key] = line["unit"]
            answers.setdefault(key, []).append(answer)
            if answer.mode == "direct" and answer.passes is False:
                causes.setdefault(key, []).extend(why.get((line["task"], line["model"], line["sample"]), ()))
    order = {ask["task"]: place for run in reversed(runs) for place, ask in enumerate(run.about["asks"])}
    for key in sorted(answers, key=lambda key: (order[key[0]], *key)):
        yield _item(key, units[key], answers[key], causes.get(key, ()), len(runs) - 1)


def _key(run: Shown, line: Line, model: str) -> _Key:
    task = run.about["matrix"].get("tasks", {}).get(line["task"], {})
    return line["task"], str(task.get("fingerprint", "")), model, line["sample"], line["repeat"]


def _item(key: _Key, unit: str, answers: Sequence[Answer], causes: Sequence[str], last: int) -> Item:
    task, fingerprint, model, sample, repeat = key
    places = list(MODES)
    ordered = sorted(answers, key=lambda answer: (places.index(answer.mode), answer.run))
    name = model or " / ".join(dict.fromkeys(answer.model for answer in ordered))
    parts = [task, model, sample] + [str(repeat)] * bool(repeat) + [fingerprint] * bool(last)
    return Item(
        "/".join(filter(None, parts)),
        task,
        name,
        sample,
        unit,
        repeat,
        tuple(ordered),
        tuple(dict.fromkeys(causes)),
        dict(_flips(ordered, last)),
        any(len({one.passes for one in answer.opinions} - {None}) > 1 for answer in ordered),
    )


def _flips(answers: Sequence[Answer], last: int) -> Iterator[tuple[str, str]]:
    """Yield the modes that pass in one only of the first and the last run."""
    passes = {(answer.mode, answer.run): answer.passes for answer in answers}
    for mode in dict.fromkeys(answer.mode for answer in answers):
        before, after = passes.get((mode, 0)), passes.get((mode, last))
        if before is not None and after is not None and before != after:
            yield mode, "gained" if after else "lost"


def _causes(attribution: Attribution | None) -> dict[tuple[str, str, str], list[str]]:
    """Return why the direct pictures of a sample failed, as each judge sees it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in attribution.sample_rows() if attribution else ():
        found.setdefault((row["task"], row["model"], row["sample"]), []).append(row["cause"])
    return found


def _answers(number: int, run: Shown) -> Iterator[tuple[Line, Answer]]:
    """Yield the last answer to every trial of a run, with its log line."""
    asked = {(ask["task"], ask["mode"], ask["model"]) for ask in run.about["asks"]}
    last = {line["key"]: line for line in read_lines(run.folder / GENERATIONS)}
    verdicts: dict[str, dict[str, Line]] = {}
    for line in read_lines(run.folder / VERDICTS, warn=False):
        verdicts.setdefault(line["key"], {})[line["judge"]] = line
    there = pictures_in(run.folder)
    for key, line in last.items():
        if (line["task"], line["mode"], line["model"]) in asked:
            judged = () if line["finish"] == "error" else tuple(verdicts.get(key, {}).values())
            yield line, _answer(number, line, judged, there)


def _answer(number: int, line: Line, judged: Sequence[Line], there: set[str]) -> Answer:
    image = _text(line, "image")
    return Answer(
        number,
        line["mode"],
        line["model"],
        line.get("seed", 0),
        line["finish"],
        _text(line, "prompt"),
        image,
        bool(image) and image not in there,
        _text(line, "text"),
        _text(line, "thought"),
        _text(line, "error"),
        _text(judged[0], "rubric") if judged else "",
        say(judged[0].get("target", {})) if judged else "",
        tuple(map(_opinion, judged)),
    )


def _opinion(line: Line) -> Opinion:
    return Opinion(
        line["judge"],
        line["outcome"],
        _text(line, "reason"),
        say(line.get("observed", {})),
        tuple(map(str, line.get("raw", ()))),
    )


def _text(line: Line, name: str) -> str:
    return str(line.get(name) or "")
