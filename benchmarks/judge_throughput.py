"""How fast the ``openai`` judge is against a server that takes 200 ms for every answer, and what it costs.

Run:  python benchmarks/judge_throughput.py [--images 2000] [--concurrency 8 32 128] [--latency 0.2]

The server is a bare one, in a process of its own: it answers every call after the latency, however many
there are. First the judge alone, fed as in a run: pictures a second against the most there could be
(concurrency / latency / calls a picture), and CPU time of this process a call. Every picture and every
observation is another, so that nothing is answered from memory. Then a whole run with a model that takes as
long as the judge, both at once, against the slower of the two alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import unisandbox
from unisandbox.api import make_options, plan
from unisandbox.asking import Patience
from unisandbox.errors import JudgeError
from unisandbox.hookspecs import RegisterModel, hookimpl
from unisandbox.judges.openai import OpenAI
from unisandbox.judging import Judged, JudgeStage, to_judge
from unisandbox.matrix import Ask
from unisandbox.records import Generation, Image, Request, Verdict
from unisandbox.world import Scene, compose

TASK = """\
description: Cups, to measure judging.
dataset: {source: jsonl, path: rows.jsonl}
prompts: {direct: "Draw {{ n }} cups."}
scoring: {rubric: object_count, target: {count: "{{ n }}", object: cup}}
"""


def serve(latency: float, ready: Connection) -> None:
    """Answer calls until killed: stage one with another count each, stage two with yes."""
    numbers = count()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (
                        int(line[15:])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                body = await reader.readexactly(length)
                if length:
                    await asyncio.sleep(latency)
                said = f"count: {next(numbers)}; object: cup" if b"image_url" in body else "Yes"
                choice = {
                    "index": 0,
                    "message": {"role": "assistant", "content": said},
                    "finish_reason": "stop",
                }
                reply = json.dumps({"data": [{"id": "bare"}], "choices": [choice]}).encode()
                about = f"content-type: application/json\r\ncontent-length: {len(reply)}"
                writer.write(f"HTTP/1.1 200 OK\r\n{about}\r\n\r\n".encode() + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=2**22, backlog=1024)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(listen())


@contextmanager
def served(latency: float) -> Iterator[str]:
    """Run the server; yield its address."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(latency, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.kill()
        process.join()


def pictures(many: int) -> list[Image]:
    """Return pictures that differ in a byte behind their end, made at no cost."""
    data = Image.from_pil(compose(Scene(("cup",) * 3), 512, 0)).data
    return [Image(data + number.to_bytes(4, "big")) for number in range(many)]


def judge_alone(ask: Ask, images: Sequence[Image], **options: object) -> tuple[float, float]:
    """Return wall and CPU seconds that judging all pictures takes, fed as in a run."""
    judge = OpenAI(model="bare", **options)  # type: ignore[arg-type]
    done: list[str] = []

    def report(judged: Judged, verdict: Verdict) -> None:
        done.append(verdict.outcome)

    started, used = time.perf_counter(), time.process_time()
    stage = JudgeStage(judge, report, Patience("judge", JudgeError, 1))
    for number, image in enumerate(images):
        trial = ask.trial(number)
        stage.put(to_judge(ask, trial, Generation(trial.key, image)))
    stage.finish()
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    judge.close()
    if stage.failure or len(done) != len(images) or "error" in done:
        raise SystemExit(f"judging failed: {stage.failure or done[:5]}")
    return wall, cpu


class Paced:
    """Draws a picture every so many seconds."""

    batch_size = 16

    def __init__(self, *, pace: float) -> None:
        self._pace = pace
        self._started = 0.0
        self._drawn = 0
        self._images = iter(pictures(int(os.environ["IMAGES"])))

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield the next pictures in time."""
        self._started = self._started or time.perf_counter()
        for request in requests:
            self._drawn += 1
            time.sleep(max(0.0, self._started + self._drawn * self._pace - time.perf_counter()))
            yield Generation(request.key, next(self._images))


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register the model."""
    register("paced", "judge_throughput:Paced", summary="draws in time", does=("image",))


def install_as_plugin(site: Path) -> None:
    """Give this file the metadata of an installed plugin, on a path of its own."""
    from tests.support_backends import install  # not where this file is read as the plugin

    install(site, "judge_throughput", "judge_throughput")
    shutil.copy(__file__, site / "judge_throughput.py")
    sys.path.insert(0, str(site))


def write_task(folder: Path, rows: int) -> Path:
    """Write a task with a row a picture."""
    with (folder / "rows.jsonl").open("w") as file:
        for n in range(rows):
            file.write(json.dumps({"id": f"{n:06d}", "n": n + 1}) + "\n")
    path = folder / "cups.yaml"
    path.write_text(TASK)
    return path


def row(*cells: object) -> None:
    """Print a row of a table."""
    print(
        " ".join(f"{cell:>11.2f}" if isinstance(cell, float) else f"{cell:>11}" for cell in cells), flush=True
    )


def throughput(ask: Ask, url: str, given: argparse.Namespace) -> dict[int, float]:
    """Print how fast the judge is alone; return the seconds that it takes with two calls a picture."""
    images = pictures(given.images)
    judge_alone(ask, images[:16], base_url=url)  # imports
    row("at once", "matcher", "calls", "wall s", "images/s", "of the most", "CPU ms/call")
    seconds = {}
    for concurrency in given.concurrency:
        for matcher, calls in (("rules", 1), ("model", 2)):
            wall, cpu = judge_alone(ask, images, base_url=url, concurrency=concurrency, matcher=matcher)
            rate, every = given.images / wall, calls * given.images
            share = rate * given.latency * calls / concurrency
            row(concurrency, matcher, every, wall, rate, share, 1000 * cpu / every)
        seconds[concurrency] = wall
    return seconds


def overlap(task: str, url: str, work: Path, images: int, alone: Mapping[int, float]) -> None:
    """Print how long runs take whose model takes as long as the judge."""
    row("at once", "judge s", "model s", "both s", "/ slower")
    for concurrency, seconds in alone.items():
        started = time.perf_counter()
        (cell,) = unisandbox.run(
            tasks=task,
            models=f"paced:pace={seconds / images:.9f}",
            modes="direct",
            judges=f"openai:base_url={url},model=bare,concurrency={concurrency},matcher=model",
            out=work / f"run{concurrency}",
        )
        both = time.perf_counter() - started
        if cell.score.n != images:
            raise SystemExit(f"the run failed: {cell.score}")
        row(concurrency, seconds, seconds, both, both / seconds)


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--latency", type=float, default=0.2, help="seconds the server takes for an answer")
    given = parser.parse_args()
    os.environ["IMAGES"] = str(given.images)
    with tempfile.TemporaryDirectory() as name, served(given.latency) as url:
        work = Path(name)
        install_as_plugin(work / "site")
        task = str(write_task(work, given.images))
        options = {"tasks": task, "models": "paced:pace=0", "modes": "direct", "judges": "openai"}
        (ask,) = plan(make_options(options)).asks
        overlap(task, url, work, given.images, throughput(ask, url, given))


if __name__ == "__main__":
    main()
