"""A program at the other end of two pipes: JSON lines in, JSON lines out; its error stream goes to a log.

Nothing here can wait for ever: reading and writing have threads of their own, so that a worker that reads
nothing, or writes a great deal, stops nobody, and what it prints on the error stream needs no reader.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any

LONGEST = 1 << 24
"""Bytes of a line; what is longer is no answer."""

ENDING = 10.0
"""Seconds a worker that closed its output has to end by itself; those that hold much memory are slow."""

WORDS = 3
"""Lines of the log that an error message quotes."""


class Stopped(Exception):
    """A worker ended, or said nothing for too long; the message says which, with its last words."""


class Worker:
    """One process, started at once, in a process group of its own so that Ctrl-C reaches only us."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        """Start the program ``words``, its error stream appended to ``log``; raises OSError."""
        self._log = log
        with log.open("ab") as errors:
            self._begun = errors.tell()
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={"PYTHONUNBUFFERED": "1", **os.environ},  # an answer printed without flush arrives too
                start_new_session=True,
            )
        self._warned = self._output_ended = False
        self._to_say: SimpleQueue[bytes | None] = SimpleQueue()
        self._said: SimpleQueue[bytes] = SimpleQueue()
        assert self._process.stdin and self._process.stdout
        self._threads = [
            Thread(target=self._write, args=(self._process.stdin,), daemon=True),
            Thread(target=self._read, args=(self._process.stdout,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Put one line on its way; never waits. That nobody reads it shows when no answer comes."""
        self._to_say.put(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float) -> dict[str, Any]:
        """Return the next JSON object it says; raises Stopped after ``timeout`` seconds without one.

        Other lines are a library's chatter and go to the log.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                line = self._said.get(timeout=max(0, min(0.5, end - time.monotonic())))
            except Empty:
                if self._process.poll() is None and time.monotonic() < end:
                    continue
                line = b""
            if not line:
                raise Stopped(f"{self._ended(timeout)}{self._last_words()}")
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                message = None
            if isinstance(message, dict):
                return message
            self._chatter(line)

    def close(self, patience: float = 10.0) -> None:
        """End its input, then ask, then force it to end, with ``patience`` seconds for each.

        With 0 it is forced at once. Nothing of its process group is left.
        """
        self._to_say.put(None)
        for signum in (None, signal.SIGTERM) if patience else ():
            if signum:
                self._signal(signum)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                break
        self._signal(signal.SIGKILL)  # also whatever it started and left behind
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        for thread in self._threads:
            thread.join(10)

    def _signal(self, signum: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group that ended
            os.killpg(self._process.pid, signum)

    def _write(self, pipe: IO[bytes]) -> None:
        with suppress(OSError), pipe:  # it is gone, which the reader tells
            while (line := self._to_say.get()) is not None:
                pipe.write(line)
                pipe.flush()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(LONGEST):
                self._said.put(line)
            self._output_ended = True
            self._said.put(b"")

    def _chatter(self, line: bytes) -> None:
        """Keep a line that is no message; say once that it is better printed elsewhere."""
        with self._log.open("ab") as log:
            log.write(line)
        if not self._warned and line.strip():
            self._warned = True
            print(
                f"warning: model 'command': the worker printed what is no JSON object on stdout: "
                f"{_plain(line)!r}. It is in the log; stdout is for answers alone, so print to stderr "
                "(docs/command.md).",
                file=sys.stderr,
            )

    def _ended(self, timeout: float) -> str:
        try:
            code = self._process.wait(ENDING if self._output_ended else 0)
        except subprocess.TimeoutExpired:
            return (
                "closed its output" if self._output_ended else f"gave no answer for {timeout:g} s (timeout=)"
            )
        if code >= 0:
            return f"ended with exit code {code}"
        memory = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"was killed by {signal.Signals(-code).name}{memory}"

    def _last_words(self) -> str:
        """Return the end of what this very process has left in the log, on one line."""
        with self._log.open("rb") as log:
            log.seek(max(self._begun, log.seek(0, os.SEEK_END) - 4096))
            lines = [plain for line in log.read().splitlines() if (plain := _plain(line)).strip("^~")]
        return f". Its last words: {' | '.join(lines[-WORDS:])}" if lines else ". It left no word"


def _plain(line: bytes) -> str:
    text = "".join(c for c in line.decode(errors="replace").strip() if c.isprintable())
    return text if len(text) <= 200 else f"{text[:200]}..."
