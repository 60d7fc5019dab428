"""``command``: runs a model in a program of the user's own, which may live in any environment.

``docs/command.md`` is the protocol: one JSON object a line, requests in, answers out, in any order.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unisandbox.errors import BackendError, UsageError, unknown
from unisandbox.model_backends.command import DOES
from unisandbox.model_backends.command.worker import Stopped, Worker
from unisandbox.records import Fields, Finish, Generation, Image, Request

Ability = Literal["image", "text", "think", "see"]


class Hello(BaseModel):
    """The first line of a worker; more fields than these are welcome, and go to ``run.json``."""

    model_config = ConfigDict(extra="allow")

    protocol: Literal[1]
    model: str
    does: tuple[Ability, ...]
    in_flight: Annotated[int, Field(ge=1)] = 2
    """Two, so that it finds the next request when it is done with one."""
    weights: str | None = None
    """A digest."""


class Answer(BaseModel):
    """Every other line of a worker. An unknown field is an error: it would be an answer lost."""

    model_config = ConfigDict(extra="forbid")

    key: str
    image: Path | None = None
    text: str | None = None
    thought: str | None = None
    finish: Finish = "complete"
    error: str | None = None
    notes: dict[str, Any] = {}


class WorkerError(Exception):
    """A worker said that it could not answer a request, or named a picture that is none."""


class Command:
    """Keeps one worker busy, and starts it again when it crashes or hangs.

    What was in flight then is asked again, one at a time; a request that stops the worker twice is an error
    of its own, and the rest goes on.
    """

    def __init__(
        self,
        *,
        cmd: str,
        python: str = "",
        does: tuple[Ability, ...] = (),
        in_flight: Annotated[int, Field(ge=1)] | None = None,
        timeout: Annotated[float, Field(gt=0)] = 600.0,
        restarts: Annotated[int, Field(ge=0)] = 5,
        log: Path | None = None,
    ) -> None:
        """Start the worker and wait until it says hello.

        ``cmd``: the command line, without a shell; what begins with a ``.py`` file is run by ``python``
        (default: this one). ``does``: what the worker can do, ``image+text`` (default: all of image, text,
        think, see). ``in_flight``: requests sent before an answer is waited for (default: what the worker
        likes, else 2). ``timeout``: seconds without any answer, or hello, after which it hangs.
        ``restarts``: in a row, without an answer in between. ``log``: a file for its error stream (default:
        a temporary one, kept when something goes wrong). Raises UsageError for what cannot be run,
        BackendError for a worker that does not start.
        """
        self._words = command_words(cmd, python)
        self._timeout, self._restarts, self._stops = timeout, restarts, 0
        self._keep_log = log is not None
        self._log = _opened(log)
        self._pictures = tempfile.TemporaryDirectory(prefix="unisandbox-")
        self._worker: Worker | None = None
        try:
            self._hello = self._start()
            _check_abilities(self._hello, does)
        except BaseException:
            self._drop()
            self.close()
            raise
        self._in_flight = in_flight or self._hello.in_flight
        self.batch_size = 4 * self._in_flight  # it runs dry only at the end of a batch

    def describe(self) -> Fields:
        """What the worker said of itself, and how it was started."""
        return {
            **self._hello.model_dump(mode="json", exclude_none=True),
            "command": shlex.join(self._words),
            "in_flight": self._in_flight,
        }

    def close(self) -> None:
        """End the worker; remove the log, unless it is wanted or something went wrong."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        self._pictures.cleanup()
        if not self._keep_log:
            self._log.unlink(missing_ok=True)

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield answers as they come.

        Raises WorkerError, after all others, when the worker said of some that it could not answer them;
        BackendError when it stops again and again, or does not keep to the protocol.
        """
        todo = deque(requests)
        suspects: deque[Request] = deque()  # in flight when the worker stopped: one of them may be to blame
        stops: Counter[str] = Counter()
        flying: dict[str, tuple[Request, Path]] = {}  # each with a folder for its pictures
        fault = ""
        try:
            while todo or suspects or flying:
                worker = self._running()
                while len(flying) < (1 if suspects else self._in_flight) and (suspects or todo):
                    request = (suspects or todo).popleft()
                    folder = Path(tempfile.mkdtemp(dir=self._pictures.name))
                    flying[request.key] = request, folder
                    worker.send(_message(request, folder))
                try:
                    answer = _read(Answer, "answer", worker.receive(self._timeout))
                except Stopped as stopped:
                    self._stopped(stopped)
                    alone = len(flying) == 1
                    for key, (request, folder) in flying.items():
                        shutil.rmtree(folder, ignore_errors=True)
                        stops[key] += 1
                        if alone and stops[key] > 1:
                            reason = f"the worker stopped twice on this request: it {stopped}"
                            yield Generation(key, finish="error", error=reason)
                        else:
                            suspects.append(request)
                    flying.clear()
                    continue
                if answer.key not in flying:
                    raise BackendError(
                        f"model 'command': the worker answered the key {answer.key!r}, which it was not "
                        "asked, or had answered."
                    )
                self._stops = 0
                _, folder = flying.pop(answer.key)
                try:
                    yield _generation(answer)
                except WorkerError as error:
                    fault = fault or str(error)
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
        finally:
            if flying:  # nobody waits for these any more, so their answers must not come later
                self._drop()
        if fault:
            raise WorkerError(fault)

    def _start(self) -> Hello:
        try:
            self._worker = Worker(self._words, self._log)
            return _read(Hello, "first line", self._worker.receive(self._timeout))
        except OSError as error:
            raise BackendError(
                f"model 'command': {self._words[0]} cannot be run: {error.strerror}."
            ) from None
        except Stopped as stopped:
            self._keep_log = True
            raise BackendError(
                f"model 'command': the worker {stopped}. It had not said hello yet (docs/command.md). "
                f"All it said: {self._log}"
            ) from None

    def _running(self) -> Worker:
        if self._worker is None and (now := self._start()).weights != self._hello.weights:
            raise BackendError(
                f"model 'command': started again, the worker has other weights ({now.weights}) than before "
                f"({self._hello.weights}). Run the same command in another folder, or with --fresh."
            )
        assert self._worker is not None
        return self._worker

    def _drop(self) -> None:
        if self._worker is not None:
            self._worker.close(patience=0)
            self._worker = None

    def _stopped(self, stopped: Stopped) -> None:
        """Clear away a worker that stopped; raises BackendError when that happens again and again."""
        self._drop()
        self._keep_log = True
        self._stops += 1
        if self._stops > self._restarts:
            raise BackendError(
                f"model 'command': the worker stopped {self._stops} times without an answer in between "
                f"(restarts={self._restarts}). The last time it {stopped}. All it said: {self._log}"
            )


def _opened(log: Path | None) -> Path:
    """Return the log that is asked for, or a temporary one; raises UsageError when it cannot be written."""
    if log is None:
        handle, name = tempfile.mkstemp(prefix="unisandbox-", suffix=".log")
        os.close(handle)
        return Path(name)
    try:
        log.open("ab").close()
    except OSError as error:
        raise UsageError(f"model 'command': log={log}: cannot be written: {error.strerror}.") from None
    return log


def _message(request: Request, folder: Path) -> dict[str, Any]:
    """Return a request as the protocol has it, its pictures written to ``folder``."""
    numbers = count()

    def written(image: Image) -> str:
        path = folder / f"in-{next(numbers)}{image.suffix}"
        path.write_bytes(image.data)
        return str(path)

    prompt = request.prompt
    return {
        "key": request.key,
        "output": prompt.output,
        "think": prompt.think,
        "seed": request.seed,
        "turns": [
            {
                "role": turn.role,
                "text": turn.text,
                "thought": turn.thought,
                "images": [written(image) for image in turn.images],
            }
            for turn in prompt.turns
        ],
        "save_as": str(folder / "out.png"),
    }


def _generation(answer: Answer) -> Generation:
    """Return an answer as the harness has it; raises WorkerError for one that says there is none."""
    if answer.error is not None or answer.finish == "error":
        raise WorkerError(answer.error or "the worker gave no reason")
    image = _picture(answer.image)
    return Generation(answer.key, image, answer.text, answer.thought, answer.finish, notes=answer.notes)


def _picture(path: Path | None) -> Image | None:
    """Return the picture of an answer; raises WorkerError where there is none."""
    if path is None:
        return None
    try:
        image = Image.from_file(path)
        image.pil()
    except Exception as error:  # decoders raise whatever comes
        raise WorkerError(f"no picture: {path}: {' '.join(str(error).split())}") from None
    return image


def command_words(cmd: str, python: str = "") -> list[str]:
    """Return a command line as words, ``~`` expanded; raises UsageError for what cannot be run.

    >>> command_words("sh -c 'exit 1'")
    ['sh', '-c', 'exit 1']
    """
    try:
        words = [str(Path(word).expanduser()) if word.startswith("~") else word for word in shlex.split(cmd)]
    except ValueError as error:
        raise UsageError(f"model 'command': cmd={cmd}: {error}.") from None
    if not words:
        raise UsageError("model 'command': cmd= is empty. Expected a command line, such as cmd=worker.py.")
    script = words[0].endswith(".py")
    if script and not Path(words[0]).is_file():
        raise UsageError(f"model 'command': cmd={cmd}: there is no file {words[0]}.")
    if script or python:
        words.insert(0, str(Path(python).expanduser()) if python else sys.executable)
    if shutil.which(words[0]) is None:
        raise UsageError(
            f"model 'command': {words[0]} is no program: not there, or not executable (chmod +x)."
        )
    return words


Line = TypeVar("Line", bound=BaseModel)


def _read(kind: type[Line], what: str, message: Mapping[str, Any]) -> Line:
    """Return a message as what it must be; raises BackendError naming the field that is wrong."""
    try:
        return kind.model_validate(message)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        fault = f"{field}: {first['msg']}"
        if first["type"] == "extra_forbidden":
            fault = unknown("field", field, kind.model_fields)
        raise BackendError(
            f"model 'command': the worker's {what} is none the protocol knows: {fault.rstrip('.')}. It was: "
            f"{str(dict(message))[:200]} (docs/command.md)."
        ) from None


def _check_abilities(hello: Hello, does: Sequence[Ability]) -> None:
    """Raise UsageError where the run was planned for something else than the worker does.

    Less than it does must be asked for by name, since it decides in which form the model thinks.
    """
    can, planned = set(hello.does), set(does or DOES)
    if planned - can or (can - planned and not does):
        raise UsageError(
            f"model 'command': the worker {hello.model!r} does {'+'.join(hello.does)}, and the run was "
            f"planned for {'+'.join(does or DOES)}. Say so: command:...,does={'+'.join(hello.does)}"
        )
