"""What a run is planned for follows ``does=``, before any worker is started."""

from pathlib import Path

import pytest

from unisandbox.cli import main
from unisandbox.errors import UsageError
from unisandbox.model_backends.command import does


def test_all_or_what_is_said() -> None:
    assert does({}) == does({"does": ""}) == ("image", "text", "think", "see")
    assert does({"does": "image"}) == ("image",)
    assert does({"does": "image+text", "cmd": "x"}) == ("image", "text")
    with pytest.raises(
        UsageError, match=r"^model 'command': does=images: Unknown ability 'images'\. Did you mean"
    ):
        does({"does": "images"})


def test_modes_it_cannot_do_are_not_asked(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("worker.py").touch()
    plan = ["run", "--tasks", "math_1", "--modes", "answer", "caption", "render", "--dry-run", "--models"]
    assert main([*plan, "command:cmd=worker.py,does=image,draws=sandbox"]) == 0
    out = capsys.readouterr().out
    assert "not supported: math_1 answer" in out and "not supported: math_1 caption" in out
    assert main([*plan, "command:cmd=worker.py,does=image+txt"]) == 2
    assert "Unknown ability 'txt'. Did you mean 'text'?" in capsys.readouterr().err
