"""The page on models in this process names every option that there is."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from unisandbox.model_backends.any_to_any.factory import any_to_any
from unisandbox.model_backends.bagel.factory import bagel
from unisandbox.model_backends.diffusers.factory import diffusers

PAGE = (Path(__file__).parents[2] / "docs" / "local_models.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("factory", "title"), [(any_to_any, "any-to-any"), (bagel, "bagel"), (diffusers, "diffusers")]
)
def test_every_option_is_in_the_table(factory: Callable[..., Any], title: str) -> None:
    table = PAGE.split(f"## `{title}`\n")[1].split("\n\n")[0]
    assert [name for name in signature(factory).parameters if f"`{name}`" not in table] == []
