"""``workers=N``: processes on this machine, each with a replica and a device of its own.

They are started afresh, not forked, from the interpreter of this process or from that of ``--py-executable``,
and spoken to over a socket pair. A worker ends when the process that started it is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection, wait
from typing import Any

from unisandbox.asking import failed_generation
from unisandbox.errors import UsageError
from unisandbox.executors.pool import PATIENCE, Gone, Pool
from unisandbox.executors.protocol import JudgeReplicas, ModelReplicas
from unisandbox.executors.replica import Report, Role, Server
from unisandbox.judging import unjudged
from unisandbox.matrix import JudgeChoice, Model

_VERSION = "import importlib.metadata as m; print(m.version('unisandbox'))"


@dataclass(frozen=True, slots=True)
class Worker:
    """A process and the line to it."""

    process: subprocess.Popen[bytes]
    line: Connection
    device: str | None
    """What ``CUDA_VISIBLE_DEVICES`` says in it; None where there are no devices."""

    def __hash__(self) -> int:
        return self.process.pid


class Workers:
    """Runs models in so many processes, and judges in others."""

    def __init__(
        self,
        number: int,
        pythons: Mapping[str, str] | None = None,
        judges: Mapping[str, int] | None = None,
        silence: float | None = None,
    ) -> None:
        """Take the models' own interpreters and the number of replicas of judges, both by label.

        The first devices are for models, the last for judges. ``silence``: see ``Pool``. Raises UsageError
        when there are too few devices.
        """
        self._number = number
        self._pythons = pythons or {}
        self._silence = silence
        there = devices()
        self._devices, self._others = there[:number], there[number:][::-1]
        """What replicas of a model take in turn, and what those of judges take."""
        if there and number + sum((judges or {}).values()) > len(there):
            raise UsageError(_too_few(there, number, judges or {}))

    def open(self, model: Model, tries: int, trials: int) -> ModelReplicas:
        """Start workers that load the model; raises UsageError for an interpreter that cannot be one."""
        python = self._pythons.get(model.label)
        if python is not None:
            _check(python)
        role = Role("model", model.spec, tries)
        place = Processes(self._number, list(self._devices), role, python)
        return Pool(place, role, trials, failed_generation, self._silence)

    def open_judge(self, judge: JudgeChoice, tries: int, number: int) -> JudgeReplicas:
        """Start workers that load the judge."""
        role = Role("judge", judge.spec, tries)
        own, self._others = self._others[:number], self._others[number:]
        return Pool(Processes(number, own, role), role, number, unjudged, self._silence)

    def close(self) -> None:
        """There is nothing in common."""


def _too_few(there: Sequence[str], number: int, judges: Mapping[str, int]) -> str:
    """Return what to do where more processes are asked for than there are devices."""
    asked = [f"--executor workers={number}"] if number else []
    asked += [f"--judge-replicas {label}={copies}" for label, copies in judges.items()]
    fewer = "fewer" if judges else f"workers={len(there)}"
    return (
        f"{' '.join(asked)}: each worker takes a GPU, and there are {len(there)}: {', '.join(there)}. "
        f"Use {fewer}, or set CUDA_VISIBLE_DEVICES to nothing to run without."
    )


def devices() -> list[str]:
    """Return the GPUs that this process may use: those it is shown, or all that the driver knows of."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None and shutil.which("nvidia-smi"):  # far less to wait for than for torch
        asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        shown = ",".join(told.stdout.split()) if told.returncode == 0 else ""
    return [name.strip() for name in (shown or "").split(",") if name.strip() not in ("", "-1")]


def _check(python: str) -> None:
    """Raise UsageError where an interpreter does not have what a worker runs, in this version."""
    try:
        command = [python, "-c", "import unisandbox.executors.workers; " + _VERSION]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(f"--py-executable {python}: {error.strerror}.") from None
    if told.returncode or told.stdout.strip() != version("unisandbox"):
        said = (told.stderr or told.stdout).strip().splitlines()[-1:] or [f"exit code {told.returncode}"]
        raise UsageError(
            f"--py-executable {python}: it cannot import unisandbox {version('unisandbox')}: {said[0]}. "
            f"Install it there: {python} -m pip install unisandbox=={version('unisandbox')}"
        )


class Processes:
    """The workers of one model or judge."""

    def __init__(self, number: int, devices: list[str], role: Role, python: str | None = None) -> None:
        self._number = number
        self._devices = devices
        self._role, self._python = role, python

    def room(self) -> int:
        """As many as were asked for."""
        return self._number

    def start(self) -> Worker:
        """Start a process."""
        device = self._devices.pop(0) if self._devices else None
        environment = os.environ if device is None else {**os.environ, "CUDA_VISIBLE_DEVICES": device}
        ours, theirs = socket.socketpair()
        command = [self._python or sys.executable, "-c", _program(theirs.fileno(), self._python is None)]
        with theirs:
            process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment
            )
        worker = Worker(process, Connection(ours.detach()), device)
        with suppress(OSError):  # dead already: to be heard of when it is listened to
            worker.line.send(self._role)
        return worker

    def give(self, replica: Worker, shard: Sequence[Any]) -> None:
        """Send the requests."""
        with suppress(BrokenPipeError, ConnectionResetError):
            replica.line.send(shard)

    def listen(self, replicas: Collection[Worker], seconds: float) -> Iterator[tuple[Worker, Report | Gone]]:
        """Yield what workers sent, and which of them have ended."""
        by_line = {worker.line: worker for worker in replicas}
        heard = {by_line[line] for line in wait(list(by_line), seconds) if isinstance(line, Connection)}
        for worker in replicas:
            if worker in heard:
                try:
                    yield worker, worker.line.recv()
                except (EOFError, ConnectionResetError):
                    yield worker, Gone(_end_of(worker.process))
            elif worker.process.poll() is not None and not worker.line.poll():
                yield worker, Gone(_end_of(worker.process))  # a child of its own holds the line

    def end(self, replica: Worker, *, kindly: bool) -> None:
        """Hang up, which ends a worker that waits; make sure that it has ended."""
        replica.line.close()
        if not kindly:
            replica.process.terminate()
        try:
            replica.process.wait(PATIENCE if kindly else 1)
        except subprocess.TimeoutExpired:
            replica.process.kill()
            replica.process.wait()
        if replica.device is not None:
            self._devices.append(replica.device)


def _end_of(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        return "it hung up"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _program(line: int, same: bool) -> str:
    """Return what a worker runs; the ``same`` interpreter also finds its modules in the same places."""
    path = f"import sys; sys.path[:] = {json.dumps(sys.path)}; " if same else ""
    return f"{path}from unisandbox.executors.workers import serve; serve({line}, {os.getpid()})"


def serve(line: int, parent: int) -> None:
    """Be a worker: load the model or judge that is named, then answer shards until the line is cut."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches all; the parent decides
    threading.Thread(target=_die_with, args=[parent], daemon=True).start()
    server = Server()
    try:
        with Connection(line) as driver, suppress(EOFError, ConnectionError):
            report = server.load(driver.recv())
            # not before: an exit while plugins are imported would be taken for a fault of theirs
            signal.signal(signal.SIGTERM, lambda *_: sys.exit())
            driver.send(report)
            while True:
                for report in server.work(driver.recv()):
                    driver.send(report)
    finally:
        server.close()


def _die_with(parent: int) -> None:
    """End this process, in the middle of whatever it does, when the parent has ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
