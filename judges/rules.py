"""``rules``: reads answers in words by the rubric's fixed rules; plural = singular, synonyms are one word."""

from collections.abc import Iterator, Sequence

from unisandbox.judge import Case, View, match_by_rules
from unisandbox.judges.replies import with_category
from unisandbox.records import Observation, Verdict


class Rules:
    """Judges text without a model."""

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Fill the rubric's slots from each text."""
        for view in views:
            slots = with_category(view.rubric, view.rubric.read(view.text or "", view.names))
            yield Observation(view.key, slots)

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Compare slot by slot."""
        return map(match_by_rules, cases)
