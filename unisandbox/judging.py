"""Judging: generations -> observations -> verdicts, on a thread of its own while the model goes on."""

from __future__ import annotations

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar, get_args

from unisandbox.asking import Patience, answered
from unisandbox.judge import Case, Judge, View, match_by_rules
from unisandbox.matrix import Ask, Trial
from unisandbox.records import Fields, Generation, Observation, Outcome, Verdict
from unisandbox.rubric import Rubric

BATCH = 32
_GATHERING = 0.05
"""Seconds in which a batch gathers for a judge that has nothing to do."""
_REMEMBERED = 4096
"""Observations kept, so that a picture that comes again is not observed again."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A generation on its way to a judge."""

    ask: Ask
    trial: Trial
    generation: Generation
    rubric: Rubric
    target: Fields


def to_judge(ask: Ask, trial: Trial, generation: Generation) -> Judged:
    """Look up what a generation is held against."""
    mode, sample = ask.mode.name, trial.sample
    return Judged(ask, trial, generation, ask.task.rubric(mode, sample), ask.task.target(mode, sample))


Report = Callable[[Judged, Verdict], None]


class JudgeStage:
    """One judge, fed through a bounded queue; calls ``report`` with every verdict, from threads of its own.

    One thread, or as many as the judge takes batches at once.
    """

    def __init__(self, judge: Judge, report: Report, patience: Patience, waiting: int = 256) -> None:
        self._judge = judge
        self._report = report
        self._patience = patience
        self._batch = int(getattr(judge, "batch_size", None) or BATCH)
        self._queue: queue.Queue[Judged | None] = queue.Queue(max(waiting, self._batch))
        self._over = False
        self._seen: OrderedDict[tuple[str, str], Observation] = OrderedDict()
        self._dropped = False
        self.failure: BaseException | None = None
        self._gathering, self._remembering = threading.Lock(), threading.Lock()
        at_once = int(getattr(judge, "batches_at_once", None) or 1)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(at_once)]
        for thread in self._threads:
            thread.start()

    def put(self, judged: Judged) -> None:
        """Hand over a generation; waits while the judge is far behind."""
        self._queue.put(judged)

    def finish(self) -> None:
        """Judge all that is waiting, then stop; after ``drop`` there is nothing to wait for."""
        if not self._dropped:
            self._queue.put(None)
            for thread in self._threads:
                thread.join()

    def drop(self) -> None:
        """Stop without judging what is waiting: it is logged, and judged on the next start."""
        self._dropped = True
        with suppress(queue.Full):  # full: the thread finds out by the next batch
            self._queue.put_nowait(None)

    def _next_batch(self) -> list[Judged]:
        with self._gathering:
            return [] if self._dropped else self._gathered()

    def _gathered(self) -> list[Judged]:
        """Return what waits, a batch at most, ``[]`` at the end.

        A judge that had nothing to do waits a moment for more, one that was busy does not: so a batch grows
        to what came in while the last one was judged, and neither waits for the other.
        """
        batch: list[Judged] = []
        idle = self._queue.empty()
        until: float | None = None  # the first is waited for as long as it takes
        while len(batch) < self._batch and not self._over:
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                judged = self._queue.get(timeout=left)
            except queue.Empty:
                break
            until = until or time.monotonic() + _GATHERING * idle
            if judged is None:
                self._over = True
            else:
                batch.append(judged)
        return batch

    def _work(self) -> None:
        while (batch := self._next_batch()) and not self._dropped:
            if self.failure is None:
                try:
                    for judged, verdict in self._verdicts(batch):
                        if self._dropped:
                            return
                        self._report(judged, verdict)
                except BaseException as error:  # raised again in the main thread
                    self.failure = error

    def _verdicts(self, batch: Sequence[Judged]) -> Iterator[tuple[Judged, Verdict]]:
        by_key = {judged.trial.key: judged for judged in batch}
        cases = []
        for seen in self._observations(batch):
            judged = by_key[seen.key]
            case = Case(seen.key, judged.rubric, seen, judged.target)
            if seen.error is None and seen.malformed is None:
                cases.append(case)
            else:  # there is nothing to hold against the target
                yield judged, match_by_rules(case)
        for verdict in matched(self._judge, cases, self._patience):
            yield by_key[verdict.key], verdict

    def _observations(self, batch: Sequence[Judged]) -> Iterator[Observation]:
        """Observe each picture once; the same bytes under the same rubric look the same."""
        fresh: list[View] = []
        again: list[tuple[str, tuple[str, str]]] = []
        known: dict[tuple[str, str], Observation] = {}
        asked: set[tuple[str, str]] = set()
        name_of: dict[str, tuple[str, str]] = {}
        for judged in batch:
            view = _view(judged)
            if view.image is None:
                fresh.append(view)
                continue
            name = (view.image.digest, view.rubric.name)
            if (seen_before := self._seen.get(name)) is not None:
                known[name] = seen_before
            if name in known or name in asked:
                again.append((view.key, name))
            else:
                asked.add(name)
                name_of[view.key] = name
                fresh.append(view)
        for seen in observed(self._judge, fresh, self._patience):
            if (picture := name_of.get(seen.key)) is not None:
                known[picture] = seen
            yield seen
        for key, name in again:
            yield replace(known[name], key=key)
        self._remember(known)

    def _remember(self, known: Mapping[tuple[str, str], Observation]) -> None:
        with self._remembering:
            self._seen.update((name, seen) for name, seen in known.items() if seen.error is None)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)


def _view(judged: Judged) -> View:
    ask, trial = judged.ask, judged.trial
    if ask.mode.output == "image":
        return View(trial.key, judged.rubric, image=judged.generation.image)
    names = ask.task.names(ask.mode.name, trial.sample)
    return View(trial.key, judged.rubric, text=judged.generation.text, names=names)


Put = TypeVar("Put")
Got = TypeVar("Got", Observation, Verdict)


def _checked(
    ask: Callable[[Sequence[Put]], Iterable[Got]], kind: type[Got]
) -> Callable[[Sequence[Put]], Iterator[Got]]:
    """Return a judge's stage, failing by name where it yields what cannot be logged or counted."""

    def checked(items: Sequence[Put]) -> Iterator[Got]:
        for answer in ask(items):
            if not isinstance(answer, kind):
                found = type(answer).__name__
                raise TypeError(f"the judge yielded a {found}, expected {kind.__name__}")
            if isinstance(answer, Verdict) and answer.outcome not in get_args(Outcome):
                known = ", ".join(get_args(Outcome))
                raise TypeError(f"the judge yielded outcome={answer.outcome!r}, expected one of {known}")
            yield answer

    return checked


def observed(judge: Judge, views: Sequence[View], patience: Patience) -> Iterator[Observation]:
    """Let a judge observe, as ``answered`` asks."""
    return answered(_checked(judge.observe, Observation), views, unobserved, patience)


def matched(judge: Judge, cases: Sequence[Case], patience: Patience) -> Iterator[Verdict]:
    """Let a judge hold observations against targets, as ``answered`` asks."""
    return answered(_checked(judge.match, Verdict), cases, unmatched, patience)


def unobserved(view: View, reason: str) -> Observation:
    """Return the record of a view that the judge could not observe."""
    return Observation(view.key, error=reason)


def unmatched(case: Case, reason: str) -> Verdict:
    """Return the record of a case that the judge could not decide."""
    return Verdict(case.key, "error", reason, case.observation.slots)


def unjudged(item: View | Case, reason: str) -> Observation | Verdict:
    """Return the record of either."""
    return unobserved(item, reason) if isinstance(item, View) else unmatched(item, reason)
