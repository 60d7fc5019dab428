"""Source `mapping`: follow numbered rules from a symbol to an object, and draw the object.

The task is the mapping family of UniSandbox (arXiv 2511.20561); rules, wording and keys are made here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, islice, permutations
from random import Random
from typing import Literal

from unisandbox.datasets.splits import Row, Split, check_split, check_whole, in_blocks, split_of
from unisandbox.world.vocabulary import kinds, with_article, words

CATEGORIES = {
    "clothing": "piece of clothing",
    "food": "food item",
    "furniture": "piece of furniture",
    "household": "household item",
    "nature": "object",
    "stationery": "stationery item",
    "tableware": "piece of tableware",
}
"""What one kind of a category is called, where the category itself cannot be counted."""

LETTERS = "BCDEFGHJKMNPQRSTUVWXYZ"
"""Letters that are neither a word (A, I, O) nor easily read as another sign (I, L, O)."""

SIGNS = "@#$%&*+=~^<>"

CLAUSES = (
    "{left} stands for {right}",
    "{left} means {right}",
    "{left} denotes {right}",
    "{left} represents {right}",
    "{left} refers to {right}",
    "{left} points to {right}",
    "{left} leads to {right}",
    "{left} maps to {right}",
    "{left} translates to {right}",
    "{left} turns into {right}",
    "{left} becomes {right}",
    "{left} signifies {right}",
    "{left} corresponds to {right}",
    "{left} is code for {right}",
    "{left} is replaced by {right}",
    "{left} is exchanged for {right}",
    "{left} is read as {right}",
    "{left} calls for {right}",
    "{left} gives {right}",
    "for {left}, put {right}",
    "wherever you meet {left}, think of {right}",
)
"""A rule without its number: what is on the left becomes what is on the right."""

QUOTES = ("{}", "'{}'", '"{}"', "[{}]", "“{}”")
"""How symbols are set off in one question."""

OPENINGS = (
    "",
    "Here are some rules.",
    "Read these rules first.",
    "A code works by the rules below.",
    "In a game of signs, the following holds.",
)

REQUESTS = (
    "Draw the {category} that {symbol} leads to.",
    "Start at {symbol} and draw the {category} you arrive at.",
    "Following these rules, draw the {category} behind {symbol}.",
    "Which {category} does {symbol} come to in the end? Draw it.",
    "Apply the rules to {symbol} and paint the {category} that comes out.",
    "Make a picture of the {category} that {symbol} finally gives.",
    "Trace {symbol} through the rules until you reach the {category}, and show it.",
    "I am looking for the {category} hidden in {symbol}. Show me that {category}.",
)
"""What is asked, of whichever of the two symbols."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """Something a rule starts from."""

    text: str
    """The bare symbol: Q, 7, # or QQ."""
    called: str
    """What it is: letter, number, symbol, or letter pair."""


@dataclass(frozen=True, slots=True)
class Style:
    """How one question is worded, both sides alike."""

    quote: str
    """One of QUOTES."""
    named: bool
    """Whether rules say what a symbol is: the letter Q."""
    article: bool
    """Whether objects in rules have an article."""
    opening: str
    """One of OPENINGS."""
    gap: str
    """What stands between two rules: a space or a line break."""
    request: str
    """One of REQUESTS."""

    def symbol(self, symbol: Symbol, *, named: bool) -> str:
        """Write a symbol, with what it is called or without."""
        quoted = self.quote.format(symbol.text)
        return f"the {symbol.called} {quoted}" if named else quoted

    def object(self, kind: str) -> str:
        """Write an object as rules do."""
        return with_article(kind) if self.article else kind


@dataclass(frozen=True, slots=True)
class Chain:
    """The way from a symbol to an object."""

    symbols: tuple[Symbol, ...]
    """Each leads to the next, the last to the object."""
    object: str
    """The name of a kind."""
    clauses: tuple[str, ...]
    """One of CLAUSES for each symbol."""

    def worded(self, style: Style, end: str) -> list[str]:
        """Return a clause for each symbol, the last one as if the chain ended at the kind `end`."""
        lefts = [style.symbol(symbol, named=style.named) for symbol in self.symbols]
        rights = [*lefts[1:], style.object(end)]
        parts = zip(self.clauses, lefts, rights, strict=True)
        return [clause.format(left=left, right=right) for clause, left, right in parts]


@dataclass(frozen=True, slots=True)
class Unit:
    """The question that is asked of two sides."""

    chains: tuple[Chain, ...]
    """That of side A, that of side B, then those nobody asks for."""
    order: tuple[tuple[int, int], ...]
    """For each rule, the chain it is of and its place in it."""
    style: Style

    def text(self, request: str) -> str:
        """Return the rules, then what is asked."""
        return self.style.gap.join(filter(None, [self.style.opening, *self.rules(), request]))

    def rules(self) -> list[str]:
        """Return the rules as the question numbers and words them."""
        worded = [chain.worded(self.style, chain.object) for chain in self.chains]
        return [f"Rule {n}: {worded[chain][hop]}." for n, (chain, hop) in enumerate(self.order, 1)]

    def edges(self) -> frozenset[tuple[str, str]]:
        """Return the rules as pairs of symbol and what it leads to."""
        return frozenset(
            (symbol.text, following)
            for chain in self.chains
            for symbol, following in zip(
                chain.symbols, [*(after.text for after in chain.symbols[1:]), chain.object], strict=True
            )
        )

    def objects(self) -> list[str]:
        """Return the objects in the order the rules name them."""
        ends = [self.chains[chain] for chain, hop in self.order if hop + 1 == len(self.chains[chain].symbols)]
        return [chain.object for chain in ends]

    def category(self) -> str:
        """Return a word for all objects alike, so that it tells none from another."""
        categories = {kinds()[chain.object].category for chain in self.chains}
        if len(categories) > 1:
            return "object"
        (category,) = categories
        return CATEGORIES.get(category, category)


def mapping(
    *,
    split: Split = "test",
    samples: int = 250,
    seed: int = 2511,
    hops: Literal[1, 2, 3] = 1,
    distractors: int = 0,
) -> list[Row]:
    """Return two rows for each of `samples` units: one set of rules, asked for either of two objects.

    Each object is exactly `hops` rules from its symbol. `distractors` adds chains of the same length
    that neither side asks for.
    Two objects are the sides of a unit in one split only, whatever the seed, so that no set of rules
    is shared either.

    Raises UsageError for an option that cannot be meant.

    >>> row = mapping(samples=1, hops=2)[0]
    >>> row["chain"], row["category"], row["object_phrase"], row["other_phrase"]
    (['%', 'W', 'suitcase'], 'object', 'a suitcase', 'a notebook')
    """
    check_split(split)
    check_whole("samples", samples, 1, 1_000_000)
    check_whole("seed", seed, 0, 2**63 - 1)
    check_whole("hops", hops, 1, 3)
    check_whole("distractors", distractors, 0, 4)
    rng = Random(f"mapping {split} {hops} {distractors} {seed}")
    pairs = _pairs(split, samples, rng)
    places = in_blocks(list(permutations(range(2 + distractors), 2)), samples, rng)
    known: set[frozenset[tuple[str, str]]] = set()
    rows: list[Row] = []
    for number, (pair, place) in enumerate(zip(pairs, places, strict=True), 1):
        objects = _with_others(pair, distractors, rng)
        unit = _unit(objects, place, hops, rng)
        while unit.edges() in known:
            unit = _unit(objects, place, hops, rng)
        known.add(unit.edges())
        for side, (asked, other) in {"A": unit.chains[:2], "B": unit.chains[1::-1]}.items():
            name = f"{number:04d}"
            common = {"id": f"{name}-{side}", "pair": name, "side": side, "split": split, "hops": hops}
            rows.append(common | _row(unit, asked, other.object))
    return rows


def _row(unit: Unit, asked: Chain, other: str) -> Row:
    style, category = unit.style, unit.category()
    first, last = asked.symbols[0], asked.symbols[-1]
    request = style.request.format(category=category, symbol=style.symbol(first, named=True))
    recall = f"Which {category} does {style.symbol(last, named=True)} stand for? Answer in words."
    return {
        "question": unit.text(request),
        "rules": unit.rules(),
        "symbol": first.text,
        "chain": [*(symbol.text for symbol in asked.symbols), asked.object],
        "category": category,
        "object": asked.object,
        "other": other,
        "candidates": unit.objects(),
        "object_phrase": with_article(asked.object),
        "other_phrase": with_article(other),
        "steps": " ".join(map(_sentence, asked.worded(style, asked.object))),
        "planted_steps": " ".join(map(_sentence, asked.worded(style, other))),
        "recall_question": unit.text(recall),
        "recall_symbol": last.text,
    }


def _sentence(clause: str) -> str:
    """Close a clause; open it with a capital unless it opens with a symbol, which has two signs at most."""
    word = clause.split()[0]
    capital = word[0].upper() if word.isalpha() and len(word) > 2 else word[0]
    return f"{capital}{clause[1:]}."


# --- choosing objects and symbols ---


def _pairs(split: Split, wanted: int, rng: Random) -> list[tuple[str, str]]:
    """Return pairs of objects, dealt from a shuffled deck so that all objects are about as frequent.

    A pair comes again only when one of its objects has been with all its partners.
    """
    partners = _partners(split)
    unmet = {name: set(others) for name, others in partners.items()}
    deck: list[str] = []
    pairs: list[tuple[str, str]] = []
    while len(pairs) < wanted:
        if not deck:
            deck = rng.sample(list(partners), len(partners))
        first = deck.pop(0)
        if unmet[first].isdisjoint(deck):
            deck += rng.sample(list(partners), len(partners))
        second = next(name for name in deck if name in unmet[first])
        deck.remove(second)
        pairs.append((first, second))
        for one, other in (first, second), (second, first):
            unmet[one].discard(other)
            unmet[one] = unmet[one] or set(partners[one])
    return pairs


@cache
def _partners(split: Split) -> Mapping[str, frozenset[str]]:
    """Return for every kind those that are the other side to it in this split."""
    partners: dict[str, set[str]] = {name: set() for name in kinds()}
    for one, other in combinations(sorted(kinds()), 2):
        if split_of(f"mapping {one}, {other}") == split and not _alike(one, other):
            partners[one].add(other)
            partners[other].add(one)
    return {name: frozenset(others) for name, others in partners.items()}


def _alike(one: str, other: str) -> bool:
    """Return whether a word for one kind contains a word for the other, as notebook does book."""
    ours, theirs = _words(one), _words(other)
    return any(word in text for word in ours for text in theirs) or any(
        word in text for word in theirs for text in ours
    )


@cache
def _words(name: str) -> tuple[str, ...]:
    return tuple(words(kinds()[name]))


def _with_others(pair: tuple[str, str], count: int, rng: Random) -> list[str]:
    """Return the pair and so many other objects, none like another."""
    objects = list(pair)
    while len(objects) < 2 + count:
        name = rng.choice(list(kinds()))
        if not any(_alike(name, known) for known in objects):
            objects.append(name)
    return objects


def _unit(objects: Sequence[str], places: Sequence[int], hops: int, rng: Random) -> Unit:
    """Return a unit in which the objects of A and B are named at these places among all objects."""
    symbols = _symbols(len(objects) * hops, rng)
    chains = tuple(
        Chain(tuple(islice(symbols, hops)), name, tuple(rng.choice(CLAUSES) for _ in range(hops)))
        for name in objects
    )
    order = [(chain, hop) for chain in range(len(objects)) for hop in range(hops)]
    rng.shuffle(order)
    ends = [number for number, (_, hop) in enumerate(order) if hop == hops - 1]
    free = [place for place in range(len(objects)) if place not in places]
    for chain, place in enumerate([*places, *free]):
        order[ends[place]] = (chain, hops - 1)
    return Unit(chains, tuple(order), _style(rng))


def _style(rng: Random) -> Style:
    return Style(
        quote=rng.choice(QUOTES),
        named=rng.random() < 0.5,
        article=rng.random() < 0.5,
        opening=rng.choice(OPENINGS),
        gap=rng.choice((" ", "\n")),
        request=rng.choice(REQUESTS),
    )


def _symbols(wanted: int, rng: Random) -> Iterator[Symbol]:
    """Yield different symbols, no letter twice in any form, no number that a rule has."""
    used: set[str] = set()
    while len(used) < wanted:
        called = rng.choices(("letter", "number", "symbol", "letter pair"), (4, 2, 3, 1))[0]
        if called == "number":
            base = text = str(rng.randrange(wanted + 1, 31))
        elif called == "symbol":
            base = text = rng.choice(SIGNS)
        else:
            base = rng.choice(LETTERS)
            text = base * 2 if called == "letter pair" else rng.choice((base, base.lower()))
        if base not in used:
            used.add(base)
            yield Symbol(text, called)
