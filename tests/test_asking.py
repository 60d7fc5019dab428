"""Asking: retries that cost only the bad sample, and the exact form of every prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support_backends import TASK, picture
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox.api import make_options, plan
from unisandbox.asking import Asked, Patience, answered, generate, make_request, settled
from unisandbox.errors import BackendError
from unisandbox.matrix import Ask
from unisandbox.records import Finish, Generation, Request, Turn

pytestmark = pytest.mark.usefixtures("words")


@dataclass(frozen=True, slots=True)
class Item:
    """Something to ask, or an answer."""

    key: str
    says: str = ""


ITEMS = [Item(key) for key in "abcdefgh"]
Ask_ = Callable[[Sequence[Item]], Iterator[Item]]


class Line:
    """Notes who is asked, with whom and how often; ``bad`` items raise, each ``times`` often."""

    def __init__(self, bad: str = "", times: int = 1000) -> None:
        self.calls: list[str] = []
        self._left = dict.fromkeys(bad, times)

    def __call__(self, items: Sequence[Item]) -> Iterator[Item]:
        self.calls.append("".join(item.key for item in items))
        for item in items:
            if self._left.get(item.key, 0) > 0:
                self._left[item.key] -= 1
                raise ValueError(f"{item.key} is\n  bad")
            yield Item(item.key, "fine")


def failed(item: Item, reason: str) -> Item:
    return Item(item.key, reason)


def collect(ask: Ask_, items: Sequence[Item] = ITEMS, tries: int = 3) -> dict[str, str]:
    """Return what became of each item; every one has exactly one answer."""
    found = list(answered(ask, items, failed, Patience("it", BackendError, tries)))
    assert sorted(item.key for item in found) == sorted(item.key for item in items)
    return {item.key: item.says for item in found}


def test_all_are_asked_at_once_and_once() -> None:
    line = Line()
    assert set(collect(line).values()) == {"fine"}
    assert line.calls == ["abcdefgh"]


def test_nothing_is_asked_for_nothing() -> None:
    line = Line()
    assert collect(line, []) == {} and line.calls == []


def test_one_bad_item_costs_only_itself() -> None:
    line = Line(bad="c")
    found = collect(line)
    assert found.pop("c") == "ValueError: c is bad"
    assert set(found.values()) == {"fine"}
    assert line.calls == ["abcdefgh", "c", "c", "d", "e", "f", "g", "h"]  # a and b had their answers


@pytest.mark.parametrize(("tries", "alone"), [(1, 1), (2, 1), (3, 2), (6, 5)])
def test_tries_are_attempts(tries: int, alone: int) -> None:
    """The one with the others counts, but never alone: the others may be to blame."""
    line = Line(bad="b")
    found = collect(line, tries=tries)
    assert found.pop("b") == "ValueError: b is bad" and set(found.values()) == {"fine"}
    assert line.calls.count("b") == alone


@pytest.mark.parametrize("tries", [1, 2, 5])
def test_tries_of_a_single_item(tries: int) -> None:
    line = Line(bad="a")
    assert collect(line, ITEMS[:1], tries) == {"a": "ValueError: a is bad"}
    assert line.calls == ["a"] * tries


def test_an_item_that_recovers_is_no_error() -> None:
    line = Line(bad="a", times=2)
    assert set(collect(line).values()) == {"fine"}
    assert line.calls[:3] == ["abcdefgh", "a", "a"]


def test_silence_is_an_error_of_its_own() -> None:
    assert collect(lambda items: iter(())) == {item.key: "it returned no answer" for item in ITEMS}


def test_some_left_out_are_errors_and_the_others_stand() -> None:
    found = collect(lambda items: (Item(item.key, "fine") for item in items if item.key in "abc"))
    assert [key for key, says in found.items() if says == "fine"] == list("abc")
    assert {says for says in found.values() if says != "fine"} == {"it returned no answer"}


def test_unknown_keys_are_ignored_and_the_first_of_two_counts() -> None:
    def ask(items: Sequence[Item]) -> Iterator[Item]:
        yield Item("nobody", "what?")
        for item in items:
            yield Item(item.key, "first")
            yield Item(item.key, "second")

    assert set(collect(ask).values()) == {"first"}


def test_an_unknown_key_is_no_answer_to_one_asked_alone() -> None:
    def ask(items: Sequence[Item]) -> Iterator[Item]:
        if len(items) > 1:
            raise ValueError("too many at once")
        yield Item("nobody", "what?")
        if items[0].key != "b":
            yield Item(items[0].key, "fine")

    found = collect(ask)
    assert found.pop("b") == "it returned no answer" and set(found.values()) == {"fine"}


def test_no_iterator_at_all_is_an_error() -> None:
    nothing: Any = lambda items: None  # noqa: E731
    assert all("TypeError" in says for says in collect(nothing).values())


@pytest.mark.parametrize("alone", [False, True])
def test_a_verdict_on_the_whole_model_passes_at_once(alone: bool) -> None:
    calls = 0

    def ask(items: Sequence[Item]) -> Iterator[Item]:
        nonlocal calls
        calls += 1
        if alone and len(items) > 1:
            raise ValueError("too many")
        raise BackendError("the key is not valid")
        yield  # pragma: no cover

    with pytest.raises(BackendError, match="the key is not valid"):
        collect(ask)
    assert calls == 1 + alone


def test_an_interrupt_is_no_failure() -> None:
    def ask(items: Sequence[Item]) -> Iterator[Item]:
        raise KeyboardInterrupt
        yield  # pragma: no cover

    with pytest.raises(KeyboardInterrupt):
        collect(ask)


MANY = [Item(str(number)) for number in range(100)]


def test_25_failures_in_a_row_end_it() -> None:
    found: list[Item] = []
    patience = Patience("it", BackendError, 1)
    with pytest.raises(
        BackendError, match=r"^it: 25 requests in a row failed, stopped.*is bad.*What is done is kept"
    ):
        for item in answered(Line(bad="".join("0")), [MANY[0]], failed, patience):
            found.append(item)
        for item in answered(_dead, MANY, failed, patience):
            found.append(item)
    assert len(found) == 25  # each is an error on record before the end


def _dead(items: Sequence[Item]) -> Iterator[Item]:
    raise ConnectionError(f"{items[0].key} is bad")
    yield  # pragma: no cover


def test_a_success_in_between_resets_the_count() -> None:
    def ask(items: Sequence[Item]) -> Iterator[Item]:
        for item in items:
            if int(item.key) % 25:
                raise ValueError("bad")
            yield Item(item.key, "fine")

    assert list(collect(ask, MANY).values()).count("fine") == 4


def test_reasons_are_one_short_line() -> None:
    def ask(items: Sequence[Item]) -> Iterator[Item]:
        raise ValueError("many\n\twords " * 1000)
        yield  # pragma: no cover

    (reason,) = collect(ask, ITEMS[:1]).values()
    assert reason.startswith("ValueError: many words many") and len(reason) <= 500


# --- prompts ---


def ask_of(mode: str, model: str = "painter") -> Ask:
    """Return the ask of a mode of the task ``words``."""
    options = make_options({"tasks": "words.yaml", "models": model, "judges": "reader", "modes": mode})
    return next(ask for ask in plan(options).asks if ask.mode.name == mode)


def asked(ask: Ask, before: Generation | None = None, index: int = 2) -> Asked:
    """Return a request; the third sample asks for w3."""
    made = make_request(ask, ask.trial(index), before)
    assert isinstance(made, Asked)
    return made


def test_a_request_carries_its_trial_and_no_answer() -> None:
    ask = ask_of("direct")
    request, trial = asked(ask).request, ask.trial(2)
    assert (request.key, request.seed) == (trial.key, trial.seed)
    assert (request.task, request.sample_id, request.mode, request.repeat) == ("words", "s3", "direct", 0)
    assert request.prompt.turns == (Turn("user", "Which is w3?"),) and request.prompt.output == "image"
    assert (request.sample, request.target, request.rubric) == (None, None, None)


def test_only_models_that_see_targets_get_them() -> None:
    request = asked(ask_of("direct", "seer")).request
    assert request.sample and request.sample.fields["number"] == 3
    assert (request.target, request.rubric) == ({"answer": "w3"}, "words")


@pytest.mark.parametrize(("mode", "thinks"), [("direct", False), ("cot", True), ("render", False)])
def test_only_cot_asks_for_a_native_thought(mode: str, thinks: bool) -> None:
    assert asked(ask_of(mode, "thinker")).request.prompt.think is thinks


def test_gold_and_planted_put_the_thought_in_and_re_issue_its_conclusion() -> None:
    for mode, word in (("gold", "w3"), ("planted", "w0")):
        prompt = asked(ask_of(mode)).request.prompt
        assert prompt.turns == (
            Turn("user", "Which is w3?"),
            Turn("model", f"It is {word}.\nDraw: {word}.", thought=True),
            Turn("user", f"Draw {word}."),
        )
        assert prompt.output == "image" and not prompt.think


def test_refined_gets_the_conclusion_of_its_own_thought_and_nothing_else() -> None:
    before = Generation("k", picture(3), thought="Four.\nDraw: w4, no: w5.\n**Draw: w9.**")
    assert asked(ask_of("refined"), before).request.prompt.turns == (Turn("user", "Draw w9."),)


def test_caption_gets_its_own_direct_picture() -> None:
    prompt = asked(ask_of("caption"), Generation("k", picture(9))).request.prompt
    assert prompt.turns == (Turn("user", "What is this?", (picture(9),)),) and prompt.output == "text"


@pytest.mark.parametrize("mode", ["refined", "caption"])
def test_a_mode_made_from_a_failed_one_is_an_error_not_a_wrong_answer(mode: str) -> None:
    ask = ask_of(mode)
    for before in (None, Generation("k", finish="error", error="no power")):
        made = make_request(ask, ask.trial(0), before)
        assert isinstance(made, Generation) and made.finish == "error" and made.key == ask.trial(0).key
        why = ": no power" if before else ""
        assert made.error == f"no {ask.mode.after} generation to start from{why}"


@pytest.mark.parametrize("mode", ["refined", "caption"])
@pytest.mark.parametrize("finish", ["empty", "refused"])
def test_a_mode_made_from_no_answer_is_empty(mode: str, finish: Finish) -> None:
    ask = ask_of(mode)
    made = make_request(ask, ask.trial(0), Generation("k", finish=finish))
    assert isinstance(made, Generation) and made.finish == "empty"
    assert made.notes == {"reason": f"{ask.mode.after} left nothing"}


def test_refined_without_a_thought_is_empty_though_there_is_a_picture() -> None:
    ask = ask_of("refined")
    made = make_request(ask, ask.trial(0), Generation("k", picture(1)))
    assert isinstance(made, Generation) and made.finish == "empty"


# --- two calls ---


class Log:
    """A model that notes its requests and answers by ``thought`` and ``drawn``."""

    def __init__(self, thought: Generation, drawn: Generation) -> None:
        self.requests: list[Request] = []
        self._thought, self._drawn = thought, drawn

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        for request in requests:
            self.requests.append(request)
            sample = self._thought if request.prompt.output == "text" else self._drawn
            yield Generation(
                request.key,
                sample.image,
                sample.text,
                sample.thought,
                sample.finish,
                sample.error,
                sample.notes,
            )


THOUGHT = Generation("", text="It is w7.\nDraw: w7.")
DRAWN = Generation("", picture(7))


def both_calls(
    thought: Generation, drawn: Generation = DRAWN, model: str = "painter"
) -> tuple[Log, Generation]:
    """Put ``cot`` to a model; return what it was asked and what came of it."""
    ask, log = ask_of("cot", model), Log(thought, drawn)
    one = asked(ask)
    (generation,) = generate(log, [one], Patience("it", BackendError, 3))
    assert generation.key == one.request.key
    assert {(request.key, request.seed) for request in log.requests} == {(one.request.key, one.request.seed)}
    return log, generation


def test_a_model_that_does_not_think_is_asked_twice() -> None:
    log, generation = both_calls(THOUGHT)
    first, second = (request.prompt for request in log.requests)
    assert first.turns == (Turn("user", "Think about it: Which is w3?"),)
    assert (first.output, first.think) == ("text", False)
    assert second.turns == (
        Turn("user", "Which is w3?"),
        Turn("model", "It is w7.\nDraw: w7.", thought=True),
        Turn("user", "Draw w7."),
    )
    assert (second.output, second.think) == ("image", False)
    assert generation.image == picture(7) and generation.thought == "It is w7.\nDraw: w7."
    assert generation.finish == "complete" and generation.notes == {"thinking": "two calls"}


def test_a_task_without_a_think_template_has_one() -> None:
    path = Path("words.yaml")
    path.write_text(TASK.replace("  think:", "  # think:"))
    log, _ = both_calls(THOUGHT)
    text = log.requests[0].prompt.text
    assert text.startswith("Which is w3?\n\nDo not draw yet.") and "'Draw:'" in text


def test_a_model_that_thinks_is_asked_once() -> None:
    log, generation = both_calls(THOUGHT, Generation("", picture(7), thought="Hm."), "thinker")
    (only,) = log.requests
    assert only.prompt.turns == (Turn("user", "Which is w3?"),) and only.prompt.think
    assert generation.thought == "Hm." and generation.notes == {}


def test_notes_of_the_model_are_kept_beside_ours() -> None:
    _, generation = both_calls(THOUGHT, Generation("", picture(7), notes={"id": "x1"}))
    assert generation.notes == {"id": "x1", "thinking": "two calls"}


@pytest.mark.parametrize(
    ("thought", "finish"),
    [
        (Generation("", text="I'd rather not.", finish="refused"), "refused"),
        (Generation("", text=" \n"), "empty"),
        (Generation("", finish="truncated"), "truncated"),
        (Generation("", finish="error", error="no power"), "error"),
    ],
    ids=["refused", "empty", "cut off before it began", "error"],
)
def test_without_a_thought_no_picture_is_asked_for(thought: Generation, finish: Finish) -> None:
    log, generation = both_calls(thought)
    assert len(log.requests) == 1
    assert (generation.finish, generation.image, generation.text) == (finish, None, None)
    assert (generation.thought, generation.error) == (thought.text, thought.error)
    assert generation.notes == {"thinking": "two calls"}


def test_a_thought_cut_short_still_leads_to_a_picture() -> None:
    _, generation = both_calls(Generation("", text="It is w7, so I", finish="truncated"))
    assert (generation.finish, generation.image) == ("complete", picture(7))
    assert generation.notes == {"thinking": "two calls", "thought": "truncated"}


def test_a_failed_second_call_keeps_the_thought() -> None:
    _, generation = both_calls(THOUGHT, Generation("", finish="error", error="no power"))
    assert (generation.finish, generation.error, generation.thought) == ("error", "no power", THOUGHT.text)


@pytest.mark.parametrize(
    ("generation", "output", "finish"),
    [
        (Generation("k", text="w1"), "text", "complete"),
        (Generation("k", text=" \n\t"), "text", "empty"),
        (Generation("k"), "text", "empty"),
        (Generation("k", picture(1)), "text", "empty"),
        (Generation("k", picture(1)), "image", "complete"),
        (Generation("k", text="Here you are!"), "image", "empty"),
        (Generation("k", finish="refused"), "image", "refused"),
        (Generation("k", picture(1), finish="truncated"), "image", "truncated"),
    ],
)
def test_an_answer_of_the_wrong_kind_or_none_is_empty(
    generation: Generation, output: str, finish: Finish
) -> None:
    assert settled(generation, output).finish == finish


@pytest.mark.parametrize(
    ("generation", "reason"),
    [
        (None, "a NoneType, expected Generation"),
        ("words", "a str, expected Generation"),
        (Generation("", finish="stop"), "finish='stop'"),  # type: ignore[arg-type]
        (Generation("", image=b"PNG"), "image as a bytes"),  # type: ignore[arg-type]
        (Generation("", text=["w", "1"]), "text as a list"),  # type: ignore[arg-type]
    ],
    ids=["None", "words", "finish", "image", "text"],
)
def test_what_is_no_generation_is_an_error_that_says_why(generation: Any, reason: str) -> None:
    class Wrong:
        def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
            for request in requests:
                yield (
                    replace(generation, key=request.key) if isinstance(generation, Generation) else generation
                )

    ask = ask_of("direct")
    (found,) = generate(Wrong(), [asked(ask)], Patience("it", BackendError, 3))
    assert found.finish == "error" and found.error is not None and reason in found.error
