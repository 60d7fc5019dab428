"""Measures what the tiny model can and cannot do: the figures of docs/tiny.md.

python benchmarks/tiny_eval.py --out runs/tiny_table                    # 250 units a task, a few minutes
python benchmarks/tiny_eval.py --models tiny:variant=base --limit 60    # quicker
"""

import argparse
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from unisandbox import run
from unisandbox.catalog import Catalog
from unisandbox.plugins import installed
from unisandbox.prompts import conclusion
from unisandbox.results import Results

TASKS = (
    *(f"math_{n}" for n in (1, 2, 3)),
    *(f"mapping_{n}" for n in (1, 2, 3)),
    "forward_retrieval",
    "inverse_search",
)
MODES = ("direct", "cot", "answer", "recall", "render", "refined", "gold", "planted", "caption")


def right_steps(trials: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return the share of units whose every thought concludes what a correct one concludes, by task and model."""
    catalog = Catalog(installed())
    wanted = {}
    for listing in catalog.select(list(trials["task"].unique())):
        task = catalog.task(listing)
        for sample in task.samples:
            wanted[task.name, sample.id] = conclusion(task.prompts["gold"].render(sample.fields)).lower()
    thought = trials[trials["mode"] == "cot"].copy()
    keys = zip(thought["task"], thought["sample"], thought["thought"].fillna(""), strict=True)
    thought["right"] = [conclusion(text).lower() == wanted[task, sample] for task, sample, text in keys]
    units = thought.groupby(["task", "model", "unit"])["right"].all()
    return units.groupby(["task", "model"]).mean().to_dict()


def well_formed(trials: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """Return the share of pictures that break no rule of their rubric, by task, mode and model."""
    drawn = trials[trials["image"].notna()].copy()
    drawn["whole"] = drawn["outcome"].isin(["correct", "incorrect"])
    return drawn.groupby(["task", "mode", "model"])["whole"].mean().to_dict()


def table(results: Results) -> Table:
    """Return a row a cell: score, interval, chance, well-formed pictures, right thoughts."""
    trials = results.samples()
    steps, whole = right_steps(trials), well_formed(trials)
    shown = Table("task", "mode", "score", "95 %", "n", "chance", "well-formed", "thought right", box=None)
    for cell in results:
        if not cell.supported or cell.score.value is None:
            continue
        score, drawn = cell.score, whole.get((cell.task, cell.mode, cell.model))
        thought = steps.get((cell.task, cell.model)) if cell.mode == "cot" else None
        figures = [
            f"{score.value:.3f}",
            f"[{score.low:.2f}, {score.high:.2f}]",
            str(score.n),
            f"{cell.chance:.2f}",
        ]
        more = ["" if share is None else f"{share:.3f}" for share in (drawn, thought)]
        shown.add_row(cell.task, cell.mode, *figures, *more)
    return shown


def main() -> None:
    """Run the matrix and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default="tiny")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--modes", nargs="+", default=MODES)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path, default=Path("runs/tiny_table"))
    given = parser.parse_args()
    results = run(tasks=given.tasks, models=given.models, modes=given.modes, limit=given.limit, out=given.out)
    Console(width=120).print(table(results))


if __name__ == "__main__":
    main()
