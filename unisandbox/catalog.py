"""The catalog: every task file and rubric at hand, found by name, family, tag, glob or path."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from unisandbox.errors import TaskFileError, TwiceError, UsageError, unknown
from unisandbox.plugins import Plugins
from unisandbox.yaml_file import YamlFile, shown

if TYPE_CHECKING:
    from unisandbox.rubric import Rubric
    from unisandbox.task import Task


@dataclass(frozen=True, slots=True)
class Listing:
    """One task as far as a glance at its file tells."""

    name: str
    family: str
    tags: tuple[str, ...]
    description: str
    variant: str
    """What sets it apart from the other tasks of its file."""
    modes: tuple[str, ...]
    path: Path
    plugin: str

    def answers_to(self, pattern: str) -> bool:
        """Whether a name, family, tag or glob means this task."""
        return any(fnmatchcase(word, pattern) for word in (self.name, self.family, *self.tags))


class Rubrics(Mapping[str, "Rubric"]):
    """Rubric files by name, read on first use."""

    def __init__(self, folders: Mapping[Path, str]) -> None:
        self._paths: dict[str, Path] = {}
        self._read: dict[str, Rubric] = {}
        for path in _yaml_files(folders):
            if other := self._paths.get(path.stem):
                raise TwiceError(f"Two files hold the rubric {path.stem!r}: {shown(other)}, {shown(path)}.")
            self._paths[path.stem] = path

    def path(self, name: str) -> Path:
        """Return the file of a rubric."""
        return self._paths[name]

    def __getitem__(self, name: str) -> Rubric:
        if name not in self._read:
            from unisandbox.rubric import Rubric

            self._read[name] = Rubric(self._paths[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, name: object) -> bool:
        return name in self._paths


class Catalog:
    """Task listings by name. A file that cannot be read is a warning, unless it is asked for."""

    def __init__(self, plugins: Plugins, include: Iterable[Path] = ()) -> None:
        self.plugins = plugins
        self.rubrics = Rubrics(plugins.rubric_folders)
        self._listings: dict[str, Listing] = {}
        self.broken: list[str] = []
        """What is wrong with the files that are left out."""
        folders = dict(plugins.task_folders)
        for folder in include:
            if not folder.is_dir():
                raise UsageError(f"--include-path {folder}: no such folder.")
            folders[folder] = "--include-path"
        for path, plugin in _yaml_files(folders).items():
            try:
                self._add(path, plugin)
            except TwiceError:
                raise
            except TaskFileError as error:
                self.broken.append(str(error))
                print(f"warning: left out: {error}", file=sys.stderr)

    def _add(self, path: Path, plugin: str) -> list[Listing]:
        found = list(_glance(path, plugin))
        for listing in found:
            other = self._listings.get(listing.name)
            if other and other.path.resolve() != path.resolve():
                raise TwiceError(
                    f"Two files hold the task {listing.name!r}: {shown(other.path)}, {shown(path)}. "
                    "Rename one."
                )
            self._listings[listing.name] = listing
        return found

    def __iter__(self) -> Iterator[Listing]:
        return iter(sorted(self._listings.values(), key=lambda listing: _natural(listing.name)))

    def select(self, patterns: Sequence[str]) -> list[Listing]:
        """Return the tasks that names, families, tags, globs or paths of task files mean.

        Raises UsageError for a pattern that means nothing.
        """
        chosen: dict[str, Listing] = {}
        for pattern in (part.strip() for entry in patterns for part in entry.split(",")):
            if not pattern:
                continue
            if pattern.endswith((".yaml", ".yml")):
                found = self._add(Path(pattern), "a file")
            else:
                found = [listing for listing in self if listing.answers_to(pattern)]
            if not found:
                known = {word for one in self for word in (one.name, one.family, *one.tags)}
                raise UsageError(unknown("task, family or pattern", pattern, known))
            chosen |= {listing.name: listing for listing in found}
        if not chosen:
            raise UsageError("No task is named. They are listed by: unisandbox tasks")
        return list(chosen.values())

    def task(self, listing: Listing) -> Task:
        """Read one task in full; raises TaskFileError."""
        from unisandbox.task import read_tasks

        tasks = read_tasks(listing.path, self.plugins, self.rubrics)
        return next(task for task in tasks if task.name == listing.name)


def _yaml_files(folders: Mapping[Path, str]) -> dict[Path, str]:
    return {
        path: plugin
        for folder, plugin in folders.items()
        for pattern in ("*.yaml", "*.yml")
        for path in sorted(folder.rglob(pattern))
    }


def _glance(path: Path, plugin: str) -> Iterator[Listing]:
    """Read names and descriptions, checking no more than it takes to list them."""
    data = YamlFile(path).data

    def words(key: str) -> tuple[str, ...]:
        value = data.get(key)
        return tuple(map(str, value)) if isinstance(value, (list, dict)) else ()

    variants = data.get("variants")
    for name, overrides in (
        variants if variants and isinstance(variants, dict) else {path.stem: None}
    ).items():
        own = overrides.items() if isinstance(overrides, dict) else ()
        yield Listing(
            name=str(name),
            family=str(data.get("family", path.stem)),
            tags=words("tags"),
            description=str(data.get("description", "")),
            variant=", ".join(f"{key}: {value}" for key, value in own),
            modes=words("prompts"),
            path=path,
            plugin=plugin,
        )


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort math_2 before math_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
