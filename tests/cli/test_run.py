"""``unisandbox run`` and ``resume``: options, config files, exit codes, and what is printed where."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support_backends import Painter
from tests.support_run import lines, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox.api import latest_folder
from unisandbox.cli import main
from unisandbox.records import Generation, Request
from unisandbox.results import load_run

pytestmark = pytest.mark.usefixtures("words")

RUN = ["run", "--tasks", "words.yaml", "--models", "painter", "--judges", "reader", "--out", "run"]
Out = pytest.CaptureFixture[str]


def test_a_run_prints_its_table_and_says_where_it_is(capsys: Out) -> None:
    assert main([*RUN, "--modes", "direct", "answer"]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()] == [
        ["task", "mode", "score", "95", "%", "n", "guess"],
        ["words", "direct", "1.00", "[0.61,", "1.00]", "6", "0.17"],
        ["answer", "1.00", "[0.61,", "1.00]", "6", "0.17"],
    ]
    assert "Saved in run" in err and "score: " in err
    assert "asked 12/12, judged 12/12, 0 errors" in err


def test_quiet_has_no_progress(capsys: Out) -> None:
    assert main([*RUN, "--modes", "answer", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert "asked" not in err and "Saved in run" in err and "1.00" in out


def test_lists_by_commas_spaces_or_again() -> None:
    for number, modes in enumerate(
        (
            ["--modes", "direct,answer"],
            ["--modes", "direct", "answer"],
            ["--modes", "direct", "--modes", "answer"],
        )
    ):
        assert main([*RUN[:-1], f"run{number}", *modes]) == 0
    assert load_run("run0").cells == load_run("run1").cells == load_run("run2").cells
    assert [cell.mode for cell in load_run("run0")] == ["direct", "answer"]


def test_every_option_reaches_the_run() -> None:
    options = "--modes answer --repeats 2 --limit 3 --seed 7 --batch-size 2 --tries 4 --min-coverage 0.5 "
    options += "--shard 1/1 --executor local"
    assert main([*RUN, *shlex.split(options)]) == 0
    saved = json.loads(Path("run/run.json").read_text())["options"]
    words = {"tasks": ["words.yaml"], "models": ["painter"], "judges": ["reader"], "modes": ["answer"]}
    numbers = {"repeats": 2, "limit": 3, "seed": 7, "batch_size": 2, "tries": 4, "min_coverage": 0.5}
    assert saved == {
        **words,
        **numbers,
        "data": [],
        "include_path": [],
        "attribution": False,
        "best_of": None,
        "shard": "1/1",
        "executor": "local",
        "replicas": None,
        "gpus_per_replica": None,
        "judge_replicas": [],
        "judge_gpus_per_replica": None,
        "replica_timeout": None,
        "py_executable": [],
    }
    assert len(lines("generations.jsonl")) == 6


def test_a_new_folder_is_named_and_found_again(capsys: Out) -> None:
    assert main([*RUN[:-2], "--modes", "answer"]) == 0
    err = capsys.readouterr().err
    (folder,) = Path("runs").iterdir()
    assert f"Saved in {folder}" in err
    assert main(["show"]) == 0
    assert "1.00" in capsys.readouterr().out


# --- exit codes ---


def fail(monkeypatch: pytest.MonkeyPatch, samples: str) -> None:
    answer = Painter.answer

    def failing(self: Painter, request: Request) -> Generation:
        if request.sample_id in samples.split():
            raise TimeoutError("no answer")
        return answer(self, request)

    monkeypatch.setattr(Painter, "answer", failing)


def test_missing_coverage_is_said_and_is_exit_code_3(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    with monkeypatch.context() as patch:
        fail(patch, "s2 s5")
        assert main([*RUN, "--modes", "answer"]) == 3
        out, err = capsys.readouterr()
        assert "4/6" in out and "2 errors" in out and "1.00" in out
        assert (
            "Coverage 0.67 is below --min-coverage 1. Commonest error (2 of 2): TimeoutError: no answer."
            in err
        )
        assert "To ask again: unisandbox resume run" in err
        assert main([*RUN, "--modes", "answer", "--min-coverage", "0.6"]) == 0
        assert "Coverage" not in capsys.readouterr().err
        assert main(["resume", "run"]) == 3  # with the options it was started with
    assert main(["resume", "run"]) == 0
    assert load_run("run").cells[0].score.n == 6


def test_a_dead_model_is_one_message_and_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    fail(monkeypatch, " ".join(f"s{n}" for n in range(1, 7)))
    assert main([*RUN, "--modes", "answer", "--repeats", "10"]) == 1
    err = capsys.readouterr().err
    (error,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert error.startswith(
        "error: painter: 25 requests in a row failed, stopped. The last one: TimeoutError"
    )
    assert error.endswith("What is done is kept. To go on: unisandbox resume run")
    assert "Traceback" not in err and len(lines("generations.jsonl")) == 25


def test_a_judge_that_is_dead_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    def no_observations(self: object, views: Sequence[object]) -> Iterator[object]:
        raise ConnectionError("refused")

    monkeypatch.setattr("tests.support_backends.Reader.observe", no_observations)
    assert main([*RUN, "--modes", "answer", "--repeats", "10"]) == 1
    assert "error: reader: 25 requests in a row failed" in capsys.readouterr().err
    assert len(lines("generations.jsonl")) > 25


def test_bad_usage_is_exit_code_2_and_starts_nothing(capsys: Out) -> None:
    assert main([*RUN, "--modes", "drect"]) == 2
    assert capsys.readouterr().err.startswith("error: Unknown mode 'drect'. Did you mean 'direct'?")
    assert not Path("run").exists()


def test_an_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    def interrupted(self: Painter, requests: Sequence[Request]) -> Iterator[Generation]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Painter, "generate", interrupted)
        assert main([*RUN, "--modes", "answer"]) == 130
    assert "Interrupted. What is done is kept. To go on: unisandbox resume " in capsys.readouterr().err
    assert main([*RUN, "--modes", "answer"]) == 0


# --- config files ---


def config(text: str) -> list[str]:
    Path("run.yaml").write_text(text)
    return ["run", "--config", "run.yaml"]


CONFIG = """\
tasks: words.yaml
models: [painter, thinker]
judges: reader
modes: [direct, answer]
batch-size: 3
min_coverage: 1
limit: null
out: run
"""


def test_a_config_file_holds_a_run() -> None:
    assert main(config(CONFIG)) == 0
    results = load_run("run")
    assert {(cell.model, cell.mode) for cell in results} == {
        (model, mode) for model in ("painter", "thinker") for mode in ("direct", "answer")
    }
    assert json.loads(Path("run/run.json").read_text())["options"]["batch_size"] == 3


def test_the_command_line_wins() -> None:
    assert (
        main([*config(CONFIG), "--models", "mute", "--modes", "direct", "--out", "other", "--limit", "2"])
        == 0
    )
    (cell,) = load_run("other")
    assert (cell.model, cell.mode, cell.score.n) == ("mute", "direct", 2)
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "tasks: math_1\nmodle: oracle\n",
            "run.yaml:2: modle: Unknown option 'modle'. Did you mean 'modes' or 'models'?",
        ),
        ("dry-run: true\n", "run.yaml:1: dry-run: Unknown option 'dry-run'."),
        ("limit: [1]\n", "run.yaml:1: limit: limit=[1]: expected a whole number of at least 1."),
        ("limit: many\n", "run.yaml:1: limit: limit='many': expected a whole number"),
        (
            "min_coverage: high\n",
            "run.yaml:1: min_coverage: min_coverage='high': expected a share from 0 to 1.",
        ),
        ("tasks: 5\n", "run.yaml:1: tasks: tasks=5: expected words."),
        ("fresh: perhaps\nout: x\n", "run.yaml:1: fresh: fresh='perhaps': expected true or false."),
        ("out: [a, b]\n", "run.yaml:1: out: out=['a', 'b']: expected a path."),
        ("tasks: [math_1\n", "run.yaml:2:1: not valid YAML: "),
        ("limit: 1\nlimit: 2\n", "run.yaml:2: the key 'limit' stands twice, first on line 1."),
        ("- math_1\n", "run.yaml: expected a mapping of keys, found a list."),
        ("", "run.yaml: expected a mapping of keys, found nothing."),
    ],
)
def test_a_wrong_config_file_is_named_with_its_line(text: str, says: str, capsys: Out) -> None:
    assert main(config(text)) == 2
    assert capsys.readouterr().err.startswith(f"error: {says}")
    assert not Path("runs").exists()


def test_a_config_file_that_is_not_there(capsys: Out) -> None:
    assert main(["run", "--config", "none.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: none.yaml: cannot be read: ")


# --- dry run ---


def test_a_dry_run_shows_the_matrix_and_asks_nothing(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    words = [*RUN, *shlex.split("--modes refined answer --repeats 3 --models mute --dry-run")]
    monkeypatch.setattr("tests.support_backends.Painter", lambda: pytest.fail("a model is loaded"))
    assert main(words) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert ["words", "refined", "painter", "reader", "6", "18", "18", "0.17"] in rows
    assert "36 pictures, 18 texts, 54 judge calls (two stages each)." in out
    assert "not supported: words answer mute: the model does not: writes text" in out
    assert "added, because others are made from them: cot" in out
    assert err == "" and not Path("run").exists()


def test_a_dry_run_plans_device_hours_days_and_money(capsys: Out) -> None:
    words = [*RUN, *shlex.split("--modes direct answer --repeats 30 --dry-run --seconds-per-image 20")]
    assert main(words) == 0
    first = "180 pictures at 20 s: 1.0 device-hours; 1.0 h (0.0 days) on 1."
    assert first in capsys.readouterr().out
    assert main([*words, "--devices", "4", "--price-per-hour", "2.5"]) == 0
    assert "1.0 device-hours; 0.2 h (0.0 days) on 4; 2.50 at 2.5 an hour." in capsys.readouterr().out
    assert main([*words, "--shard", "1/3"]) == 0
    assert "60 pictures at 20 s: 0.3 device-hours" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("--dry-run --devices 4", "--devices 4 says nothing without --seconds-per-image."),
        ("--dry-run --seconds-per-image 0", "--seconds-per-image 0: expected a number above 0."),
        ("--dry-run --seconds-per-image nan", "--seconds-per-image nan: expected a number above 0."),
        (
            "--dry-run --seconds-per-image 1 --devices -1",
            "--devices -1: expected a whole number of at least 1.",
        ),
        ("--seconds-per-image 20", "plan a run: add --dry-run."),
    ],
)
def test_plans_that_cannot_be_meant(given: str, says: str, capsys: Out) -> None:
    assert main([*RUN, *shlex.split(given)]) == 2
    assert says in capsys.readouterr().err


def test_a_dry_run_says_what_is_missing(capsys: Out) -> None:
    words = (
        "run --tasks words.yaml --models painter:rigth=1 folder --judges reader:x=1 --modes direct --dry-run"
    )
    assert main(words.split()) == 2
    assert [line.partition(" Known")[0] for line in capsys.readouterr().err.splitlines()] == [
        "missing: model 'painter': Unknown option 'rigth'. Did you mean 'right'?",
        "missing: model 'folder' needs the option path=...",
        "missing: judge 'reader': Unknown option 'x'.",
    ]


# --- resume ---


def test_resume_takes_the_latest_run(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    with monkeypatch.context() as patch:
        fail(patch, "s1")
        assert main([*RUN[:-1], "runs/a", "--modes", "answer"]) == 3
    capsys.readouterr()
    assert main(["resume", "--quiet"]) == 0
    err = capsys.readouterr().err
    assert "Saved in runs/a" in err and "Nothing to do" not in err
    assert main(["resume", "--quiet"]) == 0
    assert "Nothing to do: all of it was asked and judged before." in capsys.readouterr().err
    for given in (["runs/a", "--modes", "answer", "--fresh"], ["memory://bucket/a"]):
        assert main([*RUN[:-1], *given]) == 0
        assert "Nothing to do" not in capsys.readouterr().err


def test_a_run_in_which_nothing_was_asked_is_not_the_latest(capsys: Out) -> None:
    """As one stopped while its model was loaded; and a copy without its logs is a run like any other."""
    assert main([*RUN[:-1], "runs/good"]) == 0
    about = Path("runs/good/run.json").read_bytes()
    for name in ("begun", "copied"):
        Path("runs", name).mkdir()
        Path("runs", name, "run.json").write_bytes(about)
    Path("runs/begun/generations.jsonl").touch()
    for place, name in enumerate(("good", "copied", "begun")):
        os.utime(Path("runs", name, "run.json"), (place, place))
    assert latest_folder() == Path("runs/copied")
    Path("runs/copied/run.json").unlink()
    assert latest_folder() == Path("runs/good")
    Path("runs/good/run.json").unlink()
    assert latest_folder() == Path("runs/begun")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["resume"],
            "error: There is no run under runs/ yet. Name a run folder, or start one: unisandbox run",
        ),
        (["show"], "error: There is no run under runs/ yet. Name a run folder, or start one: unisandbox run"),
        (["resume", "nowhere"], "error: nowhere is not a run folder: it has no run.json."),
        (["show", "nowhere"], "error: nowhere is not a run folder: it has no run.json."),
    ],
)
def test_there_must_be_a_run(words: list[str], says: str, capsys: Out) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == says + "\n"


def test_a_secret_in_a_command_stays_out_of_what_is_printed_and_written(capsys: Out) -> None:
    words = [*RUN, "--modes", "answer"]
    words[words.index("painter")] = "painter:api_key=sk-secret"
    assert main(words) == 0
    out, err = capsys.readouterr()
    files = b"".join(path.read_bytes() for path in Path("run").rglob("*") if path.is_file())
    assert "sk-secret" not in out + err and b"sk-secret" not in files and b"***" in files
    assert main(["resume", "run"]) == 2
    assert "an option that is a secret is not kept. Give the whole command again." in capsys.readouterr().err
    words[words.index("painter:api_key=sk-secret")] = "painter:api_key=sk-secret,rigth=sk-secret"
    assert main(words) == 2
    assert "sk-secret" not in capsys.readouterr().err


def test_the_same_command_goes_on() -> None:
    run_words(out="whole")
    for _ in "ab":
        assert main([*RUN, "--modes", "answer"]) == 0
    assert Path("run/results.json").read_bytes() == Path("whole/results.json").read_bytes()
    assert len(lines("generations.jsonl")) == 6


def test_an_option_that_a_model_lacks_comes_before_the_judge_that_it_lacks(capsys: Out) -> None:
    assert main(["run", "--tasks", "math_1", "--models", "diffusers:modle=x"]) == 2
    assert capsys.readouterr().err.startswith("error: model 'diffusers': Unknown option 'modle'.")
    assert main(["run", "--tasks", "math_1", "--models", "diffusers:model=x"]) == 2
    assert capsys.readouterr().err.startswith("error: No judge is the default for the pictures of 'diffus")
