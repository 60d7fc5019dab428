"""The runner: the same pictures and scores whatever the batch, the order or the number of starts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import support_backends
from tests.support_backends import Painter, Reader, picture
from tests.support_run import by_sample, lines, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox.api import run
from unisandbox.errors import BackendError, JudgeError, RunFolderError, UnisandboxError, UsageError
from unisandbox.judge import View
from unisandbox.modes import MODES
from unisandbox.records import Finish, Generation, Observation, Request

pytestmark = pytest.mark.usefixtures("words")

ALL = [mode for mode in MODES if mode != "recall"]
MIXED = {"models": "painter:right=0.6,unanswered=0.2", "modes": ALL, "repeats": 2}
"""A run with every kind of outcome in every mode."""


def everything(run: str = "run") -> dict[str, Any]:
    """Return what two equal runs must agree in: results, pictures, and the lines of both logs."""
    folder = Path(run)
    return {
        "results": (folder / "results.json").read_bytes(),
        "pictures": {path.name: path.read_bytes() for path in (folder / "images").iterdir()},
        "generations": sorted((folder / "generations.jsonl").read_bytes().splitlines()),
        "verdicts": sorted((folder / "verdicts.jsonl").read_bytes().splitlines()),
    }


def test_every_outcome_is_there() -> None:
    """What the comparisons below compare is not one thing over and over."""
    results = run_words(**MIXED)
    found = {outcome for cell in results for outcome in cell.score.outcomes}
    assert found == {"correct", "incorrect", "empty", "refused"}
    assert len({line["text"] for line in lines("generations.jsonl") if "text" in line}) == 7
    assert results.finished and results.coverage == 1


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 7}, {"batch_size": 64}], ids=str)
def test_the_batch_size_changes_nothing(options: dict[str, Any]) -> None:
    run_words(out="first", **MIXED)
    run_words(**MIXED, **options)
    assert everything() == everything("first")


def test_the_order_of_answers_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run_words(out="first", **MIXED)
    monkeypatch.setattr(
        Painter, "generate", lambda self, requests: map(self.answer, sorted(requests, key=_by_seed))
    )
    run_words(**MIXED)
    assert everything() == everything("first")


def _by_seed(request: Request) -> int:
    return request.seed


def keys(run: str) -> dict[tuple[str, str, int], tuple[str, int]]:
    """Return key and seed by mode, sample and repeat."""
    return {
        (g["mode"], g["sample"], g["repeat"]): (g["key"], g["seed"]) for g in lines("generations.jsonl", run)
    }


def test_keys_and_seeds_hang_on_the_trial_alone() -> None:
    run_words(out="few", modes="answer", limit=3)
    run_words(out="more", modes=["render", "answer"], repeats=2)
    run_words(out="two", models=["thinker", "painter"], modes="answer")
    few, more = keys("few"), keys("more")
    assert few.items() <= more.items()
    two = {g["key"] for g in lines("generations.jsonl", "two")}
    assert len(two) == 12 and {key for key, _ in few.values()} <= two
    assert len(set(more.values())) == len(more) == 24
    seeds = {(sample, repeat): set[int]() for _, sample, repeat in more}
    for (_, sample, repeat), (_, seed) in more.items():
        seeds[sample, repeat].add(seed)
    assert {len(one) for one in seeds.values()} == {1}  # modes are paired: one seed a sample and repeat
    assert len({min(one) for one in seeds.values()}) == 12
    assert all(0 <= seed < 2**31 for _, seed in more.values())


@pytest.mark.parametrize("size", [1, 7])
def test_the_batch_size_changes_no_picture_of_the_oracle(size: int) -> None:
    """All of the sandbox: composed pictures, read back by the exact judge and by the model itself."""
    options: dict[str, Any] = {
        "tasks": ["math_2", "mapping_1", "forward_retrieval", "inverse_search"],
        "models": "oracle:transfer=0.5,transfer_cot=0.7,knows=0.7,sees=0.8,follows=0.8,elicits=0.8",
        "modes": "all",
        "limit": 3,
        "seed": 4,
    }
    whole = run(**options, out="first", batch_size=64)
    assert {"correct", "incorrect"} == {outcome for cell in whole for outcome in cell.score.outcomes}
    run(**options, out="run", batch_size=size)
    assert everything() == everything("first")


def test_another_seed_is_another_run() -> None:
    run_words(out="first", limit=3)
    run_words(limit=3, seed=1)
    assert not set(keys("run").values()) & set(keys("first").values())


class Count:
    """Lets the model answer so many requests, then fails it for good."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 10**9
        self.asked: list[tuple[str, str, str]] = []
        answer = Painter.answer

        def counting(painter: Painter, request: Request) -> Generation:
            if self.left <= 0:
                raise BackendError("the power is out")
            self.left -= 1
            self.asked.append((request.mode, request.key, request.prompt.output))
            return answer(painter, request)

        monkeypatch.setattr(Painter, "answer", counting)


@pytest.mark.parametrize("model", ["painter", "thinker"])
def test_however_often_it_stops_it_ends_the_same(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is made from earlier modes: conclusions and pictures come back from the log."""
    options = {**MIXED, "models": f"{model}:right=0.6,unanswered=0.2", "batch_size": 5}
    run_words(out="first", **options)
    count = Count(monkeypatch)
    for left in (0, 1, 7, 5, 20, 13, 2, 25):
        count.left = left
        with pytest.raises(BackendError, match="the power is out"):
            run_words(**options)
        results = Path("run/results.json")
        assert json.loads(results.read_text())["finished"] is False if left else not results.exists()
    count.left = 10**9
    assert run_words(**options).finished
    assert everything() == everything("first")
    answered = [key for mode, key, output in count.asked if (mode, output) != ("cot", "text")]
    assert len(set(answered)) == len(answered)  # only thoughts whose picture was not drawn are thought again
    assert len(count.asked) - len(set(count.asked)) <= 8 * 5


def test_refined_and_caption_come_from_this_runs_own_log(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Request] = {}

    def answer(self: Painter, request: Request) -> Generation:
        seen[request.mode] = request
        if request.mode in ("refined", "caption") and not ready:
            raise BackendError("the power is out")
        if request.prompt.output == "text":
            return Generation(request.key, text=f"Hm.\nDraw: w{request.seed}.")
        return Generation(request.key, picture(request.seed % 256))

    monkeypatch.setattr(Painter, "answer", answer)
    ready: list[bool] = []
    for _ in "ab":
        with pytest.raises(BackendError):
            run_words(modes=["refined", "caption"], limit=1)
    ready.append(True)
    run_words(modes=["refined", "caption"], limit=1)
    seed = seen["refined"].seed
    assert seen["refined"].prompt.text == f"Draw w{seed}."
    assert seen["caption"].prompt.turns[0].images == (picture(seed % 256),)
    cot = next(line for line in lines("generations.jsonl") if line["mode"] == "cot")
    assert cot["thought"] == f"Hm.\nDraw: w{seed}." and cot["notes"] == {"thinking": "two calls"}


def test_native_thoughts_are_logged_as_such() -> None:
    run_words(modes="cot", models="thinker", limit=1)
    (cot,) = lines("generations.jsonl")
    assert cot["thought"] == "It is w1.\nDraw: w1." and "notes" not in cot


# --- errors are not answers ---


def failing(monkeypatch: pytest.MonkeyPatch, samples: set[str]) -> list[str]:
    """Make the model raise for these samples; return what it is asked."""
    asked: list[str] = []
    answer = Painter.answer

    def failing_answer(self: Painter, request: Request) -> Generation:
        asked.append(request.sample_id)
        if request.sample_id in samples:
            raise TimeoutError("no answer in 60 s")
        return answer(self, request)

    monkeypatch.setattr(Painter, "answer", failing_answer)
    return asked


@pytest.mark.parametrize("mode", ["answer", "direct", "cot"])
def test_one_bad_sample_is_one_error_and_is_asked_again_at_the_next_start(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {"s4"}
    asked = failing(monkeypatch, bad)
    (cell,) = run_words(modes=mode)
    line = by_sample("generations.jsonl")["s4"]
    assert (line["finish"], line["error"]) == ("error", "TimeoutError: no answer in 60 s")
    assert [line["finish"] for line in lines("generations.jsonl")].count("error") == 1
    score = cell.score
    assert (score.value, score.n, score.unscored, score.errors) == (1.0, 5, 1, 1)
    assert (score.lowest, score.highest, score.coverage) == (5 / 6, 1.0, 5 / 6)
    assert asked.count("s4") == 3  # once with the others, twice alone
    assert not any(line["sample"] == "s4" for line in lines("verdicts.jsonl"))

    asked.clear()
    run_words(modes=mode)
    assert set(asked) == {"s4"}  # still bad

    asked.clear()
    bad.clear()
    (cell,) = run_words(modes=mode)
    assert set(asked) == {"s4"} and cell.score.value == 1.0 and cell.score.n == 6
    run_words(out="first", modes=mode)
    assert everything()["results"] == everything("first")["results"]


def test_what_is_made_from_an_error_is_an_error_and_both_heal(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"s2"}
    asked = failing(monkeypatch, bad)
    modes = ["cot", "refined", "direct", "caption"]
    for cell in run_words(modes=modes):
        assert (cell.mode, cell.score.errors, cell.score.value) == (cell.mode, 1, 1.0)
    refined = [g for g in lines("generations.jsonl") if g["mode"] == "refined" and g["sample"] == "s2"]
    assert refined[0]["error"] == "no cot generation to start from: TimeoutError: no answer in 60 s"
    bad.clear()
    asked.clear()
    for cell in run_words(modes=modes):
        assert cell.score.n == 6
    assert set(asked) == {"s2"} and len(asked) == 5


def test_a_model_that_fails_for_good_stops_with_one_message_and_the_log_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_words(out="first", repeats=10)
    asked = failing(monkeypatch, set())
    calls = 0

    def dying(self: Painter, requests: Sequence[Request]) -> Iterator[Generation]:
        nonlocal calls
        for request in requests:
            calls += 1
            if calls > 20:
                raise ConnectionError("refused")
            yield self.answer(request)

    with monkeypatch.context() as patch:
        patch.setattr(Painter, "generate", dying)
        with pytest.raises(
            BackendError, match=r"^painter: 25 requests in a row failed, stopped\. The last one: "
        ):
            run_words(repeats=10)
    good = [line for line in lines("generations.jsonl") if line["finish"] == "complete"]
    assert (len(good), len(lines("generations.jsonl"))) == (20, 45)
    assert len(lines("verdicts.jsonl")) == 20  # and what was asked is judged
    assert capsys.readouterr() == ("", "")
    asked.clear()
    run_words(repeats=10)
    assert len(asked) == 40
    assert everything()["results"] == everything("first")["results"]


def test_errors_that_a_model_reports_itself_do_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a folder does for pictures that are not there: however many."""
    monkeypatch.setattr(
        Painter, "answer", lambda self, request: Generation(request.key, finish="error", error="missing")
    )
    (cell,) = run_words(repeats=10)
    assert (cell.score.value, cell.score.unscored, cell.score.errors) == (None, 60, 60)


# --- the model's own failures ---


@pytest.mark.parametrize(
    ("mode", "generation", "outcome"),
    [
        ("answer", Generation("", finish="refused"), "refused"),
        ("answer", Generation("", text="  "), "empty"),
        ("answer", Generation("", text="It is w", finish="truncated"), "truncated"),
        ("answer", Generation("", image=picture(1)), "empty"),
        ("direct", Generation("", text="A picture of w1."), "empty"),
        ("direct", Generation("", finish="truncated"), "truncated"),
        ("direct", Generation("", finish="empty"), "empty"),
    ],
)
def test_no_answer_counts_as_wrong_and_is_named(
    mode: str, generation: Generation, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(self: Painter, request: Request) -> Generation:
        g = generation
        return Generation(request.key, g.image, g.text, g.thought, g.finish)

    monkeypatch.setattr(Painter, "answer", answer)
    monkeypatch.setattr(Reader, "observe", _never_judge)
    (cell,) = run_words(modes=mode)
    assert (cell.score.value, cell.score.n, cell.score.unscored) == (0.0, 6, 0)
    assert cell.score.outcomes == {outcome: 6}
    assert {line["outcome"] for line in lines("verdicts.jsonl")} == {outcome}


def _never_judge(self: Reader, views: Sequence[View]) -> Iterator[Observation]:
    raise AssertionError("there is nothing to judge")
    yield  # pragma: no cover


@pytest.mark.parametrize("model", ["thinker", "painter"])
def test_a_picture_after_a_thought_cut_short_is_judged(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(self: Painter, request: Request) -> Generation:
        number = int(request.sample_id[1:])
        finish: Finish = (
            "truncated" if request.prompt.think or request.prompt.output == "text" else "complete"
        )
        if request.prompt.output == "text":
            return Generation(request.key, text=f"Draw: w{number}", finish=finish)
        return Generation(request.key, picture(number), thought="So it", finish=finish)

    monkeypatch.setattr(Painter, "answer", answer)
    (cell,) = run_words(modes="cot", models=model)
    assert cell.score.value == 1.0 and cell.score.outcomes == {"correct": 6}


# --- loading ---


def test_everything_is_checked_before_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Painter, "generate", _never_judge)
    for wrong in ({"models": ["painter", "thinker:rigth=1"]}, {"judges": ["reader", "reader:size=1"]}):
        with pytest.raises(UsageError, match="Unknown option"):
            run_words(**wrong)
    assert not Path("run").exists()


def _no_room(self: object) -> None:
    raise MemoryError("no room for the weights")


@pytest.mark.parametrize(("kind", "error"), [(Painter, BackendError), (Reader, JudgeError)])
def test_what_cannot_be_loaded_is_one_message(
    kind: type, error: type[UnisandboxError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "__init__", _no_room)
    with pytest.raises(
        error, match=r"^The (model|judge) '\w+' cannot be loaded: MemoryError: no room for the w"
    ):
        run_words()
    assert not Path("run").exists()  # nothing was asked, so the folder is free for the model that was meant


@pytest.mark.parametrize(("kind", "name"), [("Painter", "model 'painter'"), ("Reader", "judge 'reader'")])
def test_what_is_no_backend_or_judge_is_named(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support_backends, kind, lambda: "nobody")
    with pytest.raises(
        UnisandboxError, match=f"^The factory of {name} returned no (backend|judge): 'nobody'"
    ):
        run_words()


def test_a_backend_need_not_say_how_many_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def generate(self: Painter, requests: Sequence[Request]) -> Iterator[Generation]:
        sizes.append(len(requests))
        return (Generation(request.key, text="w1") for request in requests)

    monkeypatch.setattr(Painter, "generate", generate)
    monkeypatch.setattr(Painter, "__init__", lambda self: None)
    monkeypatch.setattr(Painter, "batch_size", None, raising=False)
    run_words(repeats=3)
    assert sizes == [16, 2]


@pytest.mark.parametrize("fails", [False, True])
def test_a_backend_is_closed_whatever_happens(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(Painter, "close", lambda self: closed.append(True), raising=False)
    if fails:
        count = Count(monkeypatch)
        count.left = 2
        with pytest.raises(BackendError):
            run_words()
    else:
        run_words()
    assert closed == [True]


def test_a_model_with_nothing_to_do_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    run_words()
    monkeypatch.setattr(Painter, "__init__", _no_room)
    assert run_words().finished
    with pytest.raises(BackendError):
        run_words(out="another")


def test_what_a_model_says_of_itself_is_in_run_json(monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"dtype": "float32", "steps": 30}
    monkeypatch.setattr(Painter, "describe", lambda self: about, raising=False)
    monkeypatch.setattr(Reader, "describe", lambda self: {"exact": True}, raising=False)
    run_words()
    saved = json.loads(Path("run/run.json").read_text())
    assert saved["backends"] == {"painter": about} and saved["judges"] == {"reader": {"exact": True}}


def test_what_a_model_finds_out_while_it_works_is_in_run_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([16, 4])
    monkeypatch.setattr(Painter, "describe", lambda self: {"batch_size": next(sizes)}, raising=False)
    run_words()
    assert json.loads(Path("run/run.json").read_text())["backends"] == {"painter": {"batch_size": 4}}


def test_a_run_goes_on_only_with_the_weights_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"weights": "0123"}
    monkeypatch.setattr(Painter, "describe", lambda self: said, raising=False)
    run_words(limit=2)
    before = lines("generations.jsonl")
    (Path("run") / "generations.jsonl").write_bytes(b"")  # something is left to ask
    run_words(limit=2)
    assert lines("generations.jsonl") == before
    said["weights"] = "4567"
    (Path("run") / "generations.jsonl").write_bytes(b"")
    with pytest.raises(RunFolderError, match=r"'painter' has other weights now \(4567\) than when this run"):
        run_words(limit=2)
    run_words(limit=2, fresh=True)


def test_a_name_given_twice_is_one_model_and_one_judge() -> None:
    results = run_words(models=["painter", "painter:", "painter"], judges=["reader", "reader:", "reader"])
    assert len(results.cells) == 1 and len(lines("generations.jsonl")) == 6


def test_options_in_any_order_are_one_model() -> None:
    results = run_words(models=["painter:right=1,batch=2", "painter:batch=2,right=1"])
    assert [cell.model for cell in results] == ["painter:batch=2,right=1"]


def test_modes_a_model_cannot_do_are_named_not_zero() -> None:
    results = run_words(models=["mute", "painter"], modes=["direct", "answer", "cot", "caption"])
    mute = {cell.mode: cell for cell in results if cell.model == "mute"}
    assert mute["direct"].score.value == 1.0
    assert mute["answer"].note == "not supported: the model does not: writes text"
    assert mute["cot"].note == "not supported: the model does not: thinks natively before it answers"
    assert not mute["caption"].supported and mute["caption"].score.value is None
    assert results.coverage == 1


def test_a_run_in_another_thread_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook's executor, where Ctrl-C cannot be caught."""
    thread = threading.Thread(target=run_words)
    thread.start()
    thread.join()
    assert run_words().finished and len(lines("generations.jsonl")) == 6


# --- progress ---


class Told:
    """Adds up what it is told."""

    def __init__(self) -> None:
        self.planned = (0, 0)
        self.generations: list[bool] = []
        self.verdicts: list[bool] = []
        self.asks: list[str] = []

    def plan(self, generations: int, verdicts: int) -> None:
        self.planned = (generations, verdicts)

    def asking(self, ask: Any) -> None:
        self.asks.append(ask.label)

    def generated(self, error: bool) -> None:
        self.generations.append(error)

    def judged(self, error: bool) -> None:
        self.verdicts.append(error)

    def say(self, message: str) -> None:
        raise AssertionError(message)


def test_progress_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"s4"}
    failing(monkeypatch, bad)
    told = Told()
    run_words(modes=["answer", "direct"], judges=["reader:batch=1", "reader:batch=2"], progress=told)
    assert told.planned == (12, 24)
    assert told.asks == ["words direct painter", "words answer painter"]
    assert (len(told.generations), sum(told.generations)) == (12, 2)
    assert (len(told.verdicts), sum(told.verdicts)) == (24, 4)
    bad.clear()
    told = Told()
    run_words(modes=["answer", "direct"], judges=["reader:batch=1", "reader:batch=2"], progress=told)
    assert told.planned == (2, 4) and (len(told.generations), len(told.verdicts)) == (2, 4)
