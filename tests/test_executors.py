"""Executors: the same bytes wherever a model runs, and nothing lost when a part of it dies.

Real processes, and a real Ray cluster of two nodes on this machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support_backends import install, write_task
from tests.support_executors import asked, mortal, notes, processes
from tests.support_run import by_sample, lines, run_words
from tests.support_run import plugins as plugins
from tests.test_run_log import small_disk as small_disk
from tests.test_runner import MIXED, everything
from unisandbox.api import run
from unisandbox.errors import BackendError, RunFolderError, UsageError
from unisandbox.executors import workers
from unisandbox.executors.replica import Role
from unisandbox.plugins import installed
from unisandbox.run_log import read_lines
from unisandbox.runner import Silent
from unisandbox.specs import Spec

SAMPLES = 24

pytestmark = pytest.mark.xdist_group("executors")  # one cluster is enough for this machine


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one logical GPU each; tests leave as many behind."""
    pytest.importorskip("ray", reason="Ray is an extra: pip install 'unisandbox[ray]'")
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1})
    nodes.add_node(num_cpus=2, num_gpus=1)
    yield nodes
    nodes.shutdown()


@pytest.fixture(params=["workers", "ray"])
def executor(request: pytest.FixtureRequest) -> str:
    """Each executor that runs two replicas in other processes."""
    if request.param == "workers":
        return "workers=2"
    return f"ray:{request.getfixturevalue('cluster').address}"


@pytest.fixture
def folder(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the task ``words.yaml`` and the plugins, where processes leave word too."""
    monkeypatch.setattr(workers, "devices", list)  # whatever this machine has
    install(plugins, "tests.support_executors", "support_executors")
    installed.cache_clear()
    write_task(plugins.parent, SAMPLES)
    return plugins.parent


# --- the same bytes ---


@pytest.mark.parametrize("model", ["painter", "thinker"])
def test_every_mode_ends_in_the_same_bytes(model: str, folder: Path, executor: str) -> None:
    options = {**MIXED, "models": f"{model}:right=0.6,unanswered=0.2"}
    run_words(out="first", **options)
    run_words(**options, executor=executor)
    assert everything() == everything("first")


@pytest.mark.parametrize("number", [1, 3])
def test_neither_the_number_of_workers_nor_the_batch_changes_anything(number: int, folder: Path) -> None:
    run_words(out="first", **MIXED)
    run_words(**MIXED, executor=f"workers={number}", batch_size=5)
    assert everything() == everything("first")


@pytest.mark.parametrize("model", ["tiny", "oracle:transfer=0.5,knows=0.7,sees=0.8"])
def test_a_model_that_draws_ends_in_the_same_bytes(model: str, folder: Path, executor: str) -> None:
    options: dict[str, Any] = {"tasks": ["math_1"], "models": model, "modes": ["cot", "caption"]}
    run(**options, limit=2, out="first")
    run(**options, limit=2, out="run", executor=executor)
    assert everything() == everything("first")


def test_two_models_one_after_the_other(folder: Path, executor: str) -> None:
    options = {"models": ["painter:right=0.5", "thinker:right=0.5"], "modes": ["direct", "cot", "refined"]}
    run_words(out="first", **options)
    run_words(**options, executor=executor)
    assert everything() == everything("first")


def test_both_replicas_work_and_say_what_they_are(folder: Path, executor: str) -> None:
    run_words(models=mortal(folder, pace=0.05, batch=2), executor=executor)
    assert len({pid for _, pid in notes(folder, "asked")}) == 2
    assert set(asked(folder).values()) == {1}
    from unisandbox.run_log import read_json

    assert list(read_json(Path("run/run.json"))["backends"].values()) == [{"weights": "same", "processes": 1}]
    assert gone(processes(folder))


def gone(pids: list[str], seconds: float = 20.0) -> bool:
    """Whether processes end within a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(Path(f"/proc/{pid}/stat").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_no_more_replicas_than_trials(folder: Path) -> None:
    run_words(models=mortal(folder), executor="workers=4", limit=2)
    assert len(processes(folder)) <= 2


# --- what dies ---


def test_a_replica_killed_in_the_middle_of_a_batch_costs_nothing(
    folder: Path, executor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = mortal(folder, right=0.6, unanswered=0.2, once=True, pace=0.06)
    (cell,) = run_words(models=model, executor=executor)
    assert (folder / "died").exists() and cell.score.errors == 0
    assert len(processes(folder)) in (2, 3)  # whether another is up before all is done
    again = [key for key, times in asked(folder).items() if times > 1]
    assert len(again) == 1 and max(asked(folder).values()) == 2  # what it was at when it died
    assert "a replica is gone" in capsys.readouterr().err
    run_words(out="first", models=model)
    assert everything() == everything("first")


def test_a_sample_that_kills_every_replica_ends_as_one_error(folder: Path, executor: str) -> None:
    model = mortal(folder, poison="s5", pace=0.06)
    (cell,) = run_words(models=model, executor=executor)
    line = by_sample("generations.jsonl")["s5"]
    assert line["finish"] == "error" and "replicas died of it; the last one: " in line["error"]
    assert (cell.score.n, cell.score.errors, cell.score.value) == (SAMPLES - 1, 1, 1.0)
    times = asked(folder)
    assert 3 <= times.pop(line["key"]) <= 5  # in halves of a batch of 8, and at least as often as it is tried
    assert set(times.values()) == {1}  # all that is before it is answered, and all behind it not begun


# --- what hangs ---


@pytest.mark.parametrize("end", ["hangs", "stops"])
def test_a_replica_that_hangs_is_replaced(
    end: str, folder: Path, executor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = mortal(folder, right=0.6, unanswered=0.2, once=True, end=end, pace=0.06)
    (cell,) = run_words(models=model, executor=executor, replica_timeout=6)
    assert (folder / "died").exists() and cell.score.errors == 0
    again = [key for key, times in asked(folder).items() if times > 1]
    assert len(again) == 1 and max(asked(folder).values()) == 2
    assert "a replica is gone: it said nothing for 6 s" in capsys.readouterr().err
    assert gone(processes(folder))
    run_words(out="first", models=model)
    assert everything() == everything("first")


def test_a_sample_that_hangs_every_replica_ends_as_one_error(folder: Path, executor: str) -> None:
    model = mortal(folder, poison="s5", end="hangs", pace=0.06, batch=2)
    (cell,) = run_words(models=model, executor=executor, replica_timeout=6, tries=2)
    line = by_sample("generations.jsonl")["s5"]
    assert line["error"] == "2 replicas died of it; the last one: it said nothing for 6 s"
    assert (cell.score.n, cell.score.errors, cell.score.value) == (SAMPLES - 1, 1, 1.0)
    times = asked(folder)
    assert 2 <= times.pop(line["key"]) <= 3 and set(times.values()) == {1}


class SlowReader(Silent):
    """Lets answers wait, as a judge does that is far behind."""

    def __init__(self) -> None:
        self._seen = 0

    def generated(self, error: bool) -> None:
        """Sleep once, longer than a replica may be silent."""
        self._seen += 1
        if self._seen == 3:
            time.sleep(5)


def test_who_answers_in_time_is_not_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither for a batch that takes longer, nor because nobody listens."""
    model = mortal(folder, pace=0.5, batch=8)
    run_words(models=model, executor="workers=2", replica_timeout=3, progress=SlowReader())
    assert set(asked(folder).values()) == {1} and len(processes(folder)) == 2
    assert capsys.readouterr().err == ""


# --- what does not come up, and what gives up ---


@pytest.mark.parametrize(
    ("load", "says"),
    [
        ("error", "The model 'mortal' cannot be loaded: FileNotFoundError: no such checkpoint"),
        ("end", "3 replicas in a row could not be started. The last one: "),
        ("weights", "replicas have different weights: "),
    ],
)
def test_a_model_that_cannot_be_loaded_stops_the_run(
    load: str, says: str, folder: Path, executor: str
) -> None:
    with pytest.raises(BackendError) as failed:
        run_words(models=mortal(folder, load=load, pace=0.2, batch=1), executor=executor)
    assert says in str(failed.value)
    assert len(processes(folder)) <= 4  # no endless loop
    assert load == "weights" or not Path("run").exists()  # one of them may have answered already


def test_a_replica_that_cannot_be_started_is_no_harm_while_another_works(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cell,) = run_words(models=mortal(folder, load="end-but-first", pace=0.1, batch=1), executor="workers=2")
    assert cell.score.n == SAMPLES
    assert "a replica could not be started: ended with exit code 7" in capsys.readouterr().err


def test_a_model_that_only_dies_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unisandbox.asking.Patience.GIVE_UP", 4)
    model = mortal(folder, poison="s1", batch=1)
    write_task(folder, 1)
    with pytest.raises(
        BackendError, match=r"4 requests in a row failed, stopped. The last one: a replica is gone"
    ):
        run_words(models=model, executor="workers=1", tries=9)


def test_a_backend_that_gives_up_stops_the_run_with_its_own_words(folder: Path, executor: str) -> None:
    with pytest.raises(UsageError, match="oracle: cannot_draw: Unknown kind of object 'unicorn'"):
        run(tasks=["math_1"], models="oracle:cannot_draw=unicorn", limit=2, out="run", executor=executor)


def command(folder: Path, model: str, executor: str, *modes: str) -> dict[str, Any]:
    """Return how to start a run in a process of its own, as arguments of ``Popen``."""
    words = [
        "run",
        "--tasks",
        "words.yaml",
        "--models",
        model,
        "--judges",
        "reader",
        "--out",
        "run",
        "--quiet",
    ]
    path = os.pathsep.join([str(folder / "site"), *sys.path])
    return {
        "args": [sys.executable, "-m", "unisandbox", *words, "--modes", *modes, "--executor", executor],
        "env": {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.PIPE,
        "text": True,
        "start_new_session": True,
    }


def wait_for(there: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_driver_killed_and_started_again_asks_only_what_was_in_flight(
    folder: Path, executor: str
) -> None:
    batch, modes = 3, ["direct", "caption"]
    model = mortal(folder, pace=0.05, batch=batch)
    start = command(folder, model, executor, *modes)
    with subprocess.Popen(**start) as driver:
        wait_for(lambda: len(notes(folder, "asked")) > SAMPLES)
        driver.kill()
        driver.communicate()
    assert gone(processes(folder))  # replicas do not outlive it
    with subprocess.Popen(**start) as driver:
        _, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, err
    assert sum(times - 1 for times in asked(folder).values()) <= 2 * batch
    logged = Counter(line["key"] for line in lines("generations.jsonl"))
    assert set(logged.values()) == {1} and len(logged) == 2 * SAMPLES
    run_words(out="first", models=model, modes=modes)
    assert everything() == everything("first")


def test_a_full_disk_keeps_what_is_written_and_ends_the_replicas(folder: Path, small_disk: Path) -> None:
    out = small_disk / "run"
    with pytest.raises(RunFolderError, match="the disk is full"):
        run_words(out=out, models=mortal(folder), executor="workers=2", repeats=20)
    assert gone(processes(folder))
    kept = len(list(read_lines(out / "generations.jsonl")))
    assert 0 < kept < 20 * SAMPLES
    shutil.copytree(out, "run")
    before = asked(folder)
    assert run_words(models=mortal(folder), executor="workers=2", repeats=20).finished
    assert (asked(folder) - before).total() == 20 * SAMPLES - kept
    run_words(out="first", models=mortal(folder), repeats=20)
    assert everything() == everything("first")


def test_a_worker_ended_while_plugins_are_imported_says_nothing(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    install(folder / "site", "slow_plugin", "slow_plugin")
    (folder / "site" / "slow_plugin.py").write_text(
        f"import pathlib, time\npathlib.Path({str(folder / 'importing')!r}).touch()\ntime.sleep(60)\n"
    )
    processes = workers.Processes(1, [], Role("model", Spec("painter"), 1))
    worker = processes.start()
    wait_for((folder / "importing").exists)
    processes.end(worker, kindly=False)
    assert worker.process.returncode == -signal.SIGTERM
    assert capfd.readouterr().err == ""


def test_ctrl_c_lets_replicas_finish_what_they_are_at(folder: Path) -> None:
    """Ctrl-C in a terminal reaches the workers too."""
    model = mortal(folder, pace=0.1, batch=2)
    with subprocess.Popen(**command(folder, model, "workers=2", "answer")) as driver:
        wait_for(lambda: len(notes(folder, "asked")) > 3)
        os.killpg(driver.pid, signal.SIGINT)
        _, err = driver.communicate(timeout=30)
    assert driver.returncode == 130 and "Traceback" not in err
    assert set(asked(folder)) == {line["key"] for line in lines("generations.jsonl")}
    assert len(asked(folder)) < SAMPLES


# --- Ray alone ---


def test_nodes_may_go_and_come_while_it_runs(folder: Path, cluster: Any) -> None:
    modes = ["direct", "answer", "render"]
    model = mortal(folder, pace=0.3, batch=2)
    with subprocess.Popen(**command(folder, model, f"ray:{cluster.address}", *modes)) as driver:
        wait_for(lambda: len({pid for _, pid in notes(folder, "asked")}) == 2)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        cluster.add_node(num_cpus=2, num_gpus=1)
        _, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, err
    assert len(processes(folder)) == 3
    assert len({pid for _, pid in notes(folder, "asked")}) == 3  # the one that joined works too
    assert sum(times - 1 for times in asked(folder).values()) <= 2  # what was in flight on the node
    run_words(out="first", models=mortal(folder, pace=0.3, batch=2), modes=modes)
    assert everything() == everything("first")


def test_no_place_is_left(folder: Path, cluster: Any) -> None:
    node = cluster.add_node(num_cpus=2, num_gpus=2)
    start = command(folder, mortal(folder, pace=0.3, batch=2), f"ray:{cluster.address}", "answer")
    start["args"] += ["--gpus-per-replica", "2"]
    with subprocess.Popen(**start) as driver:
        wait_for(lambda: len(notes(folder, "asked")) > 4)
        cluster.remove_node(node, allow_graceful=False)
        _, err = driver.communicate(timeout=200)
    assert driver.returncode == 1
    last = err.splitlines()[-1]
    assert last.endswith("can run. What is done is kept. To go on: unisandbox resume run"), err
    assert "there is no place left where a replica" in last
    assert lines("generations.jsonl")


@pytest.mark.parametrize(
    ("options", "number"), [({}, 2), ({"gpus_per_replica": 0.5}, 4), ({"replicas": 1}, 1)]
)
def test_replicas_fill_the_gpus(options: dict[str, Any], number: int, folder: Path, cluster: Any) -> None:
    run_words(models=mortal(folder, pace=0.1, batch=1), executor=f"ray:{cluster.address}", **options)
    lives = notes(folder, "lives")
    assert len(lives) == number
    assert {device for _, device, _ in lives} == {"0"}  # the one of its node


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gpus_per_replica": 2}, "a replica with --gpus-per-replica 2: there is room for 0 ("),
        ({"replicas": 3}, "--replicas 3 with --gpus-per-replica 1: there is room for 2 ("),
        ({"replicas": 9, "gpus_per_replica": 0}, "--replicas 9, a CPU each: there is room for 4 ("),
    ],
)
def test_more_than_there_is(options: dict[str, Any], says: str, folder: Path, cluster: Any) -> None:
    with pytest.raises(UsageError) as wrong:
        run_words(executor=f"ray:{cluster.address}", **options)
    assert says in str(wrong.value)
    assert not Path("run/generations.jsonl").exists()  # nothing is begun


def test_a_model_in_another_environment(folder: Path, executor: str) -> None:
    python = folder / "python"
    path = os.pathsep.join([str(folder / "site"), *sys.path])  # where the plugins of these tests stand
    python.write_text(f'#!/bin/sh\nMARK=other PYTHONPATH={path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    run_words(
        models=[mortal(folder, pace=0.05), mortal(folder, pace=0.06)],
        executor=executor,
        py_executable=[f"{mortal(folder, pace=0.05)}={python}"],
    )
    assert {mark for *_, mark in notes(folder, "lives")} == {"other", "-"}


# --- devices of workers, and bad input ---


def test_each_worker_gets_a_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "devices", lambda: ["4", "6"])
    run_words(models=mortal(folder, pace=0.2, batch=1, once=True), executor="workers=2")
    devices = [device for _, device, _ in notes(folder, "lives")]
    assert sorted(devices[:2]) == ["4", "6"] and devices[2] in ("4", "6")
    with pytest.raises(UsageError, match=r"workers=3: each worker takes a GPU, and there are 2: 4, 6\."):
        run_words(executor="workers=3", out="more")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"executor": "lokal"}, "Unknown executor 'lokal'. Did you mean 'local'?"),
        ({"executor": "worker=2"}, "Unknown executor 'worker'. Did you mean 'workers'?"),
        ({"executor": "workers=0"}, "workers=0: expected a whole number of at least 1, such as workers=2."),
        ({"executor": "workers"}, "workers: expected a whole number of at least 1"),
        ({"executor": "ray="}, "ray=: expected local, workers=N, ray or ray:ADDRESS."),
        ({"replicas": 2}, "--replicas goes with --executor ray, and the executor is 'local'."),
        ({"gpus_per_replica": 1.5}, "gpus_per_replica=1.5: expected a share of a GPU, a whole number, or 0."),
        ({"py_executable": ["painter=py"]}, "--py-executable goes with --executor workers=N or ray"),
        (
            {"py_executable": ["panter=py"], "executor": "workers=1"},
            "--py-executable panter=py: Unknown model of this run 'panter'. Did you mean 'painter'?",
        ),
        ({"py_executable": ["py"], "executor": "workers=1"}, "--py-executable py: expected MODEL=PATH."),
    ],
)
def test_what_cannot_be_meant(options: dict[str, Any], says: str, folder: Path) -> None:
    with pytest.raises(UsageError) as wrong:
        run_words(**options)
    assert says in str(wrong.value)
    assert not Path("run").exists()


def test_an_interpreter_that_is_none(folder: Path) -> None:
    with pytest.raises(UsageError, match="nowhere/python: No such file or directory"):
        run_words(executor="workers=1", py_executable=["painter=nowhere/python"])
    other = folder / "other"
    other.write_text("#!/bin/sh\nexit 3\n")
    other.chmod(0o755)
    with pytest.raises(UsageError, match=r"other: it cannot import unisandbox .*Install"):
        run_words(executor="workers=1", py_executable=[f"painter={other}"])


def test_ray_that_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray. Install it: pip install 'unisandbox\[ray\]'"):
        run_words(executor="ray")


def test_a_cluster_that_cannot_be_reached(folder: Path) -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with suppress(ImportError), pytest.MonkeyPatch.context() as patch:
            patch.setattr("unisandbox.executors.ray.REACHED", 0.3)
            with pytest.raises(UsageError, match=r"cannot be reached within 0.3 s: timed out"):
                run_words(executor=f"ray:127.0.0.1:{port}")
    with pytest.raises(UsageError, match=f"ray:127.0.0.1:{port}: cannot be reached within 5 s: .*refused"):
        run_words(executor=f"ray:127.0.0.1:{port}")
    with pytest.raises(UsageError, match="expected HOST:PORT of a cluster"):
        run_words(executor="ray:ray://127.0.0.1:10001")
