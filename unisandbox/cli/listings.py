"""``unisandbox models``, ``judges`` and ``plugins``: what is installed. Imports no model."""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unisandbox.catalog import Rubrics
from unisandbox.plugins import installed
from unisandbox.yaml_file import YamlFile


def _print(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in ("model", "judge", "plugin", "rubric"))
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def models(arguments: argparse.Namespace) -> int:
    """List model backends."""
    rows = [
        [entry.name, " ".join(entry.abilities({})), entry.draws, entry.summary, entry.plugin]
        for entry in installed().models.values()
    ]
    _print(["model", "does", "draws", "", "plugin"], rows)
    print(
        "\nOptions: --models NAME:KEY=VALUE,KEY=VALUE; draws=sandbox|any says what any model draws. "
        "Those of one model: unisandbox models show NAME",
        file=sys.stderr,
    )
    return 0


def judges(arguments: argparse.Namespace) -> int:
    """List judges and rubrics."""
    plugins = installed()
    rows = [
        [e.name, " ".join(e.reads), " ".join(e.default_for), e.summary, e.plugin]
        for e in plugins.judges.values()
    ]
    _print(["judge", "reads", "default for", "", "plugin"], rows)
    print()
    rubrics = Rubrics(plugins.rubric_folders)
    described = [
        [name, str(YamlFile(rubrics.path(name)).data.get("description", ""))] for name in sorted(rubrics)
    ]
    _print(["rubric", ""], described)
    print("\nThe options of one judge: unisandbox judges show NAME", file=sys.stderr)
    return 0


def plugins(arguments: argparse.Namespace) -> int:
    """List plugins, working or not; exit code 1 when one is broken or two clash."""
    found = installed()
    rows = [
        [
            status.name,
            status.error or "ok",
            f"{status.distribution} {status.version}",
            f"{status.milliseconds:.0f} ms",
            ", ".join(status.registered),
        ]
        for status in found.status
    ]
    _print(["plugin", "status", "distribution", "load", "registers"], rows)
    for clash in found.clashes():
        print(f"error: {clash}", file=sys.stderr)
    return 1 if found.clashes() or any(status.error for status in found.status) else 0
