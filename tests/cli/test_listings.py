"""``unisandbox models``, ``judges`` and ``plugins``: what is installed, what is broken, and whose it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support_backends import install
from tests.support_run import plugins as plugins
from unisandbox.cli import main
from unisandbox.plugins import installed

Out = pytest.CaptureFixture[str]
HOOK = "from unisandbox.hookspecs import hookimpl\n\n@hookimpl\ndef {hook}(register):\n    {body}\n"
CLASH = HOOK.format(
    hook="register_models",
    body='register("painter", "nowhere:Nobody", summary="another painter", does=("image",))',
)


@pytest.fixture(autouse=True)
def _wide(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tiny plugin is installed, and tables are not folded."""
    monkeypatch.setenv("COLUMNS", "250")
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name in {path.stem for path in plugins.glob("*.py")}:
            del sys.modules[name]


def add(name: str, code: str) -> None:
    """Install one more plugin."""
    module = name.replace("-", "_")
    (Path("site") / f"{module}.py").write_text(code)
    install(Path("site"), module, name)
    installed.cache_clear()


def row(name: str, out: str) -> list[str]:
    """Return a table's row."""
    (found,) = [line for line in out.splitlines() if line.split()[:1] == [name]]
    return found.split()


def test_models_lists_names_abilities_and_plugins(capsys: Out) -> None:
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert row("painter", out) == [
        "painter",
        *["image", "text", "see", "any", "takes", "two", "calls", "to", "think", "support"],
    ]
    assert row("oracle", out)[:6] == ["oracle", "image", "text", "think", "see", "sandbox"]
    assert row("oracle", out)[-1] == "unisandbox-models"
    assert "Options: --models NAME:KEY=VALUE" in err


def test_judges_lists_judges_and_rubrics(capsys: Out) -> None:
    assert main(["judges"]) == 0
    out, err = capsys.readouterr()
    assert row("reader", out) == ["reader", "any", "text", "reads", "the", "red", "channel", "support"]
    assert row("sprite", out)[:3] == ["sprite", "sandbox", "sandbox"]
    assert row("object_count", out)[1:4] == ["The", "number", "of"]
    assert err == "\nThe options of one judge: unisandbox judges show NAME\n"


def test_plugins_lists_all_that_is_installed(capsys: Out) -> None:
    assert main(["plugins"]) == 0
    out, err = capsys.readouterr()
    assert row("support", out)[:4] == ["support", "ok", "support", "0.1"]
    assert "model painter, model thinker, model mute, model seer, judge reader" in out
    for name in ("datasets", "judges", "models", "tasks"):
        assert row(f"unisandbox-{name}", out)[1] == "ok"
    assert err == ""


def test_listings_do_not_import_what_they_list(capsys: Out) -> None:
    body = 'register("ghost", "no_such_module:Ghost", summary="not there", does=("image",))'
    add("ghost", HOOK.format(hook="register_models", body=body))
    assert main(["models"]) == 0
    assert row("ghost", capsys.readouterr().out)[-1] == "ghost"


BROKEN = {
    "import no_such_library\n": "ModuleNotFoundError: No module named 'no_such_library'",
    "def f(:\n": "SyntaxError: invalid syntax",
    "1 / 0\n": "ZeroDivisionError: division by zero",
    "raise SystemExit('a script, not a plugin')\n": "SystemExit: a script, not a plugin",
    HOOK.format(hook="register_models", body='register("m", "a:b")'): "register_models: TypeError: ",
    HOOK.format(
        hook="register_tasks", body='register("nowhere")'
    ): "register_tasks: FileNotFoundError: no folder nowhere",
}


@pytest.mark.parametrize("code", BROKEN, ids=lambda code: code.split("\n")[0][:24])
def test_a_broken_plugin_is_one_warning_and_the_rest_work(code: str, capsys: Out) -> None:
    add("shaky", code)
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert row("painter", out) and row("oracle", out)
    (warning,) = [line for line in err.splitlines() if "shaky" in line]
    assert warning.startswith("warning: plugin 'shaky' is left out: ") and BROKEN[code] in warning
    assert main(["plugins"]) == 1
    out, _ = capsys.readouterr()
    assert " ".join(row("shaky", out)[1:]).startswith(BROKEN[code].strip())


def test_two_plugins_with_one_name_are_an_error_naming_both(capsys: Out) -> None:
    add("rival", CLASH)
    clash = "Plugins 'rival' and 'support' both register the model 'painter'."
    for words in (["models"], ["run", "--models", "oracle", "--tasks", "math_1", "--dry-run"]):
        assert main(words) == 2
        assert capsys.readouterr().err.startswith(f"error: {clash} Uninstall one of them, or ask its author")
    assert main(["plugins"]) == 1  # which still shows whose they are
    out, err = capsys.readouterr()
    assert row("rival", out)[1] == row("support", out)[1] == "ok" and f"error: {clash}" in err
    assert main(["tasks"]) == 0 and main(["judges"]) == 0  # what is not about models goes on


def test_two_plugins_of_one_name(capsys: Out) -> None:
    (Path("site") / "rival.py").write_text("")
    info = install(Path("site"), "rival", "rival") / "rival-0.1.dist-info"
    (info / "entry_points.txt").write_text("[unisandbox]\nsupport = rival\n")
    installed.cache_clear()
    assert main(["plugins"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("warning: plugin 'support' is left out: the entry-point name is taken by ")


def test_a_misspelt_hook_is_an_error_that_says_which_there_are(capsys: Out) -> None:
    add("typo", HOOK.format(hook="register_model", body="pass"))
    assert main(["models"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: Plugin 'typo': ") and "register_model" in err and "register_judges" in err


def test_a_factory_that_cannot_be_imported_is_named_when_it_is_used(capsys: Out) -> None:
    body = 'register("ghost", "no_such_module:Ghost", summary="not there", does=("image",), draws="sandbox")'
    add("ghost", HOOK.format(hook="register_models", body=body))
    assert main(["run", "--tasks", "math_1", "--models", "ghost", "--limit", "1", "--out", "run"]) == 2
    assert capsys.readouterr().err == (
        "error: 'ghost' of plugin 'ghost' cannot be loaded from no_such_module:Ghost: "
        "ModuleNotFoundError: No module named 'no_such_module'\n"
    )
    assert not Path("run").exists()
