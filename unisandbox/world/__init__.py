"""The sandbox's own picture language: kinds of object, people, scenes drawn, pictures read."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unisandbox.world.people import Person, all_people
    from unisandbox.world.reading import Reading, read
    from unisandbox.world.scene import Scene, compose
    from unisandbox.world.vocabulary import Kind, find_kind, kinds, phrase, with_article

__all__ = [
    "Kind",
    "Person",
    "Reading",
    "Scene",
    "all_people",
    "compose",
    "find_kind",
    "kinds",
    "phrase",
    "read",
    "with_article",
]

_MODULES = {
    "people": ("Person", "all_people"),
    "reading": ("Reading", "read"),
    "scene": ("Scene", "compose"),
    "vocabulary": ("Kind", "find_kind", "kinds", "phrase", "with_article"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that naming kinds and people loads no numpy and no PIL."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
