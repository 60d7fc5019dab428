"""What real models reply, read as they mean it: observations, yes and no.

They wrap the form that they were asked for in bold, brackets, JSON, tags and prefixes, think aloud, refuse,
and say "Error" in many ways. What cannot be read is an error, so that it never passes for a wrong picture.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unisandbox.judge import View
from unisandbox.records import Fields, Observation
from unisandbox.rubric import NUMBERS, Rubric
from unisandbox.world import find_kind

Tokens = Sequence[tuple[str, Mapping[str, float]]]
"""A reply token by token, each with the log-probabilities of what could have stood there."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a judge's model came back with for one question."""

    key: str
    text: str = ""
    error: str | None = None
    """Why there is no reply that could be used."""
    tokens: Tokens = ()
    """In soft mode, where they can be had."""
    notes: Fields = field(default_factory=dict)


_TAGS = r"think|thinking|thought|reasoning"
_THOUGHT = re.compile(
    rf"[<\[◁](?:{_TAGS})[>\]▷].*?(?:[<\[◁]/(?:{_TAGS})[>\]▷]|\Z)", re.DOTALL | re.IGNORECASE
)
_THOUGHT_END = re.compile(rf"[<\[◁]/(?:{_TAGS})[>\]▷]", re.IGNORECASE)
_ANSWER = re.compile(r"<(answer|output)>(.*?)(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_SPECIAL = re.compile(r"<\|[^|<>]*\|>")
_ASIDE = re.compile(r"(?<=\w)[ *_]*\([^()\n]*\)")  # "three (3)", "5 (2 red, 3 green)"

_MARKUP = r"[\s>*_#`\"'“”‘’\-–—•\[({.]*"
_PREFIX = rf"(?:(?:final\s+)?(?:caption|answer|output|result|response|reply|object|species)\W*[:=]{_MARKUP})?"
_REJECT = re.compile(
    rf"(?:^|[;,{{|.!?]){_MARKUP}{_PREFIX}"
    r"(?:reject(?:ed|ion)?\b(?=\W*$|[\"'*_\s]*[:=\-–—(.]|\s+(?:because|as|since|due|for)\b)"
    r"|error\b(?=\W*$|[\"'*_\s]*[:\-–—(]))"
    r"(?P<colon>[\"'*_\s]*[:=])?(?P<why>.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_NOT_REJECTED = re.compile(
    r"\W*(?:none|no|n/?a|false|null|not applicable|nothing)\b(?=\s*(?:$|[;,.}|\])\"'*]))", re.IGNORECASE
)
_REJECTS = re.compile(r"[^.;\n]*\breject(?:ed|ing|ion)?\b[^;\n]*", re.IGNORECASE)
_NEGATED = re.compile(r"\b(?:no|not|none|nothing|never|without)\b.*\breject|n't\b.*\breject", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\W*(?:i'?m|i am|sorry|apolog\w+|unfortunately|as an ai)\b.{0,60}?"
    r"\b(?:sorry|can'?t|cannot|unable|not able|ai)\b",
    re.IGNORECASE | re.DOTALL,
)
_UNCLEAR = re.compile(
    r"(?:it is |it's |is )?"
    r"(?:unclear|unknown|uncertain|unidentifi\w+|indetermin\w+|undetermined|undefined|ambiguous|unsure"
    r"|not (?:sure|clear|visible|certain|identifiable|determinable|applicable|present)"
    r"|(?:i )?(?:cannot|can ?not|can't|unable to|could not|not possible to) (?:be )?"
    r"(?:tell|say|determined?|identify|identified|see|seen|name|named)"
    r"|n/?a|none|nothing|no (?:object|person|fruit|flower)s?)(?: from the (?:picture|image))?",
    re.IGNORECASE,
)
_NUMBER = rf"(?:\d+|{'|'.join(NUMBERS)})"
_UNCOUNTED = re.compile(
    r"\b(?:many|several|numerous|multiple|countless|dozens|lots)\b|[~≥≤<>±]|\d\s*\+(?!\s*\d)"
    r"|\b(?:about|around|approximately|roughly|at least|at most|more than|over|fewer than|less than|up to|or)"
    rf"\s+{_NUMBER}"
    rf"|{_NUMBER}\s*(?:\bto\b|[-–—])\s*{_NUMBER}|{_NUMBER}\s+or\s+(?:more|so|fewer|less)\b",
    re.IGNORECASE,
)
_PLAIN = re.compile(
    r"(?:caption|answer|object|output)?\W*(?P<number>\w+)\s*[x×]?\s+(?P<kind>[^\d,;:.\n]+?)\W*", re.IGNORECASE
)
_NOUN = re.compile(rf"^(?!(?:{'|'.join(NUMBERS)})$).*[^\W\d_]")
_ALONGSIDE = re.compile(
    r"[,;:./(\[{]|\s+(?:in|on|with|at|of|from|for|near|under|behind|against|holding|wearing|that|which)\s+"
)
_TRAILING = re.compile(
    r"(?:flower|fruit|blossom|bloom|slice|piece|bunch|plant|toy|figure|figurine|icon|emoji|drawing|illustration"
    r"|symbol|shape|object)(?:s|es)?"
)


def final_words(text: str) -> str:
    """Return a reply without its thoughts, tags and special tokens.

    >>> final_words("<think>Three? No.</think>\\n<answer>count: 2; object: cup</answer>")
    'count: 2; object: cup'
    """
    text = unicodedata.normalize("NFKC", text)
    text = _THOUGHT_END.split(_THOUGHT.sub("", text))[-1]  # some models are started inside the tag
    if answers := _ANSWER.findall(text):
        text = answers[-1][1]
    return _SPECIAL.sub("", text).strip()


def read_observation(view: View, reply: Reply) -> Observation:
    """Read stage one's reply: filled slots, a rejection, or an error that quotes what was said."""
    slots, malformed, error = ({}, None, reply.error) if reply.error else _read(view, final_words(reply.text))
    return Observation(view.key, slots, malformed, error, reply.text or None, reply.notes)


def _read(view: View, text: str) -> tuple[Fields, str | None, str | None]:
    """Return slots, why the picture breaks the rules, and why nothing could be read."""
    rubric = view.rubric
    if not text:
        return {}, None, "said nothing"
    text = _ASIDE.sub("", text)
    readings = list(_readings(view, text))
    slots = readings[-1]
    whole = all(name in slots for name in rubric.slots)
    why = _rejection(text, whole) or _broken_rule(rubric, text, readings)
    if why and rubric.spec.reject and not (_REFUSAL.match(text) and not whole):
        return slots, why, None
    if why or _REFUSAL.match(text) or not whole:
        missing = [name for name in rubric.slots if name not in slots]
        reason = f"no {' and no '.join(missing)} in it" if missing and not why else "no answer"
        return slots, None, f"said {quoted(text)}: {reason}"
    if len({str(reading) for reading in readings}) > 1:
        return slots, None, f"said {quoted(text)}: more than one answer"
    return slots, None, None


def quoted(text: str) -> str:
    """Return words fit for one line of a message."""
    line = " ".join(text.split())
    return repr(line if len(line) <= 120 else f"{line[:117]}...")


def _rejection(text: str, whole: bool) -> str | None:
    """Return what a reply says it rejects the picture for."""
    for found in _REJECT.finditer(text):
        why = found["why"].strip(" \t*_`\"'“”:=,;}])-–—.({[>")
        if why and not _NOT_REJECTED.match(found["why"].lstrip(" \t*_`\"'“”:=")):
            return why
        if not why and (not whole or not found["colon"]):
            rest = [line.strip(" *_`\"'-–—•.") for line in text[found.end() :].splitlines()]
            return next(filter(None, rest), "rejected")
    if not whole and (said := _REJECTS.search(text)) and not _NEGATED.search(said[0]):
        return said[0].strip()
    return None


def _broken_rule(rubric: Rubric, text: str, readings: Sequence[Fields]) -> str | None:
    """Return which rule a picture breaks by what is said of it, though the reply does not reject it."""
    kinds = [name for name, slot in rubric.slots.items() if slot.type == "kind"]
    for name in kinds:
        if len(found := {str(reading[name]) for reading in readings if name in reading}) > 1:
            return f"more than one {name}: {', '.join(sorted(found))}"
    labelled = rubric.labelled(text)
    for name, slot in rubric.slots.items():
        said = _bare(labelled.get(name, ""))
        if slot.type == "kind" and len(found := _kinds_named(said)) > 1:
            return f"more than one {name}: {', '.join(sorted(found))}"
        unclear = _UNCLEAR.fullmatch(said) and slot.canonical(said) not in slot.values
        if unclear or (slot.type == "count" and _UNCOUNTED.search(said)):
            return f"{name}: {said}"
    return text if _UNCLEAR.fullmatch(_bare(text)) else None


def _bare(text: str) -> str:
    return text.strip(" \t\n.,;:!?\"'“”‘’`*_()[]{}")


def _readings(view: View, text: str) -> Iterator[dict[str, Any]]:
    """Yield each whole answer in a reply, most often one; the last comes last, whole or not."""
    rubric = view.rubric
    first = re.escape(next(iter(rubric.slots)))
    parts = re.split(rf"(?=\b{first}\b\W{{0,4}}[:=])", text, flags=re.IGNORECASE)
    labelled = [part for part in parts if set(rubric.labelled(part)) == set(rubric.slots)]
    yield from (_slots(view, part) for part in labelled or [text])


def _slots(view: View, text: str) -> dict[str, Any]:
    rubric = view.rubric
    slots = rubric.read(text, view.names)
    labelled = rubric.labelled(text)
    plain = _PLAIN.fullmatch(text.strip()) if not labelled else None
    for name, slot in rubric.slots.items():
        if slot.type == "kind":
            phrase = labelled.get(name) or (plain["kind"] if plain and "count" in rubric.slots else "")
            if phrase and not _UNCLEAR.fullmatch(_bare(phrase)) and (kind := head_noun(phrase)):
                slots[name] = slot.canonical(kind)
            elif _UNCLEAR.fullmatch(_bare(phrase or text)) or not _NOUN.search(str(slots.get(name, ""))):
                slots.pop(name, None)
    return with_category(rubric, slots)


def with_category(rubric: Rubric, slots: dict[str, Any]) -> dict[str, Any]:
    """Add the category of a named species: who says "peach" has said that it is a fruit."""
    if "category" in rubric.slots and "category" not in slots:
        kind = find_kind(str(slots.get("species", "")))
        slots |= {"category": kind.category} if kind else {}
    return slots


def head_noun(phrase: str) -> str | None:
    """Return the kind that a noun phrase names, by its last words, not by any word in it; else its own words.

    >>> head_noun("two orange balloons on a table"), head_noun("Rose flower"), head_noun("apple pies")
    ('balloon', 'rose', 'apple pies')
    """
    phrase = _bare(phrase).lower()
    if whole := find_kind(re.sub(r"^(?:an?|the|\d+)\s+", "", phrase)):
        return whole.name
    words = _ALONGSIDE.split(phrase)[0].split()
    while words:
        for many in (3, 2, 1):
            if kind := find_kind(" ".join(words[-many:])):
                return kind.name
        if not _TRAILING.fullmatch(words[-1]):
            break
        words.pop()
    return _ALONGSIDE.split(phrase)[0] or None


def _kinds_named(phrase: str) -> set[str]:
    """Return the kinds of ours that a phrase lists."""
    parts = re.split(r"\s*(?:,|/|&|\band\b|\bor\b|\bplus\b|\+)\s*", phrase.lower())
    found = (head_noun(part) for part in parts if part)
    return {kind for kind in found if kind and find_kind(kind)}


_ASKED = re.compile(r"\byes\W+(?:or\W+)?no\b", re.IGNORECASE)
_VERDICT = re.compile(
    r"(?:score|answer|verdict|result|match|agree|conclusion|decision|output)\w*[\s*_`\"'\])]*(?:[:=]|\bis\b|->|→)"
    rf"{_MARKUP}(yes|no|true|false)\b",
    re.IGNORECASE,
)
_FIRST_WORD = re.compile(
    rf"{_MARKUP}(yes|true|false|no(?!\s+(?:differ|discrepanc|mismatch|problem|issue|doubt|other|further|more)))\b"
)
_LAST_WORD = re.compile(r"\b(yes|no)$")
_TRUE = frozenset({"yes", "true"})


def read_yes(text: str) -> bool | None:
    """Return whether stage two's reply means yes; None when it means neither.

    A labelled verdict counts first ("Score: YES"), then the first word, then the last.
    """
    text = _ASKED.sub("", final_words(text))
    if labelled := _VERDICT.findall(text):
        return labelled[-1].lower() in _TRUE
    text = _bare(text).lower()
    word = _FIRST_WORD.match(text) or _LAST_WORD.search(text)
    return word[1] in _TRUE if word else None


def probability_of_yes(tokens: Tokens) -> float | None:
    """Return P(yes) against P(no) where a reply says either; None when no token does.

    Words differ in case and in a space before them; all forms of a word count together.

    >>> round(probability_of_yes([("Yes", {"Yes": math.log(0.6), " no": math.log(0.2), "The": -3.0})]), 3)
    0.75
    """
    for token, others in reversed(tokens):
        if _word(token) in ("yes", "no"):
            share = {"yes": 0.0, "no": 0.0}
            for other, log_probability in others.items():
                if (word := _word(other)) in share:
                    share[word] += math.exp(log_probability)
            both = share["yes"] + share["no"]
            return share["yes"] / both if both else None
    return None


def _word(token: str) -> str:
    return token.strip(" \n*_`\"'.,[]()▁Ġ").lower()
