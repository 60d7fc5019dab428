"""How a report of many samples opens, filters and scrolls, measured in Chromium.

Run:  python benchmarks/report.py [--samples 20000] [--repeat 3]

A run of 250 samples of ``math_1`` by the ``oracle``, directly and after thinking, is copied until there are
enough: new ids and keys, a picture file of its own for every picture. Then the report of it is written and
opened from disk. Chromium and Playwright must be installed.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import unisandbox
from tests.support_browser import FLAGS, chromium
from unisandbox.report.page import write_report

BASE = 250

FILTERS = {
    "verdict": ("verdict", "incorrect"),
    "mode and verdict": ("mode", "cot"),
    "first search": ("q", "draw seven"),
    "next search": ("q", "draw sev"),
    "no filter": ("q", ""),
    "sort": ("sort", "failed"),
}
"""Name -> the field that is changed, and to what; each after the one before it."""

CHANGE = """([name, value]) => {
    const field = document.forms.filters[name];
    const before = performance.now();
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    document.getElementById("list").getBoundingClientRect();  // layout is part of it
    return performance.now() - before;
}"""

SCROLL = """async () => {
    const frames = [], step = document.body.scrollHeight / 300;
    let before = performance.now();
    for (let place = 0; place < 300; place++) {
        scrollTo(0, place * step);
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        frames.push(now - before);
        before = now;
    }
    return frames;
}"""


def make_run(folder: Path, samples: int) -> None:
    """Write the logs and pictures of a run of so many samples."""
    unisandbox.run(
        tasks="math_1", models="oracle:transfer=0.3", modes=["direct", "cot"], out=folder, limit=BASE
    )
    names: dict[str, list[str]] = {}
    copies = -(-samples // BASE)
    for path in list((folder / "images").iterdir()):
        data = path.read_bytes()
        names[path.name] = [f"{path.stem}{copy:04}{path.suffix}" for copy in range(copies)]
        for name in names[path.name]:
            (folder / "images" / name).write_bytes(data)
        path.unlink()
    for log in ("generations.jsonl", "verdicts.jsonl"):
        lines = [json.loads(line) for line in (folder / log).read_bytes().splitlines()]
        with (folder / log).open("w", encoding="utf-8") as file:
            for copy in range(copies):
                for line in lines:
                    sample = f"{copy:04}-{line['sample']}"
                    new = line | {"key": f"{line['key']}{copy}", "sample": sample, "unit": sample}
                    if image := line.get("image"):
                        new["image"] = names[image][copy]
                    file.write(json.dumps(new) + "\n")
    about = json.loads((folder / "run.json").read_text())
    for ask in about["asks"]:
        ask["units"] = ask["trials"] = copies * BASE
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "results.json").unlink()


def opened(browser: Any, url: str, requests: list[str]) -> tuple[Any, float]:
    """Open the page; return it, and the seconds until its first pictures are there."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.on("request", lambda request: requests.append(request.url))
    before = time.perf_counter()
    page.goto(f"{url}#samples")
    while not page.evaluate(
        "document.images.length > 4 && [...document.images].slice(0, 5).every(image => image.naturalWidth)"
    ):
        page.wait_for_timeout(5)
    return page, time.perf_counter() - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    folder = Path(tempfile.mkdtemp())
    try:
        make_run(folder / "run", arguments.samples)
        before, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
        path = write_report([folder / "run"])
        took, cpu = time.perf_counter() - before, resource.getrusage(resource.RUSAGE_SELF).ru_utime - used
        print(f"written: {took:.2f} s ({cpu:.2f} s of CPU), {path.stat().st_size / 2**20:.1f} MiB")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            opens, changes, frames = [], {name: [] for name in FILTERS}, []  # type: ignore[var-annotated]
            for _ in range(arguments.repeat):
                requests: list[str] = []
                page, seconds = opened(browser, path.as_uri(), requests)
                opens.append(seconds)
                asked = len(requests)
                for name, change in FILTERS.items():
                    changes[name].append(page.evaluate(CHANGE, list(change)))
                page.evaluate("document.forms.filters.reset()")
                frames += page.evaluate(SCROLL)
                drawn = page.locator("#list .item").count()
                page.close()
            browser.close()
        print(f"opened, first pictures there: median {median(opens):.2f} s, worst {max(opens):.2f} s")
        print(f"files asked for by then: {asked}; rows in the page after scrolling: {drawn}")
        for name, found in changes.items():
            print(f"{name}: median {median(found):.0f} ms, worst {max(found):.0f} ms")
        frames.sort()
        most = frames[len(frames) * 99 // 100]
        print(f"scrolling: a frame takes {median(frames):.0f} ms, 99 % at most {most:.0f} ms")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
