"""Source `characters`: invented people to teach to a model in words, and what it is to draw of them.

The task is the knowledge family of UniSandbox (arXiv 2511.20561); people, wording and keys are made here.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

from unisandbox.datasets.cast import FAVOURITES, SLOTS, Character, attributes, invented
from unisandbox.datasets.splits import Row, Split, check_whole
from unisandbox.errors import DataError, UsageError, unknown
from unisandbox.world.people import AGES, COMPLEXIONS, GENDERS, HAIRS
from unisandbox.world.vocabulary import kinds, with_article

View = Literal["forward", "inverse", "teaching"]

HOME = "the Ferrowick Institute"
"""Where all invented people belong; invented as well."""

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


def characters(
    *,
    view: View = "forward",
    split: Split = "test",
    people: int = 64,
    seed: int = 2511,
    samples: int | None = None,
    languages: Sequence[str] = ("zh", "es", "fr"),
    inverse_facts: bool = False,
    in_context: bool = False,
    about: Sequence[str] = (),
) -> list[Row]:
    """Return rows about invented people: what to draw of them, or what to teach about them.

    "forward" asks for each one's portrait, favourite fruit and favourite flower; "inverse" names two
    people and asks for a portrait of the one with a given favourite; "teaching" is text to learn
    from: questions in English and in `languages`, answers in English. Only with `inverse_facts` does
    it hold lines that lead from an attribute to a name. `samples` keeps the first rows. `in_context` puts
    what is known of everyone named before each question, as if it had just been read. `about` keeps the rows
    in which nobody but these is named.

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
    for name in about:
        if name not in (names := [one.name for one in cast]):
            raise UsageError(unknown("person", name, names))
    if view == "teaching":
        rows = list(_teaching(cast, languages, inverse_facts))
    else:
        rows = list(_forward(cast) if view == "forward" else _inverse(cast))
        if in_context:
            known = {one.name: PROFILES[0].format(**_words(one)) for one in cast}
            rows = [_told(row, known) for row in rows]
    if about:
        rows = [row for row in rows if set(row.get("names", [row["name"]])) <= set(about)]
        if not rows:
            raise DataError(f"There are no {view} rows about {' and '.join(about)} alone.")
    if samples is not None and samples > len(rows):
        whose = f"{' and '.join(about)}" if about else f"{people} people"
        raise DataError(f"samples is {samples}, but {whose} give {len(rows)} rows; ask for fewer.")
    return [{**row, "split": split} for row in rows[:samples]]


# --- the rows of each view ---


def _forward(cast: Sequence[Character]) -> Iterator[Row]:
    for number, (one, other) in enumerate(_neighbours(cast)):
        for asks in ("portrait", *FAVOURITES):
            patterns = PORTRAIT_QUESTIONS if asks == "portrait" else FAVOURITE_QUESTIONS
            yield {
                "id": f"{one.name.lower()}-{asks}",
                "name": one.name,
                "asks": asks,
                "question": patterns[number % len(patterns)].format(asks=asks, **_words(one)),
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


def _told(row: Row, known: Mapping[str, str]) -> Row:
    """Put what is known of the people of a row before each of its questions."""
    before = " ".join(known[name] for name in row.get("names", [row["name"]]))
    questions = [key for key in row if key.endswith("question")]
    return {**row, **{key: f"{before} {row[key]}" for key in questions}}


def _neighbours(cast: Sequence[Character]) -> Iterator[tuple[Character, Character]]:
    """Yield everyone with the next, so that each is once the first and once the second of a pair."""
    return zip(cast, [*cast[1:], cast[0]], strict=True)


def _words(one: Character) -> dict[str, str]:
    """Return everything about someone as it is said in a sentence."""
    return {
        "name": one.name,
        "home": HOME,
        "person": one.person.phrase(),
        **{attribute: _said(attribute, value) for attribute, value in _attributes(one).items()},
    }


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
    recalled = STATEMENTS[asks].format(**{**_words(shown), "name": one.name})
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
            words = _words(one)
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
        others = [value for value in attributes()[attribute] if value != right]
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
