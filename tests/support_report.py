"""Runs made for reports: hostile words everywhere, two judges that disagree, two runs that differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support_run import lines, run_words

HOSTILE = (
    "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"
    "<!-- <script> {{ 7 * 6 }} \" ' & \u2028 javascript:alert(1)"
)
ALL = ["direct", "cot", "answer", "render", "refined"]


def rewrite(run: str | Path, name: str, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Change every line of a log."""
    changed = [json.dumps(change(line)) + "\n" for line in lines(name, run)]
    (Path(run) / name).write_text("".join(changed), encoding="utf-8")


def hostile_run(out: str = "run") -> Path:
    """Make a run whose every free text tries to break out of the page."""
    run_words(modes=ALL, models="painter:right=0.5", out=out)
    texts = ("prompt", "thought", "text", "error")
    rewrite(out, "generations.jsonl", lambda line: line | {name: HOSTILE for name in texts})
    judged = {"reason": HOSTILE, "observed": {"answer": HOSTILE}, "raw": [HOSTILE], "target": {"a": HOSTILE}}
    rewrite(out, "verdicts.jsonl", lambda line: line | judged)
    about = json.loads((Path(out) / "run.json").read_text())
    about["backends"] = {HOSTILE: {HOSTILE: HOSTILE}}
    (Path(out) / "run.json").write_text(json.dumps(about))
    return Path(out)


def two_runs() -> tuple[Path, Path]:
    """Make two runs of one task with one model each, of which the second is right more often."""
    for out, right in (("before", 0.4), ("after", 0.9)):
        run_words(modes=["direct", "answer"], models=f"painter:right={right}", out=out)
    return Path("before"), Path("after")
