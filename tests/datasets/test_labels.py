"""Labels that people gave: CSV and JSON lines say the same; what is wrong is said with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unisandbox.catalog import Rubrics
from unisandbox.datasets.labels import labelled
from unisandbox.datasets.splits import Row
from unisandbox.errors import UnisandboxError
from unisandbox.plugins import installed
from unisandbox.world import Scene, compose

RUBRICS = Rubrics(installed().rubric_folders)
HEAD = "file,rubric,label,count,object,category,species\n"
GOOD = HEAD + "a.png,object_count,yes,3,cups,,\nb/c.png,species,No,,,fruit,pear\n"


@pytest.fixture
def images(in_tmp: Path) -> Path:
    folder = Path("images")
    (folder / "b").mkdir(parents=True)
    compose(Scene(("cup",) * 3), 64).save(folder / "a.png")
    compose(Scene(("dog",)), 64).save(folder / "b" / "c.png")
    (folder / "text.png").write_text("no picture")
    return folder


def read(images: Path, text: str, name: str = "labels.csv") -> list[Row]:
    Path(name).write_text(text, encoding="utf-8")
    return labelled(images, Path(name), RUBRICS)


def test_csv(images: Path) -> None:
    first, second = read(images, "\ufeff" + GOOD)
    assert (first["target"], first["truth"], first["file"]) == (
        {"count": 3, "object": "cup"},
        "right",
        "a.png",
    )
    assert (second["rubric"], second["truth"], second["kind"]) == ("species", "wrong", "")
    assert len({first["digest"], second["digest"]}) == 2


def test_json_lines_say_the_same(images: Path) -> None:
    rows = [
        {"file": "a.png", "rubric": "object_count", "label": True, "count": 3, "object": "cup"},
        {
            "file": "b/c.png",
            "rubric": "species",
            "label": "no",
            "target": {"category": "fruit", "species": "pear"},
        },
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    by_line = [{**row, "id": ""} for row in read(images, text, "labels.jsonl")]
    assert by_line == [{**row, "id": ""} for row in read(images, GOOD)]


def test_one_picture_may_be_labelled_for_several_targets(images: Path) -> None:
    assert len(read(images, HEAD + "a.png,object_count,yes,3,cup,,\na.png,object_count,no,2,cup,,\n")) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("label", "lable", 1), "labels.csv:2: Unknown column 'lable'. Did you mean 'label'?"),
        (GOOD.replace(",label", "", 1).replace(",yes", ""), "labels.csv:2: 'label' is missing"),
        (GOOD.replace("a.png", "", 1), "labels.csv:2: 'file' is missing; expected file, rubric, label"),
        (GOOD.replace("a.png", "z.png"), "labels.csv:2: images/z.png cannot be read: No such file"),
        (
            GOOD.replace("a.png", "text.png"),
            "labels.csv:2: images/text.png cannot be read: it is no picture.",
        ),
        (GOOD.replace("No", "perhaps"), "labels.csv:3: the label is 'perhaps'; expected yes or no."),
        (GOOD.replace("species,No", "specie,No"), "labels.csv:3: Unknown rubric 'specie'. Did you mean"),
        (
            GOOD.replace("yes,3", "yes,"),
            "labels.csv:2: rubric 'object_count' needs the slots count, object; found object.",
        ),
        (GOOD.replace("yes,3", "yes,many"), "labels.csv:2.count: 'many' is no value of this slot (count)"),
        (
            GOOD.replace("cups,,", "cups,fruit,"),
            "labels.csv:2: rubric 'object_count' needs the slots count, object; found count, object, categ",
        ),
        (GOOD.replace("pear", "pear,1"), "labels.csv:3: more values than the 7 columns."),
        (GOOD + GOOD.splitlines()[1], "labels.csv:4: the same picture and target stand at labels.csv:2."),
        (HEAD, "labels.csv holds no labels."),
        ("", "labels.csv holds no labels."),
        ('file,rubric,label\n"a', "labels.csv: no CSV in UTF-8: "),
    ],
)
def test_what_is_wrong_is_said_with_its_line(images: Path, text: str, says: str) -> None:
    with pytest.raises(UnisandboxError) as caught:
        read(images, text)
    assert str(caught.value).startswith(says)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}\n", "labels.jsonl:1: 'file' is missing"),
        ('{"file": "a.png", "target": 3}\n', "labels.jsonl:1: 'target' is 3; expected an object of slots."),
        ("nonsense\n", "labels.jsonl:1: "),
    ],
)
def test_so_it_is_in_json_lines(images: Path, text: str, says: str) -> None:
    with pytest.raises(UnisandboxError) as caught:
        read(images, text, "labels.jsonl")
    assert str(caught.value).startswith(says)


def test_a_file_that_is_not_there(images: Path) -> None:
    with pytest.raises(UnisandboxError, match=r"^nowhere\.csv: cannot be read: No such file or directory\.$"):
        labelled(images, Path("nowhere.csv"), RUBRICS)
