"""The README tells the truth: its files and commands run, its tree and names exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = Path(sys.executable).parent


def block(marker: str) -> str:
    """Return the code block that follows ``<!-- marker -->``."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w*\n(.*?)```", README, flags=re.DOTALL)
    assert found, f"README has no block <!-- {marker} -->"
    return found[1]


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(block(f"file: {name}"), encoding="utf-8")


def run(command: str, folder: Path, **environment: str) -> str:
    """Run a README command with the installed scripts first on the path; return what it prints."""
    path = os.pathsep.join([str(SCRIPTS), os.environ["PATH"]])
    done = subprocess.run(
        shlex.split(command),
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_add_a_task(tmp_path: Path) -> None:
    write(tmp_path, "riddles.yaml", "riddles.jsonl")
    validate, ask = block("commands").splitlines()
    assert "ok       riddles: 3 samples, 4 modes" in run(validate, tmp_path)
    table = run(ask, tmp_path)
    assert re.search(r"riddles +direct +1\.00 +\[0\.44, 1\.00\] +3 +0\.33", table)


def test_add_a_model_and_a_judge(tmp_path: Path) -> None:
    write(tmp_path, "my_model.py", "my_judge.py", "pyproject.toml")
    install, ask = block("plugin commands").splitlines()
    site = tmp_path / "site"
    run(f"{install} --quiet --no-deps --no-build-isolation --target {site}", tmp_path)
    table = run(ask, tmp_path, PYTHONPATH=str(site))
    rows = re.findall(r"(?:math_1)? +(direct|answer) +(sprite|my-judge|rules) +(\d\.\d\d)", table)
    assert {(mode, judge) for mode, judge, _ in rows} == {
        ("direct", "sprite"),
        ("direct", "my-judge"),
        ("answer", "rules"),
    }
    assert len({score for mode, _, score in rows if mode == "direct"}) == 1  # the judges agree


def test_python_example(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(block("python"), names)
    table, trials = names["table"], names["trials"]
    assert list(table.columns) == block("python").split("one row a cell: ")[1].split("\n")[0].split()  # type: ignore[attr-defined]
    assert len(trials) == 2 * 2 * 40  # type: ignore[arg-type]


def test_the_tree_names_what_there_is() -> None:
    tree = README.split("```\nunisandbox/ ")[1].split("```")[0]
    assert len(tree.splitlines()) > 20
    for line in ("unisandbox/ " + tree).splitlines():
        inside = line.startswith("  ")
        for name in re.match(r" *((?:[\w.]+(?:\.py|/) ?)+)", line)[1].split():  # type: ignore[index]
            path = ROOT / ("unisandbox" if inside else "") / name
            assert path.exists(), f"README names {path}, which is not there"


def test_the_tree_forgets_no_module() -> None:
    tree = README.split("```\nunisandbox/ ")[1].split("```")[0]
    for path in (ROOT / "unisandbox").glob("*.py"):
        if not path.name.startswith("__"):
            assert re.search(rf"\b{path.name}\b", tree), f"README's tree leaves out {path.name}"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), f"README links to {target}"


def test_every_command_and_mode_is_named() -> None:
    from unisandbox.modes import MODES

    for mode in MODES:
        assert f"| `{mode}` |" in README
    for command in (
        "run",
        "resume",
        "show",
        "tasks",
        "judges",
        "data export",
        "attribute",
        "judge",
        "calibrate",
        "compare",
        "power",
        "probe",
    ):
        assert f"unisandbox {command}" in README
