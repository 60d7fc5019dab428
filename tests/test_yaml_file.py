"""YAML files: every complaint names file, line and key."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from unisandbox.errors import TaskFileError
from unisandbox.yaml_file import YamlFile, shown


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rubric: str
    names: list[str] = []


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str
    size: int = 1
    inner: Inner
    many: dict[str, Inner] = {}


def write(folder: Path, text: str) -> YamlFile:
    path = folder / "demo.yaml"
    path.write_text(text)
    return YamlFile(path)


def fault(folder: Path, text: str) -> str:
    with pytest.raises(TaskFileError) as caught:
        write(folder, text).check(Outer)
    return str(caught.value).replace(f"{folder}/", "")


GOOD = "title: a\ninner:\n  rubric: r\n"


def test_good_data_comes_back_as_the_schema(tmp_path: Path) -> None:
    assert write(tmp_path, GOOD).check(Outer) == Outer(title="a", inner=Inner(rubric="r"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel: a\n" + GOOD, "demo.yaml:1: titel: Unknown key 'titel'. Did you mean 'title'?"),
        (GOOD + "  rubrik: x\n", "demo.yaml:4: inner.rubrik: Unknown key 'rubrik'. Did you mean 'rubric'?"),
        (
            GOOD + "many:\n  a: {rubric: r}\n  b:\n    rubric: r\n    nmaes: []\n",
            "demo.yaml:8: many.b.nmaes: Unknown key 'nmaes'. Did you mean 'names'? Known: names, rubric.",
        ),
        ("title: a\ninner:\n  names: []\n", "demo.yaml:2: inner: the key 'rubric' is missing."),
        ("inner: {rubric: r}\n", "demo.yaml:1: the key 'title' is missing."),
        (
            GOOD + "size: big\n",
            "demo.yaml:4: size: input should be a valid integer, unable to parse string as an integer "
            "(found 'big').",
        ),
        (GOOD + "size: [1, 2]\n", "demo.yaml:4: size: input should be a valid integer (found [1, 2])."),
        (
            "title: a\ninner:\n  rubric: r\n  names:\n  - a\n  - 3\n",
            "demo.yaml:6: inner.names.1: input should be a valid string (found 3).",
        ),
    ],
)
def test_what_does_not_fit_the_schema_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in fault(tmp_path, text)


def test_every_fault_is_told_at_once_on_a_line_each(tmp_path: Path) -> None:
    assert len(fault(tmp_path, "titel: a\nsize: big\n").splitlines()) == 4


def test_a_long_value_is_not_printed_in_full(tmp_path: Path) -> None:
    assert "(found a str)" in fault(tmp_path, f"{GOOD}size: {'x' * 500}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "demo.yaml:3: the key 'a' stands twice, first on line 1."),
        ("a:\n  b: 1\n  b: 2\n", "demo.yaml:3: the key 'b' stands twice, first on line 2."),
        ("a:\n- {b: 1, b: 2}\n", "demo.yaml:2: the key 'b' stands twice, first on line 2."),
        ("a: {{ b }}\n", "demo.yaml:1:"),
        ("a: [1\nb: 2\n", "demo.yaml:2:2: not valid YAML: "),
        ("a: 'b\n", "demo.yaml:2:1: not valid YAML: found unexpected end of stream."),
        ("\ta: 1\n", "demo.yaml:1:1: not valid YAML: found character that cannot start any token."),
        ("a: !!python/object/apply:os.system ['true']\n", "demo.yaml:1:4: not valid YAML: "),
        ("a: 1\n---\nb: 2\n", "demo.yaml:2:1: not valid YAML: "),
        ("a: \x07\n", "demo.yaml: not valid YAML: "),
        ("", "demo.yaml: expected a mapping of keys, found nothing."),
        ("# only this\n", "demo.yaml: expected a mapping of keys, found nothing."),
        ("- a\n", "demo.yaml: expected a mapping of keys, found a list."),
        ("words\n", "demo.yaml: expected a mapping of keys, found a str."),
    ],
)
def test_what_is_no_yaml_mapping_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        write(tmp_path, text)
    assert message in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match=r"none.yaml: cannot be read: .*No such file"):
        YamlFile(tmp_path / "none.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(TaskFileError, match=r"picture.yaml: cannot be read"):
        YamlFile(tmp_path / "picture.yaml")


def test_where_counts_from_the_nearest_key_there_is(tmp_path: Path) -> None:
    file = write(tmp_path, "a: 1\nb:\n  c:\n  - x\n  - y\n")
    path = shown(file.path)
    assert file.where("b", "c", 1) == f"{path}:5: b.c.1"
    assert file.where("b", "other") == f"{path}:2: b.other"
    assert file.where() == f"{path}:1"


def test_paths_are_shown_as_a_user_types_them(in_tmp: Path) -> None:
    assert shown(in_tmp / "tasks" / "a.yaml") == "tasks/a.yaml"
    assert shown(Path("/elsewhere/a.yaml")) == "/elsewhere/a.yaml"
