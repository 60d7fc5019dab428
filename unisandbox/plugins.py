"""Finds plugins and keeps what they register: names, one-line summaries, and factories not yet imported."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

import pluggy

from unisandbox import hookspecs
from unisandbox.errors import PluginError, UsageError, unknown

GROUP = "unisandbox"


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered name."""

    name: str
    factory: str
    """``module:attribute``, imported on first use."""
    plugin: str
    summary: str

    def load(self) -> Callable[..., Any]:
        """Import the factory; raises PluginError naming the plugin."""
        return self._import(self.factory)

    def _import(self, path: str) -> Callable[..., Any]:
        module, _, attribute = path.partition(":")
        try:
            found = getattr(import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"{self.name!r} of plugin {self.plugin!r} cannot be loaded from {path}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not callable(found):
            raise PluginError(f"{path} of plugin {self.plugin!r} is not callable.")
        return found  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class ModelEntry(Entry):
    """A registered model backend."""

    does: tuple[str, ...] | str
    """Abilities, or ``module:function`` from the options to them."""
    draws: str
    sees_target: bool

    def abilities(self, options: Mapping[str, str]) -> tuple[str, ...]:
        """Return what the model does with these options; raises UsageError for those that cannot be meant."""
        return self._import(self.does)(options) if isinstance(self.does, str) else self.does


@dataclass(frozen=True, slots=True)
class JudgeEntry(Entry):
    """A registered judge."""

    reads: tuple[str, ...]
    default_for: tuple[str, ...]
    remote: bool | str = False
    """Whether it asks a server, or ``module:function`` from the options to that."""

    def is_remote(self, options: Mapping[str, str]) -> bool:
        """Return whether it asks a server with these options; raises UsageError for unknown names in them."""
        return self._import(self.remote)(options) if isinstance(self.remote, str) else self.remote


E = TypeVar("E", bound=Entry)


class Registry(Mapping[str, E], Generic[E]):
    """Names of one kind of thing; a name claimed twice is an error when anything is looked up."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._entries: dict[str, E] = {}
        self.clashes: list[str] = []

    def add(self, entry: E) -> None:
        """Add an entry, or note the clash."""
        if taken := self._entries.get(entry.name):
            self.clashes.append(
                f"Plugins {taken.plugin!r} and {entry.plugin!r} both register the {self.what} "
                f"{entry.name!r}. Uninstall one of them, or ask its author to rename it."
            )
        else:
            self._entries[entry.name] = entry

    def __getitem__(self, name: str) -> E:
        if self.clashes:
            raise PluginError(self.clashes[0])
        if name not in self._entries:
            raise UsageError(unknown(self.what, name, self._entries))
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        if self.clashes:
            raise PluginError(self.clashes[0])
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


@dataclass(slots=True)
class PluginStatus:
    """How one plugin fared."""

    name: str
    distribution: str
    version: str
    milliseconds: float = 0.0
    error: str = ""
    registered: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Plugins:
    """Everything that is installed."""

    datasets: Registry[Entry] = field(default_factory=lambda: Registry("dataset"))
    models: Registry[ModelEntry] = field(default_factory=lambda: Registry("model"))
    judges: Registry[JudgeEntry] = field(default_factory=lambda: Registry("judge"))
    task_folders: dict[Path, str] = field(default_factory=dict)
    """Folder -> the plugin that registered it."""
    rubric_folders: dict[Path, str] = field(default_factory=dict)
    status: list[PluginStatus] = field(default_factory=list)

    def clashes(self) -> list[str]:
        """Return the names claimed twice."""
        return [*self.datasets.clashes, *self.models.clashes, *self.judges.clashes]


@lru_cache(maxsize=1)
def installed() -> Plugins:
    """Return what the installed plugins register; warns about each broken one and goes on."""
    plugins = load(entry_points(group=GROUP))
    for status in plugins.status:
        if status.error:
            print(f"warning: plugin {status.name!r} is left out: {status.error}", file=sys.stderr)
    if not plugins.status:
        raise PluginError("No plugins are found, not even our own. Install the package: pip install -e .")
    return plugins


def load(points: Iterable[EntryPoint]) -> Plugins:
    """Load entry points one by one; raises PluginError for a misspelt or misshapen hook."""
    plugins = Plugins()
    names: dict[str, PluginStatus] = {}
    for point in sorted(points, key=lambda point: point.name):
        status = PluginStatus(point.name, *_distribution(point))
        if point.name in names:
            if names[point.name].distribution != status.distribution:
                first = names[point.name].distribution
                status.error = f"the entry-point name is taken by {first}"
                plugins.status.append(status)
            continue  # the same distribution seen twice: an editable install beside its build
        names[point.name] = status
        plugins.status.append(status)
        started = time.perf_counter()
        try:
            module = point.load()
        except (Exception, SystemExit) as error:  # a script taken for a plugin exits when imported
            status.error = f"{type(error).__name__}: {error}"
            continue
        _register(plugins, status, module)
        status.milliseconds = 1000 * (time.perf_counter() - started)
    return plugins


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("", "")


def _register(plugins: Plugins, status: PluginStatus, module: types.ModuleType) -> None:
    """Call one plugin's hooks; a manager of its own tells whose registration each one is."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=status.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        wrong = str(error).splitlines()[-1]
        raise PluginError(
            f"Plugin {status.name!r}: {wrong}. Hooks: {', '.join(_hooks())} (see unisandbox.hookspecs)."
        ) from None
    registers = _registers(plugins, status)
    for hook in _hooks():
        try:
            getattr(manager.hook, hook)(register=registers[hook])
        except Exception as error:
            status.error = f"{hook}: {type(error).__name__}: {error}"


def _hooks() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("register_")]


def _check_words(what: str, given: Iterable[str], known: Any) -> None:
    """Raise ValueError for words a hook does not know; a lone word in brackets is no tuple."""
    if isinstance(given, str) or not set(given) <= set(get_args(known)):
        raise ValueError(f"{what}={given!r}: expected a tuple of some of {', '.join(get_args(known))}")


def _registers(plugins: Plugins, status: PluginStatus) -> dict[str, Callable[..., None]]:
    """Return the ``register`` callable handed to each hook of one plugin."""

    def into(registry: Registry[Any], kind: type[Entry]) -> Callable[..., None]:
        def register(name: str, factory: str, **about: Any) -> None:
            registry.add(kind(name=name, factory=factory, plugin=status.name, **about))
            status.registered.append(f"{registry.what} {name}")

        return register

    def model(name: str, factory: str, **about: Any) -> None:
        about = {"draws": "any", "sees_target": False, **about}
        does = about.get("does", ())
        if not (isinstance(does, str) and ":" in does):  # else a function of the options
            _check_words("does", does, hookspecs.Ability)
        _check_words("draws", (about["draws"],), hookspecs.Pictures)
        into(plugins.models, ModelEntry)(name, factory, **about)

    def judge(name: str, factory: str, **about: Any) -> None:
        for key in ("reads", "default_for"):
            _check_words(key, about.get(key, ()), hookspecs.Readable)
        into(plugins.judges, JudgeEntry)(name, factory, **{"default_for": (), **about})

    def folder(folders: dict[Path, str], what: str) -> Callable[[Path], None]:
        def register(folder: Path) -> None:
            if not Path(folder).is_dir():
                raise FileNotFoundError(f"no folder {folder}")
            folders[Path(folder)] = status.name
            status.registered.append(f"{what} folder {Path(folder).name}")

        return register

    return {
        "register_tasks": folder(plugins.task_folders, "task"),
        "register_rubrics": folder(plugins.rubric_folders, "rubric"),
        "register_datasets": into(plugins.datasets, Entry),
        "register_models": model,
        "register_judges": judge,
    }
