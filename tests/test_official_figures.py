"""``docs/official_figures.md``: every number in its tables is recomputed here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.datasets.test_published import mapping_fault, math_fault
from unisandbox.api import with_data
from unisandbox.catalog import Catalog
from unisandbox.plugins import installed
from unisandbox.stats import resolved, wilson
from unisandbox.task import Task

DOC = (Path(__file__).parent.parent / "docs" / "official_figures.md").read_text(encoding="utf-8")


def table(title: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    lines = [line for line in DOC.split(f"## {title}\n")[1].split("\n## ")[0].splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def task(name: str, folder: Path, view: str) -> Task:
    catalog = Catalog(installed())
    (listing,) = catalog.select([name])
    (changed,) = with_data([catalog.task(listing)], [f"folder={folder}", f"view={view}"])
    return changed


def units(one: Task) -> int:
    return len({sample.unit for sample in one.samples})


def test_intervals_of_the_published_figures() -> None:
    rows = table("What was published")
    assert len(rows) == 5
    for _, published_as, counts, interval in rows:
        right, n = map(int, counts.split("/"))
        low, high = wilson(right, n)
        assert interval == f"[{low:.3f}, {high:.3f}]"
        digits = len(published_as.partition(".")[2])
        assert published_as == f"{right / n:.{digits}f}"


def test_what_n_can_resolve() -> None:
    for n, *least, within in table("What n can resolve"):
        found = [resolved(int(n), discordance) for discordance in (0.2, 0.3, 0.5)]
        assert least == [f"{value:.3f}" if value else "none" for value in found]
        low, high = wilson(int(n) / 2, int(n))
        assert within == f"[{low:.3f}, {high:.3f}]"


def sound_by_our_solver(part: str, folder: Path) -> int:
    """Return how many units of a reasoning part have keys that follow from their questions."""
    lines = [
        json.loads(line)
        for line in (folder / "test_reasoning" / f"{part}.jsonl").read_text("utf-8").splitlines()
    ]
    if part.startswith("math"):
        return sum(math_fault(line) is None for line in lines)
    faulty = {
        line["ID"]
        for line in lines
        if mapping_fault(line.get("Question_A") or line["Question_B"], line["Answer"])
    }
    return len({line["ID"] for line in lines} - faulty)


def test_the_audit_ceilings_and_guesses(published: Path) -> None:
    rows = table("What the keys allow")
    assert len(rows) == 8
    for name, all_units, sound, ceiling, guess_all, guess_sound in rows:
        everything, good = task(name, published, "all"), task(name, published, "sound")
        assert (str(units(everything)), str(units(good))) == (all_units, sound), name
        assert ceiling == f"{units(good) / units(everything):.2f}", name
        assert guess_all == f"{everything.chance('direct').score + 1e-9:.2f}", name
        assert guess_sound == f"{good.chance('direct').score + 1e-9:.2f}", name
        if part := re.fullmatch(r"published_(math|mapping)_(\d)", name):
            file = f"math_{part[2]}" if part[1] == "math" else f"mapping{part[2]}"
            assert str(sound_by_our_solver(file, published)) == sound, name


def test_the_mean_ceiling_of_the_reasoning_parts() -> None:
    ceilings = [
        float(row[3]) for row in table("What the keys allow") if "math" in row[0] or "mapping" in row[0]
    ]
    assert f"cannot exceed {sum(ceilings) / 6:.3f}" in DOC


@pytest.mark.parametrize("name", ["published_math_1", "published_inverse"])
def test_the_command_of_the_page_names_tasks_that_are_there(name: str) -> None:
    assert name in {listing.name for listing in Catalog(installed()).select(["published_*"])}
