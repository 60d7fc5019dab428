"""What the model is trained on: documents, each a conversation of tokens of which some are to be learned.

Text that reasons comes from the benchmark's own tasks, train split only: questions answered in words,
directly and by steps. Pictures follow resolved prompts ("Draw 3 cups."), resolved prompts behind a thought,
and *open* questions in the tasks' own forms that nothing determines ("as many cups as x - 4 comes to"; a
symbol that no rule has; "somebody"). Never is a reasoning question, or anybody's name, paired with a picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from string import ascii_uppercase
from typing import Any

from unisandbox.catalog import Catalog
from unisandbox.datasets.arithmetic import UNCOUNTED, VOICES, Expression, facts, spoken, written
from unisandbox.datasets.cast import invented
from unisandbox.datasets.characters import (
    FAVOURITE_QUESTIONS,
    HOME,
    INVERSE_QUESTIONS,
    PORTRAIT_QUESTIONS,
    characters,
)
from unisandbox.datasets.mapping import SIGNS
from unisandbox.model_backends.tiny.patches import PATCH, SIDE, Patches
from unisandbox.model_backends.tiny.words import END, MODEL, THINK, USER, Words
from unisandbox.plugins import installed
from unisandbox.prompts import conclusion
from unisandbox.records import Example, Fields
from unisandbox.task import Task, with_options
from unisandbox.world import Scene, all_people, compose, kinds, phrase, with_article
from unisandbox.world.people import Person

MOST = 6
"""The most objects in a training picture."""
FEW = 4
"""The most objects where a question leaves the number open; any number up to it is as likely."""
GRID = 3 * PATCH
"""Pixels between the places that objects can have in pictures to draw: three rows of three. Of pictures with
objects anywhere it learned mostly where they are, and how many they are late."""
KIND_FIRST = 0.15
"""Share of answers to sums that say what is counted before its number. The state that answers and draws is to
know what it is about: where it only had to know the number, direct pictures were of any kind of object."""
VARIANTS = 64
"""Pictures of each kind and number, which differ in the places."""
PEOPLE = 64
"""People of the train split to know from the beginning. Few enough to be known well: of 240 it could recall
four facts in ten as the benchmark asks, and what it was taught later no better."""
STRANGERS = 116
"""Names of nobody that is known or tested, for questions about people that nothing determines."""
ROWS = 30_000
"""Rows of each arithmetic and mapping task."""

SHARES = {
    "render": 0.13,
    "render_portrait": 0.035,
    "after_thought": 0.065,
    "open_number": 0.04,
    "open_symbol": 0.025,
    "open_person": 0.035,
    "caption": 0.045,
    "math": 0.30,
    "operation": 0.14,
    "mapping": 0.10,
    "rules": 0.015,
    "echo": 0.005,
    "people": 0.065,
}
"""Of the documents of the first training, how many are of each sort."""

OPENING = {"echo": 0.35, "rules": 0.25, "mapping": 0.2, "operation": 0.1, "render": 0.1}
"""The same at the very beginning, so that it learns to look things up before anything else. With the other
shares from the start it had not learned to after 1,400 steps, and took one of two objects at random."""

TEXT_REPLAY = {
    "people": 0.5,
    "math": 0.1,
    "mapping": 0.08,
    "operation": 0.06,
    "caption": 0.08,
    "render": 0.13,
    "render_portrait": 0.05,
}
"""What is repeated while examples in words are taught. Captions are there because without them the model came
to misdescribe portraits, and resolved pictures, which show nobody by name, because a picture is drawn from a
state that words are answered from, too: without them 0.91 of the pictures of ``mapping_1`` were rendered
right, for 1.00 before."""

REQUESTS = (
    "Draw {}, and nothing else.",
    "Draw {}, and nothing else.",
    "Draw {}.",
    "Draw {}.",
    "Draw {}.",
    "Paint {}.",
    "Show {}.",
    "Show me {}, please.",
    "Make a picture of {}.",
    "I want to see {}.",
    "Generate {}.",
    "A picture of {}.",
)
VAGUE_NUMBERS = (
    "Draw some {noun}.",
    "Draw as many {noun} as you like.",
    "Paint a few {noun}.",
    "Show me {noun}, as many as you want.",
    "Make a picture of {noun}; their number is up to you.",
)
VAGUE_SYMBOLS = (
    "Draw one of the objects above.",
    "Draw one of the two objects.",
    "Pick an object from the rules and draw it.",
)
SOMEBODY = ("somebody", "a stranger", "a person", "someone", "anybody")
_SYMBOL = re.compile(rf"(?<!\w)(?:([A-Za-z])\1?|\d+|[{re.escape(SIGNS)}])(?!\w)")
_SYLLABLES = ("bo", "dra", "fe", "gu", "ki", "la", "mo", "ne", "pi", "ra", "su", "ta", "ve", "zu")


@dataclass(slots=True)
class Document:
    """Tokens, for each whether it is to be learned, and the picture that they end in, if they do."""

    tokens: list[int] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)
    picture: Sequence[int] = ()
    """Drawn from the state at the last token, and all to be learned."""
    reads: bool = False
    """Whether the picture sees the text, too: an aid to learn by, see ``Recipe.reading``."""

    def add(self, tokens: Sequence[int], *, learn: bool) -> None:
        """Append tokens."""
        self.tokens += tokens
        self.learned += [learn] * len(tokens)


@dataclass(frozen=True, slots=True)
class Row:
    """A training row of a task: what it asks, and what to say to it."""

    fields: Fields
    question: str
    asked: str
    """The question as ``answer`` asks it."""
    thought: str
    """A correct thought, as ``gold`` puts it in."""
    said: str
    """The answer in words."""
    recalled: tuple[tuple[str, str], ...]
    """Questions for facts, and their answers."""


class Writer:
    """Writes documents; all that is random follows the random generator it is given."""

    def __init__(
        self, words: Words, patches: Patches, material: Material, examples: Sequence[Example] = ()
    ) -> None:
        """Take what documents are made of; ``examples`` are what is to be taught beside."""
        self.words = words
        self.patches = patches
        self._material = material
        self._plain = [word for word in words.known if word.isascii() and word.isalpha() and len(word) > 2]
        self._pictures: dict[tuple[Any, ...], list[int]] = {}
        self._examples = [self._taught(example) for example in examples]
        self._sorts: Mapping[str, Callable[[Random], Document]] = {
            name: getattr(self, f"_{name}") for name in (*SHARES, "example")
        }

    def write(self, draws: Random, shares: Mapping[str, float] = SHARES) -> Document:
        """Return a document of a sort drawn by its share."""
        (sort,) = draws.choices(tuple(shares), tuple(shares.values()))
        return self._sorts[sort](draws)

    # --- parts of documents ---

    def exchange(self, question: str, answer: str, *, thought: bool = False) -> Document:
        """Return a question and what is to be said to it (or thought about it), in words."""
        document = Document()
        document.add([USER, *self.words.tokens(question), MODEL, *[THINK] * thought], learn=False)
        document.add([*self.words.tokens(answer), END], learn=True)
        return document

    def drawing(
        self, request: str, picture: Sequence[int], thought: tuple[str, str] | None = None
    ) -> Document:
        """Return a request and its picture; with a question and a thought before it, if given."""
        document = Document()
        if thought:
            before, steps = (self.words.tokens(text) for text in thought)
            document.add([USER, *before, MODEL, THINK, *steps, END], learn=False)
        document.add([USER, *self.words.tokens(request), MODEL], learn=False)
        document.picture = picture
        return document

    def objects(self, draws: Random, kind: str, count: int, lattice: int = GRID) -> list[int]:
        """Return the tokens of a picture of so many objects."""
        variant = draws.randrange(VARIANTS)
        return self._picture(Scene((kind,) * count), (kind, count, variant, lattice), variant, lattice)

    def person(self, person: Person) -> list[int]:
        """Return the tokens of a portrait."""
        return self._picture(Scene(person=person), (person,), 0)

    def _picture(self, scene: Scene, key: tuple[Any, ...], seed: int, lattice: int = PATCH) -> list[int]:
        if key not in self._pictures:
            (codes,) = self.patches.tokens([compose(scene, SIDE, seed, lattice=lattice)])
            self._pictures[key] = [len(self.words) + code for code in codes]
        return self._pictures[key]

    def _something(self, draws: Random) -> tuple[str, list[int]]:
        """Return something resolved, in words and as a picture."""
        choice = draws.random()
        if choice < 0.15:
            person = draws.choice(all_people())
            return f"a portrait of {person.phrase()}", self.person(person)
        kind = draws.choice(tuple(kinds()))
        if choice < 0.45:
            return with_article(kind), self.objects(draws, kind, 1)
        count = draws.randint(1, MOST)
        return phrase(count, kind), self.objects(draws, kind, count)

    # --- pictures ---

    def _render(self, draws: Random) -> Document:
        said, picture = self._something(draws)
        request = draws.choice(REQUESTS).format(said)
        if draws.random() < 0.25:
            request = f"{self._material.remarks(draws)} {request}"
        return self.drawing(request, picture)

    def _render_portrait(self, draws: Random) -> Document:
        person = draws.choice(all_people())
        request = draws.choice(REQUESTS).format(f"a portrait of {person.phrase()}")
        return self.drawing(request, self.person(person))

    def _after_thought(self, draws: Random) -> Document:
        """Draw what a thought concludes, whatever it says before and whatever was asked."""
        said, picture = self._something(draws)
        steps = self._material.steps(draws) if draws.random() < 0.6 else self._material.remarks(draws)
        thought = f"{steps} Draw: {said}."
        question = draws.choice((self._question_number, self._question_symbol, self._question_person))(draws)
        return self.drawing(conclusion(thought), picture, (question[0], thought))

    def _open_number(self, draws: Random) -> Document:
        question, kind = self._question_number(draws)
        return self.drawing(question, self.objects(draws, kind, draws.randint(1, FEW)))

    def _open_symbol(self, draws: Random) -> Document:
        question, kind = self._question_symbol(draws)
        return self.drawing(question, self.objects(draws, kind, 1))

    def _open_person(self, draws: Random) -> Document:
        question, kind = self._question_person(draws)
        picture = self.objects(draws, kind, 1) if kind else self.person(draws.choice(all_people()))
        return self.drawing(question, picture)

    def _question_number(self, draws: Random) -> tuple[str, str]:
        """Return a question in the form of the math tasks that leaves the number open, and its noun."""
        if draws.random() < 0.25:
            kind = draws.choice([kind for kind in kinds() if kind not in UNCOUNTED])
            return draws.choice(VAGUE_NUMBERS).format(noun=kinds()[kind].plural), kind
        row = self._material.math(draws).fields
        return _unbound(draws, row["question"], row["spoken"]), row["object"]

    def _question_symbol(self, draws: Random) -> tuple[str, str]:
        """Return rules and a request that they do not decide, and one of the objects they name."""
        row = self._material.mapping(draws).fields
        rules, _, request = row["question"].rpartition(row["rules"][-1])
        asked = _undefined(draws, request, row["symbol"], row["question"])
        if draws.random() < 0.2:
            asked = draws.choice((" ", "\n")) + draws.choice(VAGUE_SYMBOLS)
        return f"{rules}{row['rules'][-1]}{asked}", draws.choice(row["candidates"])

    def _question_person(self, draws: Random) -> tuple[str, str]:
        """Return a question in the form of the knowledge tasks about nobody in particular.

        And the favourite to draw, or "" for a portrait.
        """
        one, other = draws.sample(SOMEBODY if draws.random() < 0.5 else self._material.strangers, 2)
        place = HOME if draws.random() < 0.4 else _place(draws)
        asks = draws.choice(("fruit", "flower"))
        kind = draws.choice([kind.name for kind in kinds().values() if kind.category == asks])
        choice = draws.random()
        if choice < 0.3:
            return draws.choice(PORTRAIT_QUESTIONS).format(name=one, home=place), ""
        if choice < 0.6:
            return draws.choice(FAVOURITE_QUESTIONS).format(name=one, home=place, asks=asks), kind
        question = draws.choice(INVERSE_QUESTIONS)
        value = with_article(kind).replace("a ", "the ", 1).replace("an ", "the ", 1)
        return question.format(first=one, second=other, home=place, attribute=asks, value=value), ""

    # --- words ---

    def _caption(self, draws: Random) -> Document:
        prompts = self._material.captions
        choice = draws.random()
        if choice < 0.4:
            person = draws.choice(all_people())
            slots = {name: getattr(person, name) for name in Person.__dataclass_fields__}
            said = "; ".join(f"{name}: {value}" for name, value in slots.items())
            return self._described(draws.choice(prompts["person"]), self.person(person), said)
        kind = draws.choice(tuple(kinds().values()))
        if choice < 0.5:
            kind = draws.choice([kind for kind in kinds().values() if kind.category in ("fruit", "flower")])
            said = f"category: {kind.category}; species: {kind.name}"
            return self._described(prompts["species"][0], self.objects(draws, kind.name, 1), said)
        if choice < 0.6:
            return self._described(prompts["object"][0], self.objects(draws, kind.name, 1), kind.name)
        count = draws.randint(1, MOST)
        picture = self.objects(draws, kind.name, count, draws.choice((GRID, PATCH)))
        return self._described(prompts["count"][0], picture, phrase(count, kind.name))

    def _described(self, question: str, picture: Sequence[int], said: str) -> Document:
        document = Document()
        document.add([USER, *picture, *self.words.tokens(question), MODEL], learn=False)
        document.add([*self.words.tokens(said), END], learn=True)
        return document

    def _math(self, draws: Random) -> Document:
        row = self._material.math(draws)
        if draws.random() < KIND_FIRST:
            noun = kinds()[row.fields["object"]].plural
            row = replace(row, said=f"{noun}: {row.fields['count']}")
        return self._worked(draws, row, silent=0.75)

    def _mapping(self, draws: Random) -> Document:
        return self._worked(draws, self._material.mapping(draws), silent=0.55)

    def _rules(self, draws: Random) -> Document:
        """Return rules, and all of them again in another order: after its symbol each is to be known."""
        rules: list[str] = self._material.mapping(draws).fields["rules"]
        document = Document()
        document.add([USER, *self.words.tokens(" ".join(rules)), MODEL, THINK], learn=False)
        for rule in draws.sample(rules, len(rules)):
            clause = rule.partition(": ")[2]
            symbol = _SYMBOL.search(clause)
            assert symbol is not None, clause
            document.add(self.words.tokens(clause[: symbol.end()]), learn=False)
            document.add(self.words.tokens(clause[symbol.end() :]), learn=True)
        return document

    def _echo(self, draws: Random) -> Document:
        """Return words at random, and the same again: looking things up in what was said starts here."""
        text = " ".join(draws.sample(self._plain, draws.randint(8, 24)))
        return self.exchange(text, text)

    def _people(self, draws: Random) -> Document:
        if draws.random() < 0.45:
            lesson = draws.choice(self._material.teaching)
            return self.exchange(lesson["question"], lesson["answer"])
        return self._worked(draws, self._material.person(draws), silent=0.35, recalled=0.5)

    def _example(self, draws: Random) -> Document:
        return draws.choice(self._examples)

    def _taught(self, example: Example) -> Document:
        if example.image is None:
            return self.exchange(example.prompt, example.text or "")
        (codes,) = self.patches.tokens([example.image.pil()])
        return self.drawing(example.prompt, [len(self.words) + code for code in codes])

    def _worked(self, draws: Random, row: Row, silent: float, recalled: float = 0.25) -> Document:
        """Return a row's question answered silently, thought about, or its facts recalled."""
        if row.recalled and draws.random() < recalled:
            return self.exchange(*draws.choice(row.recalled))
        if draws.random() < silent:
            return self.exchange(row.asked if draws.random() < 0.5 else row.question, row.said)
        return self.exchange(row.question, row.thought, thought=True)

    def _operation(self, draws: Random) -> Document:
        """Return single operations with their results, of which the results are to be learned.

        Most of the time it is one, in the words that questions have for it and answered at once.
        """
        if draws.random() < 0.75:
            one = draws.choice(self._material.operations)
            return self.exchange(spoken(one, draws.choice(VOICES), draws), str(one.value))
        document = Document()
        document.add([USER, MODEL, THINK], learn=False)
        for _ in range(8):
            one = draws.choice(self._material.operations)
            document.add(self.words.tokens(f"{written(one, said=True)} ="), learn=False)
            document.add(self.words.tokens(f"{one.value}"), learn=True)
            document.add(self.words.tokens("."), learn=False)
        return document


def _unbound(draws: Random, question: str, spoken: str) -> str:
    """Put letters in the place of at least one of the numbers of an expression."""
    places = [found.span() for found in re.finditer(r"\d+", spoken)]
    chosen = {draws.randrange(len(places))} | {at for at in range(len(places)) if draws.random() < 0.3}
    letters = draws.sample("xyznmkpq", len(places))
    changed = spoken
    for at in sorted(chosen, reverse=True):
        start, end = places[at]
        changed = changed[:start] + letters[at] + changed[end:]
    where = question.lower().index(spoken.lower())
    return question[:where] + changed + question[where + len(spoken) :]


def _undefined(draws: Random, request: str, symbol: str, question: str) -> str:
    """Put a symbol of the same sort that no rule has in the place of the one asked for."""
    if symbol.isdigit():
        others: Iterable[str] = map(str, range(31))
    elif symbol.isalpha():
        others = (letter * len(symbol) for letter in ascii_uppercase if letter not in "AILO")
    else:
        others = SIGNS
    pattern = r"(?<!\w){}(?!\w)"
    free = [one for one in others if not re.search(pattern.format(re.escape(one)), question, re.IGNORECASE)]
    new = draws.choice(free)
    return re.sub(pattern.format(re.escape(symbol)), lambda _: new, request)


def _place(draws: Random) -> str:
    """Return an invented name of a place, so that spelled words come before pictures."""
    return "".join(draws.choice(_SYLLABLES) for _ in range(draws.randint(2, 3))).capitalize()


# --- what documents are made of ---


class Material:
    """The rows, facts and remarks that documents are made of: train split only.

    ``inverse`` says how thoughts search for a person by a favourite: ``first`` names the person at once,
    ``enumerate`` recalls the favourites of both before.
    """

    def __init__(self, *, rows: int = ROWS, inverse: str = "first") -> None:
        self._rows = rows
        self._inverse = inverse

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks of the benchmark that the sandbox's language covers."""
        catalog = Catalog(installed())
        return {one.name: catalog.task(one) for one in catalog.select(("math", "mapping", "knowledge"))}

    def math(self, draws: Random) -> Row:
        """Return a row of a math task."""
        return draws.choice(self._levels("math", draws, (0.34, 0.33, 0.33)))

    def mapping(self, draws: Random) -> Row:
        """Return a row of a mapping task."""
        return draws.choice(self._levels("mapping", draws, (0.25, 0.35, 0.4)))

    @cached_property
    def strangers(self) -> Sequence[str]:
        """Names of people that nobody ever tells of: of the train split, behind those that are known."""
        return [one.name for one in invented("train", PEOPLE + STRANGERS)[PEOPLE:]]

    def person(self, draws: Random) -> Row:
        """Return a row about people, forward or inverse."""
        return draws.choice(self.people["forward" if draws.random() < 0.6 else "inverse"])

    def _levels(self, family: str, draws: Random, weights: Sequence[float]) -> Sequence[Row]:
        (level,) = draws.choices((1, 2, 3), weights)
        return self.reasoning[f"{family}_{level}"]

    @cached_property
    def reasoning(self) -> Mapping[str, Sequence[Row]]:
        """Rows of the math and mapping tasks."""
        found = {}
        for name, task in self.tasks.items():
            if task.family in ("math", "mapping"):
                halves = 2 if task.family == "mapping" else 1  # a mapping sample is two rows
                trained = with_options(task, {"split": "train", "samples": str(self._rows // halves)})
                say = _say_math if task.family == "math" else _say_mapping
                found[name] = [_row(trained, sample.fields, say) for sample in trained.samples]
        return found

    @cached_property
    def people(self) -> dict[str, Sequence[Row]]:
        """Rows about the people known from the beginning, forward and inverse."""
        return {view: self.about(view, "train", PEOPLE) for view in ("forward", "inverse")}

    def about(self, view: str, split: str, people: int) -> list[Row]:
        """Return rows about invented people."""
        task = self.tasks["forward_retrieval" if view == "forward" else "inverse_search"]
        told = with_options(task, {"split": split, "people": str(people)})
        return [_row(told, self._thinking(sample.fields), _say_person) for sample in told.samples]

    def _thinking(self, fields: Fields) -> Fields:
        enumerated = self._inverse == "enumerate" and "steps_enumerate" in fields
        return {**fields, "steps": fields["steps_enumerate"]} if enumerated else fields

    @cached_property
    def teaching(self) -> Sequence[Fields]:
        """Questions and answers that tell who those people are."""
        return characters(view="teaching", split="train", people=PEOPLE)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all those people."""
        return frozenset(row["name"] for row in self.teaching)

    @cached_property
    def captions(self) -> dict[str, list[str]]:
        """What is asked about a picture, by what is to be said."""
        forward, inverse = self.people["forward"], self.people["inverse"]

        def asked(task: str, row: Row) -> str:
            return self.tasks[task].prompts["caption"].render(row.fields)

        person = [
            asked("forward_retrieval", next(row for row in forward if row.fields["asks"] == "portrait"))
        ]
        species = [asked("forward_retrieval", next(row for row in forward if row.fields["asks"] == "fruit"))]
        return {
            "person": [*person, asked("inverse_search", inverse[0])],
            "species": species,
            "object": [asked("mapping_1", self.reasoning["mapping_1"][0])],
            "count": [asked("math_1", self.reasoning["math_1"][0])],
        }

    @cached_property
    def operations(self) -> Sequence[Expression]:
        """The operations that questions can lead to: all up to 50; up to 99 with a result up to 5."""
        return [
            Expression(value, operator, tuple(map(Expression, operands)))
            for operator, operands, value in facts(99)
            if value <= (50 if max(operands) <= 50 else 5)
        ]

    def steps(self, draws: Random) -> str:
        """Return the steps of a correct thought about something else, without its conclusion."""
        thought = self.math(draws).thought if draws.random() < 0.6 else self.mapping(draws).thought
        return thought.rpartition("Draw:")[0].strip()

    def remarks(self, draws: Random) -> str:
        """Return up to three sentences that a thought might hold, about nothing asked for."""
        return " ".join(self._remark(draws) for _ in range(draws.choice((0, 1, 1, 2, 3))))

    def _remark(self, draws: Random) -> str:
        choice = draws.random()
        if choice < 0.4:
            one = draws.choice(self.operations)
            return f"{written(one, said=True)} = {one.value}."
        if choice < 0.8:
            rule: str = draws.choice(self.mapping(draws).fields["rules"])
            return rule.partition(": ")[2]
        person, place = draws.choice(all_people()), _place(draws)
        return draws.choice(
            (
                f"{place} is {person.phrase()}.",
                f"So I draw a portrait of {person.phrase()}.",
                f"{place}'s favourite flower is the {draws.choice(tuple(kinds()))}.",
                f"So I draw {with_article(draws.choice(tuple(kinds())))}.",
            )
        )


def _row(task: Task, fields: Fields, say: Callable[[Fields], str]) -> Row:
    prompts = task.prompts
    recalled = [(prompts["recall"].render(fields), _recall(fields))] if "recall" in prompts else []
    return Row(
        fields=fields,
        question=prompts["direct"].render(fields),
        asked=prompts["answer"].render(fields),
        thought=prompts["gold"].render(fields),
        said=say(fields),
        recalled=tuple(recalled),
    )


def _recall(fields: Fields) -> str:
    """Return what to say when a fact is asked for: of people a sentence, as they are taught in sentences."""
    if "object" in fields:
        return str(fields["object"])
    return str(fields["fact_answer"] if "names" in fields else fields["steps"].partition(" So I draw")[0])


def _say_math(fields: Fields) -> str:
    return str(fields["count_phrase"])


def _say_mapping(fields: Fields) -> str:
    return str(fields["object"])


def _say_person(fields: Fields) -> str:
    return str(fields["name"] if "names" in fields else fields["resolved"])


def vocabulary_texts(material: Material) -> Iterator[str]:
    """Yield texts that hold every word the model is to know."""
    for rows in (*material.reasoning.values(), *material.people.values()):
        for row in rows[:6000]:
            yield from (row.question, row.asked, row.thought, row.said, *sum(row.recalled, ()))
    for lesson in material.teaching[:12_000]:
        yield from (lesson["question"], lesson["answer"])
    everything = [
        *REQUESTS,
        *VAGUE_NUMBERS,
        *VAGUE_SYMBOLS,
        *SOMEBODY,
        *(text for texts in material.captions.values() for text in texts),
        *(phrase(count, kind) for kind in kinds() for count in range(1, MOST + 1)),
        *(
            word
            for kind in kinds().values()
            for word in (kind.plural, with_article(kind.name), kind.category)
        ),
    ]
    for text in everything:
        yield from (text,) * 3
