"""Sources `jsonl` and `hub`: the user's own rows, from a file or through Hugging Face `datasets`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import jsonlines
import orjson

from unisandbox.datasets.splits import Row
from unisandbox.errors import DataError, UsageError, unknown

Place = Callable[[int], str]
"""Names the place a row was read from, for error messages: line or row number -> "file:line"."""

_ALPHANUMERIC = frozenset(ascii_letters + digits)
_SAFE = _ALPHANUMERIC | set("._-")
_SHORT = 48  # longer strings are sentences and seldom repeat, so looking them up costs more than it saves


def jsonl(*, path: Path, id_field: str = "id", fields: Mapping[str, str] | None = None) -> list[Row]:
    """Return the rows of a JSON-lines file.

    `id_field` names the file's field that becomes each row's `id`; where no row has it, rows are
    numbered "1", "2", ... `fields` maps names of template variables to the file's names; when given,
    rows hold nothing else. Blank lines are skipped.

    Raises DataError, naming file and line, for a line that is not a JSON object, an `id` that is
    missing in some rows only, used twice, or not fit for a file name, and for a missing field.
    """
    return _rows(read_objects(path), lambda line: f"{path}:{line}", id_field, fields)


def hub(
    *,
    path: str,
    name: str | None = None,
    split: str = "test",
    revision: str | None = None,
    data_files: str | Sequence[str] | Mapping[str, str] | None = None,
    id_field: str = "id",
    fields: Mapping[str, str] | None = None,
) -> list[Row]:
    """Return the rows of one split of a dataset, read by `datasets.load_dataset`.

    `path`, `name`, `split`, `revision` and `data_files` are handed on; give `revision`, so that the
    rows stay the same. `id_field` and `fields` work as in `jsonl`.

    Raises UsageError where `datasets` is not installed, DataError for a dataset that cannot be
    loaded, for columns that are not plain JSON values (images, dates), and as `jsonl` does.
    """
    try:
        datasets = import_module("datasets")  # an extra: neither a type checker nor a reader need have it
    except ModuleNotFoundError:
        raise UsageError(
            "The source 'hub' needs the package 'datasets': pip install 'unisandbox[hub]'."
        ) from None
    try:
        table = datasets.load_dataset(path, name, split=split, revision=revision, data_files=data_files)
    except Exception as error:  # the library documents no closed set of errors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"Dataset {path!r}, split {split!r}, could not be loaded: {reason}") from error
    if fields is not None:
        for column in fields.values():
            if column not in table.column_names:
                raise DataError(f"Dataset {path!r}: {unknown('column', column, table.column_names)}")
        kept = {*fields.values(), id_field}
        table = table.select_columns([column for column in table.column_names if column in kept])
    _require_plain(path, table.features)
    return _rows(enumerate(table, 1), lambda row: f"{path}, row {row}", id_field, fields)


def read_objects(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield each line of a JSON-lines file as (line number, object); DataError names file and line."""
    number = 0

    def lines() -> Iterator[bytes]:  # keeps the number the reader does not give away
        nonlocal number
        with path.open("rb") as file:
            for line in file:
                number += 1
                yield line

    try:
        for row in jsonlines.Reader(lines(), loads=orjson.loads).iter(type=dict, skip_empty=True):
            yield number, row
    except jsonlines.InvalidLineError as error:
        what = str(error).rsplit(" (line ", 1)[0].replace("does not match requested type", "is not an object")
        raise DataError(f"{path}:{error.lineno}: {what}; expected one JSON object a line.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None


def id_fault(sample_id: str) -> str | None:
    """Return why this id cannot name a file on every platform, or None if it can.

    >>> id_fault("12-A"), id_fault("a/12"), id_fault("")
    (None, "contains '/'", 'is empty')
    """
    if not sample_id or len(sample_id) > 128:
        return "is longer than 128 characters" if sample_id else "is empty"
    if sample_id[0] not in _ALPHANUMERIC:
        return f"starts with {sample_id[0]!r}"
    if ".." in sample_id:
        return "contains '..'"
    bad = next((char for char in sample_id if char not in _SAFE), None)
    return None if bad is None else f"contains {bad!r}"


def _rows(
    numbered: Iterable[tuple[int, Row]], place: Place, id_field: str, fields: Mapping[str, str] | None
) -> list[Row]:
    """Give every row its id and its chosen fields; short strings that repeat are kept once."""
    rows: list[Row] = []
    places: dict[str, int] = {}
    without: list[int] = []
    share = dict[str, str]().setdefault
    for number, raw in numbered:
        row = raw if fields is None else _chosen(raw, fields, place(number))
        for key, value in row.items():
            if type(value) is str and len(value) <= _SHORT:
                row[key] = share(value, value)
        if (found := raw.get(id_field)) is None:
            without.append(number)
        else:
            row["id"] = sample_id = _id(found, id_field, place, number)
            if places.setdefault(sample_id, number) != number:
                first = place(places[sample_id])
                raise DataError(f"{place(number)}: the id {sample_id!r} is already used at {first}.")
        rows.append(row)
    if without:
        _number(rows, without, place, id_field)
    return rows


def _chosen(raw: Row, fields: Mapping[str, str], where: str) -> Row:
    try:
        return {ours: raw[theirs] for ours, theirs in fields.items()}
    except KeyError as error:
        raise DataError(f"{where}: {unknown('field', error.args[0], raw)}") from None


def _id(found: object, id_field: str, place: Place, number: int) -> str:
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise DataError(f"{place(number)}: {id_field!r} is {found!r}; expected a string or a whole number.")
    if fault := id_fault(str(found)):
        allowed = "ids name files and hold letters, digits, '.', '_' and '-'"
        raise DataError(f"{place(number)}: {id_field!r} is {found!r}, which {fault}; {allowed}.")
    return str(found)


def _number(rows: Sequence[Row], without: Sequence[int], place: Place, id_field: str) -> None:
    if len(without) < len(rows) or id_field != "id":
        raise DataError(f"{place(without[0])}: no field {id_field!r}, which is to be the row's id.")
    for number, row in enumerate(rows, 1):
        row["id"] = str(number)


def _require_plain(path: str, features: Mapping[str, Any]) -> None:
    """Raise DataError where a column holds something JSON has no word for."""
    for column, feature in features.items():
        if not _is_plain(feature):
            raise DataError(
                f"{path}: column {column!r} holds {feature}, which is not text, number, list or object; "
                "name the columns to keep in 'fields'."
            )


def _is_plain(feature: Any) -> bool:
    if isinstance(feature, Mapping):
        return all(map(_is_plain, feature.values()))
    if isinstance(feature, list):
        return all(map(_is_plain, feature))
    inner = getattr(feature, "feature", None)  # datasets.List and its older and larger relatives
    if inner is not None:
        return _is_plain(inner)
    dtype = str(getattr(feature, "dtype", ""))
    return dtype in {"string", "large_string", "bool", "null"} or dtype.startswith(("int", "uint", "float"))
