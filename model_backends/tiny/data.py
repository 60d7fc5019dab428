"""The training stream: what the model reads, and which of it it learns to write or draw.

Pictures follow only requests that say what to draw, or that leave it open; whatever takes reasoning, or knowing
somebody, is learned as text alone. So a picture after a reasoning question is something never seen: the gap.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, Literal

from unisandbox.catalog import Catalog
from unisandbox.datasets.arithmetic import arithmetic
from unisandbox.datasets.cast import FAVOURITES, Character, invented
from unisandbox.datasets.characters import (
    FAVOURITE_QUESTIONS,
    HOME,
    INVERSE_QUESTIONS,
    PORTRAIT_QUESTIONS,
    characters,
)
from unisandbox.datasets.mapping import LETTERS, SIGNS, mapping
from unisandbox.datasets.splits import Row
from unisandbox.model_backends.tiny.tokenizer import (
    CELLS,
    END,
    GRID,
    IMAGE,
    PATCH,
    SIDE,
    TEXT,
    THINK,
    USER,
    Tokenizer,
)
from unisandbox.plugins import installed
from unisandbox.prompts import CONCLUSION, Template, conclusion
from unisandbox.world import Person, Scene, all_people, compose, kinds, phrase, with_article

MOST = 6
"""The most objects of a picture."""
OPEN = 4
"""The most objects where the request leaves their number open: what the easier questions come to."""
PEOPLE = 180
"""People of the training split whom the base model knows, by text alone."""

REQUESTS = (
    "Draw {x}, and nothing else.",
    "Draw {x}.",
    "Draw {x}.",
    "Generate {x}.",
    "Paint {x}.",
    "Please draw {x}.",
    "Show me {x}.",
    "I would like to see {x}.",
    "Make a picture of {x}.",
    "A picture of {x}, please.",
    "Create an image that shows {x}.",
    "So I should paint {x}.",
)
"""Resolved requests: they say what to draw."""

LOOSE = (
    "Draw some {noun}.",
    "Draw a few {noun}.",
    "Draw as many {noun} as you like.",
    "Paint any number of {noun}.",
    "Show me {noun}, however many.",
    "Make a picture of {noun}.",
)
NUMERALS = ("one", "two", "three", "four", "five", "six")
STRANGERS = ("someone", "a stranger", "a friend", "a neighbour", "somebody you make up", "a person of your choice")
PLACES = ("institute", "museum", "society", "school", "club", "library")

STAMP = (0, 1, GRID, GRID + 1)
"""The cells that an object fills, from its top left one."""

Speaker = Literal["user", "think", "text", "image"]
_MARKER = {"user": USER, "think": THINK, "text": TEXT, "image": IMAGE}


@dataclass(frozen=True, slots=True)
class Part:
    """One turn of a document."""

    speaker: Speaker
    text: str = ""
    picture: tuple[int, ...] = ()
    """Ids of a picture: shown by the user before the text, or drawn."""
    learn: bool = True
    """Whether the model learns to make this; never for a user."""


Document = tuple[Part, ...]


def context(parts: Sequence[Part], tokenizer: Tokenizer) -> tuple[list[int], list[bool]]:
    """Return the ids of parts and which of them are learned: the one form of every conversation.

    What a model writes is closed by an end; a picture is as long as any other.
    """
    ids: list[int] = []
    learn: list[bool] = []
    for part in parts:
        shown = [IMAGE, *part.picture] if part.picture and part.speaker == "user" else []
        made = list(part.picture) if part.speaker == "image" else tokenizer.words.encode(part.text)
        closing = [END] if part.speaker in ("think", "text") else []
        ids += [*_opening(part.speaker), *shown, *made, *closing]
        learns = part.learn and part.speaker != "user"
        learn += [False] * (1 + len(shown)) + [learns] * (len(made) + len(closing))
    return ids, learn


def _opening(speaker: Speaker) -> list[int]:
    return [_MARKER[speaker]]


def asked(prompt: str, speaker: Speaker, answer: str) -> Document:
    """Return a document of a question and what is written in answer."""
    return Part("user", prompt), Part(speaker, answer)


class Gallery:
    """Pictures as ids, in unlimited number: composed layouts, any kind put in the places."""

    LAYOUTS = 400

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._blank = self._ids(Scene())[0]
        alone = self._ids(Scene(objects=("box",)))
        places = [divmod(at, GRID) for at, number in enumerate(alone) if number != self._blank]
        self._first = min(row for row, _ in places) * GRID + min(column for _, column in places)
        self._stamps = {name: self._stamp(name) for name in kinds()}
        self._portraits = {one: self._ids(Scene(person=one)) for one in all_people()}
        counts, seeds = range(1, MOST + 1), range(self.LAYOUTS)
        self._layouts = {count: [self._layout(count, seed) for seed in seeds] for count in counts}

    def _ids(self, scene: Scene, seed: int = 0) -> tuple[int, ...]:
        return tuple(self._tokenizer.picture(compose(scene, SIDE, seed, lattice=PATCH)))

    def _stamp(self, name: str) -> tuple[int, ...]:
        """Return the four patches of a kind; one seed puts every kind in one place."""
        ids = self._ids(Scene(objects=(name,)))
        return tuple(ids[self._first + step] for step in STAMP)

    def _layout(self, count: int, seed: int) -> tuple[int, ...]:
        """Return where the corners of so many objects lie; a box has a corner of its own."""
        ids = self._ids(Scene(objects=("box",) * count), seed)
        return tuple(at for at, number in enumerate(ids) if number == self._stamps["box"][0])

    def objects(self, name: str, count: int, draws: Random) -> tuple[int, ...]:
        """Return a picture of so many objects of a kind."""
        ids = [self._blank] * CELLS
        for at in draws.choice(self._layouts[count]):
            for step, number in zip(STAMP, self._stamps[name], strict=True):
                ids[at + step] = number
        return tuple(ids)

    def portrait(self, person: Person) -> tuple[int, ...]:
        """Return somebody's portrait."""
        return self._portraits[person]


@dataclass(frozen=True, slots=True)
class Motif:
    """Something to draw: a person, or objects of a kind."""

    person: Person | None = None
    kind: str = ""
    count: int = 1

    def phrase(self, draws: Random, spelled: float = 0.2) -> str:
        """Return it as tasks resolve it; a share of the numbers is spelled."""
        if self.person:
            return f"a portrait of {self.person.phrase()}"
        if self.count == 1 and draws.random() < 0.5:
            return with_article(self.kind)
        text = phrase(self.count, self.kind)
        return NUMERALS[self.count - 1] + text[1:] if draws.random() < spelled else text


class Stream:
    """Documents without end: each drawn from a source, in proportion to its share."""

    def __init__(self, tokenizer: Tokenizer, shares: Mapping[str, float], rows: int = 20_000) -> None:
        """``shares``: how often each source of SOURCES is drawn. ``rows``: of each level of a dataset."""
        self.tokenizer, self.rows = tokenizer, rows
        self._names, self._weights = list(shares), list(shares.values())
        self._kinds = list(kinds())
        self._nouns = [kind for kind in self._kinds if kinds()[kind].counted == (kind, kinds()[kind].plural)]
        self._sources: dict[str, Callable[[Random], Document]] = {
            "draw": self.draw,
            "think_draw": self.think_draw,
            "open": self.open_request,
            "caption": self.caption,
            "math": self.math,
            "mapping": self.mapping,
            "facts": self.facts,
            "people": self.people,
        }

    def documents(self, draws: Random) -> Iterator[Document]:
        """Yield documents for ever."""
        while True:
            yield self._sources[draws.choices(self._names, self._weights)[0]](draws)

    # --- pictures ---

    @property
    def gallery(self) -> Gallery:
        """The pictures, made on first use: text alone needs none."""
        return _gallery(self.tokenizer)

    def _motif(self, draws: Random) -> Motif:
        if draws.random() < 0.18:
            return Motif(person=draws.choice(all_people()))
        count = 1 if draws.random() < 0.2 else draws.randint(1, MOST)
        return Motif(kind=draws.choice(self._kinds), count=count)

    def _drawn(self, motif: Motif, draws: Random) -> Part:
        if motif.person:
            return Part("image", picture=self.gallery.portrait(motif.person))
        return Part("image", picture=self.gallery.objects(motif.kind, motif.count, draws))

    def draw(self, draws: Random) -> Document:
        """A resolved request and its picture."""
        motif = self._motif(draws)
        request = draws.choice(REQUESTS).format(x=motif.phrase(draws))
        return Part("user", request), self._drawn(motif, draws)

    def open_request(self, draws: Random) -> Document:
        """A request that leaves open what to draw, in the questions' own words, and some picture of it."""
        question, motif = self._open(draws)
        return Part("user", question), self._drawn(motif, draws)

    def think_draw(self, draws: Random) -> Document:
        """A request that needs no reasoning, a thought with a choice, the choice once more, its picture."""
        if draws.random() < 0.3:
            motif = self._motif(draws)
            question = draws.choice(REQUESTS).format(x=motif.phrase(draws))
        else:
            question, motif = self._open(draws)
        resolved = motif.phrase(draws, spelled=0)
        aside = self._aside(draws) if draws.random() < 0.6 else ""
        middle = draws.choice(("", f"So I draw {resolved}.", f"I choose {resolved}."))
        thought = _thought(" ".join(filter(None, (aside, middle))), resolved)
        turns = Part("user", question), Part("think", thought, learn=not aside)
        return *turns, Part("user", conclusion(thought)), self._drawn(motif, draws)

    def _aside(self, draws: Random) -> str:
        """Return somebody else's working, of which the picture shows nothing."""
        if draws.random() < 0.5:
            return str(draws.choice(_arithmetic(draws.choice((1, 2, 3)), self.rows))["steps"])
        return str(draws.choice(_mapping(draws.choice((1, 2, 3)), self.rows))["steps"])

    def _open(self, draws: Random) -> tuple[str, Motif]:
        kind = draws.random()
        if kind < 0.12:
            noun = draws.choice(self._nouns)
            motif = Motif(kind=noun, count=draws.randint(1, OPEN))
            return draws.choice(LOOSE).format(noun=kinds()[noun].plural), motif
        if kind < 0.48:
            row = draws.choice(_arithmetic(draws.choice((1, 2, 3)), self.rows))
            return unbound(row["question"], draws), Motif(kind=row["object"], count=draws.randint(1, OPEN))
        if kind < 0.82:
            rows = _mapping(draws.choice((1, 1, 2, 2, 3)), self.rows)
            at = draws.randrange(len(rows) // 2) * 2
            chosen = draws.choice((rows[at]["object"], rows[at]["other"]))
            return unknown_symbol(rows[at], rows[at + 1], draws), Motif(kind=chosen)
        return self._nobody(draws)

    def _nobody(self, draws: Random) -> tuple[str, Motif]:
        """Ask about people without a name."""
        who, other = draws.sample(STRANGERS, 2)
        home = HOME if draws.random() < 0.6 else f"the {_invented_word(draws)} {draws.choice(PLACES)}"
        asks = draws.choice(FAVOURITES)
        kind = draws.choice([name for name in self._kinds if kinds()[name].category == asks])
        words = {"name": who, "first": who, "second": other, "home": home, "asks": asks, "attribute": asks}
        form = draws.randrange(3)
        if form == 0:
            return draws.choice(FAVOURITE_QUESTIONS).format(**words), Motif(kind=kind)
        questions = PORTRAIT_QUESTIONS if form == 1 else INVERSE_QUESTIONS
        question = draws.choice(questions).format(value=said(kind), **words)
        return question, Motif(person=draws.choice(all_people()))

    def caption(self, draws: Random) -> Document:
        """A picture and what it shows, in the words tasks ask for."""
        motif = self._motif(draws)
        picture = self._drawn(motif, draws).picture
        question, answer = self._captioned(motif, draws)
        return Part("user", question, picture), Part("text", answer)

    def _captioned(self, motif: Motif, draws: Random) -> tuple[str, str]:
        forms = prompts()
        if person := motif.person:
            slots = "complexion", "hair", "age", "gender"
            task = draws.choice(("inverse_search", "forward_retrieval"))
            answer = "; ".join(f"{slot}: {getattr(person, slot)}" for slot in slots)
            return forms[task]["caption"].render({"asks": "portrait"}), answer
        category = kinds()[motif.kind].category
        if motif.count == 1 and category in FAVOURITES and draws.random() < 0.5:
            question = forms["forward_retrieval"]["caption"].render({"asks": category})
            return question, f"category: {category}; species: {motif.kind}"
        if motif.count == 1 and draws.random() < 0.5:
            return forms["mapping_1"]["caption"].render({}), motif.kind
        return forms["math_1"]["caption"].render({}), phrase(motif.count, motif.kind)

    # --- text ---

    def math(self, draws: Random) -> Document:
        """An arithmetic question, answered at once or in steps."""
        row = draws.choice(_arithmetic(draws.choices((1, 2, 3), (3, 4, 4))[0], self.rows))
        if draws.random() < 0.5:
            return _answered("math_1", "answer", row, row["count_phrase"])
        return _thinking("math_1", row, _thought(row["steps"], row["count_phrase"]), draws)

    def mapping(self, draws: Random) -> Document:
        """A question about rules, answered at once, in steps, or for one rule alone."""
        row = draws.choice(_mapping(draws.choices((1, 2, 3), (3, 4, 5))[0], self.rows))
        form = draws.random()
        if form < 0.4:
            return _answered("mapping_1", "answer", row, row["object"])
        if form < 0.5:
            return _answered("mapping_1", "recall", row, row["object"])
        return _thinking("mapping_1", row, _thought(row["steps"], row["object_phrase"]), draws)

    def facts(self, draws: Random) -> Document:
        """A taught line about somebody of the training split."""
        row = draws.choice(_taught())
        return asked(row["question"], "text", row["answer"])

    def people(self, draws: Random) -> Document:
        """A task's question about people of the training split, either way round, in text."""
        return self.inverse(draws) if draws.random() < 0.5 else self.forward(draws)

    def forward(self, draws: Random) -> Document:
        """From a name to what is to be drawn."""
        row = draws.choice(_forward())
        form = draws.random()
        if form < 0.25:
            return _answered("forward_retrieval", "answer", row, row["resolved"])
        if form < 0.5:
            return _answered("forward_retrieval", "recall", row, row["fact_answer"])
        return _thinking("forward_retrieval", row, _thought(row["steps"], row["resolved"]), draws)

    def inverse(self, draws: Random, form: str = "steps_enumerate") -> Document:
        """From a favourite to the one of two people who has it."""
        row = inverse_row(_pair(draws), draws)
        kind = draws.random()
        if kind < 0.25:
            return asked(row["answer_question"], "text", row["name"])
        if kind < 0.45:
            return asked(row["fact_question"], "text", row["fact_answer"])
        return _thinking("inverse_search", row, _thought(row[form], row["resolved"]), draws)


SHARES: Mapping[str, float] = {
    "draw": 0.17,
    "think_draw": 0.10,
    "open": 0.09,
    "caption": 0.08,
    "math": 0.28,
    "mapping": 0.17,
    "facts": 0.05,
    "people": 0.06,
}
"""The mix of the base model, by document."""

TEXT_ALONE: Mapping[str, float] = {"math": 0.35, "mapping": 0.25, "facts": 0.1, "people": 0.3}
"""What is repeated while people are taught: no picture in it."""


def unbound(question: str, draws: Random) -> str:
    """Put letters for one or more of the numbers of an arithmetic question: nobody can work it out.

    >>> unbound("Draw as many cups as 8 / 4 comes to.", Random(2))
    'Draw as many cups as 8 / k comes to.'
    """
    numbers = [found.span() for found in re.finditer(r"\d+", question)]
    chosen = draws.sample(numbers, 1 if draws.random() < 0.6 else draws.randint(1, len(numbers)))
    letters = iter(draws.sample("xyznmktvw", len(chosen)))
    for start, end in sorted(chosen, reverse=True):
        question = question[:start] + next(letters) + question[end:]
    return question


def unknown_symbol(row: Row, twin: Row, draws: Random) -> str:
    """Ask a mapping question for a symbol that no rule mentions."""
    used = {symbol[0].lower() if symbol.isalpha() else symbol for one in (row, twin) for symbol in one["chain"][:-1]}
    symbol = row["symbol"]
    if symbol.isdigit():
        fresh = draws.choice([str(n) for n in range(1, 31) if str(n) not in used])
    elif symbol.isalpha():
        letter = draws.choice([one for one in LETTERS if one.lower() not in used])
        fresh = letter * len(symbol) if symbol[0].isupper() else letter.lower()
    else:
        fresh = draws.choice([one for one in SIGNS if one not in used])
    *rules, request = re.split(f"({re.escape(row['rules'][-1])})", row["question"])
    called = re.escape(symbol)
    pattern = rf"(the (?:letter pair|letter|number|symbol) [\[\"'“]?){called}"
    return "".join(rules) + re.sub(pattern, lambda found: found[1] + fresh, request, count=1)


def said(kind: str) -> str:
    """Return a kind as it stands in a sentence about favourites."""
    return kind if kinds()[kind].plural == kind else f"the {kind}"


def inverse_row(pair: tuple[Character, Character], draws: Random) -> Row:
    """Return the texts about two people, one of whom is meant by a favourite."""
    attribute = draws.choice(FAVOURITES)
    values = [said(getattr(one, attribute)) for one in pair]
    place = draws.randrange(2)
    one, (first, second) = pair[place], (person.name for person in pair)
    words = {"first": first, "second": second, "home": HOME, "value": values[place], "attribute": attribute}
    both = f"{first}'s favourite {attribute} is {values[0]}, and {second}'s is {values[1]}."
    look = f"{one.name} is {one.person.phrase()}. So I draw a portrait of {one.person.phrase()}."
    return {
        "name": one.name,
        "question": draws.choice(INVERSE_QUESTIONS).format(**words),
        "answer_question": (
            "Whose favourite {attribute} is {value}: {first}'s or {second}'s, both from {home}? "
            "Answer with the name alone."
        ).format(**words),
        "fact_question": (
            "Of all kinds of {attribute}, which does {first} from {home} like best, and which does {second}?"
        ).format(**words),
        "fact_answer": both,
        "steps": f"The one whose favourite {attribute} is {values[place]} is {one.name}. {look}",
        "steps_enumerate": f"{both} I need the one who prefers {values[place]}: {one.name}. {look}",
        "resolved": f"a portrait of {one.person.phrase()}",
    }


def _pair(draws: Random) -> tuple[Character, Character]:
    while True:
        one, other = draws.sample(invented("train", PEOPLE), 2)
        if one.fruit != other.fruit and one.flower != other.flower and one.person != other.person:
            return one, other


def _thought(steps: str, resolved: str) -> str:
    return f"{steps}\n{CONCLUSION} {resolved}.".strip()


def _answered(task: str, mode: str, row: Row, answer: str) -> Document:
    return asked(prompts()[task][mode].render(row), "text", answer)


def _thinking(task: str, row: Row, thought: str, draws: Random) -> Document:
    """Return a thought: mostly native, sometimes as text, asked for in the task's own words."""
    if draws.random() < 0.1:
        return _answered(task, "think", row, thought)
    return asked(row["question"], "think", thought)


def _invented_word(draws: Random) -> str:
    syllables = draws.randint(2, 3)
    return "".join(draws.choice("bcdfghjklmnprstvwz") + draws.choice("aeiou") for _ in range(syllables)).title()


@cache
def prompts() -> Mapping[str, Mapping[str, Template]]:
    """Return the tasks' own prompt templates, by task and mode."""
    catalog = Catalog(installed())
    names = ["math_1", "mapping_1", "forward_retrieval", "inverse_search"]
    return {listing.name: catalog.task(listing).prompts for listing in catalog.select(names)}


@cache
def _gallery(tokenizer: Tokenizer) -> Gallery:
    return Gallery(tokenizer)


@cache
def _arithmetic(operations: Literal[1, 2, 3], rows: int) -> Sequence[Any]:
    return arithmetic(split="train", samples=rows, seed=1, operations=operations)


@cache
def _mapping(hops: Literal[1, 2, 3], rows: int) -> Sequence[Any]:
    return mapping(split="train", samples=rows // 2, seed=1, hops=hops)


@cache
def _taught() -> Sequence[Any]:
    return characters(view="teaching", split="train", people=PEOPLE, languages=())


@cache
def _forward() -> Sequence[Any]:
    return characters(view="forward", split="train", people=PEOPLE)
