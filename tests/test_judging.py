"""Judging: each picture once, blind, and every fault of a judge an error of its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support_backends import Painter, Reader, picture
from tests.support_run import by_sample, lines, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox.asking import Patience
from unisandbox.errors import JudgeError
from unisandbox.judge import Case, View, match_by_rules
from unisandbox.judging import Judged, JudgeStage
from unisandbox.records import Generation, Image, Observation, Request, Verdict

pytestmark = pytest.mark.usefixtures("words")


def draw_the_same(self: Painter, requests: Sequence[Request]) -> Iterator[Generation]:
    for request in requests:
        yield Generation(request.key, picture(3), thought="Draw: w3.")


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> list[View]:
    """Everything that is observed."""
    seen: list[View] = []
    observe = Reader.observe

    def noting(self: Reader, views: Sequence[View]) -> Iterator[Observation]:
        for view in views:
            seen.append(view)
            yield from observe(self, [view])

    monkeypatch.setattr(Reader, "observe", noting)
    return seen


def outcomes(run: str = "run") -> dict[str, str]:
    return {sample: line["outcome"] for sample, line in by_sample("verdicts.jsonl", run).items()}


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_one_picture_is_observed_once(views: list[View], monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(Painter, "generate", draw_the_same)
    run_words(modes=["direct", "cot", "render"], models="thinker", judges=f"reader:batch={batch}", repeats=2)
    assert len(views) == 1
    verdicts = lines("verdicts.jsonl")
    assert len(verdicts) == 6 * 3 * 2  # but every trial has its verdict, against its own target
    assert {line["sample"] for line in verdicts if line["outcome"] == "correct"} == {"s3"}


def test_one_picture_is_observed_once_for_each_rubric(
    views: list[View], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Painter, "generate", draw_the_same)
    monkeypatch.setattr(Reader, "read", lambda self, view: "w3")
    task = Path("words.yaml")
    own = "names: names, rubric: name, target: {name"
    task.write_text(task.read_text().replace("rubric: words, target: {answer", own))
    rows = Path("rows.jsonl")
    rows.write_text(rows.read_text().replace("}", ', "names": ["w0", "w1"]}'))
    run_words(modes=["direct", "gold", "planted"])
    assert Counter(view.rubric.name for view in views) == {"words": 1, "name": 1}


def test_every_judge_observes_for_itself(views: list[View], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Painter, "generate", draw_the_same)
    results = run_words(modes="direct", judges=["reader:batch=1", "reader:batch=2"])
    assert len(views) == 2
    assert [cell.judge for cell in results] == ["reader:batch=1", "reader:batch=2"]
    assert {cell.score.value for cell in results} == {1 / 6}


def test_what_is_remembered_of_pictures_is_bounded(
    views: list[View], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three pictures that come round again, two remembered at a time, each was forgotten longest ago."""
    for remembered, observed in ((2, 6), (3, 3)):
        views.clear()
        monkeypatch.setattr("unisandbox.judging._REMEMBERED", remembered)
        run_words(out=f"run{remembered}", modes=["direct", "render"], limit=3, judges="reader:batch=1")
        assert len(views) == observed


def test_words_are_observed_each(views: list[View], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same words can mean different things to different questions: names differ."""
    monkeypatch.setattr(Painter, "answer", lambda self, request: Generation(request.key, text="w3"))
    run_words()
    assert len(views) == 6


def test_judges_are_blind(views: list[View], monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[Case] = []

    def match(self: Reader, batch: Sequence[Case]) -> Iterator[Verdict]:
        cases.extend(batch)
        return map(match_by_rules, batch)

    monkeypatch.setattr(Reader, "match", match)
    run_words(modes="direct")
    assert {field.name for field in fields(View)} == {"key", "rubric", "image", "text", "names"}
    assert {field.name for field in fields(Case)} == {"key", "rubric", "observation", "target"}
    assert {view.names for view in views} == {()}
    assert {case.key for case in cases} == {view.key for view in views}


def observing(monkeypatch: pytest.MonkeyPatch, broken: list[bool], read: Any = Reader.read) -> None:
    """Make ``observe`` raise for w3 as long as ``broken`` is not empty."""

    def observe(self: Reader, batch: Sequence[View]) -> Iterator[Observation]:
        for view in batch:
            word = read(self, view)
            if word == "w3" and broken:
                raise ConnectionError("the judge is out")
            yield Observation(view.key, {"answer": word})

    monkeypatch.setattr(Reader, "observe", observe)


@pytest.mark.parametrize("mode", ["answer", "direct"])
def test_a_judge_that_raises_costs_one_verdict_and_is_asked_again_without_the_model(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [True]
    observing(monkeypatch, broken)
    (cell,) = run_words(modes=mode)
    assert outcomes() == {f"s{n}": "error" if n == 3 else "correct" for n in range(1, 7)}
    assert by_sample("verdicts.jsonl")["s3"]["reason"] == "ConnectionError: the judge is out"
    assert (cell.score.n, cell.score.unscored, cell.score.errors, cell.score.value) == (5, 1, 1, 1.0)
    assert (cell.score.lowest, cell.score.highest) == (5 / 6, 1.0)

    monkeypatch.setattr(Painter, "generate", _never)
    broken.clear()
    (cell,) = run_words(modes=mode)
    assert (cell.score.n, cell.score.unscored, cell.score.value) == (6, 0, 1.0)
    assert len(lines("generations.jsonl")) == 6 and len(lines("verdicts.jsonl")) == 7


def _never(self: Painter, requests: Sequence[Request]) -> Iterator[Generation]:
    raise AssertionError("the model is not to be asked")
    yield  # pragma: no cover


def test_an_error_is_not_remembered_for_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Painter, "generate", draw_the_same)
    calls = 0

    def observe(self: Reader, batch: Sequence[View]) -> Iterator[Observation]:
        nonlocal calls
        for view in batch:
            calls += 1
            yield (
                Observation(view.key, error="dazzled")
                if calls == 1
                else Observation(view.key, {"answer": "w3"})
            )

    monkeypatch.setattr(Reader, "observe", observe)
    run_words(modes="direct", judges="reader:batch=2")
    found = [line["outcome"] for line in lines("verdicts.jsonl")]
    assert found[:2] == ["error", "error"] and "error" not in found[2:] and calls == 2


def test_a_malformed_picture_is_rejected_and_not_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Reader,
        "observe",
        lambda self, batch: (Observation(v.key, malformed="two words", raw="w1 w2") for v in batch),
    )
    monkeypatch.setattr(Reader, "match", _never)
    (cell,) = run_words(modes="direct")
    line = by_sample("verdicts.jsonl")["s1"]
    assert (line["outcome"], line["reason"], line["raw"]) == ("rejected", "two words", ["w1 w2"])
    assert (cell.score.value, cell.score.n, cell.score.outcomes) == (0.0, 6, {"rejected": 6})


def test_an_unreadable_picture_is_an_error_not_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Painter,
        "answer",
        lambda self, request: Generation(request.key, Image(b"no picture" + request.key.encode())),
    )
    (cell,) = run_words(modes="direct")
    assert (cell.score.value, cell.score.unscored, cell.score.errors) == (None, 6, 6)
    assert "unreadable picture" in by_sample("verdicts.jsonl")["s1"]["reason"]


def test_a_match_that_raises_keeps_what_was_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    def match(self: Reader, batch: Sequence[Case]) -> Iterator[Verdict]:
        for case in batch:
            if case.target["answer"] == "w3":
                raise ValueError("cannot compare")
            yield match_by_rules(case)

    monkeypatch.setattr(Reader, "match", match)
    run_words()
    assert outcomes() == {f"s{n}": "error" if n == 3 else "correct" for n in range(1, 7)}
    line = by_sample("verdicts.jsonl")["s3"]
    assert (line["reason"], line["observed"]) == ("ValueError: cannot compare", {"answer": "w3"})


@pytest.mark.parametrize("stage", ["observe", "match"])
def test_silence_and_strangers_and_repeats(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer for s1, the same one twice for the others, and one for nobody."""
    real = getattr(Reader, stage)

    def odd(self: Reader, batch: Sequence[Any]) -> Iterator[Any]:
        for number, answer in enumerate(list(real(self, batch))):
            yield replace(answer, key="nobody")
            if "w1" not in str(batch[number]) and answer.key != silent:
                yield answer
                yield answer

    run_words(out="first")
    silent = by_sample("generations.jsonl", "first")["s1"]["key"]
    monkeypatch.setattr(Reader, stage, odd)
    run_words()
    assert outcomes() == {f"s{n}": "error" if n == 1 else "correct" for n in range(1, 7)}
    assert by_sample("verdicts.jsonl")["s1"]["reason"] == "it returned no answer"
    assert len(lines("verdicts.jsonl")) == 6


@pytest.mark.parametrize(
    ("stage", "thing", "reason"),
    [
        ("observe", None, "the judge yielded a NoneType, expected Observation"),
        ("observe", "w1", "the judge yielded a str, expected Observation"),
        ("match", None, "the judge yielded a NoneType, expected Verdict"),
        ("match", Verdict("", "right"), "outcome='right'"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_answer_of_a_judge_is_an_error_that_says_why(
    stage: str, thing: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: Reader, batch: Sequence[Any]) -> Iterator[Any]:
        return (replace(thing, key=one.key) if isinstance(thing, Verdict) else thing for one in batch)

    monkeypatch.setattr(Reader, stage, wrong)
    run_words()
    assert set(outcomes().values()) == {"error"}
    assert reason in by_sample("verdicts.jsonl")["s1"]["reason"]


def test_a_judge_that_says_it_is_dead_ends_the_run_and_what_is_asked_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def observe(self: Reader, batch: Sequence[View]) -> Iterator[Observation]:
        raise JudgeError("the judge's key is not valid")
        yield  # pragma: no cover

    monkeypatch.setattr(Reader, "observe", observe)
    with pytest.raises(JudgeError, match="key is not valid"):
        run_words()
    assert len(lines("generations.jsonl")) == 6 and lines("verdicts.jsonl") == []


def test_25_failures_in_a_row_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def observe(self: Reader, batch: Sequence[View]) -> Iterator[Observation]:
        raise ConnectionError("out")
        yield  # pragma: no cover

    monkeypatch.setattr(Reader, "observe", observe)
    with pytest.raises(
        JudgeError, match=r"^reader: 25 requests in a row failed, stopped.*ConnectionError: out"
    ):
        run_words(repeats=20)
    assert len(lines("verdicts.jsonl")) == 25


# --- the stage by itself ---


class Slow:
    """A judge that waits for leave."""

    batch_size = 1

    def __init__(self) -> None:
        self.leave = threading.Event()
        self.views: list[str] = []
        self.batches: list[int] = []
        self.left: bool | None = None

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        self.batches.append(len(views))
        for view in views:
            self.views.append(view.key)
            self.left = self.leave.wait(10)
            yield Observation(view.key, malformed="slow")

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        return map(match_by_rules, cases)


def judged(number: int) -> Judged:
    from tests.test_asking import ask_of
    from unisandbox.judging import to_judge

    ask = ask_of("answer")
    trial = ask.trial(number)
    return to_judge(ask, trial, Generation(trial.key, text=f"w{number}"))


def test_a_dropped_stage_judges_no_more_and_is_not_waited_for() -> None:
    judge, verdicts = Slow(), list[Verdict]()
    stage = JudgeStage(
        judge, lambda _, verdict: verdicts.append(verdict), Patience("it", JudgeError, 1), waiting=8
    )
    for number in range(4):
        stage.put(judged(number))
    while not judge.views:
        pass
    stage.drop()
    stage.finish()  # returns though the judge has not
    assert verdicts == [] and judge.left is None
    judge.leave.set()
    wait_for_threads()
    assert len(judge.views) == 1 and verdicts == []


def wait_for_threads() -> None:
    """Wait until no judge's thread is left."""
    for thread in [thread for thread in threading.enumerate() if thread.name.endswith("(_work)")]:
        thread.join(10)
        assert not thread.is_alive()


def test_a_stage_with_nothing_to_do_leaves_no_thread_behind() -> None:
    stage = JudgeStage(Slow(), lambda judged, verdict: None, Patience("it", JudgeError, 1))
    stage.drop()
    wait_for_threads()


def test_a_stage_that_finishes_judges_all_that_waits() -> None:
    judge, verdicts = Slow(), list[Verdict]()
    judge.leave.set()
    stage = JudgeStage(
        judge, lambda _, verdict: verdicts.append(verdict), Patience("it", JudgeError, 1), waiting=8
    )
    for number in range(5):
        stage.put(judged(number))
    stage.finish()
    assert [verdict.outcome for verdict in verdicts] == ["rejected"] * 5 and stage.failure is None


def test_a_failure_to_write_is_kept_for_the_main_thread_and_nothing_hangs() -> None:
    judge = Slow()
    judge.leave.set()

    def report(judged: Judged, verdict: Verdict) -> None:
        raise OSError("no space")

    stage = JudgeStage(judge, report, Patience("it", JudgeError, 1), waiting=2)
    for number in range(6):
        stage.put(judged(number))
    stage.finish()
    assert isinstance(stage.failure, OSError) and len(judge.views) == 1


class Overlapping(Slow):
    """Takes two batches at once, and goes on only when both are there."""

    batch_size = 2
    batches_at_once = 2

    def __init__(self) -> None:
        super().__init__()
        self.leave.set()
        self.meet = threading.Barrier(2, timeout=10)

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        self.meet.wait()
        return super().observe(views)


def test_a_judge_may_take_several_batches_at_once() -> None:
    verdicts: list[Verdict] = []
    stage = JudgeStage(
        Overlapping(), lambda _, verdict: verdicts.append(verdict), Patience("it", JudgeError, 1)
    )
    for number in range(4):
        stage.put(judged(number))
    stage.finish()
    assert stage.failure is None
    assert sorted(verdict.outcome for verdict in verdicts) == ["rejected"] * 4
    wait_for_threads()


def test_a_dropped_judge_of_several_batches_leaves_no_thread_behind() -> None:
    judge = Overlapping()
    stage = JudgeStage(judge, lambda judged, verdict: None, Patience("it", JudgeError, 1), waiting=2)
    stage.drop()
    judge.meet.abort()
    wait_for_threads()


def test_an_idle_judge_does_not_wait_for_a_whole_batch_and_a_busy_one_takes_what_came_in() -> None:
    judge = Slow()
    judge.batch_size = 4
    verdicts: list[Verdict] = []
    stage = JudgeStage(judge, lambda _, verdict: verdicts.append(verdict), Patience("it", JudgeError, 1))
    stage.put(judged(0))
    while not judge.views:  # the first is being judged, though a batch is four
        pass
    for number in range(1, 6):
        stage.put(judged(number))
    judge.leave.set()
    stage.finish()
    assert judge.batches == [1, 4, 1] and len(verdicts) == 6
