"""docs/judges.md says what the judges do: their options, the ways to name them, the words of their errors."""

import inspect
import re
from pathlib import Path

import pytest

from unisandbox.judges.openai import OpenAI
from unisandbox.judges.panel import Panel
from unisandbox.judges.vlm import Vlm
from unisandbox.plugins import installed
from unisandbox.specs import checked_options, parse_spec

TEXT = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")
FACTORIES = {"openai": OpenAI, "vlm": Vlm, "panel": Panel}
NAMED = [spec.strip("'") for spec in re.findall(r"--judges ('[^']+'|[^\s`]+)", TEXT)]


def test_every_judge_and_option_is_named() -> None:
    for name in installed().judges:
        assert f"| `{name}` |" in TEXT
    for factory in FACTORIES.values():
        for option in inspect.signature(factory).parameters:
            assert re.search(rf"`{option}[`=]|\b{option}=", TEXT) or option == "tries", option


def test_the_defaults_in_the_table_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]*?)`? \|", TEXT, flags=re.MULTILINE))
    for name, parameter in inspect.signature(OpenAI).parameters.items():
        if name in rows:
            default = parameter.default
            shown = "" if default is None else str(default).removesuffix(".0")
            assert rows[name] == shown, name


@pytest.mark.parametrize("text", NAMED)
def test_the_judges_in_its_commands_can_be_named_so(text: str) -> None:
    spec = parse_spec(text)
    options = checked_options(spec.name, FACTORIES[spec.name], spec.options)
    for member in options.get("judges", ()):
        inner = parse_spec(member.replace(";", ","))
        if inner.name in FACTORIES:
            checked_options(inner.name, FACTORIES[inner.name], inner.options)


def test_it_shows_judges_of_every_sort() -> None:
    assert {parse_spec(text).name for text in NAMED} == set(FACTORIES)
