"""What every judge that is a model shares: two stages out of the rubric's prompts, each pair matched once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from unisandbox.errors import UsageError
from unisandbox.judge import Case, View, match_by_rules, verdict_on
from unisandbox.judges.replies import Reply, probability_of_yes, quoted, read_observation, read_yes
from unisandbox.records import Fields, Image, Observation, Verdict

DEFAULT_MODEL = "Qwen/Qwen2.5-VL-7B-Instruct"
"""The judge of the published protocol."""

Matcher = Literal["rules", "model"]
"""Who holds an observation against the target: the rubric's rules, or the model in a second, blind call."""

LARGEST = 1536
"""Pixels of a picture's longer side that a judge is shown by default."""

_REMEMBERED = 65536
"""Stage-two replies kept, so that the same pair is not asked twice."""


@dataclass(frozen=True, slots=True)
class Question:
    """One user turn on its way to a judge's model: a picture, if there is one, and then words."""

    key: str
    text: str
    image: Image | None = None
    logprobs: bool = False
    """Whether the reply should tell the probabilities of its tokens."""


class ModelJudge(ABC):
    """Carries out rubrics with a model that sees; a subclass says how the model is asked."""

    def __init__(self, matcher: Matcher, soft: bool) -> None:
        """Take how stage two is done; ``soft``: its verdicts carry the probability of "yes"."""
        if soft and matcher != "model":
            raise UsageError(
                "soft=true is the probability of the model's yes in stage two: add matcher=model."
            )
        self._matcher = matcher
        self._soft = soft
        self._matched: OrderedDict[str, Reply] = OrderedDict()

    @abstractmethod
    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Yield one reply a question, in any order, as each is there; greedy, so that judging is repeatable.

        Where a question cannot be answered the reply says why in ``error``. Raises JudgeError when no
        question can be.
        """

    def about(self) -> Fields:
        """Return what ``describe`` says of the protocol; the prompts are those of the run's rubrics."""
        return {"matcher": self._matcher, "soft": self._soft}

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Put each picture before the model with the rubric's ``observe`` prompt, blind to the target."""
        by_key = {view.key: view for view in views if view.image is not None}
        for view in views:
            if view.image is None:
                yield Observation(view.key, error="this judge reads pictures, not text")
        questions = [Question(key, view.rubric.observe_prompt, view.image) for key, view in by_key.items()]
        for reply in self.ask(questions):
            yield read_observation(by_key[reply.key], reply)

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Hold observations against targets, by rules or by a second call that sees no picture."""
        if self._matcher == "rules":
            yield from map(match_by_rules, cases)
            return
        waiting: dict[str, list[Case]] = {}
        for case in cases:
            prompt = case.rubric.match_prompt(case.observation.slots, case.target)
            if known := self._matched.get(prompt):
                yield _verdict(case, known)
            else:
                waiting.setdefault(prompt, []).append(case)
        prompt_of = {same[0].key: prompt for prompt, same in waiting.items()}
        questions = [Question(key, prompt, logprobs=self._soft) for key, prompt in prompt_of.items()]
        for reply in self.ask(questions):
            prompt = prompt_of[reply.key]
            if reply.error is None:
                self._remember(prompt, reply)
            for case in waiting[prompt]:
                yield _verdict(case, reply)

    def _remember(self, prompt: str, reply: Reply) -> None:
        self._matched[prompt] = reply
        if len(self._matched) > _REMEMBERED:
            self._matched.popitem(last=False)


def _verdict(case: Case, reply: Reply) -> Verdict:
    """Return what stage two's reply means; one that is neither yes nor no is an error."""
    if reply.error is not None:
        return verdict_on(case, "error", reply.error, reply.text)
    yes = read_yes(reply.text)
    if yes is None:
        return verdict_on(case, "error", f"said {quoted(reply.text)}: neither yes nor no", reply.text)
    reason = "" if yes else "the model finds that they differ"
    probability = probability_of_yes(reply.tokens)
    return verdict_on(case, "correct" if yes else "incorrect", reason, reply.text, probability=probability)


def cut_off(max_tokens: int) -> str:
    """Return why a reply that did not come to its end is none."""
    return f"the reply was cut off after {max_tokens} tokens: raise max_tokens"
