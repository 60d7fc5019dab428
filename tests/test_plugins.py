"""Plugins: each is loaded by itself, and what is wrong with one is said with its name."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any

import pytest

from unisandbox import hookspecs
from unisandbox.errors import PluginError, UsageError
from unisandbox.plugins import GROUP, Plugins, installed, load

HEAD = "from pathlib import Path\nfrom unisandbox import hookimpl\n"
MODEL = """
@hookimpl
def register_models(register):
    register("NAME", "colours.model:Model", summary="paints", does=("image",))
"""


class Site:
    """A folder of installed distributions, as pip leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, plugin: str, source: str, *, distribution: str = "", version: str = "1.0") -> None:
        """Install a distribution with one plugin module of the same name."""
        name = distribution or plugin
        info = self.folder / f"{name}-{version}.dist-info"
        info.mkdir()
        module = f"plugin_{name}_{len(list(self.folder.iterdir()))}"
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{plugin} = {module}\n")
        (self.folder / f"{module}.py").write_text(HEAD + source)

    def points(self) -> list[EntryPoint]:
        """Return the entry points there are."""
        found = sorted(distributions(path=[str(self.folder)]), key=lambda one: one.version)
        return [point for one in found for point in one.entry_points.select(group=GROUP)]

    def load(self) -> Plugins:
        """Load them."""
        return load(self.points())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Yield an empty site on the import path; modules imported from it are forgotten."""
    monkeypatch.syspath_prepend(tmp_path)
    yield Site(tmp_path)
    for name in [name for name in sys.modules if name.startswith(("plugin_", "colours"))]:
        del sys.modules[name]


def test_a_plugin_registers_under_its_own_name(site: Site) -> None:
    site.install("colours", MODEL, version="2.1")
    plugins = site.load()
    entry = plugins.models["NAME"]
    assert (entry.plugin, entry.summary, entry.does) == ("colours", "paints", ("image",))
    assert (entry.draws, entry.sees_target) == ("any", False)
    (status,) = plugins.status
    assert (status.name, status.distribution, status.version) == ("colours", "colours", "2.1")
    assert (status.error, status.registered) == ("", ["model NAME"])


def test_what_a_model_does_may_depend_on_its_options(site: Site) -> None:
    site.install("colours", MODEL.replace('("image",)', '"colours_able:does"'))
    (site.folder / "colours_able.py").write_text(
        "def does(options):\n    return ('image', 'text') if 'writes' in options else ('image',)\n"
    )
    entry = site.load().models["NAME"]
    assert entry.abilities({}) == ("image",)
    assert entry.abilities({"writes": "true"}) == ("image", "text")
    (site.folder / "colours_able.py").unlink()
    del sys.modules["colours_able"]
    with pytest.raises(
        PluginError, match="'NAME' of plugin 'colours' cannot be loaded from colours_able:does"
    ):
        entry.abilities({})


def test_listing_imports_no_factory_and_loading_does(site: Site) -> None:
    site.install("colours", MODEL)
    (site.folder / "colours.py").write_text("")  # a module, so that colours.model would fail
    entry = site.load().models["NAME"]
    assert "colours" not in sys.modules
    with pytest.raises(PluginError) as caught:
        entry.load()
    assert (
        "'NAME' of plugin 'colours' cannot be loaded from colours.model:Model: ModuleNotFoundError:"
        in str(caught.value)
    )


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("", "AttributeError: module 'colours_factory' has no attribute 'Model'"),
        ("Model = 3", "colours_factory:Model of plugin 'colours' is not callable."),
        ("def Model(:", "SyntaxError: "),
    ],
)
def test_a_factory_that_fails_names_its_plugin(site: Site, module: str, message: str) -> None:
    site.install("colours", MODEL.replace("colours.model", "colours_factory"))
    (site.folder / "colours_factory.py").write_text(module)
    with pytest.raises(PluginError) as caught:
        site.load().models["NAME"].load()
    assert message in str(caught.value)
    assert "colours" in str(caught.value)


def test_a_factory_is_what_its_name_says(site: Site) -> None:
    site.install("colours", MODEL.replace("colours.model", "colours_factory"))
    (site.folder / "colours_factory.py").write_text("def Model():\n    return 'made'\n")
    assert site.load().models["NAME"].load()() == "made"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError: "),
        ("import sys; sys.exit('this is a script')", "SystemExit: this is a script"),
        (
            "@hookimpl\ndef register_models(register):\n    raise KeyError('x')",
            "register_models: KeyError: 'x'",
        ),
        (
            "@hookimpl\ndef register_tasks(register):\n    register(Path('/no/such/folder'))",
            "register_tasks: FileNotFoundError: no folder /no/such/folder",
        ),
        (
            '@hookimpl\ndef register_models(register):\n    register("a", "b:c", does=("image",))',
            "register_models: TypeError: ",
        ),
        (
            '@hookimpl\ndef register_models(register):\n    register("a", "b:c", summary="", does=("image"))',
            "register_models: ValueError: does='image': expected a tuple of some of image, text, think,",
        ),
        (
            "@hookimpl\ndef register_models(register):\n"
            '    register("a", "b:c", summary="", does=("paint",))',
            "does=('paint',): expected a tuple of some of image,",
        ),
        (
            "@hookimpl\ndef register_models(register):\n"
            '    register("a", "b:c", summary="", does=("image",), draws="sandbx")',
            "draws=('sandbx',): expected a tuple of some of sandbox, any",
        ),
        (
            "@hookimpl\ndef register_judges(register):\n"
            '    register("a", "b:c", summary="", reads=("words",))',
            "register_judges: ValueError: reads=('words',): expected a tuple of some of sandbox, any, text",
        ),
    ],
)
def test_a_broken_plugin_is_left_out_and_the_rest_load(site: Site, source: str, error: str) -> None:
    site.install("broken", source)
    site.install("colours", MODEL)
    plugins = site.load()
    assert list(plugins.models) == ["NAME"]
    assert len(plugins.models) == 1
    assert {status.name: bool(status.error) for status in plugins.status} == {
        "broken": True,
        "colours": False,
    }
    assert error in plugins.status[0].error


def test_a_broken_plugin_is_a_warning_that_names_it(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.install("broken", "1 / 0")
    installed.cache_clear()
    try:
        plugins = installed()
    finally:
        installed.cache_clear()
    assert "oracle" in plugins.models
    assert capsys.readouterr().err == (
        "warning: plugin 'broken' is left out: ZeroDivisionError: division by zero\n"
    )


def test_a_misspelt_hook_is_an_error_that_names_plugin_and_hooks(site: Site) -> None:
    site.install("colours", MODEL.replace("register_models", "register_model"))
    with pytest.raises(PluginError) as caught:
        site.load()
    message = str(caught.value)
    assert message.startswith("Plugin 'colours': ")
    assert "register_model" in message
    for hook in (
        "register_tasks",
        "register_rubrics",
        "register_datasets",
        "register_models",
        "register_judges",
    ):
        assert hook in message
    assert "\n" not in message


def test_a_hook_with_a_wrong_argument_is_an_error_that_names_it(site: Site) -> None:
    site.install("colours", MODEL.replace("register_models(register)", "register_models(registry)"))
    with pytest.raises(PluginError) as caught:
        site.load()
    assert "Plugin 'colours': " in str(caught.value)
    assert "registry" in str(caught.value)
    assert "register_models" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_plugins_with_one_name_are_an_error_naming_both(site: Site) -> None:
    site.install("colours", MODEL)
    site.install("paints", MODEL)
    plugins = site.load()
    message = (
        "Plugins 'colours' and 'paints' both register the model 'NAME'. "
        "Uninstall one of them, or ask its author to rename it."
    )
    assert plugins.clashes() == [message]
    for look in (
        lambda: plugins.models["NAME"],
        lambda: plugins.models["other"],
        lambda: list(plugins.models),
    ):
        with pytest.raises(PluginError) as caught:
            look()
        assert str(caught.value) == message


def test_names_of_different_kinds_do_not_clash(site: Site) -> None:
    judge = MODEL.replace("register_models", "register_judges").replace('does=("image",)', 'reads=("any",)')
    site.install("colours", MODEL + judge)
    plugins = site.load()
    assert plugins.clashes() == []
    assert plugins.judges["NAME"].reads == ("any",)
    assert plugins.judges["NAME"].default_for == ()


def test_the_same_entry_point_seen_twice_counts_once(site: Site) -> None:
    site.install("colours", MODEL)
    plugins = load(site.points() * 2)
    assert plugins.clashes() == []
    assert len(plugins.status) == 1
    assert plugins.status[0].error == ""


def test_an_older_version_of_a_distribution_beside_a_newer_counts_once(site: Site) -> None:
    for version in ("1.0", "2.0"):
        site.install("colours", MODEL, version=version)
    plugins = site.load()
    assert plugins.clashes() == []
    assert len(plugins.status) == 1


def test_an_entry_point_name_taken_by_another_distribution_is_told(site: Site) -> None:
    site.install("colours", MODEL, distribution="first", version="1.0")
    site.install("colours", MODEL.replace("NAME", "OTHER"), distribution="second", version="2.0")
    plugins = site.load()
    assert [(status.distribution, status.error) for status in plugins.status] == [
        ("first", ""),
        ("second", "the entry-point name is taken by first"),
    ]
    assert list(plugins.models) == ["NAME"]


def test_folders_are_kept_with_their_plugin(site: Site) -> None:
    (site.folder / "colour_tasks").mkdir()
    source = '@hookimpl\ndef register_KIND(register):\n    register(Path(__file__).parent / "colour_tasks")\n'
    site.install("colours", source.replace("KIND", "tasks") + source.replace("KIND", "rubrics"))
    plugins = site.load()
    folder = site.folder / "colour_tasks"
    assert plugins.task_folders == {folder: "colours"}
    assert plugins.rubric_folders == {folder: "colours"}
    assert plugins.status[0].registered == ["task folder colour_tasks", "rubric folder colour_tasks"]


def test_an_unknown_name_is_told_the_nearest() -> None:
    plugins = installed()
    for registry, name, near in (
        (plugins.models, "orcale", "Unknown model 'orcale'. Did you mean 'oracle'?"),
        (plugins.judges, "sprit", "Unknown judge 'sprit'. Did you mean 'sprite'?"),
        (plugins.datasets, "arithmetics", "Unknown dataset 'arithmetics'. Did you mean 'arithmetic'?"),
    ):
        with pytest.raises(UsageError) as caught:
            _ = registry[name]
        assert near in str(caught.value)
        assert name not in registry
    with pytest.raises(UsageError, match=r"Unknown model 'x'. None is registered."):
        _ = Plugins().models["x"]


def test_without_any_plugin_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(**_: Any) -> list[EntryPoint]:
        return []

    monkeypatch.setattr("unisandbox.plugins.entry_points", nothing)
    installed.cache_clear()
    try:
        with pytest.raises(PluginError, match=r"not even our own. Install the package: pip install -e \."):
            installed()
    finally:
        installed.cache_clear()


def test_what_ships_registers_as_outside_plugins_do() -> None:
    plugins = installed()
    ours = {status.name: status for status in plugins.status if status.distribution == "unisandbox"}
    assert {"unisandbox-datasets", "unisandbox-judges", "unisandbox-models", "unisandbox-tasks"} <= set(ours)
    assert not any(status.error for status in ours.values())
    assert {"arithmetic", "characters", "hub", "jsonl", "mapping", "published"} <= set(plugins.datasets)
    for registry in (plugins.datasets, plugins.models, plugins.judges):
        for entry in registry.values():
            assert entry.summary, entry.name


@pytest.mark.parametrize("what", ["datasets", "models", "judges"])
def test_every_factory_that_ships_loads_and_names_its_options(what: str) -> None:
    from inspect import signature

    for entry in getattr(installed(), what).values():
        if entry.plugin.startswith("unisandbox-"):
            factory = entry.load()
            kinds = {parameter.kind for parameter in signature(factory).parameters.values()}
            assert {kind.name for kind in kinds} <= {"KEYWORD_ONLY"}, entry.name


def test_hooks_are_documented() -> None:
    hooks = [hook for name, hook in vars(hookspecs).items() if name.startswith("register_")]
    assert len(hooks) == 5
    assert all(hook.__doc__ and "register(" in hook.__doc__ for hook in hooks)
