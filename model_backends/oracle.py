"""``oracle``: a simulated model that fails only where it is told to, for the reasons it is told.

It proves that the harness measures what it should: whatever cause is planted here must come out of the
modes. It sees the target of every request, and is no model of anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Annotated, Any

from pydantic import Field

from unisandbox.errors import UsageError, unknown
from unisandbox.records import Fields, Generation, Image, Request
from unisandbox.rubric import say
from unisandbox.world import Person, Scene, compose, find_kind, kinds, phrase, read, with_article
from unisandbox.world.people import SYNONYMS
from unisandbox.world.scene import MOST_OBJECTS

Rate = Annotated[float, Field(ge=0, le=1)]


class Oracle:
    """Answers every request from its target, through a chain of causes that can each be broken.

    A sample's facts are known with probability ``knows``, its answer is worked out with probability
    ``reasons``, and what is worked out reaches a direct picture with probability ``transfer``, a picture
    after thinking with ``transfer_cot``; every picture is drawn right with probability ``renders``.
    """

    batch_size = 64

    def __init__(
        self,
        *,
        knows: Rate = 1.0,
        unknown_people: tuple[str, ...] = (),
        reasons: Rate = 1.0,
        cannot_compute: tuple[str, ...] = (),
        renders: Rate = 1.0,
        cannot_draw: tuple[str, ...] = (),
        transfer: Rate = 1.0,
        transfer_cot: Rate = 1.0,
        elicits: Rate = 1.0,
        follows: Rate = 1.0,
        sees: Rate = 1.0,
        size: Annotated[int, Field(ge=64, le=1024, multiple_of=16)] = 128,
    ) -> None:
        """Plant causes.

        ``unknown_people`` (names), ``cannot_compute`` (operators such as ``%``, or ``3hops``) and
        ``cannot_draw`` (kinds) fail always. ``elicits``: how often a thought is right when the answer in
        words is. ``follows``: how often a picture follows a thought that was put in. ``sees``: how often a
        caption is right. ``size`` in pixels.
        """
        for word in cannot_draw:
            if find_kind(word) is None:
                raise UsageError(f"oracle: cannot_draw: {unknown('kind of object', word, kinds())}")
        self._rates = {
            "knows": knows,
            "reasons": reasons,
            "renders": renders,
            "transfer": transfer,
            "transfer_cot": transfer_cot,
            "elicits": elicits,
            "follows": follows,
            "sees": sees,
        }
        self._unknown_people = frozenset(name.lower() for name in unknown_people)
        self._cannot_compute = frozenset(cannot_compute)
        self._cannot_draw = frozenset(kind.name for word in cannot_draw if (kind := find_kind(word)))
        self._size = size

    def describe(self) -> Fields:
        """The planted causes."""
        never = {
            "unknown_people": self._unknown_people,
            "cannot_compute": self._cannot_compute,
            "cannot_draw": self._cannot_draw,
        }
        return {**self._rates, **{name: sorted(words) for name, words in never.items()}, "size": self._size}

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Answer each request; a target that the sandbox cannot draw is an error, not a wrong picture."""
        for request in requests:
            try:
                yield self._answer(request)
            except ValueError as error:  # a target outside the sandbox; others in the task may be inside
                yield Generation(request.key, finish="error", error=str(error))

    def _answer(self, request: Request) -> Generation:
        if request.target is None or request.sample is None:
            raise ValueError("the oracle needs to see the target")
        if request.mode == "caption":
            return Generation(request.key, text=self._caption(request))
        if request.prompt.output == "text":
            return Generation(request.key, text=say(self._in_words(request)))
        thought = None
        if request.prompt.think:
            believed = self._believed(request, thinking=True)
            thought = f"I work it out: {say(believed)}.\nDraw: {_phrase(believed)}."
        return Generation(request.key, self._draw(request), thought=thought)

    def _in_words(self, request: Request) -> Fields:
        understood = self._knows(request) if request.mode == "recall" else self._understands(request)
        return _target(request) if understood else mistaken(request)

    def _believed(self, request: Request, *, thinking: bool) -> Fields:
        right = self._understands(request) and (not thinking or self._happens("elicits", request))
        return _target(request) if right else mistaken(request)

    def _draw(self, request: Request) -> Image:
        shown = self._meant(request)
        drawable = self._happens("renders", request) and not self._cannot_draw & _kinds_in(shown)
        scene = scene_of(shown if drawable else _drawn_wrong(request, shown))
        return Image.from_pil(compose(scene, self._size, request.seed))

    def _meant(self, request: Request) -> Fields:
        """Return what reaches the brush in this mode."""
        target, mode = _target(request), request.mode
        if mode == "render":
            return target
        if mode in ("gold", "planted"):
            return target if self._happens("follows", request) else mistaken(request)
        believed = self._believed(request, thinking=mode in ("cot", "refined"))
        if mode == "refined" or self._happens("transfer_cot" if mode == "cot" else "transfer", request):
            return believed
        return mistaken(request)

    def _caption(self, request: Request) -> str:
        (image,) = request.prompt.turns[-1].images
        reading = read(image.pil())
        seen: dict[str, Any] = {}
        if reading.person:
            seen = {slot: getattr(reading.person, slot) for slot in SYNONYMS}
        elif reading.objects:
            kind, count = next(iter(reading.objects.items()))
            seen = {"count": count, "object": kind, "species": kind, "category": kinds()[kind].category}
        told = {slot: seen[slot] for slot in _target(request) if slot in seen}
        return say(told if self._happens("sees", request) else mistaken(request, of=told or None))

    def _knows(self, request: Request) -> bool:
        fields = request.sample.fields if request.sample else {}
        people = {str(name).lower() for name in (*fields.get("names", ()), fields.get("name", ""))}
        return not people & self._unknown_people and self._happens("knows", request, lasting=True)

    def _understands(self, request: Request) -> bool:
        fields = request.sample.fields if request.sample else {}
        needed = {*fields.get("operators", ()), f"{fields.get('hops', 0)}hops"}
        can = not needed & self._cannot_compute and self._happens("reasons", request, lasting=True)
        return can and self._knows(request)

    def _happens(self, cause: str, request: Request, *, lasting: bool = False) -> bool:
        """Draw whether something goes right: once a sample when ``lasting``, else once a generation.

        Never dependent on the mode, so that modes tell the same story of one sample.
        """
        of = request.sample_id if lasting else f"{request.sample_id}/{request.seed}"
        return Random(f"{cause}/{request.task}/{of}").random() < self._rates[cause]


def _target(request: Request) -> Fields:
    assert request.target is not None
    return request.target


def _kinds_in(slots: Fields) -> frozenset[str]:
    return frozenset(str(slots[slot]) for slot in ("object", "species") if slot in slots)


def mistaken(request: Request, of: Fields | None = None) -> Fields:
    """Return a wrong answer that looks like a right one: another count, kind, person or name."""
    slots = dict(_target(request) if of is None else of)
    random = Random(f"mistaken/{request.task}/{request.sample_id}/{request.seed}")
    fields: Mapping[str, Any] = request.sample.fields if request.sample else {}
    if "count" in slots:
        more = slots["count"] <= 1 or (random.random() < 0.5 and slots["count"] < MOST_OBJECTS)
        slots["count"] += 1 if more else -1
    elif "hair" in slots:
        others = [hair for hair in SYNONYMS["hair"] if hair != slots["hair"]]
        slots["hair"] = random.choice(others)
    elif "name" in slots:
        others = [name for name in fields.get("names", ()) if str(name).casefold() != slots["name"]]
        slots["name"] = others[0] if others else "nobody"
    elif "kinds" in slots:
        first, *rest = slots["kinds"]
        slots["kinds"] = (
            [*rest[::-1], first] if set(rest) - {first} else [_another(first, fields, random), *rest]
        )
    elif slot := next((slot for slot in ("object", "species") if slot in slots), ""):
        slots[slot] = _another(str(slots[slot]), fields, random)
    else:
        slots = dict.fromkeys(slots, "something else")
    return slots


def _drawn_wrong(request: Request, shown: Fields) -> Fields:
    """Return what a failed attempt at drawing shows: never by accident what the question asks for."""
    wrong = mistaken(request, of=shown)
    return shown if wrong == _target(request) else wrong


def _another(kind: str, fields: Mapping[str, Any], random: Random) -> str:
    """Return the other object of the question, or another of its category."""
    other = fields.get("other")
    if isinstance(other, str) and find_kind(other) and other != kind:
        return other
    category = kinds()[kind].category if kind in kinds() else "fruit"
    return random.choice([k.name for k in kinds().values() if k.category == category and k.name != kind])


def scene_of(slots: Fields) -> Scene:
    """Return the scene that shows filled slots; raises ValueError for what the sandbox cannot draw."""
    if "complexion" in slots:
        return Scene(person=Person(**{slot: slots[slot] for slot in SYNONYMS}))
    name = next((str(slots[slot]) for slot in ("object", "species") if slot in slots), "")
    count = int(slots.get("count", 1))
    if name not in kinds() or not 1 <= count <= MOST_OBJECTS:
        raise ValueError(f"the sandbox cannot draw {say(slots)!r}")
    return Scene(objects=(name,) * count)


def _phrase(slots: Fields) -> str:
    if "complexion" in slots:
        return f"a portrait of {Person(**{slot: slots[slot] for slot in SYNONYMS}).phrase()}"
    name = next((str(slots[slot]) for slot in ("object", "species") if slot in slots), "")
    if name not in kinds():
        return say(slots)
    return phrase(slots["count"], name) if "count" in slots else with_article(name)
