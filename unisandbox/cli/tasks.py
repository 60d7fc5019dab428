"""``unisandbox tasks``: the list. Reads names and descriptions only, so that it is quick."""

import argparse
from collections import defaultdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unisandbox.catalog import Catalog, Listing
from unisandbox.modes import MODES
from unisandbox.plugins import installed


def list_tasks(arguments: argparse.Namespace) -> int:
    """List tasks by family."""
    catalog = Catalog(installed(), arguments.include_path)
    listings = catalog.select(arguments.patterns) if arguments.patterns else list(catalog)
    families: dict[str, list[Listing]] = defaultdict(list)
    for listing in listings:
        families[listing.family].append(listing)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("family", "task", "modes", ""):
        table.add_column(title, overflow="fold", no_wrap=title in ("family", "task"))
    for family, members in families.items():
        before = ""
        for number, listing in enumerate(members):
            about = listing.variant if listing.description == before else listing.description
            before = listing.description
            modes = str(sum(mode in MODES for mode in listing.modes))
            table.add_row(*map(escape, (family if number == 0 else "", listing.name, modes, about)))
    Console().print(table)
    return 0
