"""``panel``: several judges vote; each looks and compares for itself, all at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from unisandbox.asking import Patience, answered
from unisandbox.backend import describe
from unisandbox.errors import JudgeError, UsageError
from unisandbox.judge import Case, Judge, View, match_by_rules, verdict_on
from unisandbox.plugins import installed
from unisandbox.records import Fields, Observation, Outcome, Verdict
from unisandbox.specs import SECRET, Spec, build, parse_spec

Answer = TypeVar("Answer", Observation, Verdict)


@dataclass(frozen=True, slots=True)
class Observations(Observation):
    """What each member saw, in the panel's order."""

    by_member: tuple[Observation, ...] = ()


class Panel:
    """Judges by vote. An error is no vote; where the missing votes could turn the outcome, it is one too."""

    def __init__(
        self, *, judges: tuple[str, ...], vote: Literal["majority", "unanimous"] = "majority", tries: int = 2
    ) -> None:
        """Load the members, written ``a+b+c``, each NAME or NAME:KEY=VALUE;KEY=VALUE.

        ``majority``: correct is what more than half of them find correct. ``unanimous``: what all do.
        Raises UsageError for fewer than two, the same twice, one that reads no pictures, or a secret option.
        """
        specs = [_spec(text) for text in judges]
        labels = [spec.label for spec in specs]
        if len(set(labels)) < 2 or len(set(labels)) < len(labels):
            raise UsageError(f"judge panel: judges={'+'.join(labels)}: expected two or more that differ.")
        self._vote = vote
        self._exit = ExitStack()
        self._members: dict[str, Judge] = {}
        self._patience = {label: Patience(f"judge panel: {label}", JudgeError, tries) for label in labels}
        try:
            for spec in specs:
                self._members[spec.label] = self._loaded(spec)
        except BaseException:
            self.close()
            raise
        self._threads = self._exit.enter_context(ThreadPoolExecutor(len(specs)))
        self.batch_size = max(
            int(getattr(judge, "batch_size", None) or 1) for judge in self._members.values()
        )

    def _loaded(self, spec: Spec) -> Judge:
        if secret := next(filter(SECRET.search, spec.options), None):
            raise UsageError(f"judge panel: {spec.name}: {secret}=... would be logged. Use the environment.")
        entry = installed().judges[spec.name]
        if set(entry.reads) == {"text"}:
            raise UsageError(f"judge panel: {spec.name} reads no pictures. Leave it out.")
        judge: Judge = build(f"judge {spec.name!r}", entry.load(), spec.options)
        if callable(close := getattr(judge, "close", None)):
            self._exit.callback(close)
        return judge

    def close(self) -> None:
        """Close the members."""
        self._exit.close()

    def describe(self) -> Fields:
        """How it votes, and what each member says of itself."""
        return {
            "vote": self._vote,
            "members": {name: describe(judge) for name, judge in self._members.items()},
        }

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Let every member observe."""

        def looks(number: int, label: str, judge: Judge) -> dict[str, Observation]:
            seen = answered(judge.observe, views, _unseen, self._patience[label])
            return {observation.key: observation for observation in seen}

        every = self._together(looks)
        for view in views:
            yield Observations(view.key, by_member=tuple(seen[view.key] for seen in every))

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Let every member hold what it saw against the target, then count."""

        def compares(number: int, label: str, judge: Judge) -> dict[str, Verdict]:
            own = [replace(case, observation=_of_member(case, number)) for case in cases]
            seen, unseen = ([case for case in own if _usable(case) == usable] for usable in (True, False))
            found = answered(judge.match, seen, _unmatched, self._patience[label])
            return {verdict.key: verdict for verdict in (*map(match_by_rules, unseen), *found)}

        every = self._together(compares)
        for case in cases:
            yield self._counted(case.key, [found[case.key] for found in every])

    def _together(
        self, work: Callable[[int, str, Judge], Mapping[str, Answer]]
    ) -> list[Mapping[str, Answer]]:
        """Return what each member's work comes to, done at the same time."""
        jobs = [
            self._threads.submit(work, number, label, judge)
            for number, (label, judge) in enumerate(self._members.items())
        ]
        return [job.result() for job in jobs]

    def _counted(self, key: str, votes: Sequence[Verdict]) -> Verdict:
        """Return the panel's verdict, with every vote, the agreement among them and each member's words."""
        named = dict(zip(self._members, votes, strict=True))
        outcome, reason, observed = self._decided(named)
        yes = sum(vote.outcome == "correct" for vote in votes)
        given = sum(vote.outcome != "error" for vote in votes)
        notes: dict[str, Any] = {"votes": {label: vote.outcome for label, vote in named.items()}}
        if given:
            notes["agreement"] = round(max(yes, given - yes) / given, 3)
        if told := {label: vote.notes for label, vote in named.items() if vote.notes}:
            notes["members"] = told
        raw = tuple(f"{label}: {reply}" for label, vote in named.items() for reply in vote.raw)
        return Verdict(key, outcome, reason, observed, yes / given if given else None, raw, notes)

    def _decided(self, votes: Mapping[str, Verdict]) -> tuple[Outcome, str, Fields]:
        """Return the outcome, its reason and what was observed, of the first vote for it."""
        yes = [vote for vote in votes.values() if vote.outcome == "correct"]
        no = [vote for vote in votes.values() if vote.outcome in ("incorrect", "rejected")]
        needed = len(votes) if self._vote == "unanimous" else len(votes) // 2 + 1
        if len(yes) >= needed:
            return "correct", "", yes[0].observed
        if len(votes) - len(no) >= needed:
            missing = [f"{label}: {vote.reason}" for label, vote in votes.items() if vote.outcome == "error"]
            return "error", f"too few votes: {'; '.join(missing)}", {}
        broken = [vote for vote in no if vote.outcome == "rejected"]
        first = broken[0] if 2 * len(broken) > len(no) else next(vote for vote in no if vote not in broken)
        return first.outcome, first.reason, first.observed


def asks_a_server(options: Mapping[str, str]) -> bool:
    """Return whether a member of such a panel does; raises UsageError for an unknown one."""
    members = [_spec(text) for text in options.get("judges", "").split("+") if text]
    return any(installed().judges[spec.name].is_remote(spec.options) for spec in members)


def _spec(text: str) -> Spec:
    return parse_spec(text.replace(";", ","))


def _of_member(case: Case, number: int) -> Observation:
    assert isinstance(case.observation, Observations)
    return replace(case.observation.by_member[number], key=case.key)


def _usable(case: Case) -> bool:
    return case.observation.error is None and case.observation.malformed is None


def _unseen(view: View, reason: str) -> Observation:
    return Observation(view.key, error=reason)


def _unmatched(case: Case, reason: str) -> Verdict:
    return verdict_on(case, "error", reason)
