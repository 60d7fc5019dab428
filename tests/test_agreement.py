"""Agreement of judges: counted by hand, errors apart, over units where trials share one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score  # type: ignore[import-untyped]

from tests.support_backends import Reader
from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from unisandbox.agreement import UNJUDGED, agreements
from unisandbox.cli import main
from unisandbox.judge import Case
from unisandbox.records import Generation, Request, Verdict
from unisandbox.stats import cohens_kappa, ratio, wilson

JUDGES = ["reader", "reader:batch=1"]

SAID = {"w1": "correct", "w2": "incorrect", "w3": "rejected", "w4": "error", "w5": "correct", "w6": "correct"}
"""What the second judge says where the first says correct to all."""


@pytest.fixture
def ran(words: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    real = Reader.match

    def match(self: Reader, cases: Sequence[Case]) -> Iterator[Verdict]:
        for case, verdict in zip(cases, real(self, cases), strict=True):
            outcome = SAID[case.target["answer"]] if self.batch_size == 1 else verdict.outcome
            yield Verdict(case.key, outcome)  # type: ignore[arg-type]

    monkeypatch.setattr(Reader, "match", match)
    run_words(judges=JUDGES)
    return Path("run")


def test_the_confusion_table_by_hand(ran: Path) -> None:
    from unisandbox.results import load_run

    (found,) = agreements(load_run(ran))
    assert (found.first, found.second, found.task) == (*JUDGES, "words")
    assert found.table == {
        ("correct", "correct"): 3,
        ("correct", "incorrect"): 1,
        ("correct", "rejected"): 1,
        ("correct", UNJUDGED): 1,
    }
    assert (found.n, found.unjudged) == (5, 1)
    assert found.agreed.value == pytest.approx(3 / 5)
    assert (found.agreed.low, found.agreed.high) == wilson(3, 5)
    assert found.kappa.value == pytest.approx(0.0)


def test_there_is_none_of_one_judge_and_none_between_filters(ran: Path) -> None:
    from unisandbox.results import load_run

    assert not agreements(load_run(ran).only(judge=["reader"]))
    run_words(out="alone")
    assert not agreements(load_run("alone"))


def test_answers_that_are_none_are_not_counted(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support_backends import Painter

    real = Painter.answer

    def answer(self: Painter, request: Request) -> Generation:
        gone = request.sample_id in ("s1", "s2")
        return Generation(request.key, finish="refused") if gone else real(self, request)

    monkeypatch.setattr(Painter, "answer", answer)
    (found,) = agreements(run_words(judges=JUDGES))
    assert sum(found.table.values()) == 4


def test_show_prints_it_and_exports_it(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "run"]) == 0
    out = capsys.readouterr().out
    assert "first: reader\nsecond: reader:batch=1\n" in out
    assert [line.split() for line in out.splitlines() if line.startswith("correct")] == [
        ["correct", "3", "1", "1", "1"]
    ]
    assert main(["show", "run", "--agreement", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["n"], row["unjudged"], row["correct / rejected"]) == (5, 1, 1)
    assert main(["show", "run", "--agreement", "--format", "csv"]) == 0
    (line,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(line) == list(row)
    assert main(["show", "run", "--agreement", "--format", "latex"]) == 0
    assert r"\toprule" in capsys.readouterr().out


def test_agreement_of_one_judge_is_refused(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_words()
    assert main(["show", "run", "--agreement"]) == 2
    assert "run: nothing is judged by two judges. Add one: unisandbox judge run" in capsys.readouterr().err


# --- the figures ---


def test_kappa_is_sklearns() -> None:
    draw = np.random.Generator(np.random.PCG64(5))
    first = draw.integers(0, 3, 200).tolist()
    second = [a if draw.random() < 0.6 else int(draw.integers(0, 3)) for a in first]
    found = cohens_kappa(first, second)
    assert found.value == pytest.approx(cohen_kappa_score(first, second))
    clustered = cohens_kappa(first, second, [n // 2 for n in range(200)])
    assert clustered.value == found.value
    assert found.low is not None and found.high is not None
    assert (clustered.low, clustered.high) == pytest.approx((found.low, found.high), abs=0.05)


def test_trials_of_one_unit_count_less() -> None:
    first, second = [True, False] * 10, [True, False, True, True] * 5
    alone = cohens_kappa(first, second)
    tenfold = cohens_kappa(first * 10, second * 10, list(range(20)) * 10)
    assert alone.value == pytest.approx(tenfold.value)
    assert alone.low is not None and alone.high is not None
    assert tenfold.low is not None and tenfold.high is not None
    assert tenfold.high - tenfold.low > 0.7 * (alone.high - alone.low)


def test_judges_who_agree_throughout_may_yet_differ() -> None:
    found = cohens_kappa([True, False] * 10, [True, False] * 10, list(range(20)))
    assert found.value == found.high == 1
    # half agree by chance: the lower end of Wilson's interval of 20 of 20, beyond chance
    assert found.low == pytest.approx((wilson(20, 20)[0] - 0.5) / 0.5)


def test_a_ratio_over_units() -> None:
    assert ratio([], []).reason == "nothing was counted"
    plain = ratio([True] * 6 + [False] * 2, list(range(8)))
    assert (plain.value, plain.low, plain.high) == (0.75, *wilson(6, 8))
    shared = ratio([True] * 60 + [False] * 20, [n // 10 for n in range(80)])
    assert shared.value == 0.75 and shared.low is not None and plain.low is not None
    assert abs(shared.low - plain.low) < 0.1
