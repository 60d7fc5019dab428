"""``unisandbox tasks``: the list, one task in full, and validation that finds what a run would trip over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support_backends import TASK, write_task
from unisandbox.cli import main

pytestmark = pytest.mark.usefixtures("in_tmp")
Out = pytest.CaptureFixture[str]


def test_the_list_has_every_shipped_task_by_family(capsys: Out) -> None:
    assert main(["tasks"]) == 0
    out, err = capsys.readouterr()
    names = {word for line in out.splitlines() for word in line.split()[:2]}
    assert {"math", "math_1", "math_2", "math_3", "mapping_3", "forward_retrieval", "inverse_search"} <= names
    assert err == ""
    assert main(["tasks", "list"]) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("math", ["math_1", "math_2", "math_3"]),
        ("math_[12]", ["math_1", "math_2"]),
        ("*_3", ["mapping_3", "math_3"]),
        ("inverse_search,math_1", ["inverse_search", "math_1"]),
    ],
)
def test_the_list_can_be_narrowed(pattern: str, names: list[str], capsys: Out) -> None:
    assert main(["tasks", "list", pattern]) == 0
    out = capsys.readouterr().out
    assert [name for name in names if f" {name} " in out] == names
    assert len(names) == sum(
        line.split()[0] != "family" and bool({*line.split()[:2]} & set(names)) for line in out.splitlines()
    )


def test_own_tasks_stand_beside_the_shipped_ones(capsys: Out) -> None:
    write_task(Path("mine"))
    write_task(Path("more"), name="others")
    for words in (
        ["tasks", "--include-path", "mine", "--include-path", "more"],
        ["tasks", "list", "--include-path", "mine", "--include-path", "more", "words", "others"],
    ):
        assert main(words) == 0
        out = capsys.readouterr().out
        assert "Say or draw a word." in out and "others" in out


def test_show_tells_everything_about_a_task(capsys: Out) -> None:
    path = write_task(Path("mine"))
    assert main(["tasks", "show", str(path), "--samples", "2"]) == 0
    out = capsys.readouterr().out
    for text in (
        "words  Say or draw a word.",
        "family words; 6 samples, 6 units; mine/words.yaml",
        "guessing: always w1 (answer): 0.167",
        "sample s1",
        "sample s2",
        "direct -> image w1",
        "caption -> text w2",
        "  In words: Which is w2?",
        "planted -> image w0",
    ):
        assert f"\n{text}\n" in f"\n{out}"
    assert "sample s3" not in out


def test_show_of_a_task_without_a_think_template_shows_ours(capsys: Out) -> None:
    path = write_task(Path("mine"))
    path.write_text(TASK.replace("  think:", "  # think:"))
    assert main(["tasks", "show", str(path)]) == 0
    assert "think (first of two calls, where a model cannot think natively)" in capsys.readouterr().out


def test_show_is_not_led_astray_by_markup(capsys: Out) -> None:
    path = write_task(Path("mine"))
    path.write_text(TASK.replace("In words:", "In [bold]words[/bold] [/]:"))
    assert main(["tasks", "show", str(path)]) == 0
    assert "In [bold]words[/bold] [/]: Which is w1?" in capsys.readouterr().out


def test_data_options_change_what_is_shown(capsys: Out) -> None:
    for words in (
        ["tasks", "show", "math_1", "--data", "samples=7,seed=3"],
        ["tasks", "show", "math_1", "--data", "samples=7", "--data", "seed=3"],
        ["tasks", "--data", "samples=7", "--data", "seed=3", "show", "math_1"],
    ):
        assert main(words) == 0
        assert "; 7 samples, 7 units; " in capsys.readouterr().out
    assert main(["tasks", "show", "math_1", "--data", "smaples=7"]) == 2
    assert "Unknown dataset option 'smaples'. Did you mean 'samples'?" in capsys.readouterr().err


# --- validate ---


def test_everything_that_ships_is_valid(capsys: Out) -> None:
    assert main(["tasks", "validate"]) == 0
    out, err = capsys.readouterr()
    assert "ok       math_1: 250 samples, 8 modes" in out and err == ""
    assert "skipped  published_math_1: " in out  # somebody else's files: their folder must be named


def test_a_task_asked_for_by_name_is_not_skipped(capsys: Out) -> None:
    assert main(["tasks", "validate", "published_math_1"]) == 2
    assert "error: published_math_1: " in capsys.readouterr().err


def test_own_task_files_are_validated_by_path(capsys: Out) -> None:
    path = write_task(Path("mine"))
    assert main(["tasks", "validate", str(path)]) == 0
    assert capsys.readouterr().out == "ok       words: 6 samples, 8 modes\n"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("direct:", "drect:", "words.yaml:4: prompts.drect: Unknown key 'drect'. Did you mean 'direct'?"),
        (
            "In words: {{ question }}",
            "{{ questoin }}",
            "words.yaml:7: prompts.answer: Unknown variable 'questoin'. Did you mean 'question'?",
        ),
        (
            '"Draw w{{ number }}."',
            '"{{ number"',
            "words.yaml:8: prompts.render: not a valid Jinja template: ",
        ),
        ("{{ conclusion }}", " ", "words.yaml:9: prompts.refined: sample s1 gives an empty prompt."),
        (
            "  rubric: words",
            "  rubric: wrods",
            "words.yaml:14: scoring.rubric: Unknown rubric 'wrods'. Did you",
        ),
        (
            'target: {answer: "w{{ number }}"}\n',
            'target: {anwser: "w{{ number }}"}\n',
            "scoring.target (sample s1): rubric 'words' needs the slots answer; found anwser.",
        ),
        (
            "jsonl, path",
            "jsnol, path",
            "words.yaml:2: dataset: task 'words': Unknown dataset 'jsnol'. Did you mean 'jsonl'?",
        ),
        (
            "path:",
            "pth:",
            "words.yaml:2: dataset: task 'words': dataset 'jsonl': Unknown option 'pth'.",
        ),
        ("rows.jsonl", "rws.jsonl", "mine/rws.jsonl: cannot be read: No such file or directory"),
        ("description: Say or draw a word.\n", "", "the key 'description' is missing."),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(old: str, new: str, says: str, capsys: Out) -> None:
    """Each of these passes other harnesses' validation."""
    path = write_task(Path("mine"))
    assert old in TASK
    path.write_text(TASK.replace(old, new))
    assert main(["tasks", "validate", str(path)]) == 2
    out, err = capsys.readouterr()
    assert says in err and out == "" and err.startswith("error: ") and "Traceback" not in err


def test_one_wrong_task_does_not_hide_the_others(capsys: Out) -> None:
    write_task(Path("mine"))
    Path("mine/bad.yaml").write_text(TASK.replace("{{ question }}", "{{ questoin }}"))
    assert main(["tasks", "validate", "--include-path", "mine", "words", "bad", "math_1"]) == 2
    out, err = capsys.readouterr()
    assert out.count("ok ") == 2 and err.count("error: bad: ") == 1


@pytest.mark.parametrize("text", ["prompts: [", "- a list\n", ""])
def test_a_file_that_is_no_task_file_is_not_valid_though_it_has_no_name(text: str, capsys: Out) -> None:
    Path("mine").mkdir()
    Path("mine/bad.yaml").write_text(text)
    assert main(["tasks", "validate", "--include-path", "mine"]) == 2
    assert "warning: left out: mine/bad.yaml" in capsys.readouterr().err
    assert main(["tasks", "--include-path", "mine"]) == 0  # the others can still be listed, and run
    assert "math_1" in capsys.readouterr().out


def test_a_misspelt_column_in_one_row_is_found(capsys: Out) -> None:
    path = write_task(Path("mine"))
    rows = Path("mine/rows.jsonl")
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    lines[2]["numbre"] = lines[2].pop("number")
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["tasks", "validate", str(path)]) == 2
    assert "Unknown variable 'number'. Did you mean 'numbre'?" in capsys.readouterr().err
