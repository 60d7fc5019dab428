"""A plugin with a judge that errs at known rates: it reads pictures exactly, then turns verdicts round."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from unisandbox.hookspecs import RegisterJudge, hookimpl
from unisandbox.judge import Case, View, match_by_rules
from unisandbox.records import Fields, Observation, Verdict

VERSION = {"version": 1}


class Noisy:
    """Passes right pictures at the rate ``sensitivity``, fails wrong ones at the rate ``specificity``."""

    batch_size = 8

    def __init__(
        self, *, sensitivity: float = 1.0, specificity: float = 1.0, errs: float = 0.0, pause: float = 0.0
    ) -> None:
        from unisandbox.judges.sprite import Sprite

        self._exact = Sprite()
        self._rates = {True: sensitivity, False: specificity}
        self._errs, self._pause = errs, pause

    def describe(self) -> Fields:
        """Say which version this is."""
        return VERSION

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Keep what is malformed for ``match``, which turns it round too."""
        for seen in self._exact.observe(views):
            yield replace(seen, malformed=None, raw=seen.malformed)

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Draw by the key, so that a verdict is the same however often it is asked for."""
        for case in cases:
            time.sleep(self._pause)
            draw = Random(case.key).random
            if draw() < self._errs:
                raise RuntimeError("out of order")
            right = bool(case.observation.slots) and match_by_rules(case).outcome == "correct"
            passed = right == (draw() < self._rates[right])
            yield Verdict(case.key, "correct" if passed else "incorrect")


@hookimpl
def register_judges(register: RegisterJudge) -> None:
    """Register the judge."""
    register("noisy", f"{__name__}:Noisy", summary="errs at known rates", reads=("sandbox",))
