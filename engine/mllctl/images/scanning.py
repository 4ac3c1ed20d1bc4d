"""Check the rows of a source one by one: is there a synset, are there pixels."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.images.pixels import ENDINGS, Unusable, decode, reason_of
from mllctl.images.records import Row, SampleImage, Scan, Skipped, printable
from mllctl.images.sampling import Draw, Drawing
from mllctl.images.sources import class_folders, files_in, read_rows
from mllctl.images.uris import locate, read_bytes, split_row
from mllctl.wordnet import Synset, WordNet

LONGEST_WORD = 60  # of what is no synset, in a reason: it may be a whole text


def scan(
    source: Path,
    domain: str,
    nouns: WordNet,
    *,
    draw: Draw | None = None,
    classes: Sequence[str] = (),
    domain_folders: bool = False,
) -> Scan:
    """Read an ImageFolder, a manifest, or shards.

    A manifest is CSV or Parquet with the columns `path` and `synset` and perhaps `domain`; Parquet may hold `picture`
    (encoded bytes) instead of `path`. Paths are relative to the manifest. Shards are tar archives as webdataset has
    them, or Parquet files: one, a folder of them, or a pattern such as `shards/*.tar`.

    Args:
        source: folder, `.csv`, `.parquet`, `.tar` or a pattern.
        domain: the domain of images for which the source names none; empty if it names all.
        nouns: where folder names and synsets are looked up.
        draw: at most so many images a node and domain; all when None.
        classes: what class indexes in shards mean, in order: wnids, synsets or lemmas.
        domain_folders: whether the folders in `source` are named by domain, and the class folders are in them.

    Raises:
        SourceUnreadable: if the source as a whole cannot be used.
        InvalidTask: if an image has no domain.
    """
    return check_rows(read_rows(source, domain, classes, domain_folders), nouns, draw)


def are_domains(source: Path, nouns: WordNet) -> bool:
    """Say whether the folders in a folder look like domains: there is nothing in them but folders of classes."""
    try:
        insides = [_entries_of(folder) for folder in class_folders(source)] if source.is_dir() else []
    except SourceUnreadable:
        return False
    return bool(insides) and all(
        folders and not files and all(nouns.senses(folder.name) for folder in folders) for folders, files in insides
    )


def _entries_of(folder: Path) -> tuple[list[Path], list[Path]]:
    return class_folders(folder), files_in(folder, ENDINGS)


def check_rows(rows: Iterable[Row | Skipped], nouns: WordNet, draw: Draw | None) -> Scan:
    """Return what can be used of `rows`, decoding every image once.

    What cannot be decoded now would stop a long labelling later.
    """
    senses: dict[str, tuple[Synset, ...]] = {}
    named = (_name(row, nouns, senses) for row in rows)
    drawing: Drawing[_Named] | None = Drawing(draw) if draw else None
    images: list[SampleImage] = []
    skipped: list[Skipped] = []
    for found in _check_drawn(named, drawing) if drawing else map(_check, named):
        if isinstance(found, SampleImage):
            images.append(found)
        else:
            skipped.append(found)
    guessed = {word: meant for word, meant in sorted(senses.items()) if len(meant) > 1}
    return Scan(tuple(images), tuple(skipped), guessed, drawing.left_out if drawing else 0)


@dataclass(frozen=True)
class _Named:
    """A row whose synset is known."""

    row: Row
    wnid: str


def _name(row: Row | Skipped, nouns: WordNet, senses: dict[str, tuple[Synset, ...]]) -> _Named | Skipped:
    """Say what a row shows, or why it cannot be used; nothing is read for that."""
    if isinstance(row, Skipped):
        return Skipped(printable(row.path), printable(row.reason))
    if row.word not in senses:
        senses[row.word] = tuple(nouns.senses(row.word))
    uri = printable(row.uri)
    if not senses[row.word]:
        word = row.word if len(row.word) <= LONGEST_WORD else f"{row.word[:LONGEST_WORD]}..."
        return Skipped(uri, printable(f"no noun synset for {word!r} in WordNet"))
    if uri != row.uri:
        return Skipped(uri, "its name is not UTF-8 text; rename it")
    if not row.domain:
        # Here, at the first such image: all of them would be decoded for nothing.
        raise InvalidTask(
            "some images have no domain; name one with --domain NAME, or give --domain-folders if folders are domains"
        )
    if printable(row.domain) != row.domain:
        return Skipped(uri, printable(f"the name of its domain is not UTF-8 text ({row.domain})"))
    ending = PurePosixPath(row.name).suffix
    if split_row(row.uri)[1] is None and ending.lower() not in ENDINGS:
        return Skipped(uri, f"not an image ending ({ending or 'none'})")
    return _Named(row, senses[row.word][0].wnid)


def _check_drawn(named: Iterable[_Named | Skipped], drawing: Drawing[_Named]) -> Iterator[SampleImage | Skipped]:
    """Check what is drawn, and for what turns out to be damaged, or was there already, the next."""
    contents: set[str] = set()
    for found in named:
        if isinstance(found, Skipped):
            yield found
        else:
            drawing.offer((found.wnid, found.row.domain), found.row.name, found.row.uri, found)
    for candidates in drawing.groups():
        for candidate in candidates:
            result = _check(candidate)
            yield result
            taken = isinstance(result, SampleImage) and result.sha256 not in contents
            if isinstance(result, SampleImage):
                contents.add(result.sha256)
            if drawing.settle(taken=taken):
                break


def _check(found: _Named | Skipped) -> SampleImage | Skipped:
    """Decode an image once."""
    if isinstance(found, Skipped):
        return found
    uri = found.row.uri
    try:
        content = read_bytes(uri)
        decode(content)
    except OSError as error:
        return Skipped(uri, _why_gone(uri) or reason_of(error))
    except Unusable as error:
        return Skipped(uri, error.reason)
    return SampleImage(uri, found.wnid, found.row.domain, hashlib.sha256(content).hexdigest())


def _why_gone(uri: str) -> str:
    """Say what stands where a file was expected, if that is more than its error tells."""
    path = locate(uri)
    try:
        if path.is_symlink() and not path.exists():
            return "a link to what is not there"
        return "a folder, not an image" if path.is_dir() else ""
    except (OSError, ValueError):  # a closed folder, or a name no file can have
        return ""
