"""Scenes whose truth is known: right ones are right, wrong ones wrong, by the rubric's own rules."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from unisandbox.catalog import Rubrics
from unisandbox.datasets.scenes import BROKEN_BY, composable, scene_of, scenes
from unisandbox.errors import UsageError
from unisandbox.judge import Case, View
from unisandbox.judges.sprite import Sprite
from unisandbox.plugins import installed
from unisandbox.records import Image
from unisandbox.rubric import Rubric
from unisandbox.world import compose
from unisandbox.world.faults import FAULTS

RUBRICS = Rubrics(installed().rubric_folders)
COMPOSABLE = ("object_count", "object_identity", "portrait", "species")

OWN = """\
description: How many, and nothing about writing.
slots: {count: {type: count}}
reject: [an object is cut off]
observe: look
match: compare
"""


def test_which_rubrics_scenes_can_be_composed_for() -> None:
    assert [name for name in sorted(RUBRICS) if composable(RUBRICS[name])] == list(COMPOSABLE)


@pytest.mark.parametrize("name", COMPOSABLE)
def test_the_exact_judge_calls_every_scene_what_it_is(name: str) -> None:
    rubric, judge = RUBRICS[name], Sprite()
    for row in scenes(rubric, 33, seed=4):
        image = Image.from_pil(compose(scene_of(row), 128, seed=7))
        (seen,) = judge.observe([View("k", rubric, image=image)])
        (verdict,) = judge.match([Case("k", rubric, seen, row["target"])])
        assert (verdict.outcome == "correct") == (row["truth"] == "right"), (row, verdict)


def test_kinds_of_wrongness_come_evenly_and_follow_the_rules() -> None:
    rows = scenes(RUBRICS["object_count"], 22, seed=0)
    assert Counter(row["truth"] for row in rows) == {"right": 22, "wrong": 22}
    kinds = Counter(row["kind"] for row in rows if row["truth"] == "wrong")
    assert set(kinds) == {"count", "kind", "similar_kind", "nothing", *BROKEN_BY}
    assert set(kinds.values()) == {2}
    assert {row["kind"] for row in scenes(RUBRICS["portrait"], 11, 0)} >= {
        "complexion",
        "hair",
        "age",
        "gender",
    }


def test_every_fault_held_against_a_picture_is_one_of_the_world() -> None:
    assert set(BROKEN_BY) - {"mixed"} <= set(FAULTS)


def test_a_rule_that_a_rubric_does_not_have_is_not_held_against_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    kinds = {row["kind"] for row in scenes(Rubric(path), 10, 0)}
    assert kinds == {"", "count", "nothing", "cropped", "half_drawn"}


def test_more_samples_begin_with_the_same_rows_and_a_seed_changes_them() -> None:
    few, many = (scenes(RUBRICS["species"], number, 1) for number in (5, 9))
    assert few[:5] == many[:5] and few[5:] == many[9:14]
    assert scenes(RUBRICS["species"], 5, 2) != few


def test_what_no_scene_can_show_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the slots answer of rubric 'words'\. Label pictures of your own"):
        scenes(RUBRICS["words"], 3, 0)
