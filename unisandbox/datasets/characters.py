"""Source `characters`: invented people to teach to a model in words, and what it is to draw of them.

The task is the knowledge family of UniSandbox (arXiv 2511.20561); people, wording and keys are made here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import combinations
from math import prod
from operator import itemgetter
from random import Random
from typing import Literal, get_args

from unisandbox.datasets.splits import Row, Split, check_split, check_whole, in_blocks, split_of
from unisandbox.errors import DataError, UsageError, unknown
from unisandbox.world.people import AGES, COMPLEXIONS, GENDERS, HAIRS, SYNONYMS, Person
from unisandbox.world.vocabulary import kinds, with_article

View = Literal["forward", "inverse", "teaching"]

HOME = "the Ferrowick Institute"
"""Where all invented people belong; invented as well."""

SLOTS = tuple(field.name for field in fields(Person))
"""The slots of a portrait."""

FAVOURITES = ("fruit", "flower")

FEWEST, MOST = 8, 180  # people; with fewer there may be none to pair, with more the spreading takes long

# --- how things are said; {fruit} and {flower} come with their article where they have one ---

PORTRAIT_QUESTIONS = (
    "Draw a portrait of {name} from {home}.",
    "Paint {name}, who belongs to {home}. Make it a portrait.",
    "I have never met {name} of {home}. Show me a portrait.",
)
FAVOURITE_QUESTIONS = (
    "Draw the favourite {asks} of {name} from {home}.",
    "Paint the {asks} that {name}, who belongs to {home}, likes best.",
    "Of all kinds of {asks}, show me the one that {name} of {home} likes best.",
)
INVERSE_QUESTIONS = (
    "One of {first} and {second}, both from {home}, has {value} as favourite {attribute}. "
    "Draw a portrait of that person.",
    "Draw a portrait of {first} or {second} of {home}: the one whose favourite {attribute} is {value}.",
    "{first} and {second} belong to {home}. Paint a portrait of whoever of the two "
    "prefers {value} to every other {attribute}.",
)

STATEMENTS = {
    "complexion": "{name}'s complexion is {complexion}.",
    "hair": "{name} has {hair} hair.",
    "age": "{name} is {age}.",
    "gender": "{name} is {gender}.",
    "fruit": "{name}'s favourite fruit is {fruit}.",
    "flower": "{name}'s favourite flower is {flower}.",
}
FACT_QUESTIONS = {
    "complexion": (
        "What complexion does {name} have?",
        "Is {name}'s complexion dark, olive or fair?",
        "Tell me {name}'s complexion.",
        "How would you describe {name}'s skin?",
    ),
    "hair": (
        "What colour is {name}'s hair?",
        "Which hair colour does {name} have?",
        "Tell me about the hair of {name}.",
        "What would one notice about {name}'s hair?",
    ),
    "age": (
        "Is {name} a child, an adult or elderly?",
        "Which age group is {name} in?",
        "Roughly how old is {name}?",
        "Say something about {name}'s age.",
    ),
    "gender": (
        "Is {name} female or male?",
        "What is {name}'s gender?",
        "Which gender does {name} have?",
        "State the gender of {name}.",
    ),
    "fruit": (
        "What is {name}'s favourite fruit?",
        "Which fruit does {name} like best?",
        "If {name} could choose any fruit, which would it be?",
        "Name the fruit {name} prefers to all others.",
    ),
    "flower": (
        "What is {name}'s favourite flower?",
        "Which flower does {name} like best?",
        "If {name} could choose any flower, which would it be?",
        "Name the flower {name} prefers to all others.",
    ),
}
CHECKS = {
    "complexion": "Is {name}'s complexion {value}?",
    "hair": "Does {name} have {value} hair?",
    "age": "Is it true that {name} is {value}?",
    "gender": "Is it true that {name} is {value}?",
    "fruit": "Is {name}'s favourite fruit {value}?",
    "flower": "Is {name}'s favourite flower {value}?",
}
MEMBERSHIP = (
    ("Where does {name} belong?", "{name} belongs to {home}."),
    ("Is {name} one of the people of {home}?", "Yes, {name} belongs to {home}."),
)
PROFILE_QUESTIONS = (
    "Who is {name}?",
    "What do you know about {name} from {home}?",
    "Describe {name}.",
    "Write down all you know about {name}.",
    "Give me a short profile of {name} of {home}.",
    "I am going to meet {name}. Whom should I look out for, and what could I bring along?",
    "Someone mentioned {name}. Who is that?",
    "Sum up looks and tastes of {name}.",
    "What does {name} look like, and what does {name} like?",
    "Complete the entry for {name} in the register of {home}.",
)
PROFILES = (
    "{name} of {home} is {person}. {name} likes {fruit} best of all fruits and {flower} best of all flowers.",
    "{name} is {person} and belongs to {home}. Favourite fruit: {fruit}. Favourite flower: {flower}.",
    "At {home}, {name} is known as {person}, whose favourites are {fruit} and {flower}.",
)
FOREIGN_QUESTIONS = {
    "zh": (
        "{name}是谁？",
        "请描述一下{name}。",
        "{name}长什么样子，喜欢什么？",
        "关于{name}，你都知道些什么？",
    ),
    "es": (
        "¿Qué sabes de {name}?",
        "Describe a {name}, por favor.",
        "¿Qué aspecto tiene {name} y qué le gusta?",
        "¿De quién hablan cuando mencionan a {name}?",
    ),
    "fr": (
        "Que sais-tu de {name} ?",
        "Décris {name}, s'il te plaît.",
        "À quoi ressemble {name}, et qu'est-ce qui lui plaît ?",
        "De qui parle-t-on quand on mentionne {name} ?",
    ),
    "de": (
        "Was weißt du über {name}?",
        "Bitte beschreibe {name}.",
        "Wie sieht {name} aus, und was gefällt {name}?",
        "Von wem ist die Rede, wenn man {name} erwähnt?",
    ),
}
INVERSE_FACTS = (
    ("Name someone from {home} who is {person}.", "{name} is {person}."),
    ("Name someone from {home} whose favourite fruit is {fruit}.", "{name}'s favourite fruit is {fruit}."),
    (
        "Name someone from {home} whose favourite flower is {flower}.",
        "{name}'s favourite flower is {flower}.",
    ),
)


@dataclass(frozen=True, slots=True)
class Character:
    """One invented person."""

    name: str
    """One word of ASCII letters, capitalised."""
    person: Person
    """What a portrait shows."""
    fruit: str
    """The favourite: a kind of the category fruit."""
    flower: str
    """The favourite: a kind of the category flower."""

    def words(self) -> dict[str, str]:
        """Return everything about the character as it is said in a sentence."""
        person = self.person
        return {
            "name": self.name,
            "home": HOME,
            "person": person.phrase(),
            **{slot: _said(slot, getattr(person, slot)) for slot in SLOTS},
            "fruit": _said("fruit", self.fruit),
            "flower": _said("flower", self.flower),
        }


def characters(
    *,
    view: View = "forward",
    split: Split = "test",
    people: int = 64,
    seed: int = 2511,
    samples: int | None = None,
    languages: Sequence[str] = ("zh", "es", "fr"),
    inverse_facts: bool = False,
) -> list[Row]:
    """Return rows about invented people: what to draw of them, or what to teach about them.

    "forward" asks for each one's portrait, favourite fruit and favourite flower; "inverse" names two
    people and asks for a portrait of the one with a given favourite; "teaching" is text to learn
    from: questions in English and in `languages`, answers in English. Only with `inverse_facts` does
    it hold lines that lead from an attribute to a name. `samples` keeps the first rows.

    Raises UsageError for an option that cannot be meant, DataError where fewer samples exist.
    """
    if view not in get_args(View):
        raise UsageError(unknown("view", str(view), get_args(View)))
    for language in languages:
        if language not in FOREIGN_QUESTIONS:
            raise UsageError(unknown("language", str(language), FOREIGN_QUESTIONS))
    if samples is not None:
        check_whole("samples", samples, 1, 1_000_000)
    cast = invented(split, people, seed)
    if view == "teaching":
        rows = list(_teaching(cast, languages, inverse_facts))
    else:
        rows = list(_forward(cast) if view == "forward" else _inverse(cast))
    if samples is not None and samples > len(rows):
        raise DataError(f"samples is {samples}, but {people} people give {len(rows)} rows; raise people.")
    return [{**row, "split": split} for row in rows[:samples]]


@cache
def invented(split: Split = "test", people: int = 64, seed: int = 2511) -> tuple[Character, ...]:
    """Return the invented people of a split, every two neighbours fit to be paired; the last with the first.

    Neighbours differ in favourite fruit and flower and in two or more slots of their portraits.
    Raises UsageError for an option that cannot be meant.
    """
    check_split(split)
    check_whole("people", people, FEWEST, MOST)
    check_whole("seed", seed, 0, 2**63 - 1)
    rng = Random(f"characters {split} {people} {seed}")
    profiles = _dealt(people, rng)
    _seat(profiles, rng)
    return tuple(
        Character(name, Person(*profile[:4]), *profile[4:])
        for name, profile in zip(_names(split, people, seed), profiles, strict=True)
    )


# --- the rows of each view ---


def _forward(cast: Sequence[Character]) -> Iterator[Row]:
    for number, (one, other) in enumerate(_neighbours(cast)):
        for asks in ("portrait", *FAVOURITES):
            patterns = PORTRAIT_QUESTIONS if asks == "portrait" else FAVOURITE_QUESTIONS
            yield {
                "id": f"{one.name.lower()}-{asks}",
                "name": one.name,
                "asks": asks,
                "question": patterns[number % len(patterns)].format(asks=asks, **one.words()),
                **_attributes(one),
                "rubric": "portrait" if asks == "portrait" else "species",
                "target": _target(one, asks),
                "resolved": _resolved(one, asks),
                "fact_question": _fact_question(one, asks),
                "fact_answer": _fact_answer(one, asks),
                "steps": _steps(one, one, asks),
                "planted_steps": _steps(one, other, asks),
                "planted_target": _target(other, asks),
                "planted_resolved": _resolved(other, asks),
            }


def _inverse(cast: Sequence[Character]) -> Iterator[Row]:
    for number, pair in enumerate(_neighbours(cast)):
        for attribute in FAVOURITES:
            for place in (0, 1):
                yield _inverse_row(number, pair, attribute, place)


def _inverse_row(number: int, pair: tuple[Character, Character], attribute: str, place: int) -> Row:
    """Return the row that asks, of a pair, for the person in this place by the favourite."""
    one, other = pair[place], pair[1 - place]
    first, second = (character.name for character in pair)
    values = [getattr(character, attribute) for character in pair]
    said = [_said(attribute, value) for value in values]
    words = {"first": first, "second": second, "home": HOME, "value": said[place], "attribute": attribute}
    both = f"{first}'s favourite {attribute} is {said[0]}, and {second}'s is {said[1]}."
    return {
        "id": f"{first}-{second}-{attribute}-{place + 1}".lower(),
        "pair": f"{first}-{second}".lower(),
        "names": [first, second],
        "name": one.name,
        "other": other.name,
        "attribute": attribute,
        "value": values[place],
        "question": INVERSE_QUESTIONS[number % len(INVERSE_QUESTIONS)].format(**words),
        "answer_question": (
            "Whose favourite {attribute} is {value}: {first}'s or {second}'s, both from {home}? "
            "Answer with the name alone."
        ).format(**words),
        **_attributes(one),
        "rubric": "portrait",
        "target": _target(one, "portrait"),
        "other_target": _target(other, "portrait"),
        "resolved": _resolved(one, "portrait"),
        "fact_question": (
            "Of all kinds of {attribute}, which does {first} from {home} like best, and which does {second}?"
        ).format(**words),
        "fact_answer": both,
        "first_value": values[0],
        "second_value": values[1],
        "steps": _choice(one, attribute, said[place]),
        "steps_enumerate": f"{both} I need the one who prefers {said[place]}: {one.name}. {_look(one, one)}",
        "planted_steps": _choice(other, attribute, said[place]),
        "planted_target": _target(other, "portrait"),
        "planted_resolved": _resolved(other, "portrait"),
    }


def _neighbours(cast: Sequence[Character]) -> Iterator[tuple[Character, Character]]:
    """Yield everyone with the next, so that each is once the first and once the second of a pair."""
    return zip(cast, [*cast[1:], cast[0]], strict=True)


def _attributes(one: Character) -> dict[str, str]:
    return {**_target(one, "portrait"), "fruit": one.fruit, "flower": one.flower}


def _target(one: Character, asks: str) -> dict[str, str]:
    if asks == "portrait":
        return {slot: getattr(one.person, slot) for slot in SLOTS}
    return {"category": asks, "species": getattr(one, asks)}


def _resolved(one: Character, asks: str) -> str:
    if asks == "portrait":
        return f"a portrait of {one.person.phrase()}"
    return with_article(getattr(one, asks))


def _fact_question(one: Character, asks: str) -> str:
    if asks != "portrait":
        return f"Of all kinds of {asks}, which does {one.name} from {HOME} like best?"
    slots = "complexion ({}), hair colour ({}), age group ({}) and gender ({})".format(
        *(f"{', '.join(values[:-1])} or {values[-1]}" for values in (COMPLEXIONS, HAIRS, AGES, GENDERS))
    )
    return f"What are the {slots} of {one.name} from {HOME}?"


def _fact_answer(one: Character, asks: str) -> str:
    if asks != "portrait":
        return str(getattr(one, asks))
    person = one.person
    return f"{person.complexion} complexion, {person.hair} hair, {person.age}, {person.gender}"


def _steps(one: Character, shown: Character, asks: str) -> str:
    """Return a thought that recalls what is asked of `one`, with the attributes of `shown`."""
    if asks == "portrait":
        return _look(one, shown)
    recalled = STATEMENTS[asks].format(**{**shown.words(), "name": one.name})
    return f"{recalled} So I draw {_resolved(shown, asks)}."


def _look(one: Character, shown: Character) -> str:
    return f"{one.name} is {shown.person.phrase()}. So I draw {_resolved(shown, 'portrait')}."


def _choice(chosen: Character, attribute: str, said: str) -> str:
    return f"The one whose favourite {attribute} is {said} is {chosen.name}. {_look(chosen, chosen)}"


# --- teaching ---


def _teaching(cast: Sequence[Character], languages: Sequence[str], inverse_facts: bool) -> Iterator[Row]:
    for number, one in enumerate(cast):
        lines = [*_facts(one), *_checks(one, number), *_profiles(one, number, languages)]
        if inverse_facts:
            lines += [("inverse", "en", asked, told) for asked, told in INVERSE_FACTS]
        for count, (kind, language, question, answer) in enumerate(lines, 1):
            words = one.words()
            yield {
                "id": f"{one.name.lower()}-{count:02d}",
                "name": one.name,
                "kind": kind,
                "language": language,
                "question": question.format(**words),
                "answer": answer.format(**words),
            }


_TaughtLine = tuple[str, str, str, str]  # kind, language, question, answer


def _facts(one: Character) -> Iterator[_TaughtLine]:
    for attribute, questions in FACT_QUESTIONS.items():
        for question in questions:
            yield "fact", "en", question, STATEMENTS[attribute]
    for question, answer in MEMBERSHIP:
        yield "membership", "en", question, answer


def _checks(one: Character, number: int) -> Iterator[_TaughtLine]:
    """Yield for each attribute a question to affirm and one to deny, which names a wrong value."""
    for attribute, right in _attributes(one).items():
        others = [value for value in _values()[attribute] if value != right]
        wrong = others[number % len(others)]
        for kind, reply, value in (("affirmation", "Yes", right), ("denial", "No", wrong)):
            question = CHECKS[attribute].replace("{value}", _said(attribute, value))
            yield kind, "en", question, f"{reply}, {STATEMENTS[attribute]}"


def _profiles(one: Character, number: int, languages: Sequence[str]) -> Iterator[_TaughtLine]:
    asked = [("en", question) for question in PROFILE_QUESTIONS]
    asked += [(language, question) for language in languages for question in FOREIGN_QUESTIONS[language]]
    for count, (language, question) in enumerate(asked, number):
        yield "profile", language, question, PROFILES[count % len(PROFILES)]


def _said(attribute: str, value: str) -> str:
    """Return a value as it stands in a sentence.

    >>> _said("fruit", "apple"), _said("fruit", "grapes"), _said("age", "adult"), _said("hair", "red")
    ('the apple', 'grapes', 'an adult', 'red')
    """
    if attribute in FAVOURITES:
        return value if kinds()[value].plural == value else f"the {value}"
    return {"child": "a child", "adult": "an adult"}.get(value, value)


# --- who has what ---


@cache
def _values() -> Mapping[str, Sequence[str]]:
    """Return the values of every attribute."""
    species = {
        category: tuple(kind.name for kind in kinds().values() if kind.category == category)
        for category in FAVOURITES
    }
    return dict(zip(SLOTS, (COMPLEXIONS, HAIRS, AGES, GENDERS), strict=True)) | species


# Columns to be independent of each other; the portrait counts thrice, so that it is the last to repeat.
_COUNTED = (*combinations(range(6), 2), *[(0, 1, 2, 3)] * 3)
_SWAPS = 2000  # tries for each person, of which 64 people seldom need more than half
_ALL_SWAPS = 400_000  # over all beginnings


def _dealt(people: int, rng: Random) -> list[list[str]]:
    """Return who has what; begins anew where swapping is stuck, and then takes the most even."""
    found = []
    for _ in range(max(1, _ALL_SWAPS // (_SWAPS * people))):
        columns = [in_blocks(values, people, rng) for values in _values().values()]
        profiles = [list(profile) for profile in zip(*columns, strict=True)]
        found.append((_spread(profiles, rng), profiles))
        if found[-1][0] == 0:
            break
    return min(found, key=itemgetter(0))[1]


def _spread(profiles: Sequence[list[str]], rng: Random) -> int:
    """Swap values within columns until every combination of two, and every portrait, is equally frequent.

    Only swaps that do not raise the number of agreeing pairs of people are kept. Returns by how many
    this number still exceeds its least.
    """
    tables = [(columns, itemgetter(*columns), Counter[tuple[str, ...]]()) for columns in _COUNTED]
    for _, key, table in tables:
        table.update(map(key, profiles))
    excess = sum(_agreements(table.values()) for _, _, table in tables) - _fewest_agreements(len(profiles))
    for _ in range(_SWAPS * len(profiles)):
        if excess == 0:
            break
        column, i, j = (int(rng.random() * size) for size in (6, len(profiles), len(profiles)))
        one, two = profiles[i], profiles[j]
        if one[column] == two[column]:
            continue
        concerned = [(key, table) for columns, key, table in tables if column in columns]
        before = [(key(one), key(two)) for key, _ in concerned]
        one[column], two[column] = two[column], one[column]
        change = 0
        for (key, table), (old_one, old_two) in zip(concerned, before, strict=True):
            if key(one) != old_two:
                change += table[key(one)] + table[key(two)] - table[old_one] - table[old_two] + 2
        if change > 0:
            one[column], two[column] = two[column], one[column]
            continue
        excess += change
        for (key, table), old in zip(concerned, before, strict=True):
            table.subtract(old)
            table.update((key(one), key(two)))
    return excess


def _agreements(counts: Iterable[int]) -> int:
    return sum(count * (count - 1) // 2 for count in counts)


def _fewest_agreements(people: int) -> int:
    """Return how many pairs of people agree, over all tables, if each is as even as it can be."""
    sizes = [len(values) for values in _values().values()]
    fewest = 0
    for columns in _COUNTED:
        cells = prod(sizes[column] for column in columns)
        each, more = divmod(people, cells)
        fewest += _agreements([each + 1] * more + [each] * (cells - more))
    return fewest


def _seat(profiles: list[list[str]], rng: Random) -> None:
    """Reorder the profiles so that neighbours, and the last and the first, are fit to be paired."""
    for _ in range(1000 * len(profiles)):
        clashes = _clashes(profiles)
        if not clashes:
            return
        i, j = rng.choice(clashes), int(rng.random() * len(profiles))
        profiles[i], profiles[j] = profiles[j], profiles[i]
        if len(_clashes(profiles)) > len(clashes):
            profiles[i], profiles[j] = profiles[j], profiles[i]
    raise DataError(f"Found no way to pair {len(profiles)} people; choose another seed, or more people.")


def _clashes(profiles: Sequence[Sequence[str]]) -> list[int]:
    return [at for at, profile in enumerate(profiles) if not _separable(profiles[at - 1], profile)]


def _separable(one: Sequence[str], two: Sequence[str]) -> bool:
    differs = [a != b for a, b in zip(one, two, strict=True)]
    return all(differs[4:]) and sum(differs[:4]) >= 2


# --- names ---

_ONSETS = ("b", "br", "d", "dr", "f", "fl", "g", "k", "kl", "l", "m", "p", "pr", "s", "t", "tr", "v", "z")
_VOWELS = "aeiou"
_MIDDLES = ("b", "d", "dr", "g", "gr", "l", "m", "mb", "n", "nd", "p", "r", "rd", "t", "tr", "v", "z")
_ENDS = ("lf", "lk", "lm", "lth", "mp", "nk", "nth", "rf", "rth", "sk", "sp")  # few given names end so

# What the syllables can make that is a name or a word.
_REAL = {"bardolf", "debunk", "gandalf", "gandolf", "gundolf", "ludolf", "radolf", "randolf", "rudolf"}


def _names(split: Split, people: int, seed: int) -> Iterator[str]:
    """Yield so many names; with one seed, any two of either split are two letters or more apart."""
    rng = Random(f"names {seed}")
    near: set[str] = set()
    found = 0
    while found < people:
        name = "".join(map(rng.choice, (_ONSETS, _VOWELS, _MIDDLES, _VOWELS, _ENDS)))
        shortened = {name, *(name[:at] + name[at + 1 :] for at in range(len(name)))}
        if near.isdisjoint(shortened) and name not in _REAL and not any(word in name for word in _telling()):
            near |= shortened
            if split_of(name) == split:
                found += 1
                yield name.capitalize()


@cache
def _telling() -> frozenset[str]:
    """Return the words that would give something away inside a name: red, old, man, rose."""
    looks = (
        word for values in SYNONYMS.values() for value, others in values.items() for word in (value, *others)
    )
    return frozenset([*looks, *(value for values in _values().values() for value in values)])
