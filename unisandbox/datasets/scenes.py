"""Scenes whose truth is known, for a rubric: right ones, and wrong ones of every kind that its rules name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from itertools import cycle, islice
from random import Random
from typing import Any

from unisandbox.datasets.splits import Row
from unisandbox.errors import UsageError
from unisandbox.rubric import Rubric
from unisandbox.world import Person, Scene, all_people, kinds
from unisandbox.world.scene import MOST_OBJECTS

OBJECT_SLOTS = frozenset({"count", "object", "category", "species"})
PERSON_SLOTS = frozenset(Person.__dataclass_fields__)
MOST = 6
"""Objects of a right scene, at most: above it sprites shrink."""
BROKEN_BY = {
    "mixed": "more than one",
    "distorted": "distorted",
    "blended": "melted|distorted",
    "cropped": "cut off",
    "half_drawn": "cut off",
    "occluded": "hidden",
    "text": "letters",
}
"""Fault -> the words of a rubric's rules that it breaks. What no rule names is not held against a picture."""

Spoil = Callable[[Random, Scene], Scene]


def composable(rubric: Rubric) -> bool:
    """Whether scenes can be composed for the slots of a rubric."""
    slots = set(rubric.slots)
    return slots <= OBJECT_SLOTS or slots <= PERSON_SLOTS


def scenes(rubric: Rubric, samples: int, seed: int) -> list[Row]:
    """Return as many right scenes, and as many wrong ones, their kinds in turn.

    Columns: id, rubric, target, truth (``right`` or ``wrong``), kind (of wrongness, '' where right), scene.
    More samples begin with the same rows. Raises UsageError for a rubric whose slots no scene fills.
    """
    if not composable(rubric):
        raise UsageError(
            f"No picture can be composed for the slots {', '.join(rubric.slots)} of rubric {rubric.name!r}. "
            "Label pictures of your own: --images DIR --labels FILE"
        )
    ways = _ways(rubric)
    wrong = (("wrong", kind) for kind in islice(cycle(ways), samples))
    rows = []
    for number, (truth, kind) in enumerate([*[("right", "")] * samples, *wrong]):
        number %= samples
        draws = Random(f"{seed} {rubric.name} {truth} {number}")
        scene = _right(rubric, draws)
        target = _slots(scene, rubric)
        if kind:
            scene = ways[kind](draws, scene)
        rows.append(
            {
                "id": f"{kind or truth}-{number}",
                "rubric": rubric.name,
                "target": rubric.target(target, f"scene {number}"),
                "truth": truth,
                "kind": kind,
                "scene": asdict(scene),
            }
        )
    return rows


def scene_of(row: Mapping[str, Any]) -> Scene:
    """Return the scene that a row holds."""
    scene = row["scene"]
    person = Person(**scene["person"]) if scene["person"] else None
    return Scene(tuple(scene["objects"]), person, tuple(scene["faults"]))


def _right(rubric: Rubric, draws: Random) -> Scene:
    if set(rubric.slots) <= PERSON_SLOTS:
        return Scene(person=draws.choice(all_people()))
    most = MOST if "count" in rubric.slots else MOST // 2
    return Scene((draws.choice(_kinds(rubric)),) * draws.randint(1, most))


def _kinds(rubric: Rubric) -> list[str]:
    """Return the kinds a right scene can show: those of the categories that the rubric knows, if any."""
    known = rubric.slots.get("category")
    return [name for name, kind in kinds().items() if known is None or known.canonical(kind.category)]


def _slots(scene: Scene, rubric: Rubric) -> dict[str, Any]:
    if scene.person:
        shown: dict[str, Any] = asdict(scene.person)
    else:
        kind = scene.objects[0]
        shown = {
            "count": len(scene.objects),
            "object": kind,
            "species": kind,
            "category": kinds()[kind].category,
        }
    return {name: shown[name] for name in rubric.slots}


def _ways(rubric: Rubric) -> dict[str, Spoil]:
    """Return how a right scene of a rubric is made wrong: another value of a slot, or a rule broken."""
    rules = " ".join(rubric.spec.reject)
    broken = [fault for fault, words in BROKEN_BY.items() if re.search(words, rules)]
    if set(rubric.slots) <= PERSON_SLOTS:
        ways = {slot: _another(slot, rubric) for slot in rubric.slots}
        ways["no_person"] = lambda draws, scene: Scene((draws.choice(list(kinds())),))
        broken = [fault for fault in broken if fault != "mixed"]  # a portrait fills the picture
    else:
        named = {"object", "species"} & rubric.slots.keys()
        possible = {
            "count": _miscounted if "count" in rubric.slots else None,
            "kind": _other_kind(alike=False) if named or "category" in rubric.slots else None,
            "similar_kind": _other_kind(alike=True) if named else None,
        }
        ways = {name: spoil for name, spoil in possible.items() if spoil}
    ways["nothing"] = lambda draws, scene: Scene()
    return ways | {fault: _mixed if fault == "mixed" else _faulty(fault, rubric) for fault in broken}


def _miscounted(draws: Random, scene: Scene) -> Scene:
    """One or two more or fewer."""
    count = len(scene.objects)
    others = [count + by for by in (-2, -1, 1, 2) if 1 <= count + by <= MOST_OBJECTS]
    return Scene(scene.objects[:1] * draws.choice(others))


def _other_kind(*, alike: bool) -> Spoil:
    """Another kind, of the same category or of another."""

    def spoil(draws: Random, scene: Scene) -> Scene:
        kind = kinds()[scene.objects[0]]
        pool = [k.name for k in kinds().values() if k != kind and (k.category == kind.category) == alike]
        return Scene((draws.choice(pool),) * len(scene.objects))

    return spoil


def _mixed(draws: Random, scene: Scene) -> Scene:
    """One thing of another kind beside the right ones."""
    other = draws.choice([name for name in kinds() if name not in scene.objects])
    return Scene((*scene.objects, other))


def _another(slot: str, rubric: Rubric) -> Spoil:
    """Somebody who differs in one slot, as the rubric tells values apart."""

    def spoil(draws: Random, scene: Scene) -> Scene:
        assert scene.person
        target = rubric.target(_slots(scene, rubric), slot)
        same = {name: getattr(scene.person, name) for name in PERSON_SLOTS if name != slot}
        others = (person for person in all_people() if same.items() <= asdict(person).items())
        scenes = [Scene(person=person) for person in others]
        return draws.choice([one for one in scenes if rubric.compare(_slots(one, rubric), target)])

    return spoil


def _faulty(fault: str, rubric: Rubric) -> Spoil:
    """The same with a fault; one thing alone where nothing is counted: others beside it could be named."""
    most = None if "count" in rubric.slots else 1
    return lambda draws, scene: replace(scene, objects=scene.objects[:most], faults=(fault,))
