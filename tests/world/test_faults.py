"""Every fault changes what a picture shows, and spoils things, never stray marks."""

import numpy as np
import pytest

from unisandbox.world.faults import FAULTS, GROUND_FAULTS
from unisandbox.world.people import Person, all_people
from unisandbox.world.scene import Scene, compose

SCENES = [
    Scene(("cup", "cup", "dog")),
    Scene(("pencil",) * 8),
    Scene(person=Person("fair", "red", "adult", "male")),
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scene", SCENES, ids=["few", "many", "person"])
def test_a_fault_changes_a_good_part_of_one_thing(fault: str, scene: Scene) -> None:
    spoilt = Scene(scene.objects, scene.person, (fault,))
    for seed in range(4):
        sound = np.asarray(compose(scene, 128, seed), dtype=np.int64)
        changed = (np.abs(np.asarray(compose(spoilt, 128, seed)) - sound).max(axis=2) > 24).sum()
        assert changed > 40


@pytest.mark.parametrize("fault", GROUND_FAULTS)
def test_some_faults_need_nothing_to_spoil(fault: str) -> None:
    colours = compose(Scene(faults=(fault,)), 64, 1).getcolors()
    assert colours is None or len(colours) > 1


@pytest.mark.parametrize("first", FAULTS)
def test_any_two_faults_go_together(first: str) -> None:
    for second in FAULTS:
        for scene in SCENES:
            image = compose(Scene(scene.objects, scene.person, (first, second)), 64, 2)
            assert image.size == (64, 64)


def test_a_cropped_object_loses_about_half_at_an_edge() -> None:
    whole = np.asarray(compose(Scene(("ball",)), 512, 5).convert("L"))
    for seed in range(8):
        part = np.asarray(compose(Scene(("ball",), faults=("cropped",)), 512, seed).convert("L"))
        edges = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
        assert (edges < 250).any()
        assert 0.3 < (part < 250).sum() / (whole < 250).sum() < 0.75


def test_a_blended_portrait_is_neither_of_two() -> None:
    person = all_people()[0]
    blended = np.asarray(compose(Scene(person=person, faults=("blended",)), 64), dtype=np.int64)
    for other in all_people():
        assert np.abs(blended - np.asarray(compose(Scene(person=other), 64))).mean() > 5
