"""The exact judge: sandbox pictures become slots, and what breaks a rule is rejected, not wrong."""

from collections.abc import Mapping
from typing import Any

import pytest

from unisandbox.catalog import Rubrics
from unisandbox.errors import JudgeError
from unisandbox.judge import Case, Judge, View
from unisandbox.judges.sprite import Sprite
from unisandbox.plugins import installed
from unisandbox.records import Image, Observation, Outcome, Verdict
from unisandbox.world import Person, Scene, compose

RUBRICS = Rubrics(installed().rubric_folders)
WOMAN = Person("dark", "white", "elderly", "female")
LOOK = {"complexion": "dark", "hair": "white", "age": "elderly", "gender": "female"}


def picture(*objects: str, person: Person | None = None, seed: int = 3) -> Image:
    return Image.from_pil(compose(Scene(objects, person), 128, seed))


def seen(image: Image | None, rubric: str) -> Observation:
    (observation,) = Sprite().observe([View("k", RUBRICS[rubric], image=image, text="words")])
    assert observation.key == "k"
    return observation


def verdict(image: Image, rubric: str, target: Mapping[str, Any]) -> Verdict:
    made = RUBRICS[rubric].target(target, "here")
    (found,) = Sprite().match([Case("k", RUBRICS[rubric], seen(image, rubric), made)])
    return found


def test_it_is_a_judge() -> None:
    assert isinstance(Sprite(), Judge)


@pytest.mark.parametrize(
    ("image", "rubric", "slots"),
    [
        (picture("cup"), "object_count", {"count": 1, "object": "cup"}),
        (picture(*["cup"] * 7), "object_count", {"count": 7, "object": "cup"}),
        (picture("axe", "axe"), "object_identity", {"object": "axe"}),
        (picture("pear"), "species", {"category": "fruit", "species": "pear"}),
        (picture("tulip", "tulip"), "species", {"category": "flower", "species": "tulip"}),
        (picture("dog"), "species", {"category": "animal", "species": "dog"}),
        (picture(person=WOMAN), "portrait", LOOK),
    ],
)
def test_a_picture_is_read_into_the_rubrics_slots(image: Image, rubric: str, slots: dict[str, Any]) -> None:
    observation = seen(image, rubric)
    assert (observation.slots, observation.malformed, observation.error) == (slots, None, None)
    assert observation.raw


@pytest.mark.parametrize(
    ("image", "rubric", "fault"),
    [
        (picture("cup", "dog"), "object_count", "more than one kind of object: cup, dog"),
        (picture(), "object_count", "nothing is drawn"),
        (picture(person=WOMAN), "object_count", "a person, not an object"),
        (picture(person=WOMAN), "species", "a person, not an object"),
        (picture("cup"), "portrait", "no person"),
        (picture(), "portrait", "no person"),
    ],
)
def test_a_picture_that_breaks_a_rule_is_rejected(image: Image, rubric: str, fault: str) -> None:
    observation = seen(image, rubric)
    assert (observation.malformed, observation.slots) == (fault, {})
    target = (
        LOOK
        if rubric == "portrait"
        else {"count": 1, "object": "cup", "category": "fruit", "species": "pear"}
    )
    wanted = {slot: target[slot] for slot in RUBRICS[rubric].slots}
    assert verdict(image, rubric, wanted).outcome == "rejected"


@pytest.mark.parametrize("data", [b"", b"no picture", picture("cup").data[:200]])
def test_a_file_that_cannot_be_read_is_an_error_and_not_a_wrong_answer(data: bytes) -> None:
    observation = seen(Image(data), "object_count")
    assert observation.error is not None
    assert observation.error.startswith(f"unreadable picture {Image(data).name}: ")
    (found,) = Sprite().match(
        [Case("k", RUBRICS["object_count"], observation, {"count": 1, "object": "cup"})]
    )
    assert found.outcome == "error"


def test_words_are_not_read() -> None:
    assert seen(None, "object_count").error == "the sprite judge reads pictures, not text"


@pytest.mark.parametrize(
    ("image", "rubric", "target", "outcome", "reason"),
    [
        (picture("cup", "cup"), "object_count", {"count": 2, "object": "mugs"}, "correct", ""),
        (
            picture("cup", "cup"),
            "object_count",
            {"count": 3, "object": "cup"},
            "incorrect",
            "count: 2 instead of 3",
        ),
        (
            picture("cup"),
            "object_count",
            {"count": 1, "object": "dog"},
            "incorrect",
            "object: cup instead of dog",
        ),
        (picture("pear"), "species", {"category": "fruit", "species": "pears"}, "correct", ""),
        (picture(person=WOMAN), "portrait", {**LOOK, "hair": "gray"}, "correct", ""),
        (
            picture(person=WOMAN),
            "portrait",
            {**LOOK, "hair": "red"},
            "incorrect",
            "hair: white instead of red",
        ),
    ],
)
def test_an_observation_is_held_against_the_target(
    image: Image, rubric: str, target: dict[str, Any], outcome: Outcome, reason: str
) -> None:
    found = verdict(image, rubric, target)
    assert (found.outcome, found.reason) == (outcome, reason)


def test_a_rubric_it_cannot_fill_stops_it_with_what_it_can() -> None:
    for name in ("words", "published_portrait"):
        with pytest.raises(JudgeError) as caught:
            seen(picture("cup"), name)
        assert f"of rubric {name!r}" in str(caught.value)
        assert "category, count, object, species" in str(caught.value)


def test_views_are_answered_each_by_its_own_key() -> None:
    rubric = RUBRICS["object_identity"]
    views = [View(kind, rubric, image=picture(kind)) for kind in ("cup", "dog", "axe")]
    assert {one.key: one.slots["object"] for one in Sprite().observe(views)} == {
        kind: kind for kind in ("cup", "dog", "axe")
    }
