"""Sample images: where they are, what they show, and their pixels.

`scan` reads an ImageFolder or a manifest and says which files show which synset, what could not be
used, and why. `open_image` gives the pixels of a stored uri. A uri is one of

    /path/to/file.png               a file
    /path/to/pack.parquet#17        row 17 of a Parquet file with a column `picture` of encoded bytes
    mllctl_data:demo/images.parquet#17    the same in the files mllctl ships

`hub` stores what `scan` found; `label` asks for pixels in batches. Never writes anything.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image, UnidentifiedImageError

import mllctl_data
from mllctl.errors import SourceUnreadable
from mllctl.wordnet import Synset, WordNet

ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
SHIPPED = "mllctl_data:"


@dataclass(frozen=True)
class Domain:
    """A visual style or setting, with one line that says what it looks like."""

    name: str
    description: str


@dataclass(frozen=True)
class SampleImage:
    """One usable image: its uri, the synset it shows, its domain's name and the hash of its bytes."""

    uri: str
    wnid: str
    domain: str
    sha256: str


@dataclass(frozen=True)
class Skipped:
    """One input that was not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Scan:
    """What a source holds.

    Attributes:
        images: usable images, in a stated order: by folder and file name, or as the manifest has them.
        skipped: everything else.
        guessed: words with several senses -> the senses, the one that was taken first.
    """

    images: tuple[SampleImage, ...]
    skipped: tuple[Skipped, ...]
    guessed: dict[str, tuple[Synset, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Row:
    """One line of a source before anything was checked."""

    uri: str
    word: str
    domain: str


def scan(source: Path, domain: str, nouns: WordNet) -> Scan:
    """Read an ImageFolder (folders named by wnid, synset or lemma) or a manifest.

    A manifest is CSV or Parquet with the columns `path` and `synset` and perhaps `domain`; Parquet
    may hold `picture` (encoded bytes) instead of `path`. Paths are relative to the manifest.

    Args:
        source: folder, `.csv` or `.parquet`.
        domain: the domain of images for which the source names none.
        nouns: where folder names and synsets are looked up.

    Raises:
        SourceUnreadable: if the source as a whole cannot be used.
    """
    rows = _rows(source, domain)
    meanings = {word: nouns.senses(word) for word in {row.word for row in rows}}
    images: list[SampleImage] = []
    skipped: list[Skipped] = []
    for row in rows:
        senses = meanings[row.word]
        found = _check(row, senses[0]) if senses else Skipped(row.uri, f"no noun synset for {row.word!r} in WordNet")
        if isinstance(found, SampleImage):
            images.append(found)
        else:
            skipped.append(found)
    guessed = {word: tuple(senses) for word, senses in sorted(meanings.items()) if len(senses) > 1}
    return Scan(tuple(images), tuple(skipped), guessed)


def open_image(uri: str) -> Image.Image:
    """Return the pixels of a stored image, in RGB.

    Raises:
        SourceUnreadable: if the file is gone or is not an image any more.
    """
    try:
        return Image.open(io.BytesIO(read_bytes(uri))).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        raise SourceUnreadable(uri, _reason(error)) from error


def read_bytes(uri: str) -> bytes:
    """Return the encoded bytes behind a uri.

    Raises:
        OSError: if they cannot be read.
    """
    path, row = _split(uri)
    if row is None:
        return _locate(path).read_bytes()
    pictures = _pictures(_locate(path))
    picture = pictures[row] if row < len(pictures) else None
    if picture is None:
        raise OSError("no picture in this row")
    return bytes(picture)


def _split(uri: str) -> tuple[str, int | None]:
    """Split a uri into its file and its row; names of other files may hold a `#` too."""
    path, _, row = uri.rpartition("#")
    return (path, int(row)) if path.lower().endswith(".parquet") and row.isdecimal() else (uri, None)


def _locate(path: str) -> Path:
    if path.startswith(SHIPPED):
        return mllctl_data.path(*path.removeprefix(SHIPPED).split("/"))
    return Path(path)


@lru_cache(maxsize=2)
def _pictures(path: Path) -> Sequence[bytes | None]:
    """Keep the encoded pictures of a pack in memory: they are read in order, many times."""
    pictures: Sequence[bytes | None] = parquet.read_table(path, columns=["picture"]).column("picture").to_pylist()
    return pictures


def _rows(source: Path, domain: str) -> list[_Row]:
    if source.is_dir():
        return list(_folder_rows(source, domain))
    if not source.exists():
        raise SourceUnreadable(source, "no such file or folder")
    match source.suffix.lower():
        case ".csv":
            rows = list(_csv_rows(source, domain))
        case ".parquet":
            rows = list(_parquet_rows(source, domain))
        case _:
            raise SourceUnreadable(source, "not a folder, a .csv or a .parquet file")
    if not rows:
        raise SourceUnreadable(source, "the manifest has no rows")
    return rows


def _folder_rows(source: Path, domain: str) -> Iterator[_Row]:
    folders = sorted(folder for folder in source.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if not folders:
        raise SourceUnreadable(source, "no folders in it; an ImageFolder has one folder a synset, such as dog.n.01/")
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
            yield _Row(str(path.resolve()), folder.name, domain)


def _csv_rows(source: Path, domain: str) -> Iterator[_Row]:
    try:
        with source.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            _need_columns(source, reader.fieldnames or (), ("path", "synset"))
            for row in reader:
                path = _beside(source, row["path"] or "")
                yield _Row(path, (row["synset"] or "").strip(), (row.get("domain") or "").strip() or domain)
    except UnicodeDecodeError as error:
        raise SourceUnreadable(source, "not UTF-8 text; save it as UTF-8") from error
    except csv.Error as error:
        raise SourceUnreadable(source, f"not CSV: {error}") from error


def _parquet_rows(source: Path, domain: str) -> Iterator[_Row]:
    try:
        schema = parquet.read_schema(source)
    except (OSError, ValueError) as error:
        raise SourceUnreadable(source, "not a Parquet file") from error
    held = [name for name in ("path", "picture") if name in schema.names]
    _need_columns(source, schema.names, ("synset", *(held or ["path"])))
    if "picture" in held and not pa.types.is_binary(schema.field("picture").type):
        raise SourceUnreadable(source, f"column 'picture' must hold bytes, not {schema.field('picture').type}")
    shipped = mllctl_data.path()
    inside = source.resolve().is_relative_to(shipped.resolve())
    pack = f"{SHIPPED}{source.resolve().relative_to(shipped.resolve())}" if inside else str(source.resolve())
    columns = ["synset", *(name for name in ("path", "domain") if name in schema.names)]
    for number, row in enumerate(parquet.read_table(source, columns=columns).to_pylist()):
        uri = f"{pack}#{number}" if "picture" in held else _beside(source, str(row["path"] or ""))
        yield _Row(uri, str(row["synset"] or "").strip(), str(row.get("domain") or "").strip() or domain)


def _beside(source: Path, path: str) -> str:
    """Return where a manifest's path is; one with a NUL, which no file can have, is skipped later."""
    return path if "\0" in path else str((source.parent / path).resolve())


def _need_columns(source: Path, names: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in names]
    if missing:
        raise SourceUnreadable(source, f"no column {missing[0]!r}; it has {', '.join(names) or 'none'}")


def _check(row: _Row, synset: Synset) -> SampleImage | Skipped:
    """Decode an image once: what cannot be decoded now would stop a long labelling later."""
    path, number = _split(row.uri)
    printable = row.uri.encode(errors="backslashreplace").decode()
    if printable != row.uri:
        return Skipped(printable, "its name is not UTF-8 text; rename it")
    if number is None and Path(path).suffix.lower() not in ENDINGS:
        return Skipped(row.uri, f"not an image ending ({Path(path).suffix or 'none'})")
    try:
        content = read_bytes(row.uri)
        with Image.open(io.BytesIO(content)) as image:
            image.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        return Skipped(row.uri, _reason(error))
    return SampleImage(row.uri, synset.wnid, row.domain, hashlib.sha256(content).hexdigest())


def _reason(error: BaseException) -> str:
    """Say in a few words why an image cannot be read; the path is said elsewhere."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
