"""``unisandbox view``: runs in the browser."""

import argparse
import socket
from contextlib import suppress

from unisandbox.errors import UsageError
from unisandbox.run_log import RUNS


def view(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    root = arguments.folder or RUNS
    if not root.is_dir():
        raise UsageError(f"There is no folder {root}. Name one with runs in it: unisandbox view RUNS_DIR")
    try:
        import uvicorn

        from unisandbox.view.app import make_app
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "starlette"):
            raise
        raise UsageError(
            f"The viewer needs the package {error.name!r}: pip install 'unisandbox[view]'. "
            "unisandbox report needs none."
        ) from None
    listener = _listener(arguments.port)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/ shows {root}. Ctrl-C ends it.", flush=True)
    config = uvicorn.Config(make_app(root), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    with suppress(KeyboardInterrupt):  # how it is meant to end
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def _listener(port: int) -> socket.socket:
    """Return a socket of this machine only; raises UsageError for a port that is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()  # so that whoever reads the address can connect at once
    except (OSError, OverflowError) as error:
        listener.close()
        reason = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise UsageError(f"--port {port}: {reason}. Choose another, or 0 for any that is free.") from None
    return listener
