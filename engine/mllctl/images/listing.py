"""Which images an answer is wanted for: one row each, in the order in which they were named.

    folder     every image in it and below, and in its shards; by folder and name
    .csv       a manifest with a column `path`, relative to it
    .parquet   the same, or the pictures themselves as bytes
    .tar       every image of a webdataset shard
    .txt, -    a path a line, from a file or from stdin
    a file     itself

What an image truly shows is taken along as the row's word where the caller says what it is written in: a column of a
manifest, a key or member beside an image in a shard, or, as `folder`, the class folder an image is in:
the first below the source, else the source itself.
Nothing is decoded here, and nothing else of a source is kept.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mllctl.errors import SourceUnreadable
from mllctl.images import tars
from mllctl.images.pixels import ENDINGS
from mllctl.images.records import Row, Skipped, printable
from mllctl.images.sources import COMPRESSED, LABEL_LIMIT, SHARDS, csv_rows, files_named, parquet_rows, walk
from mllctl.images.uris import split_row, store

FOLDER = "folder"  # where the truth is the name of a folder
STDIN = "-"
MEMBERS = ("cls", "txt")  # members beside an image that hold nothing but what it shows

Rows = Iterator[Row | Skipped]
Passed = Callable[[str], None]


def list_images(
    sources: Iterable[str], truth: str | None = None, stdin: BinaryIO | None = None, passed: Passed | None = None
) -> Rows:
    """Return the images of all sources, one source after the other.

    Args:
        sources: as in the table above; a pattern such as `shards/*.tar` is all that it matches.
        truth: where it is written what an image shows: a column, key or member, or `folder`; None to leave it out.
        stdin: what `-` is read from.
        passed: told of each file in a folder that has no image's ending; they are passed over.

    Raises:
        SourceUnreadable: if a source as a whole cannot be used; when its turn comes.
    """
    for source in sources:
        if source == STDIN:
            if stdin is None:
                raise SourceUnreadable("stdin", "there is none; name files or folders")
            yield from _listed(stdin, "stdin", truth)
            continue
        for path in files_named(Path(source)):
            yield from _folder_rows(path, truth, passed) if path.is_dir() else _file_rows(path, truth)


def _folder_rows(folder: Path, truth: str | None, passed: Passed | None) -> Rows:
    root = str(folder)
    found = False
    for path in walk(root):
        if isinstance(path, Skipped):
            yield path
            continue
        ending = Path(path).suffix.lower()
        if ending in ENDINGS:
            below = Path(path).relative_to(root).parts
            # A class folder may be named itself.
            yield _plain_row(path, truth, below if len(below) > 1 else Path(path).absolute().parts[-2:])
        elif ending in SHARDS or path.lower().endswith(COMPRESSED):
            yield from _shard_rows(Path(path), truth)
        else:
            if passed:
                passed(path)
            continue
        found = True
    if not found:
        raise SourceUnreadable(folder, "no images in this folder")


def _shard_rows(path: Path, truth: str | None) -> Rows:
    """Return the rows of a shard in a folder; one that is damaged is skipped, as an image would be."""
    try:
        yield from _file_rows(path, truth)
    except SourceUnreadable as error:
        yield Skipped(str(path), error.reason)


def _file_rows(path: Path, truth: str | None) -> Rows:
    name = path.name.lower()
    if name.endswith(COMPRESSED):
        raise SourceUnreadable(path, "a compressed archive; unpack it to .tar first, its images stay inside")
    if name.endswith(".tar"):
        return _member_rows(path, truth)
    if name.endswith((".csv", ".parquet")):
        if truth == FOLDER:
            raise SourceUnreadable(path, f"a manifest; --truth {FOLDER} is for folders, here name a column of it")
        return _named_rows((csv_rows if name.endswith(".csv") else parquet_rows)(path, "", truth), path)
    if name.endswith(".txt"):
        return _opened(path, truth)
    return iter([_plain_row(str(path), truth, path.absolute().parts[-2:])])


def _named_rows(rows: Rows, manifest: Path) -> Rows:
    """Return rows of a manifest; a picture in it that has no path of its own is named by the manifest and its row."""
    for row in rows:
        if isinstance(row, Skipped):
            yield row
            continue
        _, number = split_row(row.uri)
        name = f"{manifest}#{number}" if row.name == f"{manifest.name}#{number}" else row.name
        yield _checked(Row(row.uri, row.word, "", name))


def _opened(path: Path, truth: str | None) -> Rows:
    try:
        with path.open("rb") as lines:
            yield from _listed(lines, str(path), truth)
    except OSError as error:
        raise SourceUnreadable(path, (error.strerror or "cannot be read").lower()) from error


def _listed(lines: BinaryIO, name: str, truth: str | None) -> Rows:
    """Return a row for each line that is not empty; paths are relative to where the user is."""
    found = False
    for line in lines:
        path = line.rstrip(b"\r\n").decode(errors="surrogateescape")
        if path.strip():
            found = True
            yield _plain_row(path, truth, Path(path).absolute().parts[-2:])
    if not found:
        raise SourceUnreadable(name, "names no image; give a path a line")


def _plain_row(path: str, truth: str | None, below: tuple[str, ...]) -> Row | Skipped:
    """Return the row of a file, which is `below` a source; its class folder is the first of those."""
    if truth not in (None, FOLDER):
        wanted = f"it has no column {truth!r}; give --truth {FOLDER} if folders say what is in them, or a manifest"
        raise SourceUnreadable(path, wanted)
    word = below[0] if truth and len(below) > 1 else ""
    try:
        return _checked(Row(str(Path(path).absolute()), word, "", path))
    except ValueError:
        return Skipped(printable(path), "no path")


def _checked(row: Row) -> Row | Skipped:
    if printable(row.uri) != row.uri or printable(row.name) != row.name:
        return Skipped(printable(row.name), "its name is not UTF-8 text; rename it")
    return row if printable(row.word) == row.word else Row(row.uri, printable(row.word), "", row.name)


def _member_rows(shard: Path, truth: str | None) -> Rows:
    try:
        index = tars.index_of(shard)
    except OSError as error:
        raise SourceUnreadable(shard, (error.strerror or "cannot be read").lower()) from error
    where = store(shard)
    found = False
    for name in index.members:
        member = PurePosixPath(name)
        if member.suffix.lower() in ENDINGS and not member.name.startswith("."):
            found = True
            yield _checked(Row(f"{where}#{name}", _member_truth(shard, name, index, truth), "", f"{shard}#{name}"))
    for name, reason in index.left_out:
        found = True
        yield Skipped(printable(f"{shard}#{name}" if name else str(shard)), reason)
    if not found:
        raise SourceUnreadable(shard, "no images in this archive")


def _member_truth(shard: Path, name: str, index: tars.Index, truth: str | None) -> str:
    """Return what is written of an image in its shard; empty if nothing is."""
    if truth is None:
        return ""
    folder, _, file = name.rpartition("/")
    if truth == FOLDER:
        return PurePosixPath(folder).name
    key = f"{folder}/{file.split('.')[0]}" if folder else file.split(".")[0]
    beside = f"{key}.{truth}" if truth in MEMBERS else f"{key}.json"
    if beside not in index.members:
        return ""
    try:
        text = tars.member_bytes(shard, beside, LABEL_LIMIT).decode("utf-8-sig", errors="replace").strip()
        facts = text if truth in MEMBERS else json.loads(text)
    except (OSError, ValueError, RecursionError):
        return ""  # an image that nothing is known of, as if nothing were beside it
    if isinstance(facts, dict):
        facts = facts.get(truth)
    return str(facts).strip() if isinstance(facts, str | int) and not isinstance(facts, bool) else ""
