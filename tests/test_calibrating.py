"""Calibrating: known error rates come back; a calibration is kept, continued, and never of another judge."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tenacity

from tests import support_judges
from tests.support_backends import install
from tests.support_run import lines
from tests.support_run import plugins as plugins
from unisandbox import calibrate, calibrating
from unisandbox.calibration import COMPOSED, LABELLED, read_calibrations
from unisandbox.cli import main
from unisandbox.errors import RunFolderError, UsageError
from unisandbox.plugins import installed
from unisandbox.stats import Estimate
from unisandbox.world import Scene, compose

Out = pytest.CaptureFixture[str]


@pytest.fixture
def noisy(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The noisy judge installed, small pictures, retries without a wait."""
    install(plugins, "tests.support_judges", "noisy")
    installed.cache_clear()
    monkeypatch.setattr(calibrating, "SIZE", 64)
    monkeypatch.setattr(tenacity, "wait_exponential_jitter", lambda **_: tenacity.wait_none())
    yield


def holds(figure: Estimate, truth: float) -> bool:
    return figure.low is not None and figure.high is not None and figure.low <= truth <= figure.high


def test_the_exact_judge_makes_no_error(noisy: None) -> None:
    found = calibrate("sprite", samples=12)
    assert (found.judge, found.pictures, found.folder) == (
        "sprite",
        COMPOSED,
        Path("runs/calibration/sprite"),
    )
    assert list(found.rubrics) == ["object_count", "object_identity", "portrait", "species"]
    for rates in found.rubrics.values():
        assert rates.sensitivity.value == rates.specificity().value == 1
        assert rates.right.n == rates.all_wrong.n == 12
    assert found.rubrics["object_count"].wrong["text"].rejected == 1
    assert read_calibrations(Path("runs/calibration")) == read_calibrations(found.folder) == [found]


def test_known_rates_come_back(noisy: None) -> None:
    rubrics = ["object_count", "object_identity", "species"]
    found = calibrate("noisy:sensitivity=0.9,specificity=0.75", rubrics=rubrics, samples=100)
    held = [holds(rates.sensitivity, 0.9) for rates in found.rubrics.values()]
    held += [holds(rates.specificity(), 0.75) for rates in found.rubrics.values()]
    assert len(held) == 6 and sum(held) >= 5  # fewer: 3 times in 100
    assert found.about == {"version": 1}


def test_errors_are_in_no_rate_and_are_tried_again(
    noisy: None, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["calibrate", "noisy:errs=0.2", "--rubrics", "species", "--samples", "20", "--quiet"]
    assert main(command) == 3
    (found,) = read_calibrations(Path("runs/calibration"))
    rates = found.rubrics["species"]
    errors = rates.right.errors + rates.all_wrong.errors
    assert 0 < errors < 20 and rates.right.n + rates.all_wrong.n == 40 - errors
    assert rates.sensitivity.value == rates.specificity().value == 1
    out, err = capsys.readouterr()
    assert "errors" in out and f"No verdict on {errors} of 40 pictures" in err
    number = len(lines("verdicts.jsonl", found.folder))
    assert main(command) == 3  # the same ones fail again
    assert len(lines("verdicts.jsonl", found.folder)) == number + errors


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"judge": "rules"},
            "'rules' reads text only, and is calibrated on pictures. Judges that read pictures: ",
        ),
        ({"judge": "spirte"}, "Unknown judge 'spirte'. Did you mean 'sprite'?"),
        ({"rubrics": ["object_cout"]}, "Unknown rubric 'object_cout'. Did you mean 'object_count'"),
        ({"rubrics": ["words"]}, "No picture can be composed for the slots answer of rubric 'words'."),
        ({"images": Path("x")}, "--images DIR and --labels FILE belong together: give both."),
    ],
)
def test_what_cannot_be_meant(noisy: None, given: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        calibrate(**{"judge": "sprite", **given})  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert not Path("runs").exists()


def test_a_folder_holds_one_calibration(noisy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(**options: object) -> object:
        return calibrate("noisy", rubrics=["species"], **{"samples": 6, **options})  # type: ignore[arg-type]

    small()
    with pytest.raises(RunFolderError, match=r"tasks\.species\.dataset\.samples was 6 and is now 7\."):
        small(samples=7)
    monkeypatch.setattr(support_judges, "VERSION", {"version": 2})
    with pytest.raises(RunFolderError, match=r"another judge now .* version was 1 and is now 2.*--fresh"):
        small()
    small(fresh=True)
    assert read_calibrations(Path("runs/calibration/noisy"))[0].about == {"version": 2}


def test_labels_may_not_be_unlike_the_names_of_files(noisy: None) -> None:
    first, second = (
        calibrate(f"noisy:sensitivity=0.{n}", rubrics=["species"], samples=2).folder for n in (5, 6)
    )
    assert first != second and first.name.startswith("noisy-sensitivity-0.5-")


def test_killed_and_continued_it_ends_the_same(tmp_path: Path) -> None:
    """A real process, killed with -9 in the middle."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(install(tmp_path / "site", "tests.support_judges", "noisy")), str(Path(__file__).parents[1])]
        ),
    }
    command = [sys.executable, "-m", "unisandbox", "calibrate", "noisy:specificity=0.7,pause=0.01"]
    command += ["--rubrics", "species", "--samples", "30", "--quiet", "--out"]
    with subprocess.Popen([*command, "cut"], cwd=tmp_path, env=environment) as process:
        verdicts = tmp_path / "cut" / "verdicts.jsonl"
        while process.poll() is None and not (verdicts.exists() and verdicts.stat().st_size > 2000):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "cut" / "calibration.json").exists()
    for name in ("cut", "whole"):
        subprocess.run([*command, name], cwd=tmp_path, env=environment, check=True, timeout=120, text=True)
    cut, whole = (json.loads((tmp_path / name / "calibration.json").read_text()) for name in ("cut", "whole"))
    assert {**cut, "started": ""} == {**whole, "started": ""}
    said = lines("verdicts.jsonl", tmp_path / "cut")
    assert len({line["key"] for line in said}) == len(said) == 60


# --- labelled pictures ---


@pytest.fixture
def labels(in_tmp: Path) -> list[str]:
    """Ten pictures of two cups, each labelled for two targets; one label is wrong on purpose."""
    rows = ["file,rubric,label,count,object"]
    for number in range(10):
        compose(Scene(("cup",) * 2), 64, number).save(in_tmp / f"{number}.png")
        rows.append(f"{number}.png,object_count,{'no' if number == 3 else 'yes'},2,cup")
        rows.append(f"{number}.png,object_count,no,3,cup")
    Path("labels.csv").write_text("\n".join(rows))
    return ["--images", ".", "--labels", "labels.csv", "--quiet"]


def test_labelled_pictures_give_rates_and_kappa(noisy: None, labels: list[str], capsys: Out) -> None:
    assert main(["calibrate", "sprite", *labels]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines() if "kappa" in line] == [
        ["kappa", "0.90"]
    ]
    (found,) = read_calibrations(Path("runs/calibration"))
    assert (found.pictures, found.folder.name) == (LABELLED, "sprite-labelled")
    rates = found.rubrics["object_count"]
    assert (rates.right.passed, rates.right.n) == (9, 9)
    assert (rates.all_wrong.failed, rates.all_wrong.n) == (10, 11)
    assert rates.kappa.value == pytest.approx(0.9, abs=0.01)


def test_labels_of_right_pictures_alone_give_one_rate(noisy: None, labels: list[str]) -> None:
    kept = [line for line in Path("labels.csv").read_text().splitlines() if ",no," not in line]
    Path("labels.csv").write_text("\n".join(kept))
    assert main(["calibrate", "sprite", *labels]) == 0
    (found,) = read_calibrations(Path("runs/calibration"))
    rates = found.rubrics["object_count"]
    assert rates.sensitivity.value == 1 and rates.accuracy is None
    assert rates.specificity().reason == "no pictures" and not rates.kappa.known


def test_labels_of_no_such_rubric_are_refused(noisy: None, labels: list[str], capsys: Out) -> None:
    assert main(["calibrate", "sprite", *labels, "--rubrics", "species"]) == 2
    assert capsys.readouterr().err == "error: labels.csv labels nothing for the rubric species.\n"


def test_a_picture_that_changed_is_another_calibration(noisy: None, labels: list[str], capsys: Out) -> None:
    assert main(["calibrate", "sprite", *labels]) == 0
    compose(Scene(("hat",)), 64).save("3.png")
    assert main(["calibrate", "sprite", *labels]) == 2
    assert "another matrix: tasks.object_count.fingerprint was" in capsys.readouterr().err


# --- the command ---


def test_the_table_and_its_exports(noisy: None, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = ["calibrate", "sprite", "--samples", "12", "--rubrics", "object_count", "portrait"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out.startswith("sprite on composed scenes\n") and "similar kind" in out and "complexion" in out
    assert "errors" not in out and "Saved in runs/calibration/sprite" in err
    assert max(map(len, out.splitlines())) <= 80
    for form in ("md", "latex"):
        assert main([*command, "--format", form, "--quiet"]) == 0
        assert "portrait" in capsys.readouterr().out
    assert main([*command, "--format", "json", "--quiet"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["rubric"] == "object_count" and rows[0]["rate"] == 1 and rows[0]["passed"] == 12
    assert main([*command, "--format", "csv", "--quiet"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(table[0]) == list(rows[0])


@pytest.mark.parametrize("option", ["--samples", "--tries"])
def test_numbers_that_cannot_be_meant(noisy: None, option: str, capsys: Out) -> None:
    assert main(["calibrate", "sprite", option, "0"]) == 2
    assert "expected a whole number of at least 1." in capsys.readouterr().err


@pytest.mark.parametrize("command", ["resume RUN", "judge RUN --judges sprite"])
def test_a_calibration_is_no_run_to_go_on_with(noisy: None, command: str, capsys: Out) -> None:
    folder = str(calibrate("noisy", rubrics=["species"], samples=2).folder)
    assert main(command.replace("RUN", folder).split()) == 2
    assert f"{folder} is no run but a calibration. To go on: unisandbox calibrate noisy" in (
        capsys.readouterr().err
    )
    assert main(["show", folder, "--samples", "--format", "csv"]) == 0  # what it said of each picture
    assert len(capsys.readouterr().out.splitlines()) == 5
