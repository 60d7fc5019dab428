"""Judges with replicas: the same bytes as in one process, and nothing lost when one of them ends."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support_backends import write_task
from tests.support_executors import asked, juror, notes, processes
from tests.support_run import by_sample, lines, run_words
from tests.support_run import plugins as plugins
from tests.test_executors import SAMPLES, command, gone, wait_for
from tests.test_executors import cluster as cluster
from tests.test_executors import executor as executor
from tests.test_executors import folder as folder
from tests.test_runner import MIXED, everything
from unisandbox.api import judge_again, run
from unisandbox.catalog import Catalog
from unisandbox.cli import main
from unisandbox.errors import JudgeError, UsageError
from unisandbox.executors import workers
from unisandbox.plugins import installed
from unisandbox.run_log import read_json

pytestmark = pytest.mark.xdist_group("executors")


@pytest.fixture
def place(folder: Path) -> Path:
    """Where the judge's processes leave word."""
    return folder / "judge"


# --- the same bytes ---


@pytest.mark.parametrize("where", ["local", "workers=1"])
@pytest.mark.parametrize("batch", [1, 4])
def test_every_mode_ends_in_the_same_bytes(where: str, batch: int, folder: Path) -> None:
    options = {**MIXED, "judges": f"reader:batch={batch}"}
    run_words(out="first", **options)
    run_words(**options, executor=where, judge_replicas=["reader=2"])
    assert everything() == everything("first")


def test_judges_of_the_sandbox_and_a_panel_end_in_the_same_bytes(folder: Path) -> None:
    """Readings, rubrics, and what a panel's members saw travel to other processes and back."""
    options: dict[str, Any] = {
        "tasks": ["math_1", "forward_retrieval"],
        "models": "oracle:transfer=0.5,knows=0.7,reasons=0.8",
        "modes": ["direct", "answer"],
        "judges": ["panel:judges=sprite+noisy", "noisy:sensitivity=0.8,errs=0.2", "rules"],
        "limit": 12,
    }
    from tests.support_backends import install

    install(folder / "site", "tests.support_judges", "support_judges")
    installed.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        import tenacity

        patch.setattr(tenacity, "wait_exponential_jitter", lambda **_: tenacity.wait_none())
        run(**options, out="first")
    run(**options, out="run", judge_replicas=["panel=1", "noisy=2", "rules=1"])
    found = {outcome for line in lines("verdicts.jsonl") for outcome in [line["outcome"]]}
    assert {"correct", "incorrect", "error"} <= found
    assert everything() == everything("first")


def test_replicas_share_the_work_say_what_they_are_and_end(folder: Path, place: Path, executor: str) -> None:
    judge = juror(place, pace=0.1, batch=1)
    run_words(modes="direct", judges=judge, executor=_one(executor), **_room(executor, judge, 2))
    assert len({pid for _, pid in notes(place, "asked")}) == 2
    assert set(asked(place).values()) == {1}
    about = read_json(Path("run/run.json"))
    assert list(about["judges"].values()) == [{"weights": "same"}]
    assert about["options"]["judge_replicas"] == ["juror=2"]
    assert gone(processes(place))


def _one(executor: str) -> str:
    """Return an executor with one replica of the model."""
    return "workers=1" if executor.startswith("workers") else executor


def _room(executor: str, judge: str, number: int) -> dict[str, Any]:
    """Return options for replicas of a judge, on Ray beside one of the model on two nodes of one GPU."""
    own = {} if executor.startswith("workers") else {"replicas": 1, "judge_gpus_per_replica": 0.5}
    if own:
        own["gpus_per_replica"] = 0.5
    return {"judge_replicas": [f"{judge.partition(':')[0]}={number}"], **own}


# --- what dies ---


def test_a_replica_killed_in_the_middle_of_a_batch_costs_nothing(
    folder: Path, place: Path, executor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = juror(place, once=True, pace=0.05)
    options = {"models": "painter:right=0.6,unanswered=0.2", "modes": ["answer", "direct"], "judges": judge}
    run_words(**options, executor=_one(executor), **_room(executor, judge, 2))
    assert (place / "died").exists()
    assert "a replica is gone" in capsys.readouterr().err
    again = [key for key, times in asked(place).items() if times > 1]
    assert len(again) == 1 and asked(place)[again[0]] == 2  # what it was at when it died
    assert len(lines("verdicts.jsonl")) == 2 * SAMPLES
    run_words(out="first", **options)
    assert everything() == everything("first")


@pytest.mark.parametrize("end", ["dies", "stops"])
def test_a_picture_that_ends_every_replica_is_one_error(
    end: str, folder: Path, place: Path, executor: str
) -> None:
    judge = juror(place, poison="w5", end=end, pace=0.06)
    (cell,) = run_words(
        modes="direct",
        judges=judge,
        executor=_one(executor),
        replica_timeout=6,
        tries=2,
        **_room(executor, judge, 2),
    )
    line = by_sample("verdicts.jsonl")["s5"]
    assert line["outcome"] == "error" and "2 replicas died of it; the last one: " in line["reason"]
    assert (cell.score.n, cell.score.errors, cell.score.value) == (SAMPLES - 1, 1, 1.0)
    times = asked(place)
    assert 2 <= times.pop(line["key"]) <= 4
    assert set(times.values()) == {1}
    assert len(lines("generations.jsonl")) == SAMPLES
    assert gone(processes(place))


def test_the_only_replica_is_replaced_between_two_batches(folder: Path, place: Path) -> None:
    """Nobody is left when the last of a batch has ended it."""
    judge = juror(place, poison="w24", batch=1)  # the painter answers the last one first
    (cell,) = run_words(judges=judge, judge_replicas=["juror=1"], batch_size=SAMPLES, tries=1)
    assert (cell.score.n, cell.score.errors, cell.score.value) == (SAMPLES - 1, 1, 1.0)
    assert len(processes(place)) == 2


@pytest.mark.parametrize(
    ("load", "says"),
    [
        ("error", "The judge 'juror' cannot be loaded: FileNotFoundError: no such checkpoint"),
        ("end", "3 replicas in a row could not be started. The last one: ended with exit code 7"),
    ],
)
def test_a_judge_that_cannot_be_loaded_stops_the_run_before_a_model_is_asked(
    load: str, says: str, folder: Path, place: Path
) -> None:
    judge = juror(place, load=load)
    with pytest.raises(JudgeError) as failed:
        run_words(modes="direct", judges=judge, judge_replicas=["juror=2"])
    assert says in str(failed.value)
    assert not Path("run/generations.jsonl").exists()


def test_a_judge_that_only_dies_is_given_up(
    folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unisandbox.asking.Patience.GIVE_UP", 3)
    write_task(folder, 1)
    with pytest.raises(JudgeError, match=r"^juror:.*: 3 requests in a row failed, stopped\."):
        run_words(judges=juror(place, poison="w1"), judge_replicas=["juror=1"], tries=9)
    assert len(lines("generations.jsonl")) == 1  # what is asked is kept


def test_ctrl_c_twice_ends_the_replicas_at_once(folder: Path, place: Path) -> None:
    judge = juror(place, pace=0.3)
    start = command(folder, "painter", "workers=1", "answer")
    start["args"] += ["--judges", judge, "--judge-replicas", "juror=2"]
    with subprocess.Popen(**start) as driver:
        wait_for(lambda: len(notes(place, "asked")) > 2)
        os.kill(driver.pid, signal.SIGINT)
        assert driver.stderr is not None and "Ctrl-C again" in driver.stderr.readline()
        os.kill(driver.pid, signal.SIGINT)
        _, err = driver.communicate(timeout=30)
    assert driver.returncode == 130, err
    assert "Traceback" not in err and "gone" not in err, err
    assert gone(processes(place))
    assert len(asked(place)) < SAMPLES
    run_words(judges=["reader", judge], judge_replicas=["juror=2"])  # goes on
    assert {line["outcome"] for line in lines("verdicts.jsonl")} == {"correct"}
    assert len(lines("verdicts.jsonl")) == 2 * SAMPLES


def test_the_driver_killed_takes_its_judges_along(folder: Path, place: Path) -> None:
    start = command(folder, "painter", "local", "answer")
    start["args"] += ["--judges", juror(place, pace=0.2), "--judge-replicas", "juror=2"]
    with subprocess.Popen(**start) as driver:
        wait_for(lambda: len(notes(place, "asked")) > 2)
        driver.kill()
        driver.communicate()
    assert gone(processes(place))


# --- judging again, planning, devices ---


def test_a_run_is_judged_again_by_replicas(folder: Path, place: Path) -> None:
    judge = juror(place, pace=0.05, batch=1)
    run_words(models="painter:right=0.6,unanswered=0.2", modes=["answer", "direct"])
    (folder / "run").rename(folder / "first")
    subprocess.run(["cp", "-r", "first", "run"], check=True)
    judge_again("first", [judge])
    (place / "asked").unlink()
    judge_again("run", [judge], judge_replicas=["juror=2"])
    assert len({pid for _, pid in notes(place, "asked")}) == 2
    assert everything() == everything("first")
    with pytest.raises(UsageError, match="--executor workers=2: these are for models, and none is asked"):
        judge_again("run", [judge], executor="workers=2")
    with pytest.raises(UsageError, match="Unknown option 'limit'"):
        judge_again("run", [judge], limit=2)


def test_the_command_line_plans_runs_and_judges_with_replicas(
    folder: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--tasks", "words.yaml", "--models", "painter", "--modes", "answer", "--limit", "2"]
    copies = ["--judges", juror(place), "--judge-replicas", "juror=2"]
    assert main([*words, *copies, "--dry-run"]) == 0
    assert f"Replicas of the judge {juror(place)}: 2.\n" in capsys.readouterr().out
    assert not place.exists()
    assert main([*words, *copies, "--out", "run", "--quiet", "--no-report"]) == 0
    assert len(processes(place)) in (1, 2)
    assert main(["judge", "run", *copies[:1], juror(place, batch=1), *copies[2:], "--quiet"]) == 0
    assert len(processes(place)) in (2, 3, 4)


def test_judges_take_the_devices_that_models_leave(
    folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "devices", lambda: ["4", "6", "7"])
    judge = juror(place, pace=0.2, batch=1, once=True)
    model = f"mortal:folder={folder / 'model'}"
    run_words(models=model, judges=judge, executor="workers=1", judge_replicas=["juror=2"])
    assert [device for _, device, _ in notes(folder / "model", "lives")] == ["4"]
    first, second, *more = [device for _, device, _ in notes(place, "lives")]
    assert {first, second} == {"6", "7"} and set(more) <= {"6", "7"}
    says = (
        r"--executor workers=2 --judge-replicas reader=2: each worker takes a GPU, and there are 3: 4, 6, 7\."
    )
    with pytest.raises(UsageError, match=says):
        run_words(executor="workers=2", judge_replicas=["reader=2"], out="more")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"judge_replicas": ["reader=3"]},
            "3 replicas of judges with --judge-gpus-per-replica 1: there is room ",
        ),
        (
            {"judge_replicas": ["reader=2"]},
            "a replica beside 2 of judges with --gpus-per-replica 1: there is room for 0 (",
        ),
    ],
)
def test_more_than_there_is(options: dict[str, Any], says: str, folder: Path, cluster: Any) -> None:
    with pytest.raises(UsageError) as wrong:
        run_words(executor=f"ray:{cluster.address}", **options)
    assert says in str(wrong.value)


SERVER = "asks a server, and does so from one process, under one rate limit. Leave it out"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"judge_replicas": ["reader"]},
            "--judge-replicas reader: expected JUDGE=N, a whole number of at least",
        ),
        ({"judge_replicas": ["reader=0"]}, "--judge-replicas reader=0: expected JUDGE=N"),
        ({"judge_replicas": "2"}, "--judge-replicas 2: expected JUDGE=N"),
        ({"judge_replicas": ["redaer=2"]}, "Unknown judge of this run 'redaer'. Did you mean 'reader'?"),
        ({"judges": "openai", "modes": "direct", "judge_replicas": ["openai=2"]}, f"'openai' {SERVER}"),
        (
            {"judges": "panel:judges=openai+vlm", "modes": "direct", "judge_replicas": ["panel=2"]},
            f"'panel:judges=openai+vlm' {SERVER}",
        ),
        (
            {"judge_gpus_per_replica": 1},
            "--judge-gpus-per-replica goes with --executor ray and --judge-replicas",
        ),
        (
            {"judge_gpus_per_replica": 1.5},
            "judge_gpus_per_replica=1.5: expected a share of a GPU, a whole number, or 0.",
        ),
        (
            {"replica_timeout": 5},
            "--replica-timeout goes with --executor workers=N or ray, or with --judge-repl",
        ),
        ({"replica_timeout": 0}, "replica_timeout=0: expected seconds, a number above 0."),
        ({"replica_timeout": "soon"}, "replica_timeout='soon': expected seconds, a number above 0."),
    ],
)
def test_what_cannot_be_meant(options: dict[str, Any], says: str, folder: Path) -> None:
    with pytest.raises(UsageError) as wrong:
        run_words(**options)
    assert says in str(wrong.value)
    assert not Path("run/run.json").exists()


def test_rubrics_travel_to_other_processes() -> None:
    for rubric in Catalog(installed()).rubrics.values():
        there = pickle.loads(pickle.dumps(rubric))
        seen = dict.fromkeys(rubric.slots, "x")
        assert there.fingerprint == rubric.fingerprint
        assert there.observe_prompt == rubric.observe_prompt
        assert there.match_prompt(seen, seen) == rubric.match_prompt(seen, seen)
