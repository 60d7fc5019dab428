"""The command line: one small module a command; none is imported before it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    0 done; 1 a model, judge or comparison failed; 2 what was asked cannot be meant; 3 coverage below
    ``--min-coverage``; 130 interrupted.
    """
    from unisandbox.cli.parser import parse
    from unisandbox.errors import UnisandboxError

    try:
        command, options = parse(sys.argv[1:] if arguments is None else arguments)
        return command(options)
    except UnisandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `unisandbox show | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("\nInterrupted. What is done is kept: run the same command to go on.", file=sys.stderr)
        return 130
