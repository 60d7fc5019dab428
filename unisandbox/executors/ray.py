"""``ray[:ADDRESS]``: actors of a Ray cluster, each with a replica, on as many machines as there are.

Ray places them and tells when one is gone; what they work on is decided in ``pool``, as for any executor.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from unisandbox.asking import failed_generation
from unisandbox.errors import UsageError
from unisandbox.executors.pool import HEARTBEAT, PATIENCE, Gone, Pool
from unisandbox.executors.protocol import JudgeReplicas, ModelReplicas
from unisandbox.executors.replica import Report, Role, Server
from unisandbox.judging import unjudged
from unisandbox.matrix import JudgeChoice, Model

REACHED = 5.0
"""Seconds in which a cluster has to answer."""
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""How a client of gRPC, which Ray speaks, begins: the preface, and empty settings (RFC 9113, 3.4)."""
SETTINGS = 4
"""The kind of frame that such a server begins with."""


@dataclass(eq=False, slots=True)
class Actor:
    """An actor, and where its next report comes from: an object reference, or a stream of them."""

    handle: Any
    news: Any


@dataclass(frozen=True, slots=True)
class Claim:
    """How many replicas there are to be, of how many GPUs each."""

    number: int | None
    """None: as many as fit."""
    gpus: float

    def room(self, there: Mapping[str, Mapping[str, float]]) -> int:
        """Return how many fit on the nodes."""
        return sum(fitting(node, self.gpus) for node in there.values())

    def left(self, there: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
        """Return the nodes without what so many take, the first nodes first."""
        kind, each, number = "GPU" if self.gpus else "CPU", self.gpus or 1, self.number or 0
        found: dict[str, Mapping[str, float]] = {}
        for name, node in there.items():
            here = min(number, fitting(node, self.gpus))
            number -= here
            found[name] = {**node, kind: node.get(kind, 0) - here * each}
        return found


class Ray:
    """Runs models and judges on a Ray cluster."""

    def __init__(
        self,
        address: str,
        pythons: Mapping[str, str],
        *,
        replicas: int | None,
        gpus: float | None,
        judges: int = 0,
        judge_gpus: float | None = None,
        silence: float | None = None,
    ) -> None:
        """Connect to a cluster, or start one on this machine where no ``address`` says otherwise.

        Takes the models' own interpreters by label. ``replicas`` of a model, None for as many as fit, have
        ``gpus`` each, None for one where there are any; so do the replicas of all ``judges`` together, which
        are placed first. ``silence``: see ``Pool``. Raises UsageError when Ray is not installed, the cluster
        cannot be reached, or has no place for so many replicas of so many GPUs.
        """
        self._name = f"--executor ray{':' * bool(address)}{address}"
        self._connected = self._connect(address)
        self._pythons = pythons
        self._silence = silence
        there = nodes()
        one = float(any(node.get("GPU") for node in there.values()))
        self._models = Claim(replicas, one if gpus is None else gpus)
        self._judges = Claim(judges, one if judge_gpus is None else judge_gpus)
        try:
            self._check_room(there)
        except UsageError:
            self.close()
            raise

    def _connect(self, address: str) -> bool:
        """Return whether this has to be undone."""
        try:
            import ray
        except ImportError:
            raise UsageError(f"{self._name} needs Ray. Install it: pip install 'unisandbox[ray]'") from None
        if ray.is_initialized():
            return False
        self._probe(address or os.environ.get("RAY_ADDRESS", ""))
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what is run here is nobody else's business
        try:
            ray.init(
                address or None,
                include_dashboard=False,
                log_to_driver=False,  # what actors print would come out on the output, among the results
                logging_level="ERROR",
            )
        except Exception as error:  # Ray raises all kinds, among them Exception itself
            raise UsageError(f"{self._name}: {_first_line(error)}") from None
        return True

    def _probe(self, address: str) -> None:
        """Raise UsageError where nothing answers as Ray does; Ray itself would try for minutes."""
        if address in ("", "auto", "local"):
            return
        parts = re.fullmatch(r"\[?([\w.:-]+?)\]?:(\d+)", address)
        if parts is None or "://" in address:
            raise UsageError(
                f"{self._name}: expected HOST:PORT of a cluster (ray start --head prints it), auto or local."
            )
        try:
            with socket.create_connection((parts[1], int(parts[2])), REACHED) as line:
                line.sendall(HTTP2)
                frame = line.recv(9)
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"{self._name}: cannot be reached within {REACHED:g} s: {error}. Is the cluster up (see "
                "ray status)?"
            ) from None
        if len(frame) < 4 or frame[3] != SETTINGS:
            raise UsageError(f"{self._name}: what answers there is not Ray. Is the port right?")

    def _check_room(self, there: Mapping[str, Mapping[str, float]]) -> None:
        judges, models = self._judges, self._models
        if judges.room(there) < (judges.number or 0):
            wanted, flag = f"{judges.number} replicas of judges", "--judge-gpus-per-replica"
            raise UsageError(_no_room(wanted, flag, judges, there))
        there = judges.left(there)
        if models.room(there) < (1 if models.number is None else models.number):
            wanted = f"--replicas {models.number}" if models.number else "a replica"
            beside = f" beside {judges.number} of judges" if judges.number else ""
            raise UsageError(_no_room(wanted + beside, "--gpus-per-replica", models, there))

    def open(self, model: Model, tries: int, trials: int) -> ModelReplicas:
        """Start actors that load the model."""
        role = Role("model", model.spec, tries)
        actors = Actors(role, self._models, self._judges, self._pythons.get(model.label))
        return Pool(actors, role, trials, failed_generation, self._silence)

    def open_judge(self, judge: JudgeChoice, tries: int, number: int) -> JudgeReplicas:
        """Start actors that load the judge."""
        role = Role("judge", judge.spec, tries)
        return Pool(Actors(role, replace(self._judges, number=number)), role, number, unjudged, self._silence)

    def close(self) -> None:
        """Leave the cluster; one that was started for this run ends."""
        if self._connected:
            import ray

            ray.shutdown()


class Actors:
    """The replicas of one model or judge."""

    def __init__(
        self, role: Role, claim: Claim, others: Claim | None = None, python: str | None = None
    ) -> None:
        """``others`` have their place beside these."""
        import ray

        self._ray: Any = ray
        self._claim, self._others = claim, others
        self._load = (role, [] if python else sys.path)
        self._actor = ray.remote(Server).options(
            num_gpus=claim.gpus,
            num_cpus=0 if claim.gpus else 1,
            max_restarts=0,  # whoever takes its place is told what is left to do
            runtime_env={"py_executable": python} if python else None,
        )
        self._room = 0
        self._looked = -HEARTBEAT

    def room(self) -> int:
        """As many as fit on the nodes that are there now, or as were asked for."""
        if time.monotonic() - self._looked >= HEARTBEAT:
            there = self._others.left(nodes()) if self._others else nodes()
            self._room = self._claim.room(there)
            self._looked = time.monotonic()
        return self._room if self._claim.number is None else min(self._room, self._claim.number)

    def start(self) -> Actor:
        """Ask for an actor; it loads as soon as there is a place for it."""
        handle = self._actor.remote()
        return Actor(handle, handle.load.remote(*self._load))

    def give(self, replica: Actor, shard: Sequence[Any]) -> None:
        """Send the requests."""
        replica.news = replica.handle.work.options(num_returns="streaming").remote(list(shard))

    def listen(self, replicas: Collection[Actor], seconds: float) -> Iterator[tuple[Actor, Report | Gone]]:
        """Yield a report of each actor that has one, and which actors or nodes are gone."""
        waiting = [actor.news for actor in replicas]
        ready, _ = self._ray.wait(waiting, timeout=seconds)
        if ready and len(waiting) > 1:  # and whoever else has something to say by now
            ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        for actor in replicas:
            if any(actor.news is one for one in ready):
                yield actor, self._news(actor)

    def _news(self, actor: Actor) -> Report | Gone:
        stream = isinstance(actor.news, self._ray.ObjectRefGenerator)
        try:
            report: Report = self._ray.get(next(actor.news) if stream else actor.news)
        except self._ray.exceptions.RayError as error:
            return Gone(_reason(error))
        except StopIteration:
            return Gone("its answers broke off")
        return report

    def end(self, replica: Actor, *, kindly: bool) -> None:
        """Let the actor close its model, then end it."""
        if kindly:
            with suppress(self._ray.exceptions.RayError):
                self._ray.get(replica.handle.close.remote(), timeout=PATIENCE)
        self._ray.kill(replica.handle)


def nodes() -> dict[str, Mapping[str, float]]:
    """Return what the nodes that are alive have of ``CPU`` and ``GPU``, by address."""
    import ray

    found: dict[str, Mapping[str, float]] = {}
    for node in ray.nodes():
        if node["Alive"]:
            name = node["NodeManagerAddress"]
            found[f"{name} ({len(found) + 1})" if name in found else name] = node["Resources"]
    return found


def fitting(node: Mapping[str, float], gpus: float) -> int:
    """Return how many replicas fit on a node: by whole GPUs, by shares of one, or a CPU each.

    >>> fitting({"GPU": 4, "CPU": 2}, 2), fitting({"GPU": 4}, 0.25), fitting({"CPU": 2}, 0)
    (2, 16, 2)
    >>> fitting({"GPU": 1.5}, 1), fitting({"GPU": 1.5}, 0.5), fitting({"GPU": 0.8}, 0.3)
    (1, 3, 2)
    """
    if not gpus:
        return int(node.get("CPU", 0))
    whole, part = divmod(node.get("GPU", 0), 1)
    if gpus >= 1:
        return int(whole / gpus)
    return int(whole) * int(1 / gpus) + int(part / gpus + 1e-9)


def _no_room(wanted: str, flag: str, claim: Claim, there: Mapping[str, Mapping[str, float]]) -> str:
    """Return what is asked for, and what there is."""
    kind = "GPU" if claim.gpus else "CPU"
    found = ", ".join(f"{name}: {node.get(kind, 0):g} {kind}" for name, node in there.items())
    each = f" with {flag} {claim.gpus:g}" if claim.gpus else ", a CPU each"
    return f"{wanted}{each}: there is room for {claim.room(there)} ({found})."


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _reason(error: Exception) -> str:
    """Return in a line why an actor is gone: Ray says it in many."""
    told = [line.strip() for line in str(error).splitlines()]
    why = [line for line in told if line.startswith("The actor ") and "because" in line]
    return (why or [_first_line(error)])[0].partition(" Worker exit detail:")[0].rstrip(".")[:300]
