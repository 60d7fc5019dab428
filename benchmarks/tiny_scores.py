"""What the embedded model can do, against the targets it was built for.

Run:  python benchmarks/tiny_scores.py [--limit 250] [--model tiny:variant=base] [--out FOLDER] [--json FILE]

Asks every task in every mode on the test split, and for every kind and every number up to 6 asks for a
picture of so many. Prints markdown. About five minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unisandbox import load_run, run
from unisandbox.catalog import Catalog
from unisandbox.plugins import installed
from unisandbox.prompts import conclusion
from unisandbox.records import Fields, Prompt, Request, Turn
from unisandbox.results import Results
from unisandbox.specs import build, parse_spec
from unisandbox.world import kinds, phrase, read

REASONING = ("math_1", "math_2", "math_3", "mapping_1", "mapping_2", "mapping_3")
KNOWLEDGE = ("forward_retrieval", "inverse_search")
MODES = ("direct", "cot", "answer", "recall", "render", "refined", "gold", "planted", "caption")
MOST = 6

Row = Mapping[str, Any]


def rendering(model: str) -> dict[str, float]:
    """Return by number how many of all kinds are drawn right, and over all."""
    spec = parse_spec(model)
    backend = build(f"model {spec.name!r}", installed().models[spec.name].load(), spec.options)
    wanted = [(kind, count) for kind in kinds() for count in range(1, MOST + 1)]
    requests = [
        Request(
            f"{kind}/{count}",
            Prompt((Turn("user", f"Draw {phrase(count, kind)}, and nothing else."),), "image"),
            seed=number,
            task="",
            sample_id="",
            mode="render",
        )
        for number, (kind, count) in enumerate(wanted)
    ]
    right: dict[str, bool] = {}
    for start in range(0, len(requests), 64):
        for generation in backend.generate(requests[start : start + 64]):
            kind, count = generation.key.split("/")
            found = read(generation.image.pil()).objects if generation.image else None
            right[generation.key] = found == {kind: int(count)}
    shares = {str(count): _mean(right[f"{kind}/{count}"] for kind in kinds()) for count in range(1, MOST + 1)}
    return {**shares, "all": _mean(right.values())}


def _mean(values: Iterable[bool]) -> float:
    found = list(values)
    return sum(found) / len(found)


def rows(results: Results) -> dict[tuple[str, str], list[Row]]:
    """Return every trial by task and mode."""
    found: dict[tuple[str, str], list[Row]] = {}
    for record in results.samples().to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        found.setdefault((row["task"], row["mode"]), []).append(row)
    return found


def samples(task: str) -> dict[str, Fields]:
    """Return the fields of every sample of a task."""
    catalog = Catalog(installed())
    (listing,) = catalog.select((task,))
    return {sample.id: sample.fields for sample in catalog.task(listing).samples}


def steps_right(task: str, trials: Sequence[Row]) -> float:
    """Return how many thoughts come to the right conclusion, in words."""
    known = samples(task)
    right = []
    for trial in trials:
        fields = known[str(trial["sample"])]
        wanted = next(
            str(fields[name]) for name in ("count_phrase", "object_phrase", "resolved") if name in fields
        )
        right.append(conclusion(str(trial["thought"])).lower().rstrip(".") == f"draw {wanted}".lower())
    return _mean(right)


def rendered(trials: Sequence[Row], asks: str) -> float:
    """Return how many forward pictures of a sort are right, from their resolved prompts."""
    return _mean(
        trial["outcome"] == "correct" for trial in trials if str(trial["sample"]).endswith(f"-{asks}")
    )


def reads_itself(direct: Sequence[Row], captions: Sequence[Row]) -> float:
    """Return how many well-formed direct pictures the model describes as the exact judge reads them."""
    seen = {trial["sample"]: trial["observed"] for trial in direct if trial["outcome"] != "rejected"}
    return _mean(trial["observed"] == seen[trial["sample"]] for trial in captions if trial["sample"] in seen)


def report(results: Results, drawn: Mapping[str, float]) -> Iterator[str]:
    """Yield the tables as markdown lines."""
    trials = rows(results)
    score = {(cell.task, cell.mode): cell for cell in results.cells}

    def value(task: str, mode: str) -> str:
        cell = score.get((task, mode))
        return "" if cell is None or cell.score.value is None else f"{cell.score.value:.2f}"

    forward = trials.get(("forward_retrieval", "render"), [])
    yield "| rendering | share right |"
    yield "|---|---|"
    yield f"| counts 1-{MOST}, all kinds ({len(kinds()) * MOST}) | {drawn['all']:.3f} |"
    yield "| by count | " + ", ".join(f"{drawn[str(n)]:.2f}" for n in range(1, MOST + 1)) + " |"
    for asks in ("portrait", "fruit", "flower") if forward else ():
        yield f"| {asks} | {rendered(forward, asks):.3f} |"
    yield ""
    yield "| task | well formed | thoughts right | reads itself | guess | " + " | ".join(MODES) + " |"
    yield "|" + "---|" * (5 + len(MODES))
    for task in (task for task in (*REASONING, *KNOWLEDGE) if (task, "direct") in trials):
        whole = _mean(trial["outcome"] != "rejected" for trial in trials[task, "direct"])
        thoughts = steps_right(task, trials[task, "cot"])
        reads = reads_itself(trials[task, "direct"], trials[task, "caption"])
        guess = score[task, "direct"].chance
        cells = " | ".join(value(task, mode) for mode in MODES)
        yield f"| {task} | {whole:.2f} | {thoughts:.2f} | {reads:.2f} | {guess:.2f} | {cells} |"


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--limit", type=int, default=250)
    parser.add_argument("--tasks", nargs="+", default=[*REASONING, *KNOWLEDGE])
    parser.add_argument("--out", type=Path, help="keep the run here, and go on with one that is here")
    parser.add_argument("--json", type=Path, help="write the scores of all cells here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = given.out or Path(temporary) / "run"
        run(tasks=given.tasks, models=given.model, modes="all", limit=given.limit, out=out)
        results = load_run(out)
        for line in report(results, rendering(given.model)):
            print(line)
        if given.json:
            given.json.write_text(json.dumps(results.to_rows(), indent=1) + "\n")


if __name__ == "__main__":
    main()
