"""Judging a run again: no model is built, nothing judged is judged twice, both judges stand side by side."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support_backends import Painter, Reader, write_task
from tests.support_run import lines, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox import judge_again, load_run
from unisandbox.api import resume
from unisandbox.cli import main
from unisandbox.errors import JudgeError, RunFolderError, UsageError
from unisandbox.judge import Case
from unisandbox.records import Verdict
from unisandbox.run_log import RunLog

SECOND = "reader:batch=2"


@pytest.fixture
def ran(words: Path) -> Path:
    """A run of six pictures and six texts, half of them right."""
    run_words(modes=["direct", "answer"], models="painter:right=0.5")
    return Path("run")


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a model that is built is a fault."""

    def build(self: Painter, **options: object) -> None:
        raise AssertionError("a model was built")

    monkeypatch.setattr(Painter, "__init__", build)


def test_both_judges_stand_side_by_side(ran: Path, no_model: None) -> None:
    before = (ran / "generations.jsonl").read_bytes()
    results = judge_again(ran, [SECOND])
    assert results.finished and results.coverage == 1
    assert [(cell.mode, cell.judge) for cell in results] == [
        ("direct", "reader"),
        ("direct", SECOND),
        ("answer", "reader"),
        ("answer", SECOND),
    ]
    assert load_run(ran) == results
    assert (ran / "generations.jsonl").read_bytes() == before
    verdicts = lines("verdicts.jsonl")
    assert len({(line["key"], line["judge"]) for line in verdicts}) == len(verdicts) == 24


def test_run_json_names_the_judge_and_what_it_says_of_itself(
    ran: Path, no_model: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reader, "describe", lambda self: {"sharp": True}, raising=False)
    judge_again(ran, [SECOND])
    about = json.loads((ran / "run.json").read_text())
    assert about["judges"] == {"reader": {}, SECOND: {"sharp": True}}
    assert about["matrix"]["judges"] == about["options"]["judges"] == ["reader", SECOND]
    assert {tuple(ask["judges"]) for ask in about["asks"]} == {("reader", SECOND)}


def test_a_judge_by_default_stays(words: Path) -> None:
    run_words(judges=None)
    results = judge_again("run", ["reader"])
    assert [cell.judge for cell in results] == ["rules", "reader"]
    assert resume(Path("run")) == results


def test_judging_again_what_is_judged_changes_nothing(ran: Path, no_model: None) -> None:
    judge_again(ran, [SECOND])
    before = {path: path.read_bytes() for path in ran.glob("*.json*")}
    judge_again(ran, [SECOND])
    assert {path: path.read_bytes() for path in ran.glob("*.json*")} == before


def test_that_nothing_is_to_be_done_is_said_with_what_can_be(
    ran: Path, no_model: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", "run", "--judges", SECOND, "--quiet"]) == 0
    assert "Nothing to do" not in capsys.readouterr().err
    assert main(["judge", "run", "--judges", SECOND, "--quiet"]) == 0
    assert f"Nothing to do: {SECOND} judged all of it before. To have it judged again, add --again; " in (
        capsys.readouterr().err
    )
    assert main(["judge", "run", "--judges", SECOND, "--quiet", "--again"]) == 0
    assert "Nothing to do" not in capsys.readouterr().err
    assert len([line for line in lines("verdicts.jsonl") if line["judge"] == SECOND]) == 2 * 12


def test_judged_again_the_new_verdicts_count(
    ran: Path, no_model: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = judge_again(ran, [SECOND])

    def match(self: Reader, cases: Sequence[Case]) -> Iterator[Verdict]:
        return (Verdict(case.key, "incorrect", "", {}) for case in cases)

    monkeypatch.setattr(Reader, "match", match)
    assert judge_again(ran, [SECOND]) == before
    scores = {(cell.judge, cell.mode): cell.score.value for cell in judge_again(ran, [SECOND], again=True)}
    kept = {(cell.judge, cell.mode): cell.score.value for cell in before if cell.judge == "reader"}
    assert scores == kept | {(SECOND, mode): 0.0 for _, mode in kept}
    assert load_run(ran).cells == judge_again(ran, [SECOND]).cells


def test_errors_are_tried_again(ran: Path, no_model: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Reader.match

    def match(self: Reader, cases: Sequence[Case]) -> Iterator[Verdict]:
        for case in cases:
            if case.target["answer"] == "w3":
                raise ConnectionError("no route")
            yield from real(self, [case])

    with monkeypatch.context() as broken:
        broken.setattr(Reader, "match", match)
        results = judge_again(ran, [SECOND])
    assert results.finished and results.coverage == pytest.approx(5 / 6)
    number = len(lines("verdicts.jsonl"))
    assert judge_again(ran, [SECOND]).coverage == 1
    assert len(lines("verdicts.jsonl")) == number + 2


def test_it_goes_on_where_it_was_stopped(ran: Path, no_model: None, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ran, "whole")
    whole = judge_again("whole", [SECOND])
    real, calls = Reader.match, iter(range(100))

    def match(self: Reader, cases: Sequence[Case]) -> Iterator[Verdict]:
        if next(calls) == 2:
            raise JudgeError("the server is down")
        return real(self, cases)

    with monkeypatch.context() as broken:
        broken.setattr(Reader, "match", match)
        with pytest.raises(JudgeError, match="the server is down"):
            judge_again(ran, [SECOND])
    part = load_run(ran)
    assert not part.finished and {cell.judge for cell in part} == {"reader", SECOND}
    assert judge_again(ran, [SECOND]).cells == whole.cells
    verdicts = lines("verdicts.jsonl")
    assert len({(line["key"], line["judge"]) for line in verdicts}) == len(verdicts)
    assert (ran / "results.json").read_bytes() == Path("whole/results.json").read_bytes()


def test_ctrl_c_keeps_what_is_judged(ran: Path, no_model: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Reader.match

    def match(self: Reader, cases: Sequence[Case]) -> Iterator[Verdict]:
        signal.raise_signal(signal.SIGINT)
        return real(self, cases)

    monkeypatch.setattr(Reader, "match", match)
    assert main(["judge", "run", "--judges", "reader:batch=1", "--quiet"]) == 130
    assert lines("verdicts.jsonl")[-1]["judge"] == "reader:batch=1"


def test_an_unfinished_run_is_judged_as_far_as_it_goes(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("generations.jsonl", "verdicts.jsonl"):
        kept = (ran / name).read_bytes().splitlines(keepends=True)[:7]
        (ran / name).write_bytes(b"".join(kept))
    assert main(["judge", "run", "--judges", SECOND, "--quiet", "--min-coverage", "0"]) == 0
    assert "run is not finished; what it has is judged. To go on: unisandbox resume run" in (
        capsys.readouterr().err
    )
    assert sum(line["judge"] == SECOND for line in lines("verdicts.jsonl")) == 7
    assert {cell.judge: cell.score.n for cell in resume(ran)} == {"reader": 6, SECOND: 6}


def test_a_picture_that_is_gone_is_an_error_until_it_is_drawn_again(ran: Path) -> None:
    picture = next(line["image"] for line in lines("generations.jsonl") if "image" in line)
    (ran / "images" / picture).unlink()
    results = judge_again(ran, [SECOND])
    assert results.finished and results.coverage < 1
    assert any("cannot be read back" in reason for reason in results.errors())
    assert resume(ran).coverage == 1


def test_what_is_refused(ran: Path, no_model: None) -> None:
    with pytest.raises(UsageError, match="Unknown judge 'raeder'"):
        judge_again(ran, ["raeder"])
    with pytest.raises(UsageError, match=r"'sprite' reads sandbox only, but 'painter:right=0\.5' draws"):
        judge_again(ran, ["sprite"])
    with pytest.raises(RunFolderError, match="not a run folder"):
        judge_again("nowhere", [SECOND])
    with RunLog(ran), pytest.raises(RunFolderError, match="another process is writing this run"):
        judge_again(ran, [SECOND])
    assert json.loads((ran / "run.json").read_text())["matrix"]["judges"] == ["reader"]


def test_a_judge_that_reads_nothing_of_the_run_is_refused(words: Path) -> None:
    run_words(modes="direct")
    with pytest.raises(
        UsageError, match=r"^run holds nothing that the judge 'rules' reads: it reads text only"
    ):
        judge_again("run", ["rules"])


def test_a_task_that_has_changed_since_is_refused(ran: Path, no_model: None) -> None:
    write_task(Path(), rows=7)
    with pytest.raises(RunFolderError, match=r"another matrix: tasks\.words\.fingerprint was"):
        judge_again(ran, [SECOND])
    assert not [line for line in lines("verdicts.jsonl") if line["judge"] == SECOND]


def test_a_secret_of_the_model_is_not_needed(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_words(models="painter:api_key=hush")
    assert judge_again("run", [SECOND]).coverage == 1
    assert "hush" not in Path("run/run.json").read_text()


def test_the_command_says_all(ran: Path, no_model: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", "run", "--judges", SECOND]) == 0
    out, err = capsys.readouterr()
    assert "first: reader\nsecond: reader:batch=2\n" in out and "kappa" in out
    assert "judged 12/12, 0 errors" in err and "asked" not in err and "Saved in run" in err
    assert main(["judge", "run", "--judges", SECOND, "--tries", "0"]) == 2
    assert "--tries 0: expected a whole number of at least 1" in capsys.readouterr().err
