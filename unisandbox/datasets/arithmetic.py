"""Source `arithmetic`: draw as many objects as an expression comes to, correct by construction.

The task is the math family of UniSandbox (arXiv 2511.20561); expressions, wording and keys are made here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import gcd
from random import Random
from typing import Literal

from unisandbox.datasets.splits import Row, Split, check_split, check_whole, in_blocks, split_of
from unisandbox.errors import DataError, UsageError
from unisandbox.world.vocabulary import kinds, phrase

ANSWERS = {1: (1, 4), 2: (1, 4), 3: (1, 5)}
"""The least and the greatest answer, by number of operations."""

OPERAND_MAX = {1: 99, 2: 50, 3: 50}
"""The greatest number written or met on the way, by number of operations."""

WEIGHTS = {"+": 8, "-": 5, "*": 12, "/": 5, "%": 3, "^": 40, "sqrt": 20}
"""How often each operator is drawn where it is possible; those that seldom are possible weigh more."""

UNCOUNTED = frozenset({"sun", "moon", "rainbow"})
"""Kinds of which nobody asks for several."""

# {e} is the expression as it is said, {E} the same at the start of a sentence.
PATTERNS = (
    ("symbols", "Draw as many {noun} as {e} comes to."),
    ("symbols", "Work out {e} and draw that many {noun}."),
    ("symbols", "How much is {e}? Show exactly that many {noun}."),
    ("symbols", "Make a picture of {noun}; their number is {e}."),
    ("symbols", "Paint some {noun}, and let there be {e} of them."),
    ("symbols", "Whoever counts the {noun} in your picture should get {e}."),
    ("symbols", "The number of {noun} to draw is {e}."),
    ("symbols", "Picture a group of {noun} whose size equals {e}."),
    ("symbols", "Set n to {e}. Draw n {noun}."),
    ("symbols", "Solve {e}. The image must hold just that number of {noun}."),
    ("symbols", "I need a drawing of {noun}: {e} in all."),
    ("symbols", "An image of nothing but {noun}, please, as many as {e} makes."),
    ("symbols", "Fill an empty scene with {noun} until there are {e}."),
    ("symbols", "Evaluate {e}, then turn the value into {noun}, one for each unit."),
    ("words", "Draw as many {noun} as {e}."),
    ("words", "The count of {noun} in your picture should equal {e}."),
    ("words", "Find {e}, then draw that many {noun}."),
    ("words", "What is {e}? Reply with a picture of that many {noun}."),
    ("words", "Sketch a number of {noun}, that number being {e}."),
    ("words", "Show me {noun} in a quantity given by {e}."),
    ("words", "An artist is to paint {noun}, as many as {e}. Be that artist."),
    ("steps", "{E}. Draw that many {noun}."),
    ("steps", "Draw {noun}. For their number, {e}."),
    ("steps", "To learn how many {noun} to draw, {e}."),
    ("steps", "Count like this: {e}. Show the resulting number of {noun}."),
    ("steps", "Here is how many {noun} I want: {e}."),
    ("steps", "{E}; what you get is how many {noun} belong in the picture."),
)
"""The voice an expression is said in, and the sentence around it."""

VOICES = tuple(dict.fromkeys(voice for voice, _ in PATTERNS))

_PATIENCE = 2000  # draws in a row that bring nothing new, after which nothing new is left


@dataclass(frozen=True, slots=True)
class Expression:
    """A written number, or an operator over its operands."""

    value: int
    """What it comes to: 1 or more."""
    operator: str = ""
    """One of WEIGHTS; empty for a written number."""
    parts: tuple["Expression", ...] = ()
    """The operands: none for a written number, one for sqrt, else two."""


Way = tuple[tuple[int, int], ...]
"""For each operand, its value and the number of operations in it."""

Ways = tuple[list[Way], list[int]]
"""Ways, and their weights summed up so far."""


def arithmetic(
    *,
    split: Split = "test",
    samples: int = 250,
    seed: int = 2511,
    operations: Literal[1, 2, 3] = 1,
    answers: Sequence[int] | None = None,
    operand_max: int | None = None,
    operand_share: float = 0.2,
) -> list[Row]:
    """Return rows that ask for as many objects as an expression of so many operations comes to.

    `answers` is the least and the greatest count, by default ANSWERS; each is the answer equally
    often. No number written or met on the way exceeds `operand_max`. Of the different expressions
    with one answer, at most `operand_share` have that answer among their written numbers.
    An expression is of one split, whatever the seed. It comes again, always with another noun, only
    once all others with its answer are used.

    Raises UsageError for an option that cannot be meant, DataError where fewer samples exist.

    >>> row = arithmetic(samples=1, operations=2)[0]
    >>> row["question"]
    'Evaluate 6 * 6 / 9, then turn the value into doors, one for each unit.'
    >>> row["steps"], row["count_phrase"], row["planted_phrase"]
    ('6 * 6 = 36. 36 / 9 = 4.', '4 doors', '3 doors')
    """
    check_split(split)
    check_whole("samples", samples, 1, 1_000_000)
    check_whole("seed", seed, 0, 2**63 - 1)
    check_whole("operations", operations, 1, 3)
    limit = OPERAND_MAX[operations] if operand_max is None else operand_max
    check_whole("operand_max", limit, 10, 100)
    if type(operand_share) not in (int, float) or not 0 <= operand_share <= 1:
        raise UsageError(f"operand_share is {operand_share!r}; expected a number from 0 to 1.")
    counts = _counts(ANSWERS[operations] if answers is None else answers)
    rng = Random(f"arithmetic {split} {operations} {seed}")
    targets = in_blocks(counts, samples, rng)
    nouns = rng.sample(_nouns(), len(_nouns()))
    pools = {
        count: _pool(_draws(rng, count, operations, limit), split, quota, operand_share, rng)
        for count, quota in sorted(Counter(targets).items())
    }
    _require_enough(samples, pools, len(nouns))
    rows = []
    used: Counter[int] = Counter()
    problems = _problems(pools, targets, counts, nouns, rng)
    for number, (expression, noun, planted) in enumerate(problems, 1):
        row = _row(expression, noun, planted, _pattern(expression, used, rng), rng)
        used[row["pattern"]] += 1
        rows.append({"id": f"{number:04d}", "split": split, "level": operations, **row})
    return rows


def _counts(answers: Sequence[int]) -> range:
    match tuple(answers) if isinstance(answers, Sequence) else answers:
        case (int(least), int(greatest)) if 1 <= least < greatest <= 9:
            return range(least, greatest + 1)
    raise UsageError(f"answers is {answers!r}; expected the least and the greatest count, within 1 to 9.")


@cache
def _nouns() -> tuple[str, ...]:
    """Return the kinds that are counted by their plain plural: no pairs, no slices, not the sun."""
    return tuple(
        kind.name
        for kind in kinds().values()
        if kind.counted == (kind.name, kind.plural) and kind.name not in UNCOUNTED
    )


def _pool(
    draws: Iterator[Expression], split: Split, wanted: int, share: float, rng: Random
) -> list[Expression]:
    """Take different expressions of the split until there are enough, or there seem to be no more."""
    seen: set[str] = set()
    plain: list[Expression] = []
    echoes: list[Expression] = []  # expressions with their own value among their numbers
    repeats = 0
    for expression in draws:
        if len(plain) + len(echoes) == wanted or repeats == _PATIENCE:
            break
        text = written(expression)
        repeats = repeats + 1 if text in seen else 0
        if repeats:
            continue
        seen.add(text)
        if _undoes_itself(expression) or split_of("math " + _sorted(expression)) != split:
            continue
        if expression.value not in _numbers(expression):
            plain.append(expression)
        elif len(echoes) < int(share * wanted):
            echoes.append(expression)
    if len(plain) + len(echoes) < wanted and share < 1:
        del echoes[int(share * len(plain) / (1 - share)) :]
    pool = plain + echoes
    return rng.sample(pool, len(pool))


def _require_enough(samples: int, pools: Mapping[int, Sequence[Expression]], nouns: int) -> None:
    """Raise DataError where expressions and nouns do not make so many different samples."""
    scarce = min(pools, key=lambda count: len(pools[count]))
    found = len(pools[scarce])
    if (most := found * nouns * len(pools)) < samples:
        raise DataError(
            f"samples is {samples}; there are only {most} with these options: {found} expressions come to "
            f"{scarce}, and {nouns} nouns go with each. Raise operand_max, or ask for fewer."
        )


def _problems(
    pools: Mapping[int, Sequence[Expression]],
    targets: Sequence[int],
    counts: Sequence[int],
    nouns: Sequence[str],
    rng: Random,
) -> Iterator[tuple[Expression, str, int]]:
    """Yield for each target an expression, a noun and a wrong count, all spread evenly."""
    queues = {}
    given = 0
    for count, pool in pools.items():
        quota = targets.count(count)
        wrong = in_blocks([other for other in counts if other != count], quota, rng)
        queues[count] = zip(_with_nouns(pool, nouns, given), wrong, strict=False)
        given += quota
    for count in targets:
        (expression, noun), planted = next(queues[count])
        yield expression, noun, planted


def _with_nouns(
    pool: Sequence[Expression], nouns: Sequence[str], start: int
) -> Iterator[tuple[Expression, str]]:
    """Yield every pair of expression and noun once, using all of each as evenly as can be."""
    lap = len(nouns) // gcd(len(pool), len(nouns))  # passes over the pool until the nouns would recur
    for turn in range(len(pool) * len(nouns)):
        shift = turn // len(pool) // lap
        yield pool[turn % len(pool)], nouns[(start + turn + shift) % len(nouns)]


def _row(expression: Expression, noun: str, planted: int, pattern: int, rng: Random) -> Row:
    plural = kinds()[noun].plural
    voice, sentence = PATTERNS[pattern]
    said = spoken(expression, voice, rng)
    return {
        "question": sentence.format(noun=plural, e=said, E=said[0].upper() + said[1:]),
        "expression": written(expression),
        "spoken": said,
        "pattern": pattern,
        "operators": [operation.operator for operation in _operations(expression)],
        "operands": _numbers(expression),
        "count": expression.value,
        "object": noun,
        "noun": plural,
        "count_phrase": phrase(expression.value, noun),
        "steps": _worked(expression, expression.value),
        "planted_count": planted,
        "planted_phrase": phrase(planted, noun),
        "planted_steps": _worked(expression, planted),
    }


# --- making expressions ---


def _draws(rng: Random, value: int, operations: int, limit: int) -> Iterator[Expression]:
    """Yield random expressions that come to a value: all of them once, or, if there are many, without end."""
    if operations > 1:
        while True:
            yield _draw(rng, value, operations, limit)
    piles = {operator: rng.sample(ways, len(ways)) for operator, (ways, _) in _ways(1, limit)[value].items()}
    while piles:
        operator = rng.choices(list(piles), [WEIGHTS[operator] for operator in piles])[0]
        yield Expression(value, operator, tuple(Expression(part) for part, _ in piles[operator].pop()))
        piles = {operator: pile for operator, pile in piles.items() if pile}


def _draw(rng: Random, value: int, operations: int, limit: int) -> Expression:
    if not operations:
        return Expression(value)
    choices = _ways(operations, limit)[value]
    operator = rng.choices(list(choices), [WEIGHTS[operator] for operator in choices])[0]
    ways, weights = choices[operator]
    way = rng.choices(ways, cum_weights=weights)[0]
    return Expression(value, operator, tuple(_draw(rng, *part, limit) for part in way))


@cache
def _ways(operations: int, limit: int) -> Mapping[int, Mapping[str, Ways]]:
    """Return, by value and then by operator, every way to come to it with so many operations."""
    table: dict[int, dict[str, Ways]] = {}
    for operator, operands, value in facts(limit):
        for inner in _shares(operator, operations - 1):
            way = tuple(zip(operands, inner, strict=True))
            if weight := _weight(way, limit):
                ways, weights = table.setdefault(value, {}).setdefault(operator, ([], []))
                ways.append(way)
                weights.append(weight + (weights[-1] if weights else 0))
    return table


def _weight(way: Way, limit: int) -> int:
    """Return 0 for what cannot be made; else more for operands that give a choice of operators.

    Without this nearly all sums would be large numbers, which are made by + and - alone.
    """
    weights = [
        sum(WEIGHTS[operator] for operator in _ways(operations, limit).get(value, ()))
        for value, operations in way
        if operations
    ]
    return min(weights, default=1)


def _shares(operator: str, operations: int) -> Iterator[tuple[int, ...]]:
    """Yield how many operations each operand can have; an exponent is always written."""
    if operator == "sqrt":
        yield (operations,)
    elif operator == "^":
        yield operations, 0
    else:
        yield from ((left, operations - left) for left in range(operations + 1))


@cache
def facts(limit: int) -> Sequence[tuple[str, tuple[int, ...], int]]:
    """Return operator, operands and value of every operation up to a limit that does some work."""
    numbers = range(1, limit + 1)
    pairs = [(x, y) for x in numbers for y in numbers]
    proper = [(x, y) for x, y in pairs if x > 1 and y > 1]
    facts: list[tuple[str, tuple[int, ...], int]] = [
        *(("+", (x, y), x + y) for x, y in pairs),
        *(("-", (x, y), x - y) for x, y in pairs),
        *(("*", (x, y), x * y) for x, y in proper),
        *(("/", (x, y), x // y) for x, y in proper if x % y == 0),
        *(("%", (x, y), x % y) for x, y in proper if x > y),
        *(("^", (x, y), x**y) for x, y in proper if y in _POWERS),
        *(("sqrt", (x * x,), x) for x in numbers if x > 1 and x * x <= limit),
    ]
    return [fact for fact in facts if 1 <= fact[2] <= limit]


def _undoes_itself(expression: Expression) -> bool:
    """Return whether part of the work is for nothing, as in 7 + 3 - 3, 5 / 5 or the root of a square."""
    for up, down in ("+-", "*/"):
        terms = set(_terms(expression, up, down, 1))
        if len({text for text, _ in terms}) < len(terms):
            return True
    inner = {part.operator for part in expression.parts}
    if (expression.operator == "sqrt" and "^" in inner) or (expression.operator == "^" and "sqrt" in inner):
        return True
    return any(map(_undoes_itself, expression.parts))


def _terms(expression: Expression, up: str, down: str, sign: int) -> Iterator[tuple[str, int]]:
    """Yield the terms of a sum, or the factors of a product, each with the sign it counts with."""
    if expression.operator not in (up, down):
        yield _sorted(expression), sign
        return
    left, right = expression.parts
    yield from _terms(left, up, down, sign)
    yield from _terms(right, up, down, sign if expression.operator == up else -sign)


def _sorted(expression: Expression) -> str:
    """Return one text for all expressions that differ only in the order of summands or factors."""
    if not expression.parts:
        return str(expression.value)
    parts = [_sorted(part) for part in expression.parts]
    if expression.operator in "+*":
        parts.sort()
    return f"({expression.operator} {' '.join(parts)})"


def _numbers(expression: Expression) -> list[int]:
    """Return the written numbers from left to right."""
    if not expression.parts:
        return [expression.value]
    return [number for part in expression.parts for number in _numbers(part)]


def _operations(expression: Expression) -> Iterator[Expression]:
    """Yield every operation, the operands' own before it."""
    for part in expression.parts:
        yield from _operations(part)
    if expression.parts:
        yield expression


# --- saying expressions ---

_RANK = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3}

_POWERS = {2: "square", 3: "cube", 4: "fourth power", 5: "fifth power"}

_PHRASES = {
    "+": "the sum of {} and {}",
    "-": "the difference between {} and {}",
    "*": "the product of {} and {}",
    "/": "the quotient of {} and {}",
    "%": "the remainder of {} divided by {}",
    "sqrt": "the square root of {}",
}

_PLAIN = {
    "+": "{} plus {}",
    "-": "{} minus {}",
    "*": "{} times {}",
    "/": "{} divided by {}",
    "%": "{} modulo {}",
}

_COMMANDS = {
    "+": "add {}",
    "-": "subtract {}",
    "*": "multiply by {}",
    "/": "divide by {}",
    "%": "keep the remainder after dividing by {}",
    "sqrt": "take the square root",
}


def written(expression: Expression, *, said: bool = False) -> str:
    """Return the expression in signs: in plain ASCII, or as a question says it.

    >>> seventeen, five, two = Expression(17), Expression(5), Expression(2)
    >>> remainder = Expression(2, "%", (seventeen, five))
    >>> power = Expression(4, "^", (remainder, two))
    >>> written(power), written(Expression(2, "sqrt", (power,)), said=True)
    ('(17 % 5)^2', '√((17 modulo 5)^2)')
    """
    if not expression.parts:
        return str(expression.value)
    if expression.operator == "sqrt":
        (part,) = expression.parts
        inner = written(part, said=said)
        return f"{'√' if said else 'sqrt'}({inner})" if part.parts or not said else f"√{inner}"
    left, right = (
        f"({written(part, said=said)})" if _bracketed(part, expression, place) else written(part, said=said)
        for place, part in enumerate(expression.parts)
    )
    if expression.operator == "^":
        return f"{left}^{right}"
    return f"{left} {'modulo' if said and expression.operator == '%' else expression.operator} {right}"


def _bracketed(part: Expression, whole: Expression, place: int) -> bool:
    """Return whether an operand stands in brackets: where needed, and always around and inside a modulo."""
    if not part.parts or (part.operator == "sqrt" and whole.operator != "^"):
        return False
    if whole.operator == "^" or "%" in (part.operator, whole.operator):
        return True
    return _RANK[part.operator] < _RANK[whole.operator] + place


def _pattern(expression: Expression, used: Mapping[int, int], rng: Random) -> int:
    """Return the pattern used least among those in a voice that can say the expression."""
    voices = {"symbols": True, "words": _nests_right(expression), "steps": _nests_left(expression)}
    fitting = [number for number, (voice, _) in enumerate(PATTERNS) if voices[voice]]
    return min(fitting, key=lambda number: (used[number], rng.random()))


def _nests_right(expression: Expression) -> bool:
    """Return whether words in order leave no doubt: nothing but a number comes before an "and"."""
    if not expression.parts:
        return True
    if len(expression.parts) == 1 or expression.operator == "^":
        return _nests_right(expression.parts[0])
    left, right = expression.parts
    return not left.parts and _nests_right(right)


def _nests_left(expression: Expression) -> bool:
    """Return whether the expression is a chain of steps, each from the last result."""
    if not expression.parts:
        return True
    first, *others = expression.parts
    return not any(other.parts for other in others) and _nests_left(first)


def spoken(expression: Expression, voice: str, rng: Random) -> str:
    """Return the expression as a question says it, in one of VOICES.

    >>> spoken(Expression(4, "-", (Expression(9), Expression(5))), "steps", Random(0))
    'start with 9, then subtract 5'
    """
    if voice == "symbols":
        return written(expression, said=True)
    if voice == "steps":
        *commands, last = map(_command, _operations(expression))
        return f"start with {', '.join([str(_numbers(expression)[0]), *commands])}, then {last}"
    short = expression.operator in _PLAIN and not any(part.parts for part in expression.parts)
    if short and rng.random() < 0.5:
        return _PLAIN[expression.operator].format(*_numbers(expression))
    return _phrase(expression)


def _phrase(expression: Expression) -> str:
    """Say an expression as a noun: the sum of 3 and the square root of 16."""
    if not expression.parts:
        return str(expression.value)
    if expression.operator == "^":
        base, exponent = expression.parts
        return f"the {_POWERS[exponent.value]} of {_phrase(base)}"
    return _PHRASES[expression.operator].format(*map(_phrase, expression.parts))


def _command(operation: Expression) -> str:
    """Say an operation as a step: divide by 4."""
    if operation.operator != "^":
        return _COMMANDS[operation.operator].format(*(part.value for part in operation.parts[1:]))
    exponent = operation.parts[1].value
    return f"{_POWERS[exponent]} it" if exponent < 4 else f"raise it to the power of {exponent}"


def _worked(expression: Expression, result: int) -> str:
    """Return every operation as a sentence, in order; the last one comes to `result`."""
    sentences = []
    for operation in _operations(expression):
        known = replace(operation, parts=tuple(Expression(part.value) for part in operation.parts))
        value = result if operation is expression else operation.value
        sentences.append(f"{written(known, said=True)} = {value}.")
    return " ".join(sentences)
