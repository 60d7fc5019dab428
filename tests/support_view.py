"""The viewer as a real server on a free port, for tests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def serving(root: Path) -> Iterator[int]:
    """Serve a folder of runs; give the port."""
    uvicorn = pytest.importorskip("uvicorn", reason="the extra 'view' is not installed")

    from unisandbox.cli.view import _listener
    from unisandbox.view.app import make_app

    listener = _listener(0)
    config = uvicorn.Config(make_app(root), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def ask(
    port: int, path: str, body: Any = None, method: str = "", **headers: str
) -> tuple[int, str, dict[str, str]]:
    """Return status, text and headers of an answer; header names are written with underscores."""
    given = {
        "Host": f"127.0.0.1:{port}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    data = None if body is None else body if isinstance(body, str) else json.dumps(body)
    if data is not None:
        given = {"Content-Type": "application/json", **given}
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method or ("GET" if data is None else "POST"), path, data, given)
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, text, {name.lower(): value for name, value in answer.getheaders()}
