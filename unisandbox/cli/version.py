"""``unisandbox version``."""

import argparse
from importlib.metadata import version as installed_version


def version(arguments: argparse.Namespace) -> int:
    """Print the installed version."""
    print(installed_version("unisandbox"))
    return 0


def help_(arguments: argparse.Namespace) -> int:
    """Print the help of the whole."""
    from unisandbox.cli.parser import make_parser

    make_parser().print_help()
    return 0
