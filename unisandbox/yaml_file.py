"""YAML files checked against a schema, with messages that name file, line and key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import yaml

from unisandbox.errors import TaskFileError, unknown

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    Schema = TypeVar("Schema", bound=BaseModel)

try:
    from yaml import CSafeLoader as _Loader  # nine times as fast
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]


def shown(path: Path) -> str:
    """Return the path as a user would type it: relative to here when it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


class YamlFile:
    """A YAML mapping together with the line of every key in it."""

    def __init__(self, path: Path) -> None:
        """Read ``path``; raises TaskFileError when it is missing, not YAML, or not a mapping."""
        self.path = path
        try:
            loader = _Loader(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise TaskFileError(f"{shown(path)}: cannot be read: {why}.") from None
        except yaml.YAMLError as error:  # a control character
            raise TaskFileError(f"{shown(path)}: not valid YAML: {error}") from None
        try:
            node = loader.get_single_node()
            _refuse_duplicates(node, self)
            data = loader.construct_document(node) if node else None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            problem = getattr(error, "problem", None) or str(error).splitlines()[0]
            raise TaskFileError(f"{shown(path)}{line}: not valid YAML: {problem}.") from None
        finally:
            loader.dispose()
        if not isinstance(data, dict):
            found = "nothing" if data is None else f"a {type(data).__name__}"
            raise TaskFileError(f"{shown(path)}: expected a mapping of keys, found {found}.")
        self._node = node
        self.data: dict[str, Any] = data

    def where(self, *keys: str | int) -> str:
        """Return ``file:line: key.key`` for a place in the file."""
        node, line = self._node, 1
        for key in keys:
            for name, value, at in _children(node):
                if name == str(key):
                    node, line = value, at
                    break
        place = ".".join(str(key) for key in keys)
        return f"{shown(self.path)}:{line}: {place}" if place else f"{shown(self.path)}:{line}"

    def check(self, schema: type[Schema]) -> Schema:
        """Return the data as ``schema``; raises TaskFileError with one line a fault."""
        from pydantic import ValidationError

        try:
            return schema.model_validate(self.data)
        except ValidationError as error:
            lines = [self._explain(fault, schema) for fault in error.errors()]
            raise TaskFileError("\n".join(dict.fromkeys(lines))) from None

    def _explain(self, fault: ErrorDetails, schema: type[BaseModel]) -> str:
        keys = [key for key in fault["loc"] if key not in ("[key]",)]
        if fault["type"] == "extra_forbidden":
            known = _schema_at(schema, keys[:-1]).model_fields
            return f"{self.where(*keys)}: {unknown('key', str(keys[-1]), known)}"
        if fault["type"] == "missing":
            return f"{self.where(*keys[:-1])}: the key {keys[-1]!r} is missing."
        message = re.sub(r"valid dictionary or instance of \w+", "mapping", fault["msg"])
        message = message.removeprefix("Value error, ")
        found = repr(fault["input"])
        found = found if len(found) < 60 else f"a {type(fault['input']).__name__}"
        return f"{self.where(*keys)}: {message[0].lower()}{message[1:]} (found {found})."


def _children(node: Any) -> Iterator[tuple[str, Any, int]]:
    """Yield name, node and line of what a YAML node holds."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), value, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield str(index), value, value.start_mark.line + 1


def _refuse_duplicates(node: Any, file: YamlFile) -> None:
    """YAML lets a later key silently replace an earlier one: we do not."""
    seen: dict[str, int] = {}
    for name, value, line in _children(node):
        if isinstance(node, yaml.MappingNode) and name in seen:
            raise TaskFileError(
                f"{shown(file.path)}:{line}: the key {name!r} stands twice, first on line {seen[name]}."
            )
        seen[name] = line
        _refuse_duplicates(value, file)


def _schema_at(schema: type[BaseModel], keys: Sequence[str | int]) -> type[BaseModel]:
    """Return the nested schema that the keys lead to."""
    from pydantic import BaseModel

    def models(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        for part in get_args(annotation):
            yield from models(part)

    for key in keys:
        field = schema.model_fields.get(str(key))
        nested = next(models(field.annotation), None) if field else None
        schema = nested or schema
    return schema
