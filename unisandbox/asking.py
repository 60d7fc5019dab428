"""Asking: a trial -> its prompt -> a generation, with retries, two-call thinking and no lost errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, get_args

from unisandbox.backend import Backend
from unisandbox.errors import UnisandboxError
from unisandbox.matrix import Ask, Trial
from unisandbox.prompts import CONCLUSION, conclusion, with_thought
from unisandbox.records import Finish, Generation, Image, Prompt, Request, Turn

THINK = (
    "{question}\n\nDo not draw yet. First work out, step by step and in words, what the picture must show. "
    f"End with one line that begins with '{CONCLUSION}' and says exactly what to draw."
)
"""The first of two calls, for tasks that bring no ``think`` template."""


class Keyed(Protocol):
    """What is told from others by a key, as all are that are asked, and their answers."""

    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)
Answer = TypeVar("Answer", bound=Keyed)


class Patience:
    """How often a request is tried, and when a model or judge that only fails is taken for dead."""

    GIVE_UP = 25
    """Failures in a row, with nothing in between."""

    def __init__(self, who: str, kind: type[UnisandboxError], tries: int) -> None:
        self.tries = tries
        self._who = who
        self._kind = kind
        self._in_a_row = 0

    def answered(self) -> None:
        """Something worked."""
        self._in_a_row = 0

    def failed(self, reason: str) -> None:
        """An item failed for good; raises the error that ends the run when too many did."""
        self._in_a_row += 1
        if self._in_a_row >= self.GIVE_UP:
            raise self._kind(
                f"{self._who}: {self._in_a_row} requests in a row failed, stopped. The last one: {reason}. "
                "What is done is kept."
            )


def answered(
    ask: Callable[[Sequence[Item]], Iterable[Answer]],
    items: Sequence[Item],
    failed: Callable[[Item, str], Answer],
    patience: Patience,
) -> Iterator[Answer]:
    """Yield one answer an item, in any order.

    All are asked at once. Those left without an answer, by an exception or otherwise, are asked one by one,
    so that one bad item costs only itself, with growing pauses; then ``failed`` makes the answer. A
    ``UnisandboxError`` is a verdict on the whole model or judge and passes through.
    """
    if not items:
        return
    pending = {item.key: item for item in items}
    reason = ""
    try:
        for answer in ask(items):
            if pending.pop(answer.key, None) is not None:
                patience.answered()
                yield answer
    except UnisandboxError:
        raise
    except Exception as error:
        reason = _reason(error)
    # what failed in company is asked alone at least once: a neighbour may be to blame
    tries = patience.tries - 1 if len(items) == 1 else max(1, patience.tries - 1)
    for item in pending.values():
        late, fault = _alone(ask, item, tries) if reason else (None, "")
        if late is not None:
            patience.answered()
            yield late
        else:
            fault = fault or reason or "it returned no answer"
            yield failed(item, fault)
            patience.failed(fault)


def _alone(
    ask: Callable[[Sequence[Item]], Iterable[Answer]], item: Item, tries: int
) -> tuple[Answer | None, str]:
    """Return the answer, or None and why there is none."""
    if tries < 1:
        return None, ""
    import tenacity  # only when something has failed

    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(tries),
        wait=tenacity.wait_exponential_jitter(initial=0.2, max=20),
        retry=tenacity.retry_if_not_exception_type((UnisandboxError, StopIteration)),
        reraise=True,
    )
    try:
        return attempts(lambda: next(answer for answer in ask([item]) if answer.key == item.key)), ""
    except UnisandboxError:
        raise
    except StopIteration:
        return None, "it returned no answer"
    except Exception as error:
        return None, _reason(error)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500]


def failed_generation(request: Keyed, reason: str) -> Generation:
    """Return the record of a request that got no answer for a fault that is not the model's."""
    return Generation(request.key, finish="error", error=reason)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with all that asking it takes: a plain record, so that it can be asked in another process."""

    request: Request
    thinks_first: Request | None = None
    """The call for the thought, where the model has to be asked for it apart."""

    @property
    def key(self) -> str:
        """The trial's content key."""
        return self.request.key


def make_request(ask: Ask, trial: Trial, before: Generation | None) -> Asked | Generation:
    """Return the request of a trial, or at once its generation when there is nothing to ask.

    ``before`` is the generation this mode is made from, if it is made from one.
    """
    task, mode, sample = ask.task, ask.mode, trial.sample
    if mode.after:
        if before is None or before.finish == "error":
            why = f": {before.error}" if before is not None and before.error else ""
            reason = f"no {mode.after} generation to start from{why}"
            return Generation(trial.key, finish="error", error=reason)
        missing = before.thought if mode.name == "refined" else before.image
        if missing is None or missing == "":
            return Generation(trial.key, finish="empty", notes={"reason": f"{mode.after} left nothing"})
    question = task.prompts["direct"].render(sample.fields) if "direct" in task.prompts else ""
    prompt = _prompt(ask, trial, before, question)
    request = Request(trial.key, prompt, trial.seed, task.name, sample.id, mode.name, trial.repeat)
    if ask.model.entry.sees_target:
        request = replace(
            request,
            sample=sample,
            target=task.target(mode.name, sample),
            rubric=task.rubric(mode.name, sample).name,
        )
    return Asked(request, _thought_request(ask, trial, request))


def _prompt(ask: Ask, trial: Trial, before: Generation | None, question: str) -> Prompt:
    name, template, fields = ask.mode.name, ask.task.prompts[ask.mode.name], trial.sample.fields
    if name == "refined" and before is not None and before.thought:
        fields = {**fields, "conclusion": conclusion(before.thought)}
    text = template.render(fields)
    if name in ("gold", "planted"):
        return Prompt(with_thought(question, text), "image")
    if name == "caption" and before is not None and before.image is not None:
        return Prompt((Turn("user", text, (before.image,)),), "text")
    return Prompt((Turn("user", text),), ask.mode.output, think=name == "cot")


def generate(backend: Backend, asked: Sequence[Asked], patience: Patience) -> Iterator[Generation]:
    """Yield one generation a request; those that think first take two calls."""
    if thinkers := [one for one in asked if one.thinks_first]:
        yield from _in_two_calls(backend, thinkers, patience)
    requests = {one.request.key: one.request for one in asked if not one.thinks_first}
    for generation in answered(_checked(backend), list(requests.values()), failed_generation, patience):
        yield settled(generation, requests[generation.key].prompt.output)


def _checked(backend: Backend) -> Callable[[Sequence[Request]], Iterator[Generation]]:
    """Return ``backend.generate``, failing by name where it yields what cannot be logged or judged."""

    def ask(requests: Sequence[Request]) -> Iterator[Generation]:
        made = backend.generate(requests)
        if not isinstance(made, Iterable):
            raise TypeError(f"generate returned {_kind(made)}, expected to yield Generations")
        for generation in made:
            if fault := _misshapen(generation):
                raise TypeError(f"the backend yielded {fault}")
            yield generation

    return ask


def _misshapen(generation: object) -> str:
    if not isinstance(generation, Generation):
        return f"{_kind(generation)}, expected Generation"
    if generation.finish not in get_args(Finish):
        return f"finish={generation.finish!r}, expected one of {', '.join(get_args(Finish))}"
    for name, kind in (("image", Image), ("text", str), ("thought", str)):
        value = getattr(generation, name)
        if value is not None and not isinstance(value, kind):
            wanted = "unisandbox.Image (Image.from_pil makes one)" if kind is Image else kind.__name__
            return f"{name} as {_kind(value)}, expected {wanted} or None"
    return ""


def _kind(value: object) -> str:
    kind = type(value)
    return f"a {kind.__name__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__name__}"


def _in_two_calls(backend: Backend, asked: Sequence[Asked], patience: Patience) -> Iterator[Generation]:
    """Ask for the thought as text, then re-issue it with its conclusion for the picture."""
    first = [one.thinks_first for one in asked if one.thinks_first]
    thoughts: dict[str, Generation] = {}
    for generation in answered(_checked(backend), first, failed_generation, patience):
        thought = settled(generation, "text")
        if thought.text and thought.finish in ("complete", "truncated"):
            thoughts[thought.key] = thought
        else:
            notes = {**thought.notes, "thinking": "two calls"}
            yield replace(thought, image=None, text=None, thought=thought.text, notes=notes)
    second = [_with_given_thought(one, thoughts) for one in asked if one.request.key in thoughts]
    for generation in answered(_checked(backend), second, failed_generation, patience):
        thought = thoughts[generation.key]
        notes = {**generation.notes, "thinking": "two calls"}
        if thought.finish == "truncated":
            notes["thought"] = "truncated"
        yield replace(settled(generation, "image"), thought=thought.text, notes=notes)


def _thought_request(ask: Ask, trial: Trial, request: Request) -> Request | None:
    """Return the first of two calls, where the model is to think and cannot natively."""
    if ask.mode.name != "cot" or "think" in ask.model.does:
        return None
    template = ask.task.prompts.get("think")
    if template is None:
        text = THINK.format(question=request.prompt.text)
    else:
        text = template.render(trial.sample.fields)
    return replace(request, prompt=Prompt((Turn("user", text),), "text"))


def _with_given_thought(one: Asked, thoughts: Mapping[str, Generation]) -> Request:
    turns = with_thought(one.request.prompt.text, thoughts[one.request.key].text or "")
    return replace(one.request, prompt=Prompt(turns, "image"))


def settled(generation: Generation, output: str) -> Generation:
    """Name what a model did not say of itself: an answer of the wrong kind, or none, is ``empty``."""
    if generation.finish != "complete":
        return generation
    there = generation.image is not None if output == "image" else (generation.text or "").strip()
    return generation if there else replace(generation, finish="empty")
