"""``rules``: reads answers in words by the rubric's fixed rules; plural = singular, synonyms are one word."""

from collections.abc import Iterator, Sequence

from unisandbox.judge import Case, View, match_by_rules
from unisandbox.records import Observation, Verdict


class Rules:
    """Judges text without a model."""

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Fill the rubric's slots from each text."""
        for view in views:
            text = view.text or ""
            yield Observation(view.key, view.rubric.read(text, view.names))

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Compare slot by slot."""
        return map(match_by_rules, cases)
