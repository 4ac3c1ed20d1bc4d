"""Parquet files that hold pictures: read by row group, with bounded memory.

A row group of up to `CACHED_GROUP` bytes is kept whole, the latest of them up to `CACHED` bytes
together: that is quick in any order. A larger one is read forward in batches of `BATCH` rows, which
is quick only in order; going back starts it again.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

CACHED = 1 << 27
CACHED_GROUP = 1 << 26
BATCH = 16
# Where encoded pictures may be, the usual first: bytes, or a structure with bytes, as `datasets` writes it.
COLUMNS = ("picture", "image", "bytes", "jpg", "png")

Pictures = list[bytes | None]


def picture_column(schema: Any) -> str | None:
    """Return the column of an Arrow schema that pictures are in, as Parquet calls it; None if there is none."""
    import pyarrow as pa

    for name in COLUMNS:
        if name not in schema.names:
            continue
        kind = schema.field(name).type
        if _is_bytes(kind):
            return name
        if pa.types.is_struct(kind) and any(part.name == "bytes" and _is_bytes(part.type) for part in kind):
            return f"{name}.bytes"
    return None


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def picture(path: Path, row: int, limit: int) -> bytes:
    """Return the encoded picture of a row.

    Raises:
        OSError: if there is none, it has more than `limit` bytes, or the file is damaged.
    """
    facts = path.stat()
    key = (str(path), facts.st_mtime_ns, facts.st_size)
    try:
        found = _READER.picture(path, key, row)
    except (ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors, or OSErrors already
        raise OSError("a damaged Parquet file") from error
    if found is None:
        raise OSError("no picture in this row")
    if len(found) > limit:
        raise too_large(len(found), limit)
    return bytes(found)


def too_large(size: int, limit: int) -> OSError:
    """Return the error of encoded bytes beyond the limit."""
    return OSError(f"too many bytes ({size:,}; at most {limit:,} are read)")


@dataclass
class _Pack:
    """One open Parquet file."""

    file: Any
    starts: list[int]
    column: str
    group: int = -1  # the large row group that is being read forward
    batches: Iterator[Any] | None = None
    first: int = 0  # row of the group that `held` starts with
    held: Pictures = field(default_factory=list)


class _Reader:
    """Keeps one pack open, and the row groups that were asked for last."""

    def __init__(self) -> None:
        self._key: tuple[str, int, int] | None = None
        self._pack: _Pack | None = None
        self._kept: OrderedDict[tuple[object, int], tuple[int, Pictures]] = OrderedDict()
        self._lock = Lock()  # several threads decode at once

    def picture(self, path: Path, key: tuple[str, int, int], row: int) -> bytes | None:
        """Return the encoded picture of a row, None if it has none."""
        with self._lock:
            return self._picture(path, key, row)

    def _picture(self, path: Path, key: tuple[str, int, int], row: int) -> bytes | None:
        pack = self._open(path, key)
        if not 0 <= row < pack.starts[-1]:
            return None
        group = bisect_right(pack.starts, row) - 1
        within = row - pack.starts[group]
        size = _bytes_of(pack, group)
        if size > CACHED_GROUP:
            return _read_forward(pack, group, within)
        if (key, group) not in self._kept:
            self._kept[key, group] = size, _pictures(pack.file.read_row_group(group, columns=[pack.column]))
            while sum(kept for kept, _ in self._kept.values()) > CACHED and len(self._kept) > 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end((key, group))
        return self._kept[key, group][1][within]

    def _open(self, path: Path, key: tuple[str, int, int]) -> _Pack:
        import pyarrow.parquet as parquet

        if self._pack is None or self._key != key:
            file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
            rows = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
            if self._pack is not None:
                self._pack.file.close()
            column = picture_column(file.schema_arrow)
            if column is None:
                raise KeyError("no column of pictures")
            self._key, self._pack = key, _Pack(file, [0, *accumulate(rows)], column)
        return self._pack


def _read_forward(pack: _Pack, group: int, within: int) -> bytes | None:
    """Return a picture of a row group too large to be kept."""
    if pack.group != group or within < pack.first:
        batches = pack.file.iter_batches(BATCH, row_groups=[group], columns=[pack.column])
        pack.group, pack.batches, pack.first, pack.held = group, batches, 0, []
    while within >= pack.first + len(pack.held):
        batch = next(pack.batches or iter(()), None)
        if batch is None:
            return None
        pack.first += len(pack.held)
        pack.held = _pictures(batch)
    return pack.held[within - pack.first]


def _pictures(rows: Any) -> Pictures:
    """Return the pictures of rows that have no other column."""
    cells = rows.column(0).to_pylist()
    return [cell["bytes"] if isinstance(cell, dict) else cell for cell in cells]


def _bytes_of(pack: _Pack, group: int) -> int:
    """Return how many bytes the pictures of a row group take, unpacked."""
    facts = pack.file.metadata.row_group(group)
    columns = [facts.column(n) for n in range(facts.num_columns)]
    return sum(int(column.total_uncompressed_size) for column in columns if column.path_in_schema == pack.column)


_READER = _Reader()
