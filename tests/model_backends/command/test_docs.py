"""``docs/command.md`` says what the code does."""

import re
from inspect import signature
from pathlib import Path

from tests.support_command import request, write_worker
from unisandbox.model_backends.command.backend import Answer, Command, Hello

DOC = (Path(__file__).parents[3] / "docs" / "command.md").read_text(encoding="utf-8")


def test_every_option_and_field_is_explained() -> None:
    for name in (*signature(Command).parameters, *Answer.model_fields):
        assert re.search(rf"^\| (`\w+`, )?`{name}`", DOC, flags=re.MULTILINE), name
    for name in Hello.model_fields:
        assert f'"{name}"' in DOC


def test_the_worker_that_answers_in_batches_does(tmp_path: Path) -> None:
    (loop,) = re.findall(r"```python\n(.*?)```", DOC, flags=re.DOTALL)
    body = f"""
import queue, threading
def answer(requests):
    for request in requests:
        say(key=request["key"], text=f"one of {{len(requests)}}")
hello(in_flight=4)
{loop}"""
    backend = Command(cmd=str(write_worker(tmp_path, body)), timeout=60)
    found = list(backend.generate([request(str(number)) for number in range(12)]))
    assert sorted(int(generation.key) for generation in found) == list(range(12))
    assert all(re.fullmatch("one of [1-4]", generation.text or "") for generation in found)
    process = backend._worker._process  # type: ignore[union-attr]
    backend.close()
    assert process.returncode == 0  # it ended by itself
