"""The rows of a source, one at a time: which images it has, and what it says they show.

    folder   class folders, perhaps inside folders of domains
    CSV      columns path, synset and perhaps domain
    Parquet  the same, or picture (bytes) instead of path
    tar      webdataset shards: members of one key are an image and what says what it shows

Nothing is decoded here. What is no row of the source at all is `Skipped` with its reason.
"""

import csv
import glob
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from mllctl.errors import SourceUnreadable
from mllctl.images import tars
from mllctl.images.packs import picture_column
from mllctl.images.pixels import ENDINGS
from mllctl.images.records import Row, Skipped
from mllctl.images.uris import store

Rows = Iterator[Row | Skipped]

SHARDS = (".tar", ".parquet")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
LABELS = (".json", ".cls", ".txt")  # members that say what an image shows, those that say most first
JSON_KEYS = ("wnid", "synset", "lemma", "cls", "class", "label")
LABEL_LIMIT = 1 << 20  # bytes of one such member
SYNSET = "synset"  # column of a manifest: what an image shows
CLOSED = "a folder that cannot be read"
MANIFEST_BATCH = 8192  # rows of a Parquet file that are read at once


def read_rows(source: Path, domain: str, classes: Sequence[str] = (), domain_folders: bool = False) -> Rows:
    """Return the rows of a source, in its order; folders and shards by name.

    Raises:
        SourceUnreadable: if the source as a whole cannot be used.
    """
    if domain_folders:
        return _domain_rows(source)
    if not source.is_dir():
        return _shard_rows(source, files_named(source), domain, classes)
    if folders := class_folders(source):
        return chain(strays(source, (*ENDINGS, *SHARDS)), folder_rows(folders, domain))
    shards = files_in(source, (*SHARDS, *COMPRESSED))
    if not shards:
        wanted = "an ImageFolder has one folder a synset, such as dog.n.01/, and a folder of shards .tar files"
        raise SourceUnreadable(source, f"no folders in it; {wanted}")
    return chain(strays(source, ENDINGS), _shard_rows(source, shards, domain, classes))


# -- folders ------------------------------------------------------------------------------------------


def class_folders(source: Path) -> list[Path]:
    """Return the folders in a folder, by name; hidden ones are none of its classes.

    Raises:
        SourceUnreadable: if it cannot be looked into.
    """
    return [Path(entry.path) for entry in _look_into(source) if _is_folder(entry)]


def files_in(source: Path, endings: Iterable[str]) -> list[Path]:
    """Return the files in a folder, but not below, whose names end so; by name.

    Raises:
        SourceUnreadable: if it cannot be looked into.
    """
    wanted = tuple(endings)
    return [Path(entry.path) for entry in _look_into(source) if entry.name.lower().endswith(wanted) and _is_file(entry)]


def strays(source: Path, endings: Iterable[str]) -> Rows:
    """Return the files beside class folders that might have been meant to be added."""
    for path in files_in(source.resolve(), endings):
        cure = "; name it itself to add it" if path.name.lower().endswith(SHARDS) else ""
        yield Skipped(str(path), f"not in a class folder{cure}")


def folder_rows(folders: Sequence[Path], domain: str, words: Sequence[str] = ()) -> Rows:
    """Return the files in class folders and below, by folder and name.

    Args:
        folders: one a class.
        domain: of all of them.
        words: what each shows; its name when not given.
    """
    for folder, word in zip(folders, words or [folder.name for folder in folders], strict=True):
        resolved = folder.resolve()
        if folder.parent.resolve().is_relative_to(resolved):
            yield Skipped(str(folder.absolute()), "a link to a folder that it is in")
            continue
        root = str(resolved)
        for path in walk(root):
            if isinstance(path, Skipped):
                yield path
            else:
                yield Row(path, word, domain, f"{word}{path.removeprefix(root)}")


def _domain_rows(source: Path) -> Rows:
    if not source.is_dir():
        raise SourceUnreadable(source, "not a folder; with --domain-folders it has one folder a domain")
    domains = class_folders(source)
    if not domains:
        raise SourceUnreadable(source, "no folders in it; with --domain-folders it has one folder a domain")
    # All are looked into before the first image is read, which may take long.
    folders: dict[Path, list[Path] | Skipped] = {}
    for domain in domains:
        try:
            folders[domain] = class_folders(domain)
        except SourceUnreadable as error:
            folders[domain] = Skipped(str(domain.resolve()), f"{CLOSED} ({error.reason})")
        if not folders[domain]:
            raise SourceUnreadable(domain, "no folders in it; with --domain-folders a domain has one folder a synset")
    return _rows_by_domain(source, folders)


def _rows_by_domain(source: Path, folders: Mapping[Path, list[Path] | Skipped]) -> Rows:
    yield from strays(source, (*ENDINGS, *SHARDS))
    for domain, inside in folders.items():
        if isinstance(inside, Skipped):
            yield inside
        else:
            yield from strays(domain, (*ENDINGS, *SHARDS))
            yield from folder_rows(inside, domain.name)


def walk(folder: str) -> Iterator[str | Skipped]:
    """Return the files below a folder, folder by folder and by name; hidden ones are passed over."""
    waiting: list[str | os.DirEntry[str]] = [folder]  # a stack, since folders may lie deeper than calls may
    while waiting:
        entry = waiting.pop()
        if not isinstance(entry, str):
            if not _is_folder(entry):
                yield entry.path
                continue
            if entry.is_symlink():
                yield Skipped(entry.path, "a link to a folder; name that folder itself")
                continue
            if Path(entry.name).suffix.lower() in ENDINGS:
                yield Skipped(entry.path, "a folder, not an image")
        path = entry if isinstance(entry, str) else entry.path
        try:
            waiting += reversed(_entries(path))
        except OSError as error:
            yield Skipped(path, f"{CLOSED} ({_words(error)})")


def _look_into(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return _entries(folder)
    except OSError as error:
        raise SourceUnreadable(folder, _words(error)) from error


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """Return what is in a folder, by name, but for what is hidden."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or through a folder that is closed
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _words(error: OSError) -> str:
    return (error.strerror or "no reason given").lower()


# -- manifests and shards -----------------------------------------------------------------------------


def files_named(source: Path) -> list[Path]:
    """Return the files that a path or a pattern names.

    Raises:
        SourceUnreadable: if there is none.
    """
    if source.exists():
        return [source]
    found = [Path(name) for name in sorted(glob.glob(str(source)))]  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not found:
        raise SourceUnreadable(source, "no such file or folder")
    return found


def _shard_rows(source: Path, paths: Sequence[Path], domain: str, classes: Sequence[str]) -> Rows:
    """Return the rows of one file, or of several, of which one that is unreadable is skipped."""
    empty = True
    for path in paths:
        try:
            for row in _file_rows(path, domain, classes):
                empty = False
                yield row
        except SourceUnreadable as error:
            if len(paths) == 1:
                raise
            yield Skipped(str(error.path), error.reason)
    if empty:
        wanted = "the manifest has no rows" if len(paths) == 1 else "none of the files it names can be read"
        raise SourceUnreadable(source, wanted)


def _file_rows(path: Path, domain: str, classes: Sequence[str]) -> Rows:
    name = path.name.lower()
    if name.endswith(".csv"):
        return csv_rows(path, domain)
    if name.endswith(".parquet"):
        return parquet_rows(path, domain)
    if name.endswith(".tar"):
        return _tar_rows(path, domain, classes)
    if name.endswith(COMPRESSED):
        raise SourceUnreadable(path, "a compressed archive; unpack it to .tar first, its images stay inside")
    raise SourceUnreadable(path, "not a folder, a .csv or a .parquet file, nor a .tar file of webdataset")


def csv_rows(source: Path, domain: str, shown: str | None = SYNSET) -> Rows:
    """Return the rows of a CSV manifest, paths relative to it; `shown` is the column of what an image shows, if any.

    Raises:
        SourceUnreadable: if it is none, or lacks a column.
    """
    try:
        with source.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            _need_columns(source, reader.fieldnames or (), ("path", *([shown] if shown else [])))
            for row in reader:
                path = row["path"] or ""
                own = (row.get("domain") or "").strip()
                word = ((row[shown] if shown else "") or "").strip()
                yield Row(_beside(source, path), word, own or domain, path)
    except OSError as error:
        raise SourceUnreadable(source, _words(error)) from error
    except UnicodeDecodeError as error:
        raise SourceUnreadable(source, "not UTF-8 text; save it as UTF-8") from error
    except csv.Error as error:
        raise SourceUnreadable(source, f"not CSV: {error}") from error


def parquet_rows(source: Path, domain: str, shown: str | None = SYNSET) -> Rows:
    """Return the rows of a Parquet manifest, or of one that holds the pictures; else as `csv_rows`."""
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(source)
    except PermissionError as error:
        raise SourceUnreadable(source, _words(error)) from error
    except (OSError, ValueError) as error:
        raise SourceUnreadable(source, "not a Parquet file") from error
    with file:
        schema = file.schema_arrow
        packed = picture_column(schema) is not None
        _need_columns(source, schema.names, (*([shown] if shown else []), *(() if packed else ("path",))))
        columns = [name for name in (shown, "path", "domain") if name and name in schema.names]
        pack = store(source)
        for number, row in enumerate(_parquet_cells(source, file, columns)):
            path = str(row.get("path") or "")
            uri, name = _beside(source, path), path
            if packed:
                uri, name = f"{pack}#{number}", path or f"{source.name}#{number}"
            word = "" if shown is None or row[shown] is None else str(row[shown]).strip()
            yield Row(uri, word, str(row.get("domain") or "").strip() or domain, name)


def _parquet_cells(source: Path, file: Any, columns: list[str]) -> Iterator[dict[str, Any]]:
    try:
        for batch in file.iter_batches(MANIFEST_BATCH, columns=columns):
            yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise SourceUnreadable(source, "a damaged Parquet file; copy it again") from error


def _beside(source: Path, path: str) -> str:
    """Return where a manifest's path is; one that no file can have, or in a circle of links, is skipped later."""
    try:
        return str((source.parent / path).resolve())
    except (ValueError, RuntimeError, OSError):  # a NUL, or a circle, which Python 3.13 lets pass
        return path if "\0" in path else str(source.parent.resolve() / path)


def _need_columns(source: Path, names: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in names]
    if missing:
        raise SourceUnreadable(source, f"no column {missing[0]!r}; it has {', '.join(names) or 'none'}")


# -- webdataset ---------------------------------------------------------------------------------------


def _tar_rows(source: Path, domain: str, classes: Sequence[str]) -> Rows:
    """Return the images of a shard: a key is a member's name up to the first dot after its folders."""
    try:
        index = tars.index_of(source)
    except OSError as error:
        raise SourceUnreadable(source, _words(error)) from error
    shard = store(source)
    labels = {name: place for name, place in index.members.items() if name.lower().endswith(LABELS)}
    for name in index.members:
        if name in labels or PurePosixPath(name).name.startswith("."):
            continue
        uri = f"{shard}#{name}"
        try:
            word, own = _label_of(source, name, labels, classes)
        except ValueError as error:
            yield Skipped(uri, str(error))
        else:
            # With the shard's name, since shards may use the same keys, and not its folder's.
            yield Row(uri, word, own or domain, f"{source.name}/{name}")
    for name, reason in index.left_out:
        yield Skipped(f"{shard}#{name}" if name else shard, reason)
    if not index.members and not index.left_out:
        yield Skipped(shard, "an archive without files")


def _label_of(source: Path, name: str, labels: dict[str, tuple[int, int]], classes: Sequence[str]) -> tuple[str, str]:
    """Return what the members beside an image say it shows, and its domain if they do.

    Raises:
        ValueError: if they do not, with the reason.
    """
    folder, _, file = name.rpartition("/")
    key = f"{folder}/{file.split('.')[0]}" if folder else file.split(".")[0]
    domain = ""
    for ending in LABELS:
        member = f"{key}{ending}"
        if member not in labels:
            continue
        text = _label_text(source, member)
        word: object = text
        if ending == ".json":
            word, domain = _json_label(text)
        if word not in (None, ""):
            return _class_of(word, classes), domain
    if PurePosixPath(folder).name:
        return PurePosixPath(folder).name, domain
    raise ValueError(f"nothing beside it says what it shows (a member {key!r} with .cls, .txt or .json)")


def _label_text(source: Path, member: str) -> str:
    try:
        return tars.member_bytes(source, member, LABEL_LIMIT).decode("utf-8-sig", errors="replace").strip()
    except OSError as error:
        raise ValueError(f"the {PurePosixPath(member).suffix} beside it cannot be read ({error})") from error


def _json_label(text: str) -> tuple[object, str]:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("the .json beside it is not JSON") from error
    if not isinstance(facts, dict):
        return facts, ""
    word = next((facts[key] for key in JSON_KEYS if facts.get(key) not in (None, "")), None)
    domain = facts.get("domain")
    return word, domain.strip() if isinstance(domain, str) else ""


def _class_of(word: object, classes: Sequence[str]) -> str:
    """Return a word as it is, and for an index the class at that place."""
    text = str(word).strip()
    if isinstance(word, bool | float | list | dict):
        raise ValueError(f"what is beside it names no synset ({text[:60]})")
    if not text.isdecimal():
        return text
    if not classes:
        raise ValueError(f"a class index ({text[:20]}) without a list of classes; name one with --classes FILE")
    if len(text) > 9 or int(text) >= len(classes):
        raise ValueError(f"a class index ({text[:20]}) beyond the list of classes ({len(classes)} of them)")
    return classes[int(text)]
