"""The command line itself: help everywhere, nothing undocumented, and colour only on a terminal."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from unisandbox.cli import main
from unisandbox.cli.parser import make_parser
from unisandbox.options import RunOptions

ESCAPE = "\x1b["


def commands(
    parser: argparse.ArgumentParser, *words: str
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Yield every command with its parser."""
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from commands(below, *words, name)


COMMANDS = dict(commands(make_parser()))


def test_these_are_the_commands() -> None:
    ours = (
        "run, resume, show, tasks, tasks list, tasks show, tasks validate, data, data export, models, judges"
    )
    assert {" ".join(words) for words in COMMANDS} >= {"", "plugins", "version", *ours.split(", ")}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help(
    words: tuple[str, ...], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, flag]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: {' '.join(('unisandbox', *words))} ") and err == ""
    assert "Traceback" not in out and max(map(len, out.splitlines())) < 200


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_everything_is_described(words: tuple[str, ...]) -> None:
    parser = COMMANDS[words]
    assert parser.description
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest for choice in action._choices_actions if choice.help}
            assert told == set(action.choices)
        else:
            assert action.help, action.dest


def test_every_option_of_a_run_is_there_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "--help"])
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    for option in fields(RunOptions):
        assert f"--{option.name.replace('_', '-')}" in text
        if option.default not in (None, (), False):
            shown = " ".join(option.default) if isinstance(option.default, tuple) else option.default
            assert f"(default: {shown})" in text, option.name
    assert "exit codes: 0 done, 1 " in text


def test_examples_in_the_help_are_commands_that_parse() -> None:
    shown = [line for parser in COMMANDS.values() for line in (parser.epilog or "").splitlines()]
    examples = [line.strip() for line in shown if line.startswith("  unisandbox ")]
    assert len(examples) >= 10
    for example in examples:
        command = re.split(r"\s{3,}", example)[0]  # what it does stands behind
        make_parser().parse_args(command.split()[1:])


def test_nothing_at_all_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: unisandbox ")


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_the_version_is_a_number(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("run --modl oracle", "error: unrecognized arguments: --modl oracle. Did you mean --models?"),
        (
            "run --min-covrage 0.5",
            "error: unrecognized arguments: --min-covrage 0.5. Did you mean --min-coverage?",
        ),
        ("run --dryrun", "error: unrecognized arguments: --dryrun. Did you mean --dry-run?"),
        ("run --model=oracle", "error: unrecognized arguments: --model=oracle. Did you mean --models?"),
        ("resume --quite", "error: unrecognized arguments: --quite. Did you mean --quiet?"),
        ("show --formt md", "error: unrecognized arguments: --formt. Did you mean --format?"),
        (
            "tasks show math_1 --sample 3",
            "error: unrecognized arguments: --sample 3. Did you mean --samples?",
        ),
        ("run --xyzzy", "error: unrecognized arguments: --xyzzy."),
        ("rnu", "Did you mean run?"),
        ("tasks validte", "Did you mean validate?"),
        ("show --format latx", "Did you mean latex?"),
        ("run --limit many", "error: --limit many: expected a whole number of at least 1."),
        ("run --min-coverage most", "error: --min-coverage most: expected a number."),
        ("run --tasks", "error: argument --tasks: expected at least one argument"),
        ("run --out", "error: argument --out: expected one argument"),
        ("tasks show", "error: the following arguments are required: TASK"),
        ("data export --task math_1", "error: the following arguments are required: DIR"),
        ("data", "error: name what to do: unisandbox data export --task TASK DIR"),
    ],
)
def test_what_cannot_be_parsed_is_one_line_and_where_help_is(
    line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err
    first, *rest = err.splitlines()
    assert first.startswith("error: ") and (
        not rest or re.fullmatch(r"Try: unisandbox[\w ]* --help", rest[0])
    )


def test_options_are_never_cut_short_silently(capsys: pytest.CaptureFixture[str]) -> None:
    """A prefix that means one option today may mean another tomorrow."""
    assert main(["run", "--mode", "direct"]) == 2
    assert "Did you mean --modes?" in capsys.readouterr().err


def test_help_and_listings_import_nothing_heavy() -> None:
    code = """
import sys
from unisandbox.cli import main
for words in (["--help"], ["run", "--help"], ["version"], ["tasks"], ["models"], ["judges"]):
    main(words)
heavy = "torch transformers diffusers scipy pandas datasets matplotlib numpy PIL inflect openai ray"
print(sorted(set(heavy.split()) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


# --- colour ---


def on_terminal(words: list[str], **environment: str) -> str:
    """Return what a command prints on a terminal."""
    if not hasattr(os, "openpty"):
        pytest.skip("this system has no pseudo-terminals")
    ours, theirs = os.openpty()
    settings = {"TERM": "xterm-256color", "COLUMNS": "120", **environment}
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "unisandbox", *words], stdout=theirs, stderr=theirs, env={**kept, **settings}
    ) as process:
        os.close(theirs)
        printed = b""
        while part := _read(ours):
            printed += part
    os.close(ours)
    assert process.returncode == 0
    return printed.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""


COLOUR = re.compile(r"\x1b\[[\d;]*3[0-7]")


def test_colour_on_a_terminal_and_none_where_it_is_not_wanted(in_tmp: Path) -> None:
    words = ["tasks", "show", "math_1"]
    assert COLOUR.search(on_terminal(words))
    assert not COLOUR.search(on_terminal(words, NO_COLOR="1"))
    assert ESCAPE not in on_terminal(words, TERM="dumb")


@pytest.mark.parametrize(
    "words",
    [["tasks"], ["tasks", "show", "math_1"], ["models"], ["judges"], ["plugins"], ["run", "--dry-run"]],
)
def test_no_escape_codes_in_a_pipe(
    words: list[str], in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert ESCAPE not in out + err and out


@pytest.mark.parametrize("words", [["version"], ["--help"], ["models"]])
def test_a_closed_pipe_is_no_crash(words: list[str]) -> None:
    """As in ``unisandbox tasks | head -1``."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "unisandbox", *words]
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment, check=False
    )
    os.close(writer)
    assert done.stderr == "" and done.returncode in (0, 1)
