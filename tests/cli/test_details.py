"""``unisandbox models show``, ``judges show``: what can be said to one, taken from its code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import annotated_types
import pytest
from pydantic import Field

from tests.support_run import plugins as plugins
from unisandbox.cli import main
from unisandbox.cli.details import takes

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _wide(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tiny plugin is installed, and tables are not folded."""
    monkeypatch.setenv("COLUMNS", "250")
    yield


def rows(out: str) -> dict[str, list[str]]:
    """Return the table of options."""
    lines = out.split("\noption ")[1].split("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: line.split()[1:] for line in lines}


def test_everything_that_the_code_says(capsys: Out) -> None:
    assert main(["models", "show", "oracle"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, second = out.splitlines()[:2]
    assert first == "oracle  knows every answer and fails only where it is told to"
    assert second.startswith("does image text think see; draws sandbox; plugin unisandbox-models, ")
    table = rows(out)
    assert table["knows"] == ["number", ">=", "0,", "<=", "1", "1.0"]
    assert table["cannot_draw"] == ["text,", "several", "joined", "by", "+", "-"]
    assert "fails only" in out and "size in pixels" in out and "``" not in out
    assert out.endswith("\nunisandbox run --models oracle:knows=...\n")


def test_what_must_be_given_is_said(capsys: Out) -> None:
    assert main(["models", "show", "folder"]) == 0
    out = capsys.readouterr().out
    assert rows(out)["path"] == ["path", "must", "be", "given"]
    assert rows(out)["layout"] == ["unisandbox|published", "unisandbox"]
    assert out.endswith("\nunisandbox run --judges openai --models folder:path=...\n")


def test_models_of_other_plugins_and_several_at_once(capsys: Out) -> None:
    assert main(["models", "show", "painter", "tiny"]) == 0
    painter, tiny = capsys.readouterr().out.split("\n\ntiny  ")
    assert rows(painter)["right"] == ["number", "1.0"]
    assert rows(tiny)["variant"] == ["injected|base", "injected"]


def test_an_unknown_model(capsys: Out) -> None:
    assert main(["models", "show", "orcale"]) == 2
    assert capsys.readouterr().err.startswith("error: Unknown model 'orcale'. Did you mean 'oracle'?")


def test_a_judge(capsys: Out) -> None:
    assert main(["judges", "show", "vlm", "rules"]) == 0
    vlm, rules = capsys.readouterr().out.split("\n\nrules  ")
    assert vlm.splitlines()[1].startswith("reads any; plugin unisandbox-judges, ")
    assert rows(vlm)["matcher"] == ["rules|model", "rules"]
    assert rules.splitlines()[1].startswith("reads text; default for text; plugin ")
    assert rules.endswith("\nunisandbox run --judges rules\n")
    assert main(["judges", "show", "vml"]) == 2
    assert "Unknown judge 'vml'. Did you mean 'vlm'?" in capsys.readouterr().err


def test_presets_are_named(capsys: Out) -> None:
    assert main(["models", "show", "openai"]) == 0
    assert {"bagel,", "qwen-image,"} <= set(rows(capsys.readouterr().out)["preset"])


def test_the_list_is_still_there(capsys: Out) -> None:
    assert main(["models"]) == main(["models", "list"]) == 0
    assert capsys.readouterr().out.count("fails only where it is told to") == 2


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (str | None, "text"),
        (int | Literal["auto"], "whole number or auto"),
        (bool, "true|false"),
        (tuple[int, ...], "whole number, several joined by +"),
        (Annotated[int, Field(ge=64, multiple_of=16)] | None, "whole number >= 64, a multiple of 16"),
        (Annotated[float, annotated_types.Gt(0)], "number > 0"),
        (Annotated[str, "a note"], "text"),
        (Annotated[str, Field(examples=["one", "two"])] | None, "such as one, two"),
        (Path, "path"),
        (complex, "complex"),
    ],
)
def test_what_an_option_takes(annotation: object, words: str) -> None:
    assert takes(annotation) == words
