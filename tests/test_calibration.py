"""Corrected scores: by hand, by simulation, and on real runs; a calibration of something else is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration import DESIGNS, measure
from tests.support_backends import install
from tests.support_run import plugins as plugins
from tests.support_trials import trials
from unisandbox import attribute, calibrate, calibrating, run
from unisandbox.attribution import causes
from unisandbox.calibration import corrected_score, fit_from, read_calibrations
from unisandbox.cli import main
from unisandbox.errors import RunFolderError, UsageError
from unisandbox.plugins import installed
from unisandbox.results import Results
from unisandbox.stats import Accuracy, rogan_gladen
from unisandbox.trials import Trials

Out = pytest.CaptureFixture[str]
EYE = Accuracy(90, 100, 80, 100)
KNOWN = {("eye", "r"): EYE}
JUDGE = "noisy:sensitivity=0.85,specificity=0.8"


def judged(words: str, rubrics: str = "", units: list[str] | None = None) -> Trials:
    """Return direct trials as ``support_trials``, with a letter a sample for its rubric; '-' for none."""
    made = trials({"direct": words}, units=units)
    passed = made.passed["direct", "eye"]
    names = [[name.replace("-", "")] * passed.shape[1] for name in rubrics or "r" * len(passed)]
    made.rubrics["direct", "eye"] = np.array(names, dtype=object)  # type: ignore[index]
    return made


def test_plain_trials_are_rogan_and_gladens() -> None:
    found = corrected_score(judged("+ " * 48 + "- " * 52), "direct", "eye", KNOWN)
    assert found == rogan_gladen(48, 100, EYE)
    assert found is not None and found.value == pytest.approx(0.4)


def test_errors_are_left_out() -> None:
    found = corrected_score(judged("+ " * 48 + "- " * 52 + ". " * 20), "direct", "eye", KNOWN)
    assert found == rogan_gladen(48, 100, EYE)


def test_no_picture_is_wrong_for_certain() -> None:
    found = corrected_score(judged("+ " * 48 + "- " * 152, "r" * 100 + "-" * 100), "direct", "eye", KNOWN)
    assert found is not None and found.value == pytest.approx(0.4 / 2)


def test_a_pair_passes_when_both_do() -> None:
    units = [f"u{n // 2}" for n in range(200)]
    # independent verdicts, 48 % of them right: then 40 % of the samples are, and 16 % of the pairs
    first = np.random.Generator(np.random.PCG64(1)).permuted(np.arange(100) < 48)
    words = " ".join("+-"[1 - int(value)] for value in np.concatenate([first, first[::-1]]))
    found = corrected_score(judged(words, units=units), "direct", "eye", KNOWN)
    passed = np.array([sign == "+" for sign in words.split()]).reshape(100, 2)
    by_hand = np.mean(np.prod((passed - 0.2) / 0.7, axis=1))
    assert found is not None and found.value == pytest.approx(by_hand)


def test_half_a_pair_is_not_corrected() -> None:
    made = judged("+ - +", units=["a", "a", "b"])
    object.__setattr__(made, "expected", 4)
    assert corrected_score(made, "direct", "eye", KNOWN) is None


def test_each_rubric_has_its_own_rates() -> None:
    known = {**KNOWN, ("eye", "s"): Accuracy(100, 100, 100, 100)}
    found = corrected_score(
        judged("+ " * 48 + "- " * 52 + "+ " * 100, "r" * 100 + "s" * 100), "direct", "eye", known
    )
    assert found is not None and found.value == pytest.approx((0.4 + 1) / 2)


def test_what_is_not_known_is_not_corrected() -> None:
    assert corrected_score(judged("+ -", "rs"), "direct", "eye", KNOWN) is None
    assert corrected_score(judged("+ -"), "direct", "eye", {}) is None
    assert corrected_score(judged("- -", "--"), "direct", "eye", KNOWN) is None


def test_a_judge_that_guesses_corrects_nothing() -> None:
    for guess in (Accuracy(5, 10, 5, 10), Accuracy(2, 10, 3, 10)):
        found = corrected_score(judged("+ -"), "direct", "eye", {("eye", "r"): guess})
        assert found is not None and found.value is None
        assert found.reason == "the judge is no better than guessing"


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_intervals_hold_the_true_score(design: object) -> None:
    """The small version of benchmarks/calibration.py."""
    raw, corrected = measure(design, settings=150, pictures=200, seed=3)  # type: ignore[arg-type]
    assert len(corrected.held) > 140
    assert np.mean(corrected.held) >= 0.9
    assert np.mean(raw.held) < 0.8
    assert abs(np.mean(corrected.errors)) < 0.05


# --- on real runs ---


@pytest.fixture
def noisy(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    install(plugins, "tests.support_judges", "noisy")
    installed.cache_clear()
    monkeypatch.setattr(calibrating, "SIZE", 64)
    yield


def ran(**options: object) -> Results:
    given = {"tasks": "math_1", "models": "oracle:transfer=0.5,size=64", "modes": "direct", "out": "run"}
    return run(**{**given, "judges": ["sprite", JUDGE], "limit": 120, **options})  # type: ignore[arg-type]


def test_the_true_score_comes_back(noisy: None, capsys: Out) -> None:
    calibrate(JUDGE, rubrics=["object_count"], samples=150)
    exact, seen = ran()
    assert main(["show", "run", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["score"] for row in rows] == [exact.score.value, seen.score.value]
    assert rows[0]["corrected"] is None  # nothing is known of sprite's errors
    right, raw, row = exact.score.value or 0, seen.score.value or 0, rows[1]
    assert row["corrected_low"] <= right <= row["corrected_high"]
    assert abs(row["corrected"] - right) < abs(raw - right)
    assert "corrected" not in Path("run/results.json").read_text()


def test_what_is_corrected_stands_beside_the_raw_score(
    noisy: None, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    calibrate(JUDGE, rubrics=["object_count"], samples=20)
    ran(limit=10, judges=JUDGE, modes=["direct", "answer"])
    assert main(["show", "run"]) == 0
    out, err = capsys.readouterr()
    assert (
        "corrected" in out.splitlines()[0]
        and "corrected for " + JUDGE + " as counted on composed scenes" in err
    )
    answer = next(line for line in out.splitlines() if "answer" in line)
    assert answer.count("[") == 1  # words: the calibration says nothing of them


def test_a_calibration_of_something_else_is_left_out(
    noisy: None, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = calibrate("noisy", rubrics=["object_count"], samples=4).folder
    ran(limit=4, judges=JUDGE)
    assert not fit_from(Path("run"), None).known and not fit_from(Path("run"), None).notes  # another judge

    ran(limit=4, judges="noisy", out="other")
    path = folder / "calibration.json"
    before = path.read_text()
    assert list(fit_from(Path("other"), None).known) == [("noisy", "object_count")]
    value = json.loads(before)
    value["rubrics"]["object_count"]["fingerprint"] = "another"
    path.write_text(json.dumps(value))
    assert main(["show", "other"]) == 0
    out, err = capsys.readouterr()
    assert f"note: {folder} is of another version of rubric object_count: left out" in err
    assert "corrected" not in out
    path.write_text(before.replace('"version": 1', '"version": 0'))
    found = fit_from(Path("other"), folder)
    assert not found.known
    assert found.notes == (
        f"{folder} is of another version of noisy and left out: version was 0 and is now 1.",
    )


def test_the_latest_calibration_counts(noisy: None) -> None:
    for number, name in enumerate(("a", "b")):
        path = calibrate("noisy", rubrics=["object_count"], samples=2, out=Path(f"all/{name}")).folder
        value = json.loads((path / "calibration.json").read_text()) | {"started": f"202{number}"}
        (path / "calibration.json").write_text(json.dumps(value))
    ran(limit=4, judges="noisy")
    assert [one.folder.name for one in fit_from(Path("run"), Path("all")).used] == ["b"]


def test_calibrations_that_cannot_be_read(noisy: None, capsys: Out) -> None:
    with pytest.raises(UsageError, match="nowhere holds no calibration"):
        read_calibrations(Path("nowhere"))
    folder = calibrate("noisy", rubrics=["object_count"], samples=2).folder
    (folder / "calibration.json").write_text('{"format": 1, "judge": "noisy"}')
    with pytest.raises(RunFolderError, match=r"calibration\.json cannot be read: the key 'about' is missing"):
        read_calibrations(folder)
    ran(limit=4, judges="noisy")
    assert main(["show", "run"]) == 0  # nobody named it
    assert f"note: {folder}/calibration.json cannot be read" in capsys.readouterr().err
    assert main(["show", "run", "--calibration", str(folder)]) == 2
    assert main(["show", "run", "--calibration", "nowhere"]) == 2
    assert "nowhere holds no calibration" in capsys.readouterr().err


# --- attribution ---


def test_attribution_is_fed(noisy: None, capsys: Out) -> None:
    calibrate(JUDGE, rubrics=["object_count"], samples=60)
    ran(judges=JUDGE, modes=["direct", "render", "answer"], limit=30)
    assert main(["attribute", "run", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["verdicts"] for row in rows} == {"raw", "corrected"}
    assert {cell.corrected for cell in attribute("run")} == {False}  # from Python only what is handed over


def test_an_unreliable_judge_leaves_all_unscored() -> None:
    made = trials({"direct": "- - +", "render": "+ + +", "answer": "+ + +"}, judges={"answer": "rules"})
    for mode in ("direct", "render"):
        made.rubrics[mode, "eye"] = np.full((3, 1), "r", dtype=object)  # type: ignore[index]
    bad = {("eye", "r"): Accuracy(7, 10, 7, 10)}
    (cell,) = causes(made, "eye", {}, bad)
    assert cell.causes["unscored"].value == 1
    assert cell.causes["transfer"].reason == (
        "judge eye on r is unreliable: sensitivity + specificity - 1 = 0.40"
    )
    raw, corrected = causes(made, "eye", {}, {("eye", "r"): EYE})
    assert corrected.corrected and raw.causes["unscored"].value == 0
    assert len(list(causes(made, "eye", {}, {("rules", "r"): EYE}))) == 1


def test_a_mix_of_rubrics_is_not_corrected_but_may_be_unreliable() -> None:
    made = trials({"direct": "- - +", "render": "+ + +", "answer": "+ + +"}, judges={"answer": "rules"})
    for mode in ("direct", "render"):
        made.rubrics[mode, "eye"] = np.array([["r"], ["s"], ["s"]], dtype=object)  # type: ignore[index]
    assert len(list(causes(made, "eye", {}, {("eye", "r"): EYE, ("eye", "s"): EYE}))) == 1
    (cell,) = causes(made, "eye", {}, {("eye", "r"): EYE, ("eye", "s"): Accuracy(5, 10, 5, 10)})
    assert "eye on s is unreliable" in cell.causes["transfer"].reason
