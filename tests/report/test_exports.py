"""What people paste: LaTeX that compiles, Markdown that is one table; and terminals of 80 columns."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.report.test_table import MODELS, WIDE, cell, gap, results
from unisandbox.contrast import Contrast
from unisandbox.report import contrasts
from unisandbox.report.names import Name
from unisandbox.report.table import export

LONG = Contrast(
    "forward_retrieval", "knowledge", "cot - direct", "tiny", "sprite",
    0.12, 0.6, 0.4, 0.53, 0.0001, 0.0004, 192,
)  # fmt: skip


def printed(table: object, width: int) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=width).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_latex_compiles(tmp_path: Path) -> None:
    if not (latex := shutil.which("pdflatex")):
        pytest.skip("pdflatex is not installed")
    tables = [export(WIDE, "latex"), export(results(cell(), gap(), cell("math_2")), "latex")]
    tables.append(contrasts.export([LONG], "latex"))
    document = "\n\n".join(
        ["\\documentclass{article}\\usepackage{booktabs}\\begin{document}", *tables, "\\end{document}"]
    )
    (tmp_path / "t.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        [latex, "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 1000


def test_markdown_is_one_table_whatever_is_in_it() -> None:
    lines = export(results(cell("a|b", model="x|y"), cell("c", model="z")), "md").splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1 and r"a\|b" in lines[2]


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("inverse_search", 14, ["inverse_search"]),
        ("inverse_search", 12, ["inverse_", "search"]),
        ("oracle:knows=0.9,transfer=0.1", 13, ["oracle:", "knows=0.9,", "transfer=0.1"]),
        ("not supported: no words", 10, ["not", "supported:", "no words"]),
        ("extraordinary", 6, ["extrao", "rdinar", "y"]),
        ("", 3, [""]),
    ],
)
def test_names_fold_behind_their_joints(text: str, width: int, lines: list[str]) -> None:
    table = Table(box=None, show_header=False, padding=0)
    table.add_column(overflow="fold")
    table.add_row(Name(text))
    assert printed(table, width) == lines


def test_contrasts_fit_80_columns_and_no_number_is_cut() -> None:
    lines = printed(contrasts.rich_table([LONG], 80), 80)
    assert lines[1].split() == [
        "forward_", "cot", "-", "direct", "0.12", "0.60", "+0.48", "[+0.40,", "+0.53]", "<0.001", "<0.001",
        "*", "192",
    ]  # fmt: skip
    assert lines[2] == "retrieval" and max(map(len, lines)) <= 80
    assert len(printed(contrasts.rich_table([LONG], 120), 120)) == 2


def test_nothing_is_coloured_in_pipes_or_where_nobody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from unisandbox.report.table import rich_table

    assert not any("\x1b" in line for line in printed(rich_table(results(cell(model=MODELS[0]))), 80))
    monkeypatch.setenv("NO_COLOR", "1")
    text = io.StringIO()
    Console(file=text, width=80, force_terminal=True).print(rich_table(results(cell())))
    assert not re.search(r"\x1b\[[\d;]*3[0-7]", text.getvalue())
