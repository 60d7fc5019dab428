"""``sprite``: the exact judge; reads sandbox pictures with ``unisandbox.world.read``, for every rubric."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from unisandbox.errors import JudgeError
from unisandbox.judge import Case, View, match_by_rules
from unisandbox.records import Observation, Verdict
from unisandbox.rubric import Rubric
from unisandbox.world import Reading, kinds, read
from unisandbox.world.people import Person

PERSON_SLOTS = frozenset(Person.__dataclass_fields__)
OBJECT_SLOTS = frozenset({"count", "object", "category", "species"})


class Sprite:
    """Judges sandbox pictures without a model."""

    def observe(self, views: Sequence[View]) -> Iterator[Observation]:
        """Read each picture into the rubric's slots; an unreadable file is an error, not a wrong answer."""
        for view in views:
            yield _observe(view)

    def match(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Compare slot by slot."""
        return map(match_by_rules, cases)


def _observe(view: View) -> Observation:
    if view.image is None:
        return Observation(view.key, error="the sprite judge reads pictures, not text")
    try:
        picture = view.image.pil()
    except OSError as error:  # PIL.UnidentifiedImageError is one
        return Observation(view.key, error=f"unreadable picture {view.image.name}: {error}")
    reading = read(picture)
    fault = reading.malformed or _unfit(reading, view.rubric)
    if fault:
        return Observation(view.key, malformed=fault, raw=_words(reading))
    return Observation(view.key, _slots(reading, view.rubric), raw=_words(reading))


def _wants_person(rubric: Rubric) -> bool:
    slots = set(rubric.slots)
    if slots <= PERSON_SLOTS:
        return True
    if slots <= OBJECT_SLOTS:
        return False
    raise JudgeError(
        f"The sprite judge cannot fill the slots {', '.join(sorted(slots))} of rubric {rubric.name!r}. "
        f"It fills {', '.join(sorted(PERSON_SLOTS))}, or {', '.join(sorted(OBJECT_SLOTS))}."
    )


def _unfit(reading: Reading, rubric: Rubric) -> str:
    """Return which rule of the rubric the picture breaks, if one."""
    if _wants_person(rubric):
        return "" if reading.person else "no person"
    if reading.objects is None:
        return "a person, not an object"
    if not reading.objects:
        return "nothing is drawn"
    if len(reading.objects) > 1:
        return f"more than one kind of object: {', '.join(sorted(reading.objects))}"
    return ""


def _slots(reading: Reading, rubric: Rubric) -> Mapping[str, Any]:
    """Return the rubric's slots out of everything the picture tells."""
    if reading.person:
        return {name: value for name, value in asdict(reading.person).items() if name in rubric.slots}
    assert reading.objects
    ((kind, count),) = reading.objects.items()
    everything = {"count": count, "object": kind, "category": kinds()[kind].category, "species": kind}
    return {name: value for name, value in everything.items() if name in rubric.slots}


def _words(reading: Reading) -> str:
    if reading.person:
        return reading.person.phrase()
    return ", ".join(f"{count} x {kind}" for kind, count in sorted((reading.objects or {}).items()))
