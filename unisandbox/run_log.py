"""The run folder: append-only JSON lines, locked against a second writer, resumable after any end.

::

    run.json            what is run: versions, fingerprints, settings
    generations.jsonl   one line a trial, as it came
    verdicts.jsonl      one line a trial and judge
    images/             written once, named by content
    results.json        scores; the same bytes however often the run was interrupted
    report.html         the page about it, written by the command line
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, get_args

import filelock
import orjson

from unisandbox.errors import RunFolderError
from unisandbox.files import whole
from unisandbox.matrix import Ask, Trial
from unisandbox.records import Finish, Generation, Image, Outcome, Verdict
from unisandbox.scores import CODES

RUNS = Path("runs")
"""Where runs lie when nobody says where."""
FORMAT = 1
GENERATIONS, VERDICTS, IMAGES = "generations.jsonl", "verdicts.jsonl", "images"
RUN, RESULTS, CALIBRATION = "run.json", "results.json", "calibration.json"
REPORT = "report.html"
LOCK = ".lock"

_SHAPES: dict[str, dict[str, type]] = {
    RUN: {"matrix": dict, "options": dict, "asks": list},
    RESULTS: {"cells": list, "finished": bool},
    CALIBRATION: {"judge": str, "about": dict, "pictures": str, "started": str, "rubrics": dict},
}

_NAMES = ("key", "task", "mode", "model", "sample", "unit", "repeat")
_TYPES = [str, str, str, str, str, str, int]
_named = itemgetter(*_NAMES)
_FINISHES, _OUTCOMES = get_args(Finish), get_args(Outcome)

ANSWERED, UNANSWERED, FAILED = 1, 2, 3
"""How a trial stands: a generation to judge, no answer of the model (a verdict by itself), or an error."""


class AskState:
    """How far one ask is: a byte a trial, and a byte a trial and judge."""

    __slots__ = ("ask", "generated", "verdicts")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.generated = bytearray(ask.trials)
        self.verdicts = {judge.label: bytearray(ask.trials) for judge in ask.judges}

    def missing(self) -> Iterator[int]:
        """Yield the trials to ask: those not asked yet and those that ended in an error."""
        return (index for index, state in enumerate(self.generated) if state in (0, FAILED))

    def unjudged(self, judge: str) -> set[int]:
        """Return the trials that have a generation but no verdict of this judge, or only an error."""
        codes = self.verdicts[judge]
        redo = (0, CODES["error"])
        asked = (ANSWERED, UNANSWERED)
        return {i for i, state in enumerate(self.generated) if state in asked and codes[i] in redo}

    def outcomes(self, judge: str) -> bytearray:
        """Return a code a trial, failed generations counted as errors."""
        codes = bytearray(self.verdicts[judge])
        for index, state in enumerate(self.generated):
            if state == FAILED:
                codes[index] = CODES["error"]
        return codes


class RunLog:
    """One run folder, open for writing. Use as a context manager.

    A run whose model fails before it has answered anything leaves nothing behind.
    """

    def __init__(
        self, folder: Path, *, fresh: bool = False, has: Callable[[Path], bool] = Path.is_file
    ) -> None:
        """Create or open the folder and lock it; raises RunFolderError.

        ``has`` says whether a picture can be read back, and may fetch it.
        """
        self.folder = folder
        self._has = has
        self._made = not folder.exists()
        try:
            (folder / IMAGES).mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(folder / LOCK, blocking=False)
            self._lock.acquire()
        except filelock.Timeout:
            raise RunFolderError(
                f"{folder}: another process is writing this run. Wait for it, or choose another --out."
            ) from None
        except OSError as error:
            raise _unwritable(folder, error) from None
        with ExitStack() as opened:
            opened.callback(self._lock.release)
            try:
                if fresh:
                    self._clear()
                self._generations = opened.enter_context(self._open(GENERATIONS))
                self._verdicts = opened.enter_context(self._open(VERDICTS))
                self._end = (folder / GENERATIONS).stat().st_size
                self._fresh = not (folder / RUN).exists()
            except OSError as error:
                raise _unwritable(folder, error) from None
            self._opened = opened.pop_all()
        self._places: dict[tuple[str, str, str], array[int]] = {}
        """Ask -> where the last generation of each trial lies in the log; -1: nowhere."""

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        failed = kind is not None and issubclass(kind, Exception) and not issubclass(kind, RunFolderError)
        if self._fresh and failed:
            with suppress(OSError):
                self._leave_nothing()
        self._opened.close()

    def _leave_nothing(self) -> None:
        """Take back what was written here, unless something was answered.

        A model that cannot be loaded is most often misnamed: the folder is then free for the one meant.
        """
        logs = [self.folder / name for name in (GENERATIONS, VERDICTS)]
        if any(log.stat().st_size for log in logs):
            return
        (self.folder / IMAGES).rmdir()
        for path in (*logs, self.folder / RESULTS, self.folder / RUN, self.folder / LOCK):
            path.unlink(missing_ok=True)
        if self._made:
            self.folder.rmdir()

    def _clear(self) -> None:
        """Delete what a run wrote, ``run.json`` last: where there is none, the files may be somebody's."""
        logs = [self.folder / name for name in (GENERATIONS, VERDICTS, RESULTS, CALIBRATION, REPORT)]
        if not (self.folder / RUN).exists():
            files = [path for path in logs if path.exists() and path.stat().st_size]
            if files := [*files, *(self.folder / IMAGES).iterdir()]:
                raise RunFolderError(
                    f"{self.folder} is not a run folder: it has no {RUN}. --fresh would delete "
                    f"{files[0].relative_to(self.folder)}. Choose another --out."
                )
        for path in logs:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / IMAGES)
        (self.folder / IMAGES).mkdir()
        (self.folder / RUN).unlink(missing_ok=True)

    def _open(self, name: str) -> BinaryIO:
        """Open a log for appending, after dropping a last line that was torn by a sudden end."""
        path = self.folder / name
        if path.exists():
            _drop_torn_line(path)
        return path.open("ab", buffering=0)  # each line reaches the system in one write

    def begin(
        self,
        description: Mapping[str, Any],
        about: Mapping[str, Any],
        fix: str = "Choose another --out, or start over with --fresh.",
    ) -> bool:
        """Write ``run.json``, or check that the folder holds this very run; return whether it goes on.

        Raises RunFolderError naming what differs, and the ``fix``.
        """
        path = self.folder / RUN
        matrix = json.loads(json.dumps(description))
        if path.exists():
            before = read_json(path)
            if changed := difference(before.get("matrix", {}), matrix):
                raise RunFolderError(f"{self.folder} holds a run of another matrix: {changed}. {fix}")
            for name in (RESULTS, REPORT):  # what stands there is about to be outdated
                self._remove(name)
            return True
        if (self.folder / GENERATIONS).stat().st_size:
            raise RunFolderError(
                f"{self.folder} holds a log, but no {RUN} that says of what. Choose another --out, or "
                "restore it."
            )
        self.write_json(RUN, {"format": FORMAT, "matrix": matrix, **about})
        return False

    def note(self, section: str, name: str, value: Mapping[str, Any]) -> None:
        """Add to ``run.json`` what a model or judge says of itself, once it is loaded."""
        about = read_json(self.folder / RUN)
        about.setdefault(section, {})[name] = dict(value)
        self.write_json(RUN, about)

    def change(self, **sections: Any) -> None:
        """Write sections of ``run.json`` anew."""
        self.write_json(RUN, {**read_json(self.folder / RUN), **sections})

    def noted(self, section: str, name: str) -> dict[str, Any]:
        """Return what was noted, nothing if nothing was."""
        found: dict[str, Any] = read_json(self.folder / RUN).get(section, {}).get(name, {})
        return found

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a file whole or not at all."""
        self._write_whole(self.folder / name, (json.dumps(value, indent=1, default=str) + "\n").encode())

    def _remove(self, name: str) -> None:
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def _write_whole(self, path: Path, data: bytes) -> None:
        try:
            with whole(path) as beside:
                beside.write_bytes(data)
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def _append(self, file: BinaryIO, line: Mapping[str, Any]) -> int:
        """Append a line; return how long it is."""
        try:
            data = orjson.dumps(line, default=str) + b"\n"
        except TypeError:  # half a character, or a key that is no string
            data = orjson.dumps(_mended(line)) + b"\n"
        try:
            written = file.write(data)
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        if written != len(data):  # a disk that filled up in the middle of a line
            raise _unwritable(self.folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        return written

    def generation(self, ask: Ask, trial: Trial, prompt: str, generation: Generation) -> None:
        """Append a generation; its image is written first, so that no line names a missing file."""
        image = generation.image
        if image is not None and not (path := self.folder / IMAGES / image.name).exists():
            self._write_whole(path, image.data)
        line = {
            **_trial_fields(ask, trial),
            "seed": trial.seed,
            "finish": generation.finish,
            "prompt": prompt,
            "thought": generation.thought,
            "text": generation.text,
            "image": image.name if image is not None else None,
            "error": generation.error,
            "notes": generation.notes or None,
        }
        place = self._end
        self._end += self._append(
            self._generations, {key: value for key, value in line.items() if value is not None}
        )
        self._places_of(ask)[trial.index] = place

    def verdict(
        self, ask: Ask, trial: Trial, judge: str, rubric: str, target: Mapping[str, Any], verdict: Verdict
    ) -> None:
        """Append a verdict with the target it was held against."""
        line = {
            **_trial_fields(ask, trial),
            "judge": judge,
            "rubric": rubric,
            "outcome": verdict.outcome,
            "reason": verdict.reason or None,
            "observed": verdict.observed or None,
            "target": target,
            "probability": verdict.probability,
            "raw": verdict.raw or None,
            "notes": verdict.notes or None,
        }
        self._append(self._verdicts, {key: value for key, value in line.items() if value is not None})

    def load(self, states: Mapping[tuple[str, str, str], AskState]) -> None:
        """Fill in how far each ask is, and note where its generations lie."""
        trial_of = finder([state.ask for state in states.values()])
        self._places = {}
        for place, line in placed_lines(self.folder / GENERATIONS):
            if found := trial_of(line):
                ask, index = found
                states[ask.id].generated[index] = standing(line["finish"], "image" in line)
                self._places_of(ask)[index] = place
        for line in read_lines(self.folder / VERDICTS):
            if found := trial_of(line):
                ask, index = found
                if (codes := states[ask.id].verdicts.get(line["judge"])) is not None:
                    codes[index] = CODES[line["outcome"]]

    def _places_of(self, ask: Ask) -> array[int]:
        if (places := self._places.get(ask.id)) is None:
            places = self._places[ask.id] = array("q", [-1]) * ask.trials
        return places

    def generations_of(
        self, ask: Ask, wanted: Iterable[int] | None = None
    ) -> Iterator[tuple[int, Generation]]:
        """Yield the generations of an ask by trial, the last one of each; pictures are read back.

        Of those that were logged before, what ``load`` has found.
        """
        places = self._places_of(ask)
        chosen = range(ask.trials) if wanted is None else wanted
        with (self.folder / GENERATIONS).open("rb") as file:
            for place, index in sorted((places[index], index) for index in chosen if places[index] >= 0):
                file.seek(place)
                yield index, self._read_back(orjson.loads(file.readline()))

    def _read_back(self, line: Mapping[str, Any]) -> Generation:
        image, error, finish = None, line.get("error"), line["finish"]
        if name := line.get("image"):
            path = self.folder / IMAGES / name
            image = Image(path, path.suffix)  # left on disk: an ask can have more pictures than memory
            if not self._has(path):
                image, finish, error = None, "error", f"the picture cannot be read back: {name} is gone"
        return Generation(
            line["key"], image, line.get("text"), line.get("thought"), finish, error, line.get("notes", {})
        )


def standing(finish: str, has_image: bool) -> int:
    """Return how a generation that ended so stands; a picture after a thought cut short is an answer."""
    if finish == "error":
        return FAILED
    return ANSWERED if finish == "complete" or (finish == "truncated" and has_image) else UNANSWERED


def read_json(path: Path) -> dict[str, Any]:
    """Read ``run.json`` or ``results.json``; raises RunFolderError."""
    try:
        value = json.loads(path.read_bytes())
        _check_shape(path.name, value)
    except FileNotFoundError:
        raise RunFolderError(f"{path.parent} is not a run folder: it has no {path.name}.") from None
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{path} cannot be read: {error}. Start over with --fresh, or restore the file."
        ) from None
    if (found := value.get("format", FORMAT)) != FORMAT:
        raise RunFolderError(
            f"{path}: written in log format {found}, this version reads {FORMAT}. "
            "Use the version of unisandbox that wrote it."
        )
    return dict(value)


def _check_shape(name: str, value: Any) -> None:
    """Raise ValueError where a file of this format lacks what every one of them has."""
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {value!r:.20}")
    if value.get("format", FORMAT) == FORMAT:
        for key, kind in _SHAPES[name].items():
            if not isinstance(value.get(key), kind):
                raise ValueError(f"the key {key!r} is missing or not {kind.__name__}")


def pictures_in(folder: Path) -> set[str]:
    """Return the names of the pictures that are there."""
    images = folder / IMAGES
    return {path.name for path in images.iterdir()} if images.is_dir() else set()


def read_lines(path: Path, *, warn: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the log's lines; one that is not fit for use is a warning, and its trial counts as not done."""
    return (line for _, line in placed_lines(path, warn=warn))


def placed_lines(path: Path, *, warn: bool = True) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield where each line begins, and the line, as ``read_lines`` does."""
    if not path.exists():
        return
    place = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                value = None
            if _usable(value):
                yield place, value
            elif warn and line.endswith(b"\n"):
                _warn_once(path, number)
            place += len(line)


_WARNED: set[tuple[Path, int]] = set()


def _warn_once(path: Path, number: int) -> None:
    """Say which line is none; a report reads the same log for its scores, its causes and its samples."""
    if (place := (path.resolve(), number)) not in _WARNED:
        _WARNED.add(place)
        print(f"warning: {path}:{number}: not a log line, left out", file=sys.stderr)


def _usable(line: Any) -> bool:
    """Whether a line says whose it is and what came of it."""
    try:
        return (
            [*map(type, _named(line))] == _TYPES
            and line["repeat"] >= 0
            and (line.get("finish") in _FINISHES or ("judge" in line and line.get("outcome") in _OUTCOMES))
        )
    except (TypeError, LookupError):  # no object, or not all of it
        return False


def _trial_fields(ask: Ask, trial: Trial) -> dict[str, Any]:
    task, mode, model = ask.id
    return {
        "key": trial.key,
        "task": task,
        "mode": mode,
        "model": model,
        "sample": trial.sample.id,
        "unit": trial.sample.unit,
        "repeat": trial.repeat,
    }


def finder(asks: Iterable[Ask]) -> Callable[[Mapping[str, Any]], tuple[Ask, int] | None]:
    """Return a function from a log line to its ask and the number of its trial; None for none of these."""
    asks = list(asks)
    samples = {ask.task.name: ask.samples for ask in asks}
    numbers = {name: {one.id: number for number, one in enumerate(rows)} for name, rows in samples.items()}
    known = {ask.id: (ask, numbers[ask.task.name]) for ask in asks}

    def trial_of(line: Mapping[str, Any]) -> tuple[Ask, int] | None:
        ask, number_of = known.get((line["task"], line["mode"], line["model"]), (None, {}))
        number = number_of.get(line["sample"])
        if ask is None or number is None or line["repeat"] >= ask.repeats:
            return None
        return ask, number * ask.repeats + int(line["repeat"])

    return trial_of


def _mended(line: Mapping[str, Any]) -> Any:
    """Return a line as plain JSON values; half a character becomes a question mark."""
    text = json.dumps(line, default=str, ensure_ascii=False, skipkeys=True)
    return json.loads(text.encode("utf-8", "replace"))


def _drop_torn_line(path: Path) -> None:
    with path.open("r+b") as file:
        size = position = file.seek(0, os.SEEK_END)
        while position:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < size:
            file.truncate(position)


def difference(before: Any, now: Any, path: str = "") -> str:
    """Return the first place where two descriptions differ, in words; '' when they agree."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            place = f"{path}.{key}" if path else key
            if key not in before or key not in now:
                return f"{place} is {'new' if key not in before else 'gone'}"
            if found := difference(before[key], now[key], place):
                return found
        return ""
    return "" if before == now else f"{path} was {before!r} and is now {now!r}"


def _unwritable(folder: Path, error: OSError) -> RunFolderError:
    if error.errno == errno.ENOSPC:
        return RunFolderError(
            f"{folder}: the disk is full. What is written is kept: free some space and run the same command."
        )
    return RunFolderError(f"{folder}: cannot be written: {error.strerror or error}. Choose another --out.")
