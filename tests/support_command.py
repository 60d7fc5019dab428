"""Workers for tests of ``command``: real programs, written to a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from unisandbox.records import Image, Output, Prompt, Request, Turn

HEAD = """\
import json, os, signal, sys, time

def say(**line):
    print(json.dumps(line), flush=True)

def hello(**more):
    say(**{"protocol": 1, "model": "test", "does": ["image", "text", "think", "see"], **more})

def asked():
    for line in sys.stdin:
        yield json.loads(line)

def text(request):
    return request["turns"][-1]["text"]

def first_life():
    "Whether no worker of this script was started before."
    lives = open(__file__ + ".lives", "a")
    lives.write("x")
    return lives.tell() == 1
"""

ECHO = """
hello()
for request in asked():
    say(key=request["key"], text=text(request))
"""


def write_worker(folder: Path, body: str = ECHO, name: str = "worker.py") -> Path:
    """Write a worker whose ``body`` may use the names of ``HEAD``."""
    path = folder / name
    path.write_text(HEAD + body)
    return path


def lives(worker: Path) -> int:
    """How often a worker was started that asks for its ``first_life``."""
    return len(Path(f"{worker}.lives").read_text())


def request(
    key: str, text: str = "", output: Output = "text", images: Sequence[Image] = (), seed: int = 1
) -> Request:
    prompt = Prompt((Turn("user", text or f"to {key}", tuple(images)),), output)
    return Request(key, prompt, seed, "words", key, "answer")


def gone(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process ends within a while; one that nobody has buried yet counts as ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False
