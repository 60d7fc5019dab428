"""The options of a run: one declaration, the same checks for every way in."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from unisandbox.api import make_options
from unisandbox.errors import UsageError
from unisandbox.options import DEFAULTS, MINIMUM, RunOptions, option_names


def test_every_option_says_what_it_is_for() -> None:
    for option in fields(RunOptions):
        assert option.metadata["help"], option.name
    assert option_names() == [option.name for option in fields(RunOptions)]


def test_limits_are_those_of_options_there_are() -> None:
    assert set(MINIMUM) <= set(option_names())


def test_the_defaults_pass_their_own_checks() -> None:
    assert make_options({}) == DEFAULTS
    with pytest.raises(FrozenInstanceError):
        DEFAULTS.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"tasks": "math_1"}, ("math_1",)),
        ({"tasks": ["math_1", "math_2"]}, ("math_1", "math_2")),
        ({"include_path": Path("here")}, (Path("here"),)),
        ({"judges": None}, ()),
        ({"data": ""}, ()),
    ],
)
def test_one_word_stands_for_a_list_of_one(given: dict[str, Any], found: tuple[Any, ...]) -> None:
    (name,) = given
    assert getattr(make_options(given), name) == found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "math_1"}, "Unknown option 'task'. Did you mean 'tasks'?"),
        ({"repeats": 0}, "repeats=0: expected a whole number of at least 1."),
        ({"repeats": "3"}, "repeats='3': expected a whole number"),
        ({"repeats": True}, "repeats=True: expected a whole number"),
        ({"limit": 0}, "limit=0: expected a whole number of at least 1."),
        ({"limit": 2.5}, "limit=2.5: expected a whole number"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"tries": 0}, "tries=0"),
        ({"seed": -1}, "seed=-1: expected a whole number of at least 0."),
        ({"min_coverage": 1.5}, "min_coverage=1.5: expected a share from 0 to 1."),
        ({"min_coverage": -0.1}, "min_coverage=-0.1"),
        ({"min_coverage": float("nan")}, "min_coverage=nan"),
        ({"min_coverage": "all"}, "min_coverage='all'"),
        ({"min_coverage": True}, "min_coverage=True"),
        ({"seed": None}, "seed=None: expected a whole number"),
        ({"tasks": 5}, "tasks=5: expected words."),
        ({"models": ["oracle", 5]}, "models=['oracle', 5]: expected words."),
        ({"fresh": True}, "add --out DIR"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_options(given)
    assert message in str(caught.value)
