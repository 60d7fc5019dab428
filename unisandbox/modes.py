"""The modes: the ways one sample is asked, so that the pattern of passes names the cause."""

from dataclasses import dataclass

from unisandbox.records import Output


@dataclass(frozen=True, slots=True)
class Mode:
    """How a sample is asked, what comes back, and what a failure means."""

    name: str
    gets: str
    output: Output
    failure: str
    needs: frozenset[str]
    """What the backend must be able to do."""
    after: str | None = None
    """The mode whose generation this one is made from."""


def _mode(name: str, gets: str, output: Output, failure: str, *also: str, after: str | None = None) -> Mode:
    return Mode(name, gets, output, failure, frozenset({output, *also}), after)


MODES = {
    mode.name: mode
    for mode in (
        _mode("direct", "the question", "image", "the headline: it did not draw what it should"),
        _mode("cot", "the question, and thinks first", "image", "thinking first does not help"),
        _mode("answer", "the question, answer in words", "text", "it cannot reason"),
        _mode("recall", "the facts the sample rests on, asked in words", "text", "it does not know"),
        _mode("render", "the resolved prompt, made from the target", "image", "it cannot draw this"),
        _mode(
            "refined",
            "only the conclusion of its own thought",
            "image",
            "the context was not what stood in the way",
            after="cot",
        ),
        _mode("gold", "the question with a correct thought put in", "image", "a right thought is not enough"),
        _mode(
            "planted",
            "the question with a wrong thought put in",
            "image",
            "the picture did not follow the planted text",
        ),
        _mode(
            "caption", "its own direct picture", "text", "it misreads its own picture", "see", after="direct"
        ),
    )
}
"""In the order of DESIGN: a mode always stands behind the one it is made from."""

ABILITIES = {
    "image": "draws pictures",
    "text": "writes text",
    "think": "thinks natively before it answers",
    "see": "takes pictures in",
    "train": "can be fine-tuned",
    "hidden": "hands out its hidden states",
    "end_to_end": "thinks unseen before it draws",
}


def lacking(mode: Mode, does: frozenset[str]) -> frozenset[str]:
    """Return what a backend that ``does`` these things lacks for ``mode``.

    Thinking can be native, or two calls made by the harness, which take text. A mode made from another needs
    what that one needs.

    >>> sorted(lacking(MODES["cot"], frozenset({"image"})))
    ['think']
    >>> sorted(lacking(MODES["cot"], frozenset({"image", "text"})))
    []
    """
    needs = mode.needs
    if mode.name in ("cot", "refined") and not does & {"think", "text"}:
        needs = needs | {"think"}
    if mode.after:
        needs = needs | lacking(MODES[mode.after], does)
    return needs - does
