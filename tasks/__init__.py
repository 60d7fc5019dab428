"""The tasks that ship with UniSandbox: YAML files by family, registered as any plugin's would be."""

from pathlib import Path

from unisandbox.hookspecs import RegisterFolder, hookimpl


@hookimpl
def register_tasks(register: RegisterFolder) -> None:
    """Register this folder."""
    register(Path(__file__).parent)
