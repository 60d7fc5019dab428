"""The house: imports point one way, there are no cycles, and listing what there is costs nothing heavy."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import unisandbox

PACKAGE = Path(unisandbox.__file__).parent
PLUGIN_FOLDERS = ("tasks", "model_backends", "judges")

LAYERS = (
    "errors files",
    "world.vocabulary world.people",
    "records",
    "modes prompts yaml_file",
    "rubric backend batching loading",
    "judge",
    "hookspecs",
    "specs guesses plugins",
    "world datasets",
    "task",
    "catalog",
    "matrix",
    "stats",
    "scores",
    "asking judging run_log building",
    "executors",
    "options runner remote storage",
    "results trials",
    "agreement calibration",
    "attribution contrast labels probe best_of",
    "api",
    "calibrating merging",
    "training",
    "report",
    "view",
    "cli __main__",
)
"""From the bottom up, as in DESIGN: a module imports from lower layers, or from its own package."""

HEAVY = frozenset(
    {
        "torch",
        "transformers",
        "diffusers",
        "datasets",
        "pandas",
        "inflect",
        "scipy",
        "matplotlib",
        "sklearn",
        "openai",
        "ray",
    }
)


@cache
def modules() -> dict[str, Path]:
    """Return every module of the package by its name below ``unisandbox``; the package itself is ``""``."""
    found = {}
    for path in sorted(_walk(PACKAGE)):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Yield Python files, through links too."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from _walk(path)
        elif path.suffix == ".py":
            yield path


@cache
def imports(name: str) -> frozenset[str]:
    """Return the absolute names that a module imports at its top, outside ``TYPE_CHECKING``."""
    return frozenset(_imported(ast.parse(modules()[name].read_text(encoding="utf-8")).body))


def _imported(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _imported(node.orelse)
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
            for part in ("body", "orelse", "finalbody"):
                yield from _imported(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from _imported(handler.body)


@cache
def own_imports(name: str) -> frozenset[str]:
    """Return the modules of the package that a module imports at its top."""
    found = set()
    for imported in imports(name):
        root, _, rest = imported.partition(".")
        if root == "unisandbox":
            while rest and rest not in modules():
                rest = rest.rpartition(".")[0]
            found.add(rest)
    return frozenset(found - {name})


def core() -> list[str]:
    return [name for name in modules() if name and name.split(".")[0] not in PLUGIN_FOLDERS]


def layer(name: str) -> int:
    """Return the layer of a module: that of its own name, or of the package it is in."""
    for known in (name, name.partition(".")[0]):
        for number, names in enumerate(LAYERS):
            if known in names.split():
                return number
    raise AssertionError(
        f"unisandbox/{name.replace('.', '/')}.py has no place in LAYERS: say what it stands on"
    )


def test_every_module_is_found() -> None:
    assert {"", "task", "world.scene", "cli", "judges.sprite", "model_backends.oracle", "tasks"} <= set(
        modules()
    )


@pytest.mark.parametrize("name", core())
def test_imports_point_down(name: str) -> None:
    package = name.partition(".")[0]
    for imported in own_imports(name):
        same_package = imported.partition(".")[0] == package
        assert same_package or imported == "" or layer(imported) < layer(name) or _peers(name, imported), (
            f"{name} imports {imported}, which stands above it"
        )


def _peers(name: str, imported: str) -> bool:
    """Whether two modules share a line of LAYERS, where the cycle test is enough."""
    return layer(name) == layer(imported)


def test_there_are_no_cycles() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for imported in own_imports(name):
                visit(imported, (*way, name))
            done.add(name)

    for name in modules():
        visit(name, ())


@pytest.mark.parametrize("name", core())
def test_the_core_knows_no_task_model_or_judge(name: str) -> None:
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    wanted = set(imports(name))
    for node in ast.walk(tree):  # inside functions too
        if isinstance(node, ast.ImportFrom) and node.module:
            wanted |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith("unisandbox.")
        ):
            wanted.add(node.value.partition(":")[0])
    for folder in PLUGIN_FOLDERS:
        home = f"unisandbox.{folder}"
        assert not [each for each in wanted if each == home or each.startswith(f"{home}.")], name


@pytest.mark.parametrize("name", [name for name in modules() if name.split(".")[0] in PLUGIN_FOLDERS])
def test_plugins_use_public_names_of_the_core_and_no_other_plugin(name: str) -> None:
    folder = name.split(".")[0]
    for imported in imports(name):
        if imported.startswith("unisandbox."):
            parts = imported.split(".")[1:]
            assert not any(part.startswith("_") for part in parts), f"{name} imports {imported}"
            assert parts[0] == folder or parts[0] not in PLUGIN_FOLDERS, f"{name} imports {imported}"
            assert parts[0] not in ("runner", "run_log", "matrix", "cli", "api"), f"{name} imports {imported}"


def test_heavy_libraries_are_not_imported_at_the_top_of_the_core_or_of_a_plugin() -> None:
    light = [
        name
        for name, path in modules().items()
        if path.name == "__init__.py" or name.partition(".")[0] not in (*PLUGIN_FOLDERS, "world", "training")
    ]
    assert "plugins" in light and "model_backends" in light
    for name in light:
        roots = {imported.partition(".")[0] for imported in imports(name)}
        assert not roots & HEAVY, f"{name} imports {', '.join(roots & HEAVY)} at its top"


def test_listing_what_there_is_imports_nothing_heavy(tmp_path: Path) -> None:
    """One process does one thing after another and tells after each which heavy libraries it has by then."""
    script = f"""
import contextlib, io, json, sys
heavy = {sorted((HEAVY - {"datasets"}) | {"numpy", "PIL"})!r}
loaded = {{}}
def note(what):
    loaded[what] = [name for name in heavy if name in sys.modules]
import unisandbox
note("import")
from unisandbox.cli import main
def do(*words):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        assert main(words) == 0, words
    note(" ".join(words))
do("--help")
do("run", "--help")
do("version")
do("tasks")
do("models")
do("judges")
do("plugins")
do("run", "--dry-run", "--limit", "2", "--tasks", "math_1,inverse_search", "--modes", "all")
print(json.dumps(loaded))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded: dict[str, list[str]] = json.loads(done.stdout)
    *listings, run = loaded
    assert {what: loaded[what] for what in listings} == {what: [] for what in listings}
    assert not set(loaded[run]) & {"torch", "transformers", "diffusers", "pandas", "matplotlib"}


def test_the_package_names_what_it_offers() -> None:
    assert unisandbox.__all__ == sorted(unisandbox.__all__)
    for name in unisandbox.__all__:
        assert getattr(unisandbox, name) is not None
    with pytest.raises(AttributeError, match="module 'unisandbox' has no attribute 'rnu'"):
        _ = unisandbox.rnu
