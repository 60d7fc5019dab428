"""What every training shares: the rate of a step, and which examples it has."""

from dataclasses import replace

import pytest

from unisandbox.backend import TrainSpec
from unisandbox.training.finetuning import places, rate


def test_the_rate_rises_and_falls() -> None:
    spec = TrainSpec(steps=100, rate=1.0)
    linear = [rate(spec, step) for step in range(100)]
    assert linear[0] == 0.1 and linear[10] == 1.0 and linear[55] == 0.5 and 0 < linear[-1] < 0.02
    assert rate(replace(spec, schedule="cosine"), 55) == pytest.approx(0.5)
    assert rate(replace(spec, schedule="cosine"), 20) > linear[20]
    assert rate(replace(spec, schedule="constant"), 99) == 1.0
    published = replace(spec, schedule="constant")
    assert rate(published, 99, warm_up=2000) == pytest.approx(100 / 2000)
    assert rate(published, 10, warm_up=0) == 1.0


def test_each_example_has_a_place_of_its_own() -> None:
    found = [place for step in range(4) for place in places(TrainSpec(batch=3), 6, step)]
    assert [place for place, _ in found] == list(range(12))
    first, again = ([number for _, number in found[start : start + 6]] for start in (0, 6))
    assert sorted(first) == sorted(again) == list(range(6)) and first != again
