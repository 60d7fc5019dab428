"""The modes of DESIGN, in its order, and what each asks of a backend."""

import pytest

from unisandbox.modes import ABILITIES, MODES, lacking

NAMES = ["direct", "cot", "answer", "recall", "render", "refined", "gold", "planted", "caption"]
EVERYTHING = frozenset(ABILITIES)


def test_the_nine_modes_stand_in_the_order_of_the_design() -> None:
    assert list(MODES) == NAMES
    assert all(mode.name == name for name, mode in MODES.items())


def test_a_mode_stands_behind_the_one_it_is_made_from() -> None:
    assert {name: mode.after for name, mode in MODES.items() if mode.after} == {
        "refined": "cot",
        "caption": "direct",
    }
    for name, mode in MODES.items():
        assert mode.after is None or NAMES.index(mode.after) < NAMES.index(name)


def test_text_comes_back_where_words_are_asked_for() -> None:
    assert {name for name, mode in MODES.items() if mode.output == "text"} == {"answer", "recall", "caption"}


@pytest.mark.parametrize("name", NAMES)
def test_who_can_do_everything_lacks_nothing(name: str) -> None:
    assert lacking(MODES[name], EVERYTHING) == frozenset()


@pytest.mark.parametrize(
    ("name", "does", "gap"),
    [
        ("direct", "text", {"image"}),
        ("answer", "image", {"text"}),
        ("caption", "image text", {"see"}),
        ("caption", "image see", {"text"}),
        ("caption", "text see", {"image"}),
        ("cot", "image", {"think"}),
        ("cot", "image text", set()),
        ("cot", "image think", set()),
        ("refined", "image", {"think"}),
        ("refined", "text", {"image"}),
        ("gold", "image", set()),
        ("render", "", {"image"}),
    ],
)
def test_what_a_backend_lacks_is_named(name: str, does: str, gap: set[str]) -> None:
    assert lacking(MODES[name], frozenset(does.split())) == gap


def test_whatever_a_mode_needs_is_an_ability_with_a_name() -> None:
    assert {need for mode in MODES.values() for need in mode.needs} <= set(ABILITIES)
