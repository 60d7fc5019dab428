"""The values that flow through a run: samples, prompts, requests, generations, verdicts, scores.

All are frozen. ``Image`` holds an encoded picture and decodes it only when somebody looks.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

Fields = Mapping[str, Any]
Output = Literal["image", "text"]

Finish = Literal["complete", "truncated", "empty", "refused", "error"]
"""How a generation ended. ``error`` is a fault of the machinery, never of the model's answer."""

Outcome = Literal["correct", "incorrect", "rejected", "empty", "refused", "truncated", "error"]
"""What became of a trial: a judge's verdict, no answer of the model, or an error."""


class Image:
    """An encoded picture (PNG, JPEG or WebP bytes), decoded on demand.

    >>> from PIL import Image as pil
    >>> Image.from_pil(pil.new("RGB", (4, 4))).pil().size
    (4, 4)
    """

    def __init__(self, data: bytes | Path, suffix: str = ".png") -> None:
        """Take the bytes, or a path from which they are read whenever they are needed."""
        self._data = data
        self.suffix = suffix

    @classmethod
    def from_pil(cls, picture: PilImage) -> Image:
        """Encode a Pillow image as PNG, without loss."""
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG", compress_level=1)  # a fifth of the time, 10 % more bytes
        return cls(buffer.getvalue())

    @classmethod
    def from_file(cls, path: Path) -> Image:
        """Read a file as it is; its bytes are kept unchanged."""
        return cls(path.read_bytes(), path.suffix.lower())

    @property
    def data(self) -> bytes:
        """The encoded bytes; raises OSError when they lie in a file that is gone."""
        return self._data.read_bytes() if isinstance(self._data, Path) else self._data

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the encoded bytes, 32 hexadecimal digits: the file's name in a run folder."""
        return hashlib.sha256(self.data).hexdigest()[:32]

    @property
    def name(self) -> str:
        """File name by content."""
        return self.digest + self.suffix

    def pil(self) -> PilImage:
        """Decode; raises ``PIL.UnidentifiedImageError`` or ``OSError`` when it is no picture."""
        from PIL import Image as pil

        picture = pil.open(io.BytesIO(self.data))
        picture.load()
        return picture.convert("RGB")

    def __reduce__(self) -> tuple[type[Image], tuple[bytes, str]]:
        """Travel to other processes by content: a path may mean nothing there."""
        return Image, (self.data, self.suffix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a task."""

    id: str
    """Unique in its task, safe as a file name."""
    fields: Fields
    """The row's columns: the template variables of the task file."""
    unit: str
    """What it is counted in: its own id, or the cluster it belongs to."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the conversation put to a model."""

    role: Literal["user", "model"]
    text: str
    images: tuple[Image, ...] = ()
    thought: bool = False
    """A model turn that is a thought: a backend with a native thinking format puts it there."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked, and what it is to return."""

    turns: tuple[Turn, ...]
    output: Output
    think: bool = False
    """Think first, natively, and return the thought beside the answer."""

    @property
    def text(self) -> str:
        """The last user turn."""
        return self.turns[-1].text


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt on its way to a backend."""

    key: str
    """The trial's content key: comes back with the generation."""
    prompt: Prompt
    seed: int
    """Decides every random draw of this generation, whatever the batch it is in. 31 bits."""
    task: str
    sample_id: str
    mode: str
    repeat: int = 0
    sample: Sample | None = None
    """The row itself; only for backends registered with ``sees_target``."""
    target: Fields | None = None
    """The right answer in this mode; only for backends registered with ``sees_target``."""
    rubric: str | None = None
    """What it will be judged by; only for backends registered with ``sees_target``."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What a model returned for one request."""

    key: str
    image: Image | None = None
    text: str | None = None
    thought: str | None = None
    finish: Finish = "complete"
    error: str | None = None
    """Why there is no answer, when ``finish`` is ``error``."""
    notes: Fields = field(default_factory=dict)
    """Anything worth logging: a server's ids, whether the seed was honoured, timings."""


@dataclass(frozen=True, slots=True)
class Example:
    """What a model is to learn: a prompt, and the words or the picture that should follow it."""

    prompt: str
    text: str | None = None
    image: Image | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """Stage one of judging: what is there, written down without knowing the target."""

    key: str
    slots: Fields = field(default_factory=dict)
    """The rubric's slots, filled in."""
    malformed: str | None = None
    """Why the picture breaks the rubric's rules, if it does."""
    error: str | None = None
    """Why no observation could be had, if none could."""
    raw: str | None = None
    """The judge's own words."""
    notes: Fields = field(default_factory=dict)
    """Anything worth logging: that a picture was made smaller for the judge, say."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Stage two of judging: the observation held against the target."""

    key: str
    outcome: Outcome
    reason: str = ""
    """One line for a person."""
    observed: Fields = field(default_factory=dict)
    probability: float | None = None
    """P(correct), from judges that give one."""
    raw: tuple[str, ...] = ()
    """The judge's replies as they came, stage one first."""
    notes: Fields = field(default_factory=dict)
    """Anything worth logging: those of the observation, the votes of a panel."""


@dataclass(frozen=True, slots=True)
class Score:
    """A rate with its interval and everything that did not become part of it."""

    value: float | None
    """Share of scored units that are correct; None when no unit was scored."""
    low: float | None
    high: float | None
    """95 % interval."""
    n: int
    """Scored units (times repeats)."""
    unscored: int
    """Units with no verdict: an error in one of their trials, or not asked yet."""
    lowest: float | None
    """The score if every unscored unit were wrong."""
    highest: float | None
    """The score if every unscored unit were right."""
    outcomes: Mapping[str, int]
    """Trials by outcome."""

    @property
    def coverage(self) -> float:
        """Share of units that were scored; 1 when there is nothing to score."""
        total = self.n + self.unscored
        return self.n / total if total else 1.0

    @property
    def errors(self) -> int:
        """Trials that ended in an error of model or judge."""
        return self.outcomes.get("error", 0)
