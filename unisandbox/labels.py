"""A person's labels of pictures: what to show, how they are kept, and how far judges agree with them.

What is labelled is a picture held against a target under a rubric, never a trial: the same picture in two
modes is asked about once. Labels are JSON lines in the run folder; of several for one picture the last
counts.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from unisandbox.errors import RunFolderError, UsageError
from unisandbox.records import Fields
from unisandbox.run_log import GENERATIONS, VERDICTS, pictures_in, read_lines
from unisandbox.stats import Estimate, cohens_kappa, ratio

LABELS, EXPORT = "labels.jsonl", "calibrate.jsonl"
CHOICES = ("yes", "no", "unsure")


@dataclass(frozen=True, slots=True)
class Question:
    """Does this picture show what it should?"""

    id: str
    image: str
    """Name of the file under ``images/``."""
    rubric: str
    target: Fields


@dataclass(frozen=True, slots=True)
class Standing:
    """How one judge stands to a person's labels; those unsure, or without a verdict, are left out."""

    judge: str
    n: int
    agreed: Estimate
    """Share of pictures with the same verdict."""
    kappa: Estimate
    """Cohen's: 0 is what chance gives, 1 is perfect."""
    table: Mapping[tuple[str, str], int]
    """(label, the judge's ``yes`` or ``no``) -> pictures."""


def questions(folder: Path) -> list[Question]:
    """Return what there is to label in a run, in a fixed order that says nothing of mode or verdict."""
    found = {question.id: question for question, _, _ in _judged(folder)}
    return [found[name] for name in sorted(found)]


def read_labels(folder: Path) -> dict[str, str]:
    """Return the last label of each question; a line that is none is a warning. Raises RunFolderError."""
    path, found = folder / LABELS, dict[str, str]()
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror or error}.") from None
    for number, line in enumerate(lines, 1):
        try:
            value = orjson.loads(line)
            if value["label"] not in CHOICES:
                raise ValueError
            found[str(value["id"])] = value["label"]
        except (ValueError, KeyError, TypeError):
            print(f"warning: {path}:{number}: not a label, left out", file=sys.stderr)
    return found


def add_label(folder: Path, question: Question, label: str) -> None:
    """Append a label in one write; raises UsageError for a word that is none, RunFolderError."""
    if label not in CHOICES:
        raise UsageError(f"The label is {label!r}, expected one of {', '.join(CHOICES)}.")
    line = {
        "id": question.id,
        "image": question.image,
        "rubric": question.rubric,
        "target": question.target,
        "label": label,
    }
    path = folder / LABELS
    try:
        with path.open("a+b", buffering=0) as file:
            torn = file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n"
            file.write(b"\n" * torn + orjson.dumps(line) + b"\n")
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error.strerror or error}.") from None


def export(folder: Path) -> Path:
    """Write the labels as ``calibrate --images RUN/images --labels FILE`` reads them; return the file.

    JSON lines with file, rubric, target and label (yes or no; the unsure are left out). Raises
    RunFolderError.
    """
    labels, path = read_labels(folder), folder / EXPORT
    lines = [
        {"file": one.image, "rubric": one.rubric, "target": one.target, "label": label}
        for one in questions(folder)
        if (label := labels.get(one.id)) in ("yes", "no")
    ]
    try:
        path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path


def standings(folder: Path) -> list[Standing]:
    """Return how every judge stands to the labels; nothing where there are none."""
    labels = read_labels(folder)
    verdicts: dict[str, dict[str, str]] = {}
    for question, judge, outcome in _judged(folder) if labels else ():
        if labels.get(question.id) in ("yes", "no") and outcome != "error":
            verdicts.setdefault(judge, {})[question.id] = "yes" if outcome == "correct" else "no"
    return [_standing(judge, labels, said) for judge, said in sorted(verdicts.items())]


def _standing(judge: str, labels: Mapping[str, str], said: Mapping[str, str]) -> Standing:
    pairs = [(labels[name], verdict) for name, verdict in said.items()]
    table = {(a, b): pairs.count((a, b)) for a in ("yes", "no") for b in ("yes", "no")}
    first, second = zip(*pairs, strict=True)
    agreed = ratio([a == b for a, b in pairs], list(said))
    return Standing(judge, len(pairs), agreed, cohens_kappa(first, second), table)


def _judged(folder: Path) -> Iterator[tuple[Question, str, str]]:
    """Yield every verdict about a picture that is there: the question, the judge, the outcome."""
    pictures = {line["key"]: line.get("image") for line in read_lines(folder / GENERATIONS, warn=False)}
    there = pictures_in(folder)
    verdicts = {(line["key"], line["judge"]): line for line in read_lines(folder / VERDICTS, warn=False)}
    for (key, judge), line in verdicts.items():
        if (image := pictures.get(key)) in there:
            rubric, target = str(line.get("rubric", "")), line.get("target", {})
            asked = orjson.dumps([image, rubric, target], option=orjson.OPT_SORT_KEYS)
            name = hashlib.blake2b(asked, digest_size=8).hexdigest()
            yield Question(name, str(image), rubric, target), judge, line["outcome"]
