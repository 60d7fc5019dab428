"""What executors with replicas in other processes share: who works on what, and what if one dies.

There is one queue. A replica that is free takes the next shard, so a fast one does more than a slow one. When
one dies, its place is filled again, and what it had not answered yet is asked again in halves, down to single
requests: one that every replica dies of ends as an error, and costs no other request its answer.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from unisandbox.asking import Keyed, Patience
from unisandbox.errors import UnisandboxError
from unisandbox.executors.replica import Report, Role
from unisandbox.records import Fields

HEARTBEAT = 1.0
"""Seconds without news after which the pool looks whether more replicas have room by now."""
PATIENCE = 5.0
"""Seconds that a replica has to let its model go, and a thread to notice that the pool is closed."""
BAD_STARTS = 3
"""Replicas in a row that fail to load before no more are started."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The last that is heard of a replica."""

    reason: str


R = TypeVar("R")
"""A replica, as its host knows it; hashable."""
Put = TypeVar("Put", bound=Keyed)
Got = TypeVar("Got", bound=Keyed)


class Host(Protocol[R]):
    """Where the replicas of one model or judge live."""

    def room(self) -> int:
        """Return how many there can be now, those that run included."""
        ...

    def start(self) -> R:
        """Start one, which begins to load."""
        ...

    def give(self, replica: R, shard: Sequence[Any]) -> None:
        """Give one that is free something to do; that it is gone by now is told by ``listen``."""
        ...

    def listen(self, replicas: Collection[R], seconds: float) -> Iterator[tuple[R, Report | Gone]]:
        """Yield what has come from replicas that load or work; wait so long for the first."""
        ...

    def end(self, replica: R, *, kindly: bool) -> None:
        """End one: kindly, so that it can let its model go, where it is free; at once, where it works."""
        ...


class Pool(Generic[R, Put, Got]):
    """The replicas of one model or judge."""

    def __init__(
        self,
        host: Host[R],
        role: Role,
        trials: int,
        failed: Callable[[Put, str], Got],
        silence: float | None = None,
    ) -> None:
        """Start as many as there is room and work for; return when one is ready.

        ``failed`` makes the record of a request that got no answer. A replica that is busy and says nothing
        for longer than ``silence``, in seconds, counts as dead. Raises what the model raised when it was
        loaded, or that it gives up when replicas die of it.
        """
        self._host = host
        self._role = role
        self._trials = trials
        self._failed = failed
        self._silence = silence
        self._patience = Patience(role.label, role.gives_up, role.tries)
        self._loading: set[R] = set()
        self._free: list[R] = []
        self._busy: dict[R, dict[str, Put]] = {}
        """Each with what it has not answered yet."""
        self._heard_of: dict[R, float] = {}
        """When each that is busy was given its shard, or said something last."""
        self._again: deque[Sequence[Put]] = deque()
        """What replicas left behind that died; goes first."""
        self._deaths: Counter[str] = Counter()
        """How many replicas died with a request, by its key."""
        self._bad_starts = 0
        self._last: Report | None = None
        self._over = False
        self._user = threading.get_ident()
        """The thread that is at work with it."""
        self._idle = threading.Event()
        self._idle.set()
        try:
            self._keep_up()
            while self._last is None:
                for _ in self._listen():
                    """Nothing is asked yet."""
                self._keep_up()
        except BaseException:
            self.close()
            raise

    @property
    def number(self) -> int:
        """How many there are by now."""
        return len(self._all())

    @property
    def batch_size(self) -> int:
        """How many requests the model likes at once, as a replica said last."""
        return self._said().batch_size

    def describe(self) -> Fields:
        """Return what a replica said last of the model."""
        return self._said().about

    def generate(self, shards: Iterator[Sequence[Put]]) -> Iterator[Got]:
        """Hand out shards and yield what comes back."""
        more = True
        self._user = threading.get_ident()
        self._idle.clear()
        try:
            self._keep_up()  # the last one may have died of the last request
            while True:
                more = self._hand_out(shards, more)
                if not (more or self._busy or self._again):
                    return
                yield from self._listen()
                if more or self._again:
                    self._keep_up()
        finally:
            self._idle.set()

    def close(self) -> None:
        """End all; those that are free may let their model go first."""
        self._over = True
        if self._user != threading.get_ident():
            self._idle.wait(PATIENCE)
        for replica in self._all():
            self._host.end(replica, kindly=replica in self._free)
        self._loading, self._free, self._busy = set(), [], {}

    def _all(self) -> list[R]:
        return [*self._loading, *self._free, *self._busy]

    def _said(self) -> Report:
        assert self._last is not None
        return self._last

    def _keep_up(self) -> None:
        """Start replicas until there are as many as there is room and work for."""
        if self._bad_starts < BAD_STARTS:
            for _ in range(min(self._host.room(), self._trials) - self.number):
                self._loading.add(self._host.start())
        at_work = self._free or self._busy  # one that loads may wait for a place that is gone
        if not self._all() or not (at_work or self._host.room()):
            raise self._gives_up("there is no place left where a replica can run. What is done is kept.")

    def _hand_out(self, shards: Iterator[Sequence[Put]], more: bool) -> bool:
        """Give every free replica something to do; return whether there may be more."""
        while self._free and (self._again or more):
            shard = self._again.popleft() if self._again else next(shards, None)
            if shard is None:
                return False
            if not shard:  # until more is answered
                break
            replica = self._free.pop()
            self._busy[replica] = {one.key: one for one in shard}
            self._heard_of[replica] = time.monotonic()
            self._host.give(replica, shard)
        return more

    def _listen(self) -> Iterator[Got]:
        if self._over:
            raise self._gives_up("stopped.")
        heard = list(self._host.listen([*self._loading, *self._busy], HEARTBEAT))
        self._heard_of |= dict.fromkeys((replica for replica, _ in heard), time.monotonic())
        silent = self._silent()  # now: more may have come by the time that all this is worked on
        for replica, news in heard:
            if isinstance(news, Gone):
                yield from self._lost(replica, news.reason)
            else:
                yield from self._heard(replica, news)
        for replica in silent:
            yield from self._lost(replica, f"it said nothing for {self._silence:g} s")

    def _silent(self) -> list[R]:
        """Return those that hang."""
        if self._silence is None:
            return []
        late = time.monotonic() - self._silence
        return [replica for replica in self._busy if self._heard_of[replica] < late]

    def _heard(self, replica: R, report: Report) -> Iterator[Got]:
        pending = self._busy.get(replica, {})
        for answer in report.answers:
            if pending.pop(answer.key, None) is not None:
                self._patience.answered()
                yield answer
        if report.fault:
            if replica not in self._loading or self._last is None:
                raise report.error()
            self._bad_start(replica, report.fault)
        elif report.free:
            self._check_weights(report)
            self._last = report
            if replica in self._loading:
                self._loading.remove(replica)
                self._bad_starts = 0
            self._busy.pop(replica, None)
            self._free.append(replica)

    def _lost(self, replica: R, reason: str) -> Iterator[Got]:
        """Let a dead replica's requests be asked again, and tell which of them must be what kills."""
        if replica in self._loading:
            self._bad_start(replica, reason)
            return
        left = list(self._busy.pop(replica).values())
        self._host.end(replica, kindly=False)
        self._warn(f"a replica is gone: {reason}; {len(left)} of its requests are asked again")
        self._deaths.update(one.key for one in left)
        if len(left) == 1 and (times := self._deaths[left[0].key]) >= self._role.tries:
            yield self._failed(left[0], f"{times} replicas died of it; the last one: {reason}")
        else:
            middle = (len(left) + 1) // 2
            self._again.extend(half for half in (left[:middle], left[middle:]) if half)
        self._patience.failed(f"a replica is gone: {reason}")

    def _bad_start(self, replica: R, reason: str) -> None:
        """Put up with a replica that did not come up, as long as others do the work."""
        self._loading.remove(replica)
        self._host.end(replica, kindly=False)
        self._bad_starts += 1
        if not (self._free or self._busy) and self._bad_starts >= BAD_STARTS:
            raise self._gives_up(
                f"{self._bad_starts} replicas in a row could not be started. The last one: {reason}."
            )
        ends = "; no more are started" if self._bad_starts == BAD_STARTS else ""
        self._warn(f"a replica could not be started: {reason}{ends}")

    def _check_weights(self, report: Report) -> None:
        here, there = (said.about.get("weights") if said else None for said in (report, self._last))
        if self._last is not None and here != there:
            raise self._gives_up(
                f"replicas have different weights: {here} and {there}. Give all of them the same files."
            )

    def _gives_up(self, why: str) -> UnisandboxError:
        return self._role.gives_up(f"{self._role.label}: {why}")

    def _warn(self, what: str) -> None:
        print(f"warning: {self._role.label}: {what}.", file=sys.stderr)
