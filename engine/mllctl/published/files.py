"""From a file, or a folder of JSON files, to rows of text; what the columns mean is `formats`' business.

Numbers stay as they are written, so that 75.33 per cent becomes the float nearest to 0.7533.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mllctl.errors import SourceUnreadable
from mllctl.published.records import Rows

JSON_ENDINGS = (".json", ".jsonl")


def read_rows(path: Path) -> Rows:
    """Read a file of results; in a folder, all files `*.json` by name, one behind the other.

    Raises:
        SourceUnreadable: if it is neither CSV nor JSON, or not a table.
    """
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise SourceUnreadable(path, "a folder without a .json file; name a file of results")
        return _table(path, [item for file in files for item in _json_items(file)])
    if path.name.endswith(JSON_ENDINGS):
        return _table(path, _json_items(path))
    return _csv_rows(path)


def _csv_rows(path: Path) -> Rows:
    try:
        records = list(csv.reader(_text(path).splitlines(keepends=True), strict=True))
    except csv.Error as error:
        raise SourceUnreadable(path, f"not CSV: {error}") from error
    if not records or not any(records[0]):
        raise SourceUnreadable(path, "row 1: no header; a table of results begins with the names of its columns")
    columns = [name.strip() for name in records[0]]
    if twice := next((name for name in columns if columns.count(name) > 1), None):
        raise SourceUnreadable(path, f"row 1: column {twice!r} is there twice; rename or remove one")
    rows = [(number, record) for number, record in enumerate(records[1:], 2) if record]
    for number, record in rows:
        if len(record) != len(columns):
            raise SourceUnreadable(path, f"row {number}: {len(record)} cells where the header has {len(columns)}")
    cells = tuple((number, dict(zip(columns, map(str.strip, record), strict=True))) for number, record in rows)
    return Rows(str(path), tuple(columns), cells)


def _json_items(path: Path) -> list[Any]:
    """Return the objects of a JSON file: one, a list, or one a line."""
    text = _text(path)
    try:
        read = [_parse(line) for line in text.splitlines() if line.strip()] if path.suffix == ".jsonl" else _parse(text)
    except json.JSONDecodeError as error:
        raise SourceUnreadable(path, f"not JSON: {error}") from error
    except RecursionError as error:
        raise SourceUnreadable(path, "not a table: lists in lists without end") from error
    return read if isinstance(read, list) else [read]


def _parse(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def _table(path: Path, items: Iterable[Any]) -> Rows:
    """Flatten objects: `metrics` of CLIP_benchmark becomes columns; what is no text and no number is left out."""
    rows, columns, left = [], dict[str, None](), dict[str, None]()
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise SourceUnreadable(path, f"row {number}: {str(item)[:40]!r} is not an object with names and values")
        nested = item.get("metrics")
        flat = {**item, **nested} if isinstance(nested, Mapping) else dict(item)
        if isinstance(nested, Mapping):
            del flat["metrics"]
        cells = {name: "" if value is None else value for name, value in flat.items()}
        left.update(dict.fromkeys(name for name, value in cells.items() if not isinstance(value, str)))
        row = {name: value.strip() for name, value in cells.items() if isinstance(value, str)}
        _refuse_half_letters(path, number, row)
        columns.update(dict.fromkeys(row))
        rows.append((number, row))
    notes = (f"left out, neither text nor a number: {', '.join(left)}",) if left else ()
    return Rows(str(path), tuple(columns), tuple(rows), notes)


def _refuse_half_letters(path: Path, number: int, row: Mapping[str, str]) -> None:
    """Refuse what JSON can write and no text can hold: one of the two halves of a letter."""
    for name, value in row.items():
        try:
            (name + value).encode()
        except UnicodeEncodeError as error:
            raise SourceUnreadable(path, f"row {number}: {name!a} or its value {value!a} is not text") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceUnreadable(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceUnreadable(path, "not UTF-8 text; save it as UTF-8") from error
