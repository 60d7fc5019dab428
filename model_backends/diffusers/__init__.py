"""``diffusers``: any text-to-image pipeline of the library diffusers, alone or behind a model that rewrites.

A pipeline draws and does nothing else: alone it is what shows which pictures can be drawn at all. With
``rewriter=``, a language model writes the words, so that the pair is the baseline of the field in which
understanding and drawing share no weights: the one works out what to draw, the other draws it.
"""

from collections.abc import Mapping


def does(options: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the model can do with these options: words only with a rewriter.

    >>> does({"model": "some/pipeline"})
    ('image',)
    """
    return ("image", "text") if {"rewriter", "rewriter_base_url"} & set(options) else ("image",)
