"""Merging: run folders of one matrix, such as its shards, become one."""

from __future__ import annotations

import os
import shutil
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from unisandbox.api import about, plan, saved
from unisandbox.errors import RunFolderError
from unisandbox.files import whole
from unisandbox.matrix import Ask, Shard
from unisandbox.results import Results, collect
from unisandbox.run_log import (
    GENERATIONS,
    IMAGES,
    LOCK,
    RESULTS,
    RUN,
    VERDICTS,
    AskState,
    RunLog,
    difference,
    finder,
    placed_lines,
    read_json,
)
from unisandbox.storage import local

FIX = "Choose another -o."


def merge(runs: Sequence[str | Path], out: str | Path) -> Results:
    """Join run folders of one matrix into the folder ``out``, and return its results.

    Of a trial that several have, whichever is no error is taken. ``out`` may hold a merge of the same matrix:
    the runs are then added to it. The order of the runs changes nothing. Raises RunFolderError where
    they are of different matrices or weights, or hold different answers or verdicts for one trial.
    """
    out = Path(out)
    there = [local(run, pictures=True) for run in runs]
    folders = list({folder.resolve(): folder for folder in there}.values())
    abouts = {folder: read_json(folder / RUN) for folder in folders}
    _check_same(abouts)
    options = saved(folders[0], shard=None)
    matrix = plan(options)
    if changed := difference(_matrix(abouts[folders[0]]), matrix.describe()):
        raise RunFolderError(
            f"{folders[0]}: its tasks or rubrics are others by now: {changed}. "
            "Merge with those that it was run with."
        )
    if out.is_dir() and not (out / RUN).exists() and any(path.name != LOCK for path in out.iterdir()):
        raise RunFolderError(f"{out} is not empty, and no run folder: it has no {RUN}. {FIX}")
    kept: dict[str, _Kept] = {GENERATIONS: {}, VERDICTS: {}}
    for folder in folders:  # before anything is written: they may not fit together
        _add_folder(folder, folders, kept, matrix.asks)
    with RunLog(out) as log:
        if log.begin(matrix.describe(), about(options, matrix), FIX):
            abouts[out] = read_json(out / RUN)
            folders.append(out)
            _check_same(abouts)
            _add_folder(out, folders, kept, matrix.asks)
        log.change(**_sections(abouts))
        for name, cells in kept.items():
            _write(out, name, _in_order(cells, matrix.asks), folders)
        states = {ask.id: AskState(ask) for ask in matrix.asks}
        log.load(states)
        results = collect(out, matrix, states)
        log.write_json(RESULTS, results.to_json())
    return results


def missing_shards(folder: Path) -> list[str]:
    """Return which shards a merged folder lacks of those that it has others of."""
    there = [Shard.parse(text) for text in read_json(folder / RUN).get("shards", ())]
    every = (Shard(number, of) for of in sorted({one.of for one in there}) for number in range(1, of + 1))
    return [str(shard) for shard in every if shard not in there]


def _matrix(about: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in about["matrix"].items() if key != "shard"}


def _check_same(abouts: Mapping[Path, Mapping[str, Any]]) -> None:
    """Raise RunFolderError where matrices, or the weights of a model, differ."""
    (first, one), *others = abouts.items()
    for folder, other in others:
        if changed := difference(_matrix(one), _matrix(other)):
            raise RunFolderError(
                f"{first} and {folder} are runs of different matrices: in the second, {changed}. "
                "Merge runs of the same command."
            )
    seen: dict[str, tuple[Path, str]] = {}
    for folder, about_ in abouts.items():
        for label, said in about_.get("backends", {}).items():
            if weights := said.get("weights"):
                before, known = seen.setdefault(label, (folder, weights))
                if known != weights:
                    raise RunFolderError(
                        f"{label!r} had other weights in {folder} ({weights}) than in {before} ({known}). "
                        "Merge runs of the same weights."
                    )


def _sections(abouts: Mapping[Path, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the merged ``run.json`` says of models, judges and shards."""
    sections: dict[str, Any] = {
        name: {key: value for one in abouts.values() for key, value in one.get(name, {}).items()}
        for name in ("backends", "judges")
    }
    shards = {text for one in abouts.values() for text in one.get("shards", [one["matrix"].get("shard")])}
    return {**sections, "shards": sorted(shards - {None}, key=lambda text: Shard.parse(text).number)}


@dataclass(slots=True)
class _Lines:
    """One line a trial of a cell."""

    source: array[int]
    """The number of the folder that it lies in; -1: none."""
    place: array[int]
    """Where it begins in that folder's log."""
    said: array[int]
    """Hash of what it comes to; 0 for an error."""

    @classmethod
    def none(cls, trials: int) -> _Lines:
        return cls(array("h", [-1]) * trials, array("q", [0]) * trials, array("q", [0]) * trials)

    def set(self, index: int, source: int, place: int, said: int) -> None:
        self.source[index], self.place[index], self.said[index] = source, place, said


def _said(line: Mapping[str, Any]) -> int:
    """Return a hash of what scores and later modes depend on; 0 for an error, which may be tried again."""
    if "error" in (line.get("finish"), line.get("outcome")):
        return 0
    names = ("finish", "image", "text", "thought", "outcome")
    return hash(tuple(line.get(name) for name in names)) or 1


_Cell = tuple[str, ...]
"""Task, mode, model, and for verdicts the judge."""
_Kept = dict[_Cell, _Lines]


def _add_folder(
    folder: Path, folders: Sequence[Path], kept: Mapping[str, _Kept], asks: Sequence[Ask]
) -> None:
    """Choose among what was kept so far and the lines of one folder; raises RunFolderError for a conflict."""
    for name, cells in kept.items():
        for cell, (ask, lines) in _last(folder / name, folders.index(folder), asks).items():
            _add(lines, cells.setdefault(cell, _Lines.none(ask.trials)), folders, ask, cell)


def _in_order(cells: _Kept, asks: Sequence[Ask]) -> list[_Lines]:
    """Return what is kept in the order of the matrix, whatever the order of the folders."""
    order = [cell for ask in asks for cell in (ask.id, *((*ask.id, judge.label) for judge in ask.judges))]
    return [cells[cell] for cell in order if cell in cells]


def _write(out: Path, name: str, cells: Sequence[_Lines], folders: Sequence[Path]) -> None:
    """Write one log anew; the pictures that it names first."""
    try:
        with whole(out / name) as beside, beside.open("wb") as file:
            for source, line in _read(cells, folders, name):
                if folders[source] != out and (picture := orjson.loads(line).get("image")):
                    _link(folders[source] / IMAGES / picture, out / IMAGES / picture)
                file.write(line)
    except OSError as error:
        raise RunFolderError(
            f"{out}: cannot be written: {error.strerror or error}. Free some space, or choose another -o."
        ) from None


def _last(path: Path, source: int, asks: Sequence[Ask]) -> dict[_Cell, tuple[Ask, _Lines]]:
    """Return the last line of each trial in one log, by cell."""
    trial_of = finder(asks)
    judges = {ask.id: {judge.label for judge in ask.judges} for ask in asks}
    cells: dict[_Cell, tuple[Ask, _Lines]] = {}
    for place, line in placed_lines(path):
        if (found := trial_of(line)) is None:
            continue
        ask, index = found
        cell: _Cell = ask.id
        if (judge := line.get("judge")) is not None:
            if judge not in judges[ask.id]:
                continue
            cell = (*ask.id, judge)
        if cell not in cells:
            cells[cell] = ask, _Lines.none(ask.trials)
        cells[cell][1].set(index, source, place, _said(line))
    return cells


def _add(new: _Lines, kept: _Lines, folders: Sequence[Path], ask: Ask, cell: _Cell) -> None:
    """Take over the lines that are there for the first time, or in place of an error."""
    for index, source in enumerate(new.source):
        if source < 0:
            continue
        before, said = kept.said[index], new.said[index]
        if kept.source[index] < 0 or (said and not before):
            kept.set(index, source, new.place[index], said)
        elif said and said != before:
            trial = ask.trial(index)
            what = "an answer" if cell == ask.id else f"a verdict of {cell[-1]!r}"
            raise RunFolderError(
                f"{folders[kept.source[index]]} and {folders[source]} each hold {what} for the trial "
                f"{trial.key} ({ask.label}, sample {trial.sample.id}, repeat {trial.repeat}), "
                "and they differ. Merge only one of the two."
            )


def _read(cells: Sequence[_Lines], folders: Sequence[Path], name: str) -> Iterator[tuple[int, bytes]]:
    """Yield the kept lines and the folders that they come from."""
    with ExitStack() as opened:
        paths = [folder / name for folder in folders]
        files = [opened.enter_context(path.open("rb")) if path.exists() else None for path in paths]
        for lines in cells:
            for source, place in zip(lines.source, lines.place, strict=True):
                if source >= 0 and (file := files[source]) is not None:
                    file.seek(place)
                    yield source, file.readline()


def _link(picture: Path, place: Path) -> None:
    """Put a picture into the merged folder, without a copy where the file system can do that."""
    if place.exists() or not picture.exists():
        return
    try:
        os.link(picture, place)
    except OSError:
        with whole(place) as beside:
            shutil.copyfile(picture, beside)
