"""Labels: asked for blind to mode and verdict, kept at once, and what judges are held against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support_report import rewrite
from tests.support_run import lines, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox.errors import RunFolderError, UsageError
from unisandbox.labels import add_label, export, questions, read_labels, standings
from unisandbox.stats import cohens_kappa, wilson

RUN = Path("run")


@pytest.fixture(autouse=True)
def _run(words: Path) -> None:
    """About half of the pictures show what they should."""
    run_words(modes=["direct", "render", "answer"], models="painter:right=0.5")


def label_all(*wrong: int) -> None:
    """Label every picture by its red channel, the places in ``wrong`` the other way round."""
    for place, one in enumerate(questions(RUN)):
        right = picture_number(one.image) == one.target["answer"]
        add_label(RUN, one, "yes" if right != (place in wrong) else "no")


def picture_number(name: str) -> str:
    from PIL import Image

    red = Image.open(RUN / "images" / name).getpixel((0, 0))
    assert isinstance(red, tuple)
    return f"w{red[0]}"


def test_a_picture_is_asked_about_once_and_words_never() -> None:
    asked = questions(RUN)
    pictures = {(line["image"], line["sample"]) for line in lines("generations.jsonl") if "image" in line}
    assert len(asked) == len({one.id for one in asked}) == len(pictures)
    assert {one.rubric for one in asked} == {"words"}
    assert [one.id for one in questions(RUN)] == sorted(one.id for one in asked)
    assert not {"mode", "outcome", "judge", "key"} & set(type(asked[0]).__slots__)


def test_pictures_that_are_gone_are_not_asked_about() -> None:
    first = questions(RUN)[0]
    (RUN / "images" / first.image).unlink()
    assert first.id not in {one.id for one in questions(RUN)}


def test_labels_are_kept_at_once_and_the_last_one_counts() -> None:
    one, two, *_ = questions(RUN)
    add_label(RUN, one, "yes")
    add_label(RUN, two, "unsure")
    add_label(RUN, one, "no")
    assert read_labels(RUN) == {one.id: "no", two.id: "unsure"}
    assert [line["label"] for line in map(json.loads, Path("run/labels.jsonl").read_text().splitlines())] == [
        "yes", "unsure", "no",
    ]  # fmt: skip


def test_a_torn_line_costs_only_itself(capsys: pytest.CaptureFixture[str]) -> None:
    one, two, *_ = questions(RUN)
    add_label(RUN, one, "yes")
    path = Path("run/labels.jsonl")
    path.write_bytes(path.read_bytes() + b'{"id":"x","la')
    add_label(RUN, two, "no")
    path.write_bytes(path.read_bytes() + b'{"id":"x","label":"perhaps"}\n')
    assert read_labels(RUN) == {one.id: "yes", two.id: "no"}
    assert capsys.readouterr().err.splitlines() == [
        "warning: run/labels.jsonl:2: not a label, left out",
        "warning: run/labels.jsonl:4: not a label, left out",
    ]  # fmt: skip


def test_a_label_is_one_of_three_words() -> None:
    with pytest.raises(UsageError, match="The label is 'maybe', expected one of yes, no, unsure"):
        add_label(RUN, questions(RUN)[0], "maybe")
    assert not Path("run/labels.jsonl").exists()


def test_a_folder_that_cannot_be_written() -> None:
    Path("run/labels.jsonl").mkdir()
    with pytest.raises(RunFolderError, match=r"run/labels\.jsonl cannot be written: Is a directory"):
        add_label(RUN, questions(RUN)[0], "yes")
    with pytest.raises(RunFolderError, match=r"run/labels\.jsonl cannot be read: Is a directory"):
        read_labels(RUN)


def test_the_export_holds_what_calibrate_reads() -> None:
    label_all()
    add_label(RUN, questions(RUN)[0], "unsure")
    rows = lines(export(RUN).name)
    assert len(rows) == len(questions(RUN)) - 1
    for row in rows:
        assert list(row) == ["file", "rubric", "target", "label"] and row["rubric"] == "words"
        shown = picture_number(row["file"])
        assert row["label"] == ("yes" if row["target"] == {"answer": shown} else "no")


def test_a_judge_that_is_right_agrees() -> None:
    assert standings(RUN) == []
    label_all()
    (one,) = standings(RUN)
    n = len(questions(RUN))
    assert (one.judge, one.n, one.agreed.value, one.kappa.value) == ("reader", n, 1.0, 1.0)
    assert one.table["yes", "no"] == one.table["no", "yes"] == 0


def test_agreement_and_kappa_are_those_of_the_counts() -> None:
    label_all(0, 3)
    (one,) = standings(RUN)
    table = one.table
    assert table["yes", "no"] + table["no", "yes"] == 2 and sum(table.values()) == one.n
    assert one.agreed.value == pytest.approx(1 - 2 / one.n)
    assert (one.agreed.low, one.agreed.high) == wilson(one.n - 2, one.n)
    pairs = [pair for pair, number in table.items() for _ in range(number)]
    person, judge = zip(*pairs, strict=True)
    assert one.kappa.value == pytest.approx(cohens_kappa(person, judge).value)


def test_what_has_no_verdict_or_no_clear_label_is_left_out() -> None:
    label_all()
    add_label(RUN, questions(RUN)[0], "unsure")
    second = questions(RUN)[1]
    images = {line["key"]: line.get("image") for line in lines("generations.jsonl")}

    def failed(line: dict[str, object]) -> dict[str, object]:
        match = (images[str(line["key"])], line["target"]) == (second.image, second.target)
        return line | {"outcome": "error"} if match else line

    rewrite("run", "verdicts.jsonl", failed)
    (one,) = standings(RUN)
    assert one.n == len(questions(RUN)) - 2
