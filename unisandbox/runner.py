"""The runner: matrix -> generations -> verdicts -> scores, pipelined, resumable at any point.

The main thread asks the models, wherever an executor runs them; each judge works on a thread of its own; both
append to the run log.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from types import FrameType
from typing import Protocol

from unisandbox.asking import Asked, Patience, make_request
from unisandbox.errors import JudgeError, RunFolderError
from unisandbox.executors.local import Local
from unisandbox.executors.protocol import Executor, ModelReplicas, Shard
from unisandbox.judge import Judge
from unisandbox.judging import Judged, JudgeStage, to_judge
from unisandbox.matrix import Ask, Matrix, Model, Trial
from unisandbox.records import Fields, Generation, Verdict
from unisandbox.run_log import ANSWERED, FAILED, AskState, RunLog, standing
from unisandbox.scores import CODES


class Progress(Protocol):
    """Told what happens; never decides anything. Called from several threads."""

    def plan(self, generations: int, verdicts: int) -> None:
        """How much there is to do."""

    def asking(self, ask: Ask) -> None:
        """A new ask begins."""

    def generated(self, error: bool) -> None:
        """One generation is logged."""

    def judged(self, error: bool) -> None:
        """One verdict is logged."""

    def say(self, message: str) -> None:
        """Something the user should read."""


class Silent:
    """A progress display that shows nothing."""

    def plan(self, generations: int, verdicts: int) -> None:
        """Nothing."""

    def asking(self, ask: Ask) -> None:
        """Nothing."""

    def generated(self, error: bool) -> None:
        """Nothing."""

    def judged(self, error: bool) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """To the error stream."""
        print(message, file=sys.stderr)


class Runner:
    """One run of a matrix into a log."""

    def __init__(
        self,
        matrix: Matrix,
        log: RunLog,
        executor: Executor | None = None,
        *,
        batch_size: int | None = None,
        tries: int = 3,
        progress: Progress | None = None,
    ) -> None:
        self._matrix = matrix
        self._log = log
        self._executor: Executor = executor or Local()
        self._batch_size = batch_size
        self._tries = tries
        self._progress: Progress = progress or Silent()
        self.states = {ask.id: AskState(ask) for ask in matrix.asks}
        self._stages: dict[str, JudgeStage] = {}
        self._asked: dict[str, tuple[AskState, Trial, str]] = {}
        """What is in flight, by key, with its prompt."""
        self._write = threading.Lock()
        self.stopped = False
        """Whether the user asked to stop before the end."""

    def run(self, judges: dict[str, Judge], *, asking: bool = True, again: bool = False) -> None:
        """Ask and judge all that is missing; raises BackendError or JudgeError when one gives up for good.

        Whatever is asked before that is logged, and the same command goes on from there. Without ``asking``
        only what is logged is judged, and no model is built; ``again``: also where there is a verdict.
        """
        self._log.load(self.states)
        if again:
            for state in self.states.values():
                state.verdicts = {label: bytearray(len(codes)) for label, codes in state.verdicts.items()}
        self._plan(asking)
        self._stages = {
            label: JudgeStage(
                judge, partial(self._write_verdict, label), Patience(label, JudgeError, self._tries)
            )
            for label, judge in judges.items()
        }
        with self._stopping_gently():
            try:
                self._judge_what_is_waiting(asking)
                for model in self._matrix.models if asking else ():
                    self._run_model(model)
            except KeyboardInterrupt:
                self._drop()
                raise
            finally:
                self._finish()
        self._raise_judge_failure()

    def _finish(self) -> None:
        """Wait until all that is waiting is judged."""
        try:
            for stage in self._stages.values():
                stage.finish()
        except KeyboardInterrupt:
            self._drop()
            raise

    def _drop(self) -> None:
        for stage in self._stages.values():
            stage.drop()

    def _plan(self, asking: bool) -> None:
        missing = {id_: sum(1 for _ in state.missing()) * asking for id_, state in self.states.items()}
        waiting = sum(
            len(state.unjudged(label)) for state in self.states.values() for label in state.verdicts
        )
        new = sum(missing[id_] * len(state.verdicts) for id_, state in self.states.items())
        self._progress.plan(sum(missing.values()), waiting + new)

    def _judge_what_is_waiting(self, asking: bool) -> None:
        """Hand over generations that were logged, but not judged, before the last end."""
        for state in self.states.values():
            waiting = {label: state.unjudged(label) for label in state.verdicts}
            if not any(waiting.values()):
                continue
            for index, generation in self._log.generations_of(state.ask, set().union(*waiting.values())):
                gone = generation.finish == "error"
                if gone and asking:  # its picture is gone, so it is asked again
                    state.generated[index] = FAILED
                    continue
                judged = to_judge(state.ask, state.ask.trial(index), generation)
                for label in (label for label, trials in waiting.items() if index in trials):
                    if gone:
                        error = Verdict(judged.trial.key, "error", generation.error or "")
                        self._write_verdict(label, judged, error)
                    else:
                        self._judge(label, judged)
                if self._interrupted():
                    return

    def _run_model(self, model: Model) -> None:
        todo = [
            state
            for state in self.states.values()
            if state.ask.model.label == model.label and any(True for _ in state.missing())
        ]
        if not todo or self._interrupted():
            return
        trials = sum(1 for state in todo for _ in state.missing())
        with closing(self._executor.open(model, self._tries, trials)) as replicas:
            self._log.note("backends", model.label, self._known(model, replicas.describe()))
            try:
                for generation in replicas.generate(self._shards(replicas, todo, trials)):
                    state, trial, prompt = self._asked.pop(generation.key)
                    self._generated(state, trial, prompt, generation)
            finally:
                self._asked.clear()
                self._log.note("backends", model.label, replicas.describe())  # by now it may know what fits

    def _known(self, model: Model, said: Fields) -> Fields:
        """Return what a model says of itself, unless it has other weights than when this run began."""
        before = self._log.noted("backends", model.label).get("weights")
        if before and said.get("weights") != before:
            raise RunFolderError(
                f"{self._log.folder}: {model.label!r} has other weights now ({said.get('weights')}) than "
                f"when this run began ({before}). Use another folder, or --fresh to start over."
            )
        return said

    def _shards(self, replicas: ModelReplicas, todo: Iterable[AskState], left: int) -> Iterator[Shard]:
        """Yield what to ask, batch by batch; an empty shard where more must be answered first.

        Ask by ask, but that what is made from earlier generations goes behind the rest until all of those
        are there. Batches get smaller at the end, so that no replica is left with much alone.
        """
        waiting = list(todo)
        while waiting:
            state = next((one for one in waiting if self._is_ready(one, waiting)), None)
            if state is None:
                yield ()
                continue
            self._progress.asking(state.ask)
            before = self._earlier(state.ask)
            missing = iter(list(state.missing()))
            while True:
                size = min(self._batch_size or replicas.batch_size, max(1, left // replicas.number))
                if not (batch := list(islice(missing, size))):
                    break
                if self._interrupted():
                    return
                left -= len(batch)
                yield self._shard(state, batch, before)
            waiting.remove(state)

    def _is_ready(self, state: AskState, waiting: Sequence[AskState]) -> bool:
        """Whether all that an ask is made from is answered, and so in the log."""
        ask = state.ask
        earlier = (ask.task.name, ask.mode.after, ask.model.label)
        return ask.mode.after is None or not (
            any(one.ask.id == earlier for one in waiting)
            or any(one.ask.id == earlier for one, _, _ in self._asked.values())
        )

    def _shard(self, state: AskState, batch: Sequence[int], before: Mapping[int, Generation]) -> Shard:
        """Return the requests of some trials; log those where there is nothing to ask."""
        shard = []
        for index in batch:
            trial = state.ask.trial(index)
            made = make_request(state.ask, trial, before.get(index))
            if isinstance(made, Asked):
                self._asked[trial.key] = (state, trial, made.request.prompt.text)
                shard.append(made)
            else:
                self._generated(state, trial, "", made)
        return shard

    def _earlier(self, ask: Ask) -> dict[int, Generation]:
        """Return the generations that this mode is made from."""
        if ask.mode.after is None:
            return {}
        return dict(
            self._log.generations_of(self.states[(ask.task.name, ask.mode.after, ask.model.label)].ask)
        )

    def _generated(self, state: AskState, trial: Trial, prompt: str, generation: Generation) -> None:
        ask = state.ask
        self._log.generation(ask, trial, prompt, generation)
        stand = state.generated[trial.index] = standing(generation.finish, generation.image is not None)
        self._progress.generated(stand == FAILED)
        if stand == FAILED:
            for _ in state.verdicts:
                self._progress.judged(True)
            return
        judged = to_judge(ask, trial, generation)
        for label in state.verdicts:
            self._judge(label, judged)

    def _judge(self, label: str, judged: Judged) -> None:
        """Hand over an answer; that there is none is the model's own failure, kept apart from a wrong one."""
        generation = judged.generation
        if standing(generation.finish, generation.image is not None) == ANSWERED:
            self._stages[label].put(judged)
            return
        assert generation.finish in ("empty", "refused", "truncated")
        reason = str(generation.notes.get("reason", ""))
        self._write_verdict(label, judged, Verdict(judged.trial.key, generation.finish, reason))

    def _write_verdict(self, label: str, judged: Judged, verdict: Verdict) -> None:
        """Called from the judges' threads too."""
        ask, trial = judged.ask, judged.trial
        with self._write:
            self._log.verdict(ask, trial, label, judged.rubric.name, judged.target, verdict)
        self.states[ask.id].verdicts[label][trial.index] = CODES[verdict.outcome]
        self._progress.judged(verdict.outcome == "error")

    def _interrupted(self) -> bool:
        self._raise_judge_failure()
        return self.stopped

    def _raise_judge_failure(self) -> None:
        for stage in self._stages.values():
            if stage.failure is not None:
                raise stage.failure

    @contextmanager
    def _stopping_gently(self) -> Iterator[None]:
        """On the first Ctrl-C finish what is in flight; on the second stop at once."""

        def stop(signum: int, frame: FrameType | None) -> None:
            if self.stopped:
                raise KeyboardInterrupt
            self.stopped = True
            self._progress.say("Finishing what is in flight. Press Ctrl-C again to stop at once.")

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
