"""A panel: every member looks and compares for itself; votes are counted, and errors are no votes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from unisandbox.catalog import Rubrics
from unisandbox.errors import JudgeError, UsageError
from unisandbox.judge import Case, Judge, View, match_by_rules
from unisandbox.judges.panel import Panel
from unisandbox.plugins import JudgeEntry, Plugins, Registry, installed
from unisandbox.records import Image, Observation, Verdict
from unisandbox.specs import build

RUBRIC = Rubrics(installed().rubric_folders)["object_identity"]
CLOSED: list[str] = []


class Voter:
    """Sees what it is told to see."""

    def __init__(self, *, sees: str = "cup", name: str = "") -> None:
        self.sees = sees
        self.name = name
        self.batch_size = 4

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        for view in views:
            if self.sees == "raises":
                raise ConnectionError("out")
            if self.sees == "dead":
                raise JudgeError("voter: no server answers")
            if self.sees == "blurred":
                yield Observation(view.key, malformed="blurred", raw="reject: blurred")
            elif self.sees == "error":
                yield Observation(view.key, error="dazzled")
            else:
                yield Observation(view.key, {"object": self.sees}, raw=self.sees, notes={"by": self.name})

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        return map(match_by_rules, cases)

    def describe(self) -> Mapping[str, Any]:
        return {"sees": self.sees}

    def close(self) -> None:
        CLOSED.append(self.name)


@pytest.fixture(autouse=True)
def voters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the voter for pictures, and a judge of words."""
    judges: Registry[JudgeEntry] = Registry("judge")
    judges.add(JudgeEntry("voter", "tests.judges.test_panel:Voter", "tests", "", ("any",), ()))
    judges.add(JudgeEntry("rules", "unisandbox.judges.rules:Rules", "tests", "", ("text",), ()))
    monkeypatch.setattr("unisandbox.judges.panel.installed", lambda: Plugins(judges=judges))
    monkeypatch.setattr(JudgeEntry, "load", lambda self: Voter)
    CLOSED.clear()


def panel(*sees: str, vote: str = "majority") -> Panel:
    members = "+".join(f"voter:sees={one};name={number}" for number, one in enumerate(sees))
    made: Panel = build("judge 'panel'", Panel, {"judges": members, "vote": vote, "tries": "1"})
    assert isinstance(made, Judge)
    return made


def verdicts(judge: Panel, many: int = 1) -> list[Verdict]:
    """Look at ``many`` pictures that should show a cup."""
    seen = list(judge.observe([View(str(n), RUBRIC, image=Image(b"")) for n in range(many)]))
    assert not any(one.error or one.malformed for one in seen)
    found = list(judge.match([Case(one.key, RUBRIC, one, {"object": "cup"}) for one in seen]))
    judge.close()
    return found


@pytest.mark.parametrize(
    ("vote", "sees", "outcome"),
    [
        ("majority", "cup cup cup", "correct"),
        ("majority", "cup cup dog", "correct"),
        ("majority", "cup dog dog", "incorrect"),
        ("majority", "cup dog hat", "incorrect"),
        ("majority", "cup blurred blurred", "rejected"),
        ("majority", "cup dog blurred", "incorrect"),
        ("majority", "cup dog", "incorrect"),
        ("majority", "cup cup error", "correct"),
        ("majority", "dog dog error", "incorrect"),
        ("majority", "cup dog error", "error"),
        ("majority", "cup error error", "error"),
        ("majority", "error error error", "error"),
        ("majority", "cup cup raises", "correct"),
        ("unanimous", "cup cup cup", "correct"),
        ("unanimous", "cup cup dog", "incorrect"),
        ("unanimous", "cup cup blurred", "rejected"),
        ("unanimous", "cup cup error", "error"),
        ("unanimous", "cup dog error", "incorrect"),
    ],
)
def test_votes_are_counted(vote: str, sees: str, outcome: str) -> None:
    (verdict,) = verdicts(panel(*sees.split(), vote=vote))
    assert verdict.outcome == outcome


def test_a_verdict_carries_every_vote_and_how_far_they_agree() -> None:
    (verdict,) = verdicts(panel("cup", "dog", "blurred", "mug", "dog"))
    assert (verdict.outcome, verdict.reason, verdict.observed) == (
        "incorrect",
        "object: dog instead of cup",
        {"object": "dog"},
    )
    labels = [f"voter:name={n},sees={sees}" for n, sees in enumerate(("cup", "dog", "blurred", "mug", "dog"))]
    outcomes = ["correct", "incorrect", "rejected", "correct", "incorrect"]
    assert verdict.notes["votes"] == dict(zip(labels, outcomes, strict=True))
    assert verdict.notes["agreement"] == 0.6 and verdict.probability == 0.4
    assert verdict.notes["members"][labels[0]] == {"by": "0"}
    assert verdict.raw == (
        f"{labels[0]}: cup",
        f"{labels[1]}: dog",
        f"{labels[2]}: reject: blurred",
        f"{labels[3]}: mug",
        f"{labels[4]}: dog",
    )


def test_missing_votes_that_could_turn_it_are_named() -> None:
    (verdict,) = verdicts(panel("cup", "dog", "error"))
    assert verdict.reason == "too few votes: voter:name=2,sees=error: dazzled"
    assert (verdict.notes["agreement"], verdict.probability) == (0.5, 0.5)
    (verdict,) = verdicts(panel("error", "raises"))
    assert "agreement" not in verdict.notes and verdict.probability is None
    assert "ConnectionError: out" in verdict.reason


def test_members_look_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(3, timeout=10)
    observe = Voter.observe

    def together(self: Voter, views: Sequence[View]) -> Iterator[Observation]:
        meeting.wait()
        yield from observe(self, views)

    monkeypatch.setattr(Voter, "observe", together)
    assert [one.outcome for one in verdicts(panel("cup", "cup", "dog"), many=3)] == ["correct"] * 3


def test_a_dead_member_ends_the_run() -> None:
    judge = panel("cup", "dead")
    with pytest.raises(JudgeError, match="voter: no server answers"):
        list(judge.observe([View("k", RUBRIC, image=Image(b""))]))
    judge.close()


def test_it_describes_and_closes_its_members() -> None:
    judge = panel("cup", "dog", vote="unanimous")
    assert judge.describe() == {
        "vote": "unanimous",
        "members": {"voter:name=0,sees=cup": {"sees": "cup"}, "voter:name=1,sees=dog": {"sees": "dog"}},
    }
    assert judge.batch_size == 4
    judge.close()
    assert sorted(CLOSED) == ["0", "1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"judges": "voter"}, r"judge panel: judges=voter: expected two or more that differ"),
        ({"judges": "voter+voter"}, r"judges=voter\+voter: expected two or more that differ"),
        ({"judges": "voter+voiter:name=b"}, r"Unknown judge 'voiter'\. Did you mean 'voter'"),
        ({"judges": "voter+rules"}, r"judge panel: rules reads no pictures"),
        ({"judges": "voter+voter:api_key=s3cret"}, r"judge panel: voter: api_key=\.\.\. would be logged"),
        ({"judges": "voter+voter:size=3"}, r"judge 'voter': Unknown option 'size'"),
        ({"judges": "voter+voter:name=b", "vote": "loudest"}, r"option vote='loudest'"),
    ],
)
def test_bad_options_are_one_clear_line_and_nothing_stays_open(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as fault:
        build("judge 'panel'", Panel, options)
    assert "s3cret" not in str(fault.value)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]
