"""``rules``: reads answers in words by the rubric's fixed rules; plural = singular, synonyms are one word."""

from collections.abc import Iterator, Sequence

from unisandbox.judge import Case, View, match_by_rules
from unisandbox.records import Observation, Verdict
from unisandbox.world import find_kind


class Rules:
    """Judges text without a model."""

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Fill the rubric's slots from each text."""
        for view in views:
            slots = view.rubric.read(view.text or "", view.names)
            if "category" in view.rubric.slots and "category" not in slots:
                # who is asked for a fruit and says "peach" has said what it is
                kind = find_kind(str(slots.get("species", "")))
                slots |= {"category": kind.category} if kind else {}
            yield Observation(view.key, slots)

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Compare slot by slot."""
        return map(match_by_rules, cases)
