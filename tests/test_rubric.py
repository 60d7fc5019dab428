"""Rubrics: what real models write is read as they mean it, and what they leave open stays open."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from unisandbox.catalog import Rubrics
from unisandbox.errors import TaskFileError
from unisandbox.plugins import installed
from unisandbox.rubric import NUMBERS, Rubric, Slot, say

RUBRICS = Rubrics(installed().rubric_folders)
NAMES = ("Zemira", "Tolvan", "Ana Bel")
WOMAN = {"complexion": "dark", "hair": "white", "age": "elderly", "gender": "female"}


def cups(count: int) -> dict[str, Any]:
    return {"count": count, "object": "cup"}


COUNTED = [
    ("2 cups", cups(2)),
    ("2 cups.", cups(2)),
    ("Two cups", cups(2)),
    ("“2 cups”", cups(2)),
    ("1 cup", cups(1)),
    ("2 mugs", cups(2)),
    ("There are **two** cups.", cups(2)),
    ("The picture must show exactly 2 cups!", cups(2)),
    ("count: 2; object: cup", cups(2)),
    ("object: cups, count: two", cups(2)),
    ("**Count:** 2\n**Object:** cups", cups(2)),
    ("**Count**: 2\n\n**Object**:\ncups", cups(2)),
    ('{"count": 2, "object": "cup"}', cups(2)),
    ("- Number: 2\n- Object: cup", cups(2)),
    ("12 / 4 = 3, and 3 - 1 = 2. The picture must show 2 cups.", cups(2)),
    ("12 / 4 - 1 = 2 cups", cups(2)),
    ("$12 / 4 = \\boxed{3}$ cups", cups(3)),
    ("6 / 2 = 3.0 cups", cups(3)),
    ("three (3) cups", cups(3)),
    ("3 cups, each one red", cups(3)),
    ("Twelve cups minus eleven cups leaves one.", cups(1)),
    ("Not dogs, I mean:\n**Answer:** 2 cups", cups(2)),
    ("12 apples, 4 dogs.\n\n**Final Answer**: 3 cups", cups(3)),
    ("ANSWER = 2 mugs.", cups(2)),
    ("Answer: 4 dogs. No. Answer: 2 cups", cups(2)),
    ("<think>12 apples? 4 dogs?</think>\n\n2 cups", cups(2)),
    ("12 apples? No: 2 cups, I think.\n</think>\n2 cups", cups(2)),
    ("two pairs of scissors", {"count": 2, "object": "scissors"}),
    ("3 bunches of grapes", {"count": 3, "object": "grapes"}),
    ("2 bicycles (bikes)", {"count": 2, "object": "bicycle"}),
    ("2 widgets", {"count": 2, "object": "widget"}),
    ("two Widgets", {"count": 2, "object": "widget"}),
]
OPEN: list[tuple[str, dict[str, Any]]] = [
    ("a single cup", {"object": "cup"}),
    ("no cups", {"object": "cup"}),
    ("2 or 3 cups", {"object": "cup"}),
    ("between two and three cups", {"object": "cup"}),
    ("2-3 cups", {"object": "cup"}),
    ("2 – 3 cups", {"object": "cup"}),
    ("2.5 cups", {"object": "cup"}),
    ("twenty-one cups", {"object": "cup"}),
    ("a two-handled cup", {"object": "cup"}),
    ("2 cups or dogs", {"count": 2}),
    ("The result is 2.", {"count": 2}),
    ("count: ; object: cup", {"object": "cup"}),
    ("<think>It is 2 cups, or", {}),
    ("I am sorry, but I cannot tell.", {}),
    ("", {}),
]
PORTRAITS = [
    ("an elderly woman with a dark complexion and white hair", WOMAN),
    ("complexion: dark; hair: white; age: elderly; gender: female", WOMAN),
    ("complexion: dark, hair: white, age: elderly, gender: female", WOMAN),
    ("**Complexion:** Dark\n**Hair:** White\n**Age:** Elderly\n**Gender:** Female", WOMAN),
    ('{"complexion": "dark", "hair": "white", "age": "elderly", "gender": "female"}', WOMAN),
    ("Her complexion is dark and her hair is white; she is an old woman.", WOMAN),
    ("Hair colour: gray. Skin tone: ebony. An old lady.", WOMAN),
    ("An elderly lady with dark skin and silver hair.", WOMAN),
    ("A white-haired, dark-skinned old woman", WOMAN),
    ("Her hair is long and white, and her complexion is very dark.", {"hair": "white", "complexion": "dark"}),
    ("hair: Black", {"hair": "black"}),
    ("white hair and a dark complexion", {"hair": "white", "complexion": "dark"}),
    (
        "A middle-aged man with olive skin and dark brown hair",
        {"hair": "brown", "complexion": "olive", "age": "adult", "gender": "male"},
    ),
    (
        "a girl, fair complexion, blonde hair",
        {"hair": "blond", "complexion": "fair", "age": "child", "gender": "female"},
    ),
    ("a black-haired man with a fair complexion", {"hair": "black", "complexion": "fair", "gender": "male"}),
    ("hair: unknown; complexion: dark", {"complexion": "dark"}),
    ("hair: black or white", {}),
    ("Her hair is black or white.", {}),
    ("a man and a woman", {}),
    ("black hair; no, it is white hair", {}),
    ("I do not know this person.", {}),
]
OTHERS = [
    ("object_identity", "Cup.", {"object": "cup"}),
    ("object_identity", "The object is a **cup**.", {"object": "cup"}),
    ("object_identity", "'Q' stands for 7, and 7 means cup. So: cup", {"object": "cup"}),
    ("object_identity", "An axe", {"object": "axe"}),
    ("object_identity", "It is an axe, not a cup.", {}),
    ("object_identity", "cupboard", {"object": "cupboard"}),
    ("species", "An apple", {"species": "apple"}),
    ("species", "fruit: apple", {"category": "fruit", "species": "apple"}),
    ("species", "category: flower, species: Roses", {"category": "flower", "species": "rose"}),
    ("species", "Her favourite fruit is the pear.", {"category": "fruit", "species": "pear"}),
    ("two_kinds", "apples, roses", {"kinds": ["apple", "rose"]}),
    ("two_kinds", "1. **Roses**\n2. **Apples**", {"kinds": ["rose", "apple"]}),
    ("two_kinds", "Zemira likes pears best, Tolvan apples.", {"kinds": ["pear", "apple"]}),
    ("two_kinds", "I cannot tell", {}),
    ("words", "**Paris**.", {"answer": "paris"}),
    ("words", "The answer is: St. Louis.", {"answer": "st. louis"}),
    ("words", 'answer: "Paris"', {"answer": "paris"}),
    ("words", "  ", {}),
    ("name", "**Zemira**.", {"name": "zemira"}),
    ("name", "It is ZEMIRA, of course", {"name": "zemira"}),
    ("name", "name: ana  bel", {}),
    ("name", "Ana Bel", {"name": "ana bel"}),
    ("name", "Zemira likes pears, Tolvan apples. Answer: Tolvan", {"name": "tolvan"}),
    ("name", "Zemira, not Tolvan", {}),
    ("name", "Zemiras", {}),
    ("name", "Neither of them", {}),
]


@pytest.mark.parametrize(("text", "slots"), COUNTED + OPEN)
def test_counts_and_kinds_are_read_from_what_models_write(text: str, slots: dict[str, Any]) -> None:
    assert RUBRICS["object_count"].read(text) == slots


@pytest.mark.parametrize(("text", "slots"), PORTRAITS)
def test_people_are_read_from_what_models_write(text: str, slots: dict[str, Any]) -> None:
    assert RUBRICS["portrait"].read(text) == slots


@pytest.mark.parametrize(("rubric", "text", "slots"), OTHERS)
def test_other_answers_are_read_from_what_models_write(rubric: str, text: str, slots: dict[str, Any]) -> None:
    assert RUBRICS[rubric].read(text, NAMES) == slots


@given(st.text(max_size=40))
def test_whatever_is_written_is_read_without_a_fault(text: str) -> None:
    for rubric in RUBRICS.values():
        slots = rubric.read(text, NAMES)
        assert all(rubric.slots[name].canonical(value) is not None for name, value in slots.items())


@pytest.mark.parametrize(
    ("slot", "value", "canonical"),
    [
        (Slot(type="count"), 3, 3),
        (Slot(type="count"), "3", 3),
        (Slot(type="count"), " Three ", 3),
        (Slot(type="count"), 3.0, 3),
        (Slot(type="count"), 0, 0),
        (Slot(type="count"), "zero", 0),
        (Slot(type="count"), 3.5, None),
        (Slot(type="count"), True, None),
        (Slot(type="count"), "cups", None),
        (Slot(type="count"), "", None),
        (Slot(type="count"), None, None),
        (Slot(type="kind"), "a Cup", "cup"),
        (Slot(type="kind"), "Bikes", "bicycle"),
        (Slot(type="kind"), "mice", "mouse"),
        (Slot(type="kind"), "some gadgets", "gadget"),
        (Slot(type="kind"), "three gadgets", "gadget"),
        (Slot(type="kind"), "glasses of water", "glass of water"),
        (Slot(type="kind"), "café", "café"),
        (Slot(type="kind"), "...", None),
        (Slot(type="kinds"), "apples, roses", ["apple", "rose"]),
        (Slot(type="kinds"), "an apple and a rose", ["apple", "rose"]),
        (Slot(type="kinds"), ["Rose", "apples"], ["rose", "apple"]),
        (Slot(type="kinds"), [], None),
        (Slot(type="choice", values={"red": ["ginger"]}), "Ginger", "red"),
        (Slot(type="choice", values={"red": ["ginger"]}), "RED.", "red"),
        (Slot(type="choice", values={"red": ["ginger"]}), "blue", None),
        (Slot(type="name"), " **Zemira**. ", "zemira"),
        (Slot(type="text"), "  New\n York ", "new york"),
        (Slot(type="text"), "ﬁne", "fine"),
    ],
)
def test_values_have_one_form_in_which_they_are_compared(slot: Slot, value: Any, canonical: Any) -> None:
    assert slot.canonical(value) == canonical
    assert slot.canonical(canonical) == canonical


def test_numbers_are_words_up_to_the_most_that_is_drawn() -> None:
    assert list(NUMBERS.values()) == list(range(13))
    for word, number in NUMBERS.items():
        assert RUBRICS["object_count"].read(f"{word.upper()} cups")["count"] == number


def test_every_slot_must_agree() -> None:
    rubric = RUBRICS["object_count"]
    target = rubric.target({"count": 3, "object": "mugs"}, "here")
    assert target == {"count": 3, "object": "cup"}
    assert rubric.compare({"count": "three", "object": "Cups"}, target) == ""
    assert rubric.compare({"count": 2, "object": "cup"}, target) == "count: 2 instead of 3"
    assert rubric.compare({"count": 3, "object": "dog"}, target) == "object: dog instead of cup"
    assert rubric.compare({"object": "cup"}, target) == "count: nothing instead of 3"
    assert rubric.compare({}, target) == "count: nothing instead of 3"


def test_a_slot_that_a_target_leaves_open_agrees_with_anything(tmp_path: Path) -> None:
    slot = {"type": "choice", "values": {"red": [], "blue": [], "unclear": ["any"]}, "open": "unclear"}
    made = rubric(tmp_path, slots={"colour": slot, "count": {"type": "count"}})
    left_open, red = ({"colour": colour, "count": 1} for colour in ("unclear", "red"))
    for colour in ("red", "blue", "unclear", None):
        assert made.compare({"colour": colour, "count": 1}, left_open) == ""
    assert made.compare({"colour": "red", "count": 2}, left_open) == "count: 2 instead of 1"
    assert made.compare({"colour": "unclear", "count": 1}, red) == "colour: unclear instead of red"
    assert made.compare({"colour": "blue", "count": 1}, red) == "colour: blue instead of red"


def test_the_order_of_kinds_counts() -> None:
    rubric = RUBRICS["two_kinds"]
    target = rubric.target({"kinds": "apple, rose"}, "here")
    assert rubric.compare({"kinds": ["apple", "rose"]}, target) == ""
    assert rubric.compare({"kinds": ["rose", "apple"]}, target)
    assert rubric.compare({"kinds": ["apple"]}, target)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 3}, "here: rubric 'object_count' needs the slots count, object; found count."),
        ({}, "found none."),
        ({"count": 3, "object": "cup", "colour": "red"}, "found count, object, colour."),
        (
            {"count": "many", "object": "cup"},
            "here.count: 'many' is no value of this slot (count) of rubric 'object_count'.",
        ),
        ({"count": 3, "object": ""}, "here.object: '' is no value of this slot (kind)"),
    ],
)
def test_a_target_that_does_not_fill_the_slots_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        RUBRICS["object_count"].target(values, "here")
    assert message in str(caught.value)


def test_a_target_outside_the_choices_is_told_what_there_is() -> None:
    with pytest.raises(
        TaskFileError, match=r"here.hair: 'green' is no value .*black, brown, blond, red, white"
    ):
        RUBRICS["portrait"].target({**WOMAN, "hair": "green"}, "here")


def test_one_slot_is_said_alone_and_several_with_their_names() -> None:
    assert say({"object": "cup"}) == "cup"
    assert say({"kinds": ["apple", "rose"]}) == "apple, rose"
    assert say(cups(3)) == "count: 3; object: cup"
    assert RUBRICS["object_count"].say({"object": "cup", "count": None, "other": 1}) == "cup"


# --- rubric files ---

SPEC: dict[str, Any] = {
    "description": "What colour?",
    "slots": {"colour": {"type": "choice", "values": {"red": ["ginger"], "blue": []}}},
    "observe": "Which colour?{% for rule in reject %} {{ rule }}{% endfor %}",
    "match": "{{ observation }} or {{ target }}?",
}


def rubric(folder: Path, **changes: Any) -> Rubric:
    path = folder / "colour.yaml"
    path.write_text(yaml.safe_dump({**SPEC, **changes}))
    return Rubric(path)


def test_a_rubric_is_named_by_its_file(tmp_path: Path) -> None:
    made = rubric(tmp_path, reject=["nothing", "two"])
    assert made.name == "colour"
    assert made.observe_prompt == "Which colour? nothing two"
    assert made.match_prompt({"colour": "red"}, {"colour": "blue"}) == "red or blue?"
    assert made.match_prompt({}, {"colour": "blue"}) == " or blue?"


def test_the_fingerprint_follows_whatever_decides_a_verdict(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"slots": {"colour": {"type": "choice", "values": {"red": [], "blue": []}}}},
        {"observe": "Colour?"},
        {"match": "Same? {{ target }}"},
        {"reject": ["nothing"]},
    ]
    assert len({rubric(tmp_path, **change).fingerprint for change in changes}) == len(changes)
    assert rubric(tmp_path).fingerprint == rubric(tmp_path).fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slots": {"a": {"type": "choice"}}}, "'values' belongs to slots of type choice, and they need it"),
        (
            {"slots": {"a": {"type": "count", "values": {"x": []}}}},
            "'values' belongs to slots of type choice",
        ),
        (
            {"slots": {"a": {"type": "choice", "values": {"x": []}, "open": "y"}}},
            "slots.a: 'open' is 'y', which is none of the 'values'",
        ),
        ({"slots": {"a": {"type": "number"}}}, "slots.a.type: input should be 'count', 'kind', 'kinds',"),
        ({"slots": {"a": {"typ": "count"}}}, "Unknown key 'typ'. Did you mean 'type'?"),
        ({"slots": {}}, "slots: dictionary should have at least 1 item"),
        ({"obsreve": "x"}, "Unknown key 'obsreve'. Did you mean 'observe'?"),
        ({"observe": "{{ target }}"}, "observe: Unknown variable 'target'. Known: reject, slots."),
        ({"match": "{{ traget }}"}, "match: Unknown variable 'traget'. Did you mean 'target'?"),
        ({"match": "{{ target"}, "match: not a valid Jinja template"),
    ],
)
def test_a_faulty_rubric_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        rubric(tmp_path, **changes)
    assert message in str(caught.value)
    assert "colour.yaml:" in str(caught.value)


def test_a_word_for_two_values_of_one_slot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        TaskFileError, match=r"colour.yaml:.* the word 'ginger' stands for both 'blue' and 'red'"
    ):
        rubric(
            tmp_path, slots={"colour": {"type": "choice", "values": {"red": ["ginger"], "blue": ["Ginger"]}}}
        )
