"""Run folders on an object store or a shared file system, through fsspec: written here, mirrored there.

Object stores cannot append, so a run is written in a folder on the local disk (its *spool*) as any other, and
what is new is sent every few seconds::

    URL/run.json, results.json, report.html    written anew when they change
    URL/generations.jsonl/000000000000         what was appended to the log since, named by where it begins
    URL/verdicts.jsonl/000000000000
    URL/images/NAME                            once

Joined in their order, the parts are the log. A run on the local disk never comes here.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeGuard

import orjson

from unisandbox.errors import RunFolderError, UsageError
from unisandbox.files import whole
from unisandbox.run_log import GENERATIONS, IMAGES, REPORT, RESULTS, RUN, RUNS, VERDICTS

EVERY = 15.0
"""Seconds between two sendings: what the loss of the machine costs at most, beside what is in flight."""
REMOTE = ".remote"
"""The file in a spool that says where it is mirrored."""


def is_url(place: str | Path) -> TypeGuard[str]:
    """Whether a place is on a file system of fsspec's.

    >>> is_url("s3://bucket/night"), is_url("runs/night")
    (True, False)
    """
    return isinstance(place, str) and "://" in place


def spool_of(url: str) -> Path:
    """Return the local folder that a run there is written in."""
    digest = hashlib.blake2b(url.rstrip("/").encode(), digest_size=4).hexdigest()
    return RUNS / f"{url.rstrip('/').rpartition('/')[2]}-{digest}"


def local(place: str | Path, *, pictures: bool = False) -> Path:
    """Return a folder to read a run from: of a URL its spool, brought up to date.

    Raises RunFolderError when there is no run, or it cannot be reached.
    """
    if not is_url(place):
        return Path(place)
    mirror = Mirror(place)
    if not mirror.pull():
        raise RunFolderError(f"{place} is not a run folder: it has no {RUN}.")
    if pictures:
        mirror.pull_pictures()
    return mirror.folder


@contextmanager
def working_folder(place: str | Path, *, fresh: bool = False) -> Iterator[Workplace]:
    """Give a place to write a run in; what is written to a URL, or to its spool, is mirrored until the end.

    Raises RunFolderError when it cannot be reached, or at the end not all could be sent.
    """
    url = place if is_url(place) else mirrored(Path(place))
    if url is None:
        yield Workplace(Path(place))
        return
    mirror = Mirror(url)
    if fresh:
        mirror.clear()
    else:
        mirror.pull()
    with mirror.sending():
        yield mirror


def mirrored(folder: Path) -> str | None:
    """Return where a spool is mirrored; None for any other folder."""
    remote = folder / REMOTE
    return remote.read_text().strip() if remote.exists() else None


def publish(folder: Path, name: str) -> None:
    """Send a file that was written into a spool after the run; of other folders nothing."""
    if url := mirrored(folder):
        Mirror(url).send_file(name)


class Workplace:
    """A run folder on the local disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, picture: Path) -> bool:
        """Whether a picture of the run is there to be read."""
        return picture.is_file()


class Mirror(Workplace):
    """A spool and its mirror."""

    def __init__(self, url: str) -> None:
        """Find the file system; raises UsageError where there is none for this URL."""
        import fsspec

        super().__init__(spool_of(url))
        self._url = url.rstrip("/")
        try:
            self._system, self._root = fsspec.core.url_to_fs(self._url)
        except (ImportError, ValueError) as error:  # fsspec says what to install, or what it knows
            raise UsageError(f"{url}: {error}") from None
        self._sent = {GENERATIONS: 0, VERDICTS: 0}
        self._versions: dict[str, tuple[int, int]] = {}
        """File -> time and size when it was sent."""

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (RunFolderError, KeyboardInterrupt):
            raise
        except Exception as error:  # every store has errors of its own
            raise RunFolderError(
                f"{self._url} cannot be reached: {type(error).__name__}: {error}. What is made lies in "
                f"{self.folder}: put it right and run the same command."
            ) from None

    def _make_spool(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / REMOTE).write_text(self._url + "\n")

    def _path(self, *names: str) -> str:
        return "/".join((self._root.rstrip("/"), *names))

    def _parts(self, log: str) -> list[tuple[int, str, int]]:
        """Return where each part of a log begins, its path and its size."""
        with suppress(FileNotFoundError):
            found = self._system.find(self._path(log), detail=True)
            return sorted((int(path.rpartition("/")[2]), path, int(it["size"])) for path, it in found.items())
        return []

    def pull(self) -> bool:
        """Bring the spool up to date; return whether there is a run.

        A spool that has more than the mirror, since it was not sent any more, keeps it.
        """
        self._make_spool()
        with self._reaching():
            self._system.invalidate_cache()
            if not self._system.exists(self._path(RUN)):
                return (self.folder / RUN).exists()
            behind = [self._pull_log(log) for log in (GENERATIONS, VERDICTS)]
            for name in (RUN, RESULTS):
                if any(behind) or not (self.folder / name).exists():
                    with suppress(FileNotFoundError), whole(self.folder / name) as beside:
                        beside.write_bytes(self._system.cat_file(self._path(name)))
        return True

    def _pull_log(self, log: str) -> bool:
        """Fetch a log unless the spool's goes on from it; return whether it was fetched."""
        parts = self._parts(log)
        self._sent[log] = size = sum(part[2] for part in parts)
        path = self.folder / log
        if not parts:
            return False
        start, last, length = parts[-1]
        if path.exists() and path.stat().st_size >= size:
            with path.open("rb") as file:
                file.seek(start)
                if file.read(length) == self._system.cat_file(last):
                    return False
        with whole(path) as beside, beside.open("wb") as file:
            for _, part, _ in parts:
                file.write(self._system.cat_file(part))
        return True

    def pull_pictures(self) -> None:
        """Fetch every picture that the spool lacks."""
        with self._reaching():
            there = {path.rpartition("/")[2] for path in self._system.find(self._path(IMAGES))}
            images = self.folder / IMAGES
            images.mkdir(exist_ok=True)
            lacking = sorted(there - {path.name for path in images.iterdir()})
            if lacking:
                self._system.get(
                    [self._path(IMAGES, name) for name in lacking], [str(images / n) for n in lacking]
                )

    def has(self, picture: Path) -> bool:
        """Fetch a picture when the spool lacks it: of those drawn before, few are needed again."""
        if not picture.is_file():
            with self._reaching(), suppress(FileNotFoundError), whole(picture) as beside:
                beside.write_bytes(self._system.cat_file(self._path(IMAGES, picture.name)))
        return picture.is_file()

    def clear(self) -> None:
        """Delete what a run wrote."""
        self._make_spool()
        with self._reaching():
            for name in (RESULTS, REPORT, GENERATIONS, VERDICTS, IMAGES, RUN):
                if self._system.exists(self._path(name)):
                    self._system.rm(self._path(name), recursive=True)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send what is new every few seconds, and at the end."""
        over = threading.Event()
        said = False

        def work() -> None:
            nonlocal said
            while not over.wait(EVERY):
                try:
                    self.send()
                except RunFolderError as error:  # tried again; at the end it counts
                    if not said:
                        print(f"warning: {error}", file=sys.stderr)
                    said = True

        thread = threading.Thread(target=work, daemon=True)
        with self._reaching():
            for name in (GENERATIONS, VERDICTS, IMAGES):
                self._system.makedirs(self._path(name), exist_ok=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.send()

    def send(self) -> None:
        """Send what is new: pictures first, so that no line there names one that is missing."""
        self.send_file(RUN)  # first: by it the others are known for a run
        for log in (GENERATIONS, VERDICTS):
            with self._reaching():
                self._send_log(log)
        for name in (RESULTS, REPORT):
            self.send_file(name)

    def _send_log(self, log: str) -> None:
        path, start = self.folder / log, self._sent[log]
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(start)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        if not new:
            return
        part = self._path(log, f"{start:012d}")
        if self._system.exists(part):
            raise RunFolderError(
                f"{self._url}: another process is writing this run. Wait for it, or choose another --out."
            )
        if log == GENERATIONS:
            names = {line["image"] for line in map(orjson.loads, new.splitlines()) if "image" in line}
            made = sorted(name for name in names if (self.folder / IMAGES / name).exists())
            self._system.put(
                [str(self.folder / IMAGES / name) for name in made],
                [self._path(IMAGES, name) for name in made],
            )
        self._system.pipe_file(part, new)
        self._sent[log] = start + len(new)

    def send_file(self, name: str) -> None:
        """Send a file if it changed, and take it away there when it is gone here."""
        path = self.folder / name
        with self._reaching():
            if path.exists():
                version = path.stat().st_mtime_ns, path.stat().st_size
                if self._versions.get(name) != version:
                    self._system.pipe_file(self._path(name), path.read_bytes())
                    self._versions[name] = version
            elif self._system.exists(self._path(name)):
                self._system.rm_file(self._path(name))
                self._versions.pop(name, None)
