"""Errors a user can act on. The command line prints them on one line, without a traceback.

* UnisandboxError
  * UsageError          an option, name or combination that cannot be meant (exit code 2)
    * TaskFileError     a task or rubric file that is not valid: says file, line, key
      * TwiceError      two files that hold the same name
    * PluginError       a plugin, or a clash between two
  * DataError           rows that cannot be read or generated
  * RunFolderError      the run folder cannot be written, read or resumed
  * BackendError        a model could not be loaded or gave up for good
  * JudgeError          a judge could not be loaded or gave up for good
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UnisandboxError(Exception):
    """Anything whose message is meant for the user; says what to do about it."""

    exit_code = 1


class UsageError(UnisandboxError):
    """What was asked for cannot be meant."""

    exit_code = 2


class TaskFileError(UsageError):
    """A task or rubric file is not valid."""


class TwiceError(TaskFileError):
    """Two files hold a task or rubric of the same name."""


class PluginError(UsageError):
    """A plugin is broken, or two plugins claim one name."""


class DataError(UnisandboxError):
    """Rows could not be read or generated."""

    exit_code = 2


class RunFolderError(UnisandboxError):
    """A run folder cannot be written, read or resumed."""

    exit_code = 2


class BackendError(UnisandboxError):
    """A model could not be loaded, or keeps failing."""


class JudgeError(UnisandboxError):
    """A judge could not be loaded, or keeps failing."""


def unknown(what: str, found: str, known: Iterable[str]) -> str:
    """Return ``Unknown WHAT 'FOUND'.``, with the nearest known names, or all of them.

    >>> unknown("mode", "dirct", ["direct", "cot"])
    "Unknown mode 'dirct'. Did you mean 'direct'? Known: cot, direct."
    """
    names = sorted(known)
    near = get_close_matches(found, names, n=2, cutoff=0.6)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    listed = f" Known: {', '.join(names)}." if names else " None is registered."
    return f"Unknown {what} {found!r}.{hint}{listed}"
