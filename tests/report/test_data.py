"""A run as data: every sample once, with all that every mode, judge and run made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support_backends import Painter
from tests.support_report import ALL, rewrite, two_runs
from tests.support_run import by_sample, lines, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox.errors import RunFolderError
from unisandbox.records import Generation, Request
from unisandbox.report.data import Report, read_report

pytestmark = pytest.mark.usefixtures("words")


def read(*folders: str) -> Report:
    return read_report([Path(folder) for folder in folders or ("run",)])


def test_every_sample_stands_once_with_every_mode_side_by_side() -> None:
    run_words(modes=ALL)
    report = read()
    assert [item.sample for item in report.items] == [f"s{n}" for n in range(1, 7)]
    assert report.items[0].id == "words/painter/s1"
    for item in report.items:
        assert [answer.mode for answer in item.answers] == ALL
        assert not item.causes and not item.flips and not item.differs
    logged = {(line["sample"], line["mode"]): line for line in lines("generations.jsonl")}
    cot = report.items[2].answers[1]
    line = logged["s3", "cot"]
    assert (cot.prompt, cot.thought, cot.image) == (line["prompt"], line["thought"], line["image"])
    assert cot.seed == line["seed"] and not cot.gone and cot.finish == "complete"
    (said,) = cot.opinions
    assert (said.judge, said.outcome, said.observed, said.raw) == ("reader", "correct", "w3", ("as seen",))
    assert cot.target == "w3" and cot.rubric == "words" and cot.passes is True
    assert report.items[2].answers[2].text == "w3"


def test_causes_stand_beside_the_samples_that_failed() -> None:
    run_words(modes=ALL, models="painter:right=0.5")
    report = read()
    assert report.runs[0].attribution is not None
    rows = {row["sample"]: row["cause"] for row in report.runs[0].attribution.sample_rows()}
    assert rows and {item.sample: item.causes for item in report.items if item.causes} == {
        sample: (cause,) for sample, cause in rows.items()
    }


def test_repeats_are_items_of_their_own_and_only_the_failed_one_has_a_cause() -> None:
    run_words(modes=["direct", "answer", "render"], models="painter:right=0.5", repeats=3)
    items = read().items
    assert len(items) == 18 and len({item.id for item in items}) == 18
    assert any(item.causes for item in items)
    for item in items:
        assert bool(item.causes) == (item.answers[0].passes is False)


def test_judges_that_disagree_are_found() -> None:
    run_words(modes=["direct"], judges=["reader:batch=1", "reader:batch=2"])
    assert not any(item.differs for item in read().items)

    def change(line: dict[str, object]) -> dict[str, object]:
        flip = line["sample"] == "s2" and line["judge"] == "reader:batch=2"
        return line | {"outcome": "incorrect"} if flip else line

    rewrite("run", "verdicts.jsonl", change)
    assert [item.sample for item in read().items if item.differs] == ["s2"]
    rewrite("run", "verdicts.jsonl", lambda line: line | {"outcome": "error"})
    assert not any(item.differs for item in read().items)  # no verdict disagrees with nothing


def test_runs_of_one_model_each_stand_side_by_side() -> None:
    two_runs()
    report = read("before", "after")
    assert [len(item.answers) for item in report.items] == [4] * 6
    assert [(a.mode, a.run) for a in report.items[0].answers] == [
        ("direct", 0), ("direct", 1), ("answer", 0), ("answer", 1),
    ]  # fmt: skip
    assert report.items[0].model == "painter:right=0.4 / painter:right=0.9"
    outcomes = [
        {line["sample"]: line["outcome"] for line in lines("verdicts.jsonl", run) if line["mode"] == "direct"}
        for run in ("before", "after")
    ]
    for item in report.items:
        before, after = (one[item.sample] for one in outcomes)
        changed = {("incorrect", "correct"): "gained", ("correct", "incorrect"): "lost"}.get((before, after))
        assert item.flips.get("direct") == changed
    (heading,) = report.contrasts
    assert heading == "From before to after"
    assert {one.mode for one in report.contrasts[heading]} == {"direct", "answer"}


def test_runs_of_several_models_are_paired_by_label() -> None:
    run_words(models=["painter", "thinker"], out="one")
    run_words(models=["painter"], out="two")
    items = read("one", "two").items
    assert {item.model: len(item.answers) for item in items} == {"painter": 2, "thinker": 1}


def test_the_same_sample_of_another_version_of_a_task_is_not_the_same() -> None:
    run_words(out="one")
    Path("words.yaml").write_text(Path("words.yaml").read_text().replace("In words: ", "Say it: "))
    run_words(out="two")
    items = read("one", "two").items
    assert len(items) == 12 and len({item.id for item in items}) == 12


def test_an_error_has_no_verdict_and_a_retried_one_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(self: Painter, request: Request) -> Generation:
        return Generation(request.key, finish="error", error="no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Painter, "answer", answer)
        run_words(limit=2, tries=1)
    report = read()
    assert [(item.answers[0].finish, item.answers[0].error) for item in report.items] == [
        ("error", "no answer")
    ] * 2
    assert all(item.answers[0].passes is None and not item.answers[0].opinions for item in report.items)
    run_words(limit=2)
    assert [item.answers[0].passes for item in read().items] == [True, True]


def test_pictures_that_are_gone_are_counted_and_no_name_leads_elsewhere() -> None:
    run_words(modes=["direct"])
    (Path("run/images") / by_sample("generations.jsonl")["s4"]["image"]).unlink()
    rewrite(
        "run", "generations.jsonl",
        lambda line: line | {"image": "../run.json"} if line["sample"] == "s5" else line,
    )  # fmt: skip
    report = read()
    assert report.lost == 2
    assert [item.sample for item in report.items if item.answers[0].gone] == ["s4", "s5"]


def test_an_unfinished_run_is_what_is_there() -> None:
    run_words(modes=["direct"])
    Path("run/results.json").unlink()
    kept = Path("run/verdicts.jsonl").read_bytes().splitlines(keepends=True)[:2]
    Path("run/verdicts.jsonl").write_bytes(b"".join(kept))
    report = read()
    assert not report.runs[0].results.finished
    assert sum(bool(item.answers[0].opinions) for item in report.items) == 2
    for name in ("generations.jsonl", "verdicts.jsonl"):
        Path("run", name).write_text("")
    assert read().items == ()


def test_a_folder_that_is_no_run_and_a_run_of_another_version() -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        read("nothing")
    run_words()
    about = json.loads(Path("run/run.json").read_text())
    Path("run/run.json").write_text(json.dumps({**about, "format": 0}))
    with pytest.raises(RunFolderError, match="written in log format 0, this version reads 1"):
        read()
