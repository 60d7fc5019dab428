"""The text tokenizer: one token a word, digit or sign; a word it does not know is spelled in letters.

So any invented name can be read and written without a new embedding, and what holds of the digits of one
number holds of those of another: with a token for each number it computed with those it had practised, and
hardly with others. The last digit of a number is the token that it is alone.
Case, spacing and quotes (brackets like these [ ] are some) do not count: what is quoted is followed at once
by what is said of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from string import ascii_lowercase, digits

PAD, USER, MODEL, THINK, END, ODD = range(6)
"""Padding; what opens a turn of the user, one of the model, and a thought; what ends a thought or an answer;
a sign that cannot be spelled."""

_SPECIAL = ("<pad>", "<user>", "<model>", "<think>", "<end>", "<odd>")
_FIRST, _NEXT = "^", "+"
_LETTERS = tuple(place + letter for place in (_FIRST, _NEXT) for letter in ascii_lowercase + digits)
_ALONE = frozenset(ascii_lowercase)
"""A letter alone is a symbol, and no word that is not known."""
_QUOTES = "'\"“”‘’[]"
_PIECE = re.compile(rf"'s(?![\w'])|[A-Za-z]+|\d+|[^\x00-\x7f“”‘’]|[^\w\s{re.escape(_QUOTES)}]|_")


class Words:
    """A vocabulary of words, and both ways between text and tokens.

    >>> words = Words(["draw", "cups", "."])
    >>> words.text(words.tokens("Draw 3 cups.")), len(words.tokens("1234"))
    ('Draw 3 cups.', 4)
    >>> words.text(words.tokens("DRAW Zemira")), words.unknown("Draw 3 dragons of Zemira.")
    ('Draw Zemira', ['dragons', 'of'])
    """

    def __init__(self, known: Iterable[str]) -> None:
        self.known = tuple(known)
        self._names = (*_SPECIAL, *_LETTERS, *digits, *self.known)
        self._number = {word: number for number, word in enumerate(self._names)}

    def __len__(self) -> int:
        return len(self._names)

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text; a sign that cannot be spelled is ODD."""
        found: list[int] = []
        for piece in _PIECE.findall(text.lower()):
            number = self._number.get(piece)
            if number is not None and piece not in _SPECIAL:
                found.append(number)
            else:
                places = [_FIRST, *_NEXT * (len(piece) - 1)]
                if piece[-1] in digits:
                    places[-1] = ""
                found += [
                    self._number.get(place + sign, ODD) for place, sign in zip(places, piece, strict=True)
                ]
        return found

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, spaced and capitalised as English is; special tokens are left out."""
        pieces: list[str] = []
        goes_on = False  # a number of which a digit is to come
        for token in tokens:
            name = self._names[token] if token < len(self._names) else ""
            if token <= ODD or not name:
                continue
            spelled = token < len(_SPECIAL) + len(_LETTERS)
            if pieces and ((spelled and name[0] == _NEXT) or (goes_on and name in digits)):
                pieces[-1] += name[-1]
            else:
                pieces.append(name[-1].upper() if spelled else name)
            goes_on = spelled and name[1] in digits
        return _spaced(["a" if piece == "A" else piece for piece in pieces])

    def unknown(self, text: str) -> list[str]:
        """Return the words that are spelled for want of a token, except those with a capital: names."""
        pieces = {
            piece for piece in _PIECE.findall(text) if piece.lower() == piece and piece[0] not in digits
        }
        return sorted(piece for piece in pieces - _ALONE if piece not in self._number)


def learned(texts: Iterable[str], names: Collection[str], least: int = 3) -> Words:
    """Return the vocabulary of the words found at least so often in texts, without the given names."""
    counts = Counter(piece for text in texts for piece in _PIECE.findall(text.lower()))
    spelled = {name.lower() for name in names}
    return Words(
        sorted(
            word
            for word, count in counts.items()
            if count >= least and word not in spelled and not (word[0] in digits or word in _ALONE)
        )
    )


_BEFORE_NOTHING = frozenset(".,;:?!)^") | {"'s"}
_AFTER_NOTHING = frozenset("(√^¿")


def _spaced(pieces: Sequence[str]) -> str:
    """Join words and signs: no space before a full stop or after a bracket; sentences get capitals."""
    text, glued, start = "", True, True
    for piece in pieces:
        text += "" if glued or piece in _BEFORE_NOTHING else " "
        text += piece[0].upper() + piece[1:] if start else piece
        glued = piece in _AFTER_NOTHING
        start = piece in ".?!"
    return text
