"""One file of many that is checked to the last byte: what a bundle travels in.

    bundle.json      what is in it: facts of the caller's, and every member with size and SHA-256
    bundle.sha256    of that
    the members      by name, and two blocks of zeros

It is a tar file of which any `tar` shows the contents, gzipped if its name ends in `.gz`. Only a file that is byte for
byte what `write_archive` writes is read: no links, no devices, no names that lead elsewhere. Nothing is unpacked here
but by `extract`, one member into one file that the caller names. Knows nothing of hubs; `bundling` does.
"""

import gzip
import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO, cast

from mllctl.errors import SourceUnreadable
from mllctl.hub.manifest import sync_folder

FORMAT, VERSION = "mllctl label bundle", 1
CONTENTS, DIGEST = "bundle.json", "bundle.sha256"
CONTENTS_LIMIT = 1 << 26  # bytes; ten thousand models take a quarter of it
READ_LIMIT = 1 << 31  # bytes of a member that is read whole; gzip makes a thousand times of what travels
SIZE_LIMIT = 1 << 60  # bytes of any; a header has room for 2 ** 88
BLOCK = tarfile.BLOCKSIZE
CHUNK = 1 << 20
NAME_LIMIT = tarfile.LENGTH_NAME
GZIP_MAGIC = b"\x1f\x8b"
GZIP_LEVEL = 6  # 9 takes three times as long for a thousandth less


@dataclass(frozen=True)
class Member:
    """A file within: its path there, bytes, SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Piece:
    """A member that is to be written, and where it is now."""

    member: Member
    source: Path | bytes

    @classmethod
    def of(cls, path: str, content: bytes) -> "Piece":
        """Return a piece that is in memory."""
        return cls(Member(path, len(content), hashlib.sha256(content).hexdigest()), content)


def write_archive(target: Path, facts: Mapping[str, Any], pieces: Sequence[Piece]) -> None:
    """Write an archive; `target` is replaced in one step when all of it is on the disk.

    Args:
        target: the file; what is there is lost.
        facts: for `bundle.json`; `format`, `version` and `files` are added.
        pieces: in any order. The same facts and pieces give the same bytes.

    Raises:
        ValueError: if two pieces have one path, or one that `is_safe` denies.
        SourceUnreadable: if a piece is not, or no longer, what its member says.
    """
    ordered = sorted(pieces, key=lambda piece: piece.member.path)
    members = [piece.member for piece in ordered]
    if not _are_sound(members):
        raise ValueError(f"pieces need different, short and relative paths, got {[one.path for one in members]}")
    files = [{"path": one.path, "size": one.size, "sha256": one.sha256} for one in members]
    contents = json.dumps({"format": FORMAT, "version": VERSION, **facts, "files": files}, indent=1).encode()
    begin = [Piece.of(CONTENTS, contents), Piece.of(DIGEST, hashlib.sha256(contents).hexdigest().encode())]
    temporary = target.with_name(f".{target.name}.part")
    try:
        with temporary.open("wb") as out:
            with _packed(out, target) as packed:
                for piece in (*begin, *ordered):
                    _write_piece(packed, piece)
                packed.write(bytes(2 * BLOCK))
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


class Archive(AbstractContextManager["Archive"]):
    """An archive, open for reading.

    Attributes:
        path: the file.
        facts: what `bundle.json` says.
        members: by path, in the order in which they lie.
    """

    def __init__(self, path: Path) -> None:
        """Open an archive and check all but the content of its members.

        Raises:
            SourceUnreadable: if it is none, of a later version, damaged, or cut off.
        """
        self.path = path
        try:
            self._raw = path.open("rb")
        except OSError as error:
            raise SourceUnreadable(path, (error.strerror or str(error)).lower()) from error
        try:
            packed = self._raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            self._raw.seek(0)
            self._file = cast(BinaryIO, gzip.GzipFile(fileobj=self._raw)) if packed else self._raw
            self.facts = self._read_facts()
            self.members = self._read_members()
            if not packed:
                self._check_length()
        except BaseException:
            self._raw.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    @property
    def size(self) -> int:
        """Bytes of all members together."""
        return sum(member.size for member in self.members.values())

    def check(self) -> None:
        """Read all of it.

        Raises:
            SourceUnreadable: if a byte of it is not what was written.
        """
        for member in self.members.values():
            self._copy(member, lambda _: None)
        self._expect(bytes(2 * BLOCK), "its end")
        if self._read(1):
            raise self.damaged("something follows its end")

    def read(self, path: str) -> bytes:
        """Return a whole member, for small ones.

        Raises:
            SourceUnreadable: if there is none of that path, it is damaged, or larger than `READ_LIMIT`.
        """
        member, parts = self._member(path), list[bytes]()
        if member.size > READ_LIMIT:
            raise self.damaged(f"{path} is too large ({member.size:,} bytes)")
        self._copy(member, parts.append)
        return b"".join(parts)

    def extract(self, path: str, target: Path) -> None:
        """Write a member to the file `target`, whose folder must be there, and nowhere else.

        Raises:
            SourceUnreadable: if there is none of that path or it is damaged.
        """
        with target.open("wb") as out:
            self._copy(self._member(path), out.write)

    def damaged(self, reason: str) -> SourceUnreadable:
        """Return the error that says what is wrong with this archive."""
        return SourceUnreadable(self.path, f"the bundle is damaged: {reason}; get it again from where it came from")

    # -- inside ------------------------------------------------------------------------------------

    def _member(self, path: str) -> Member:
        if path not in self.members:
            raise self.damaged(f"it lacks {path}")
        return self.members[path]

    def _read_facts(self) -> dict[str, Any]:
        """Read the two members that come first."""
        none = SourceUnreadable(self.path, "is no bundle of labels; `mllctl hub export --labels BUNDLE` writes one")
        try:
            head = tarfile.TarInfo.frombuf(self._read(BLOCK), "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            raise none from error
        if head.name != CONTENTS or head.size > CONTENTS_LIMIT:
            raise none
        content = self._read(head.size)
        try:
            facts = json.loads(content)
            wrong = facts["format"] != FORMAT
            version = facts["version"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.damaged(f"{CONTENTS} cannot be read") from error
        if wrong:
            raise none
        if version != VERSION:
            raise SourceUnreadable(self.path, f"has bundle version {version}, this mllctl reads {VERSION}; upgrade it")
        self._file.seek(0)
        self._expect(_header(CONTENTS, len(content)), CONTENTS)
        self._expect(content + _padding(len(content)), CONTENTS)
        digest = hashlib.sha256(content).hexdigest().encode()
        self._expect(_header(DIGEST, len(digest)) + digest + _padding(len(digest)), CONTENTS)
        return dict(facts)

    def _read_members(self) -> dict[str, Member]:
        """Take the members as `bundle.json` lists them, and compute where they lie."""
        self._at: dict[str, int] = {}
        try:
            members = [Member(file["path"], file["size"], file["sha256"]) for file in self.facts["files"]]
            if not _are_sound(members):
                raise self.damaged("it names files that have no place in a bundle")
        except (KeyError, TypeError, AttributeError) as error:
            raise self.damaged(f"{CONTENTS} does not say what is in it") from error
        at = self._file.tell()
        for member in members:
            self._at[member.path] = at
            at += BLOCK + member.size + len(_padding(member.size))
        self._end = at + 2 * BLOCK
        return {member.path: member for member in members}

    def _check_length(self) -> None:
        length = os.fstat(self._raw.fileno()).st_size
        if length != self._end:
            raise self.damaged(f"it has {length:,} bytes and should have {self._end:,}")

    def _copy(self, member: Member, put: Callable[[bytes], object]) -> None:
        """Hand on a member piece by piece, and never more of it than its size."""
        if self._file.tell() != self._at[member.path]:
            self._file.seek(self._at[member.path])
        self._expect(_header(member.path, member.size), member.path)
        digest, left = hashlib.sha256(), member.size
        while left:
            chunk = self._read(min(CHUNK, left))
            if not chunk:
                raise self.damaged("it is cut off")
            digest.update(chunk)
            put(chunk)
            left -= len(chunk)
        self._expect(_padding(member.size), member.path)
        if digest.hexdigest() != member.sha256:
            raise self.damaged(f"{member.path} is not what was written")

    def _expect(self, expected: bytes, where: str) -> None:
        if self._read(len(expected)) != expected:
            raise self.damaged(f"{where} is not what was written")

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (EOFError, OSError, zlib.error) as error:
            raise self.damaged(str(error).splitlines()[0]) from error


def is_safe(path: str) -> bool:
    """Say whether a path leads down and nowhere else, on any system, and fits into a tar header."""
    if not path.isprintable() or len(path.encode()) > NAME_LIMIT or any(mark in path for mark in '\\:*?"<>|'):
        return False
    parts = PurePosixPath(path).parts
    return "/".join(parts) == path and not path.startswith("/") and not {".", ".."} & set(parts) and path != ""


def _are_sound(members: Sequence[Member]) -> bool:
    """Say whether members can be written: paths that are safe, sorted and different, and sizes that are sizes."""
    paths = [member.path for member in members]
    folders = {str(folder) for path in paths for folder in PurePosixPath(path).parents}
    apart = paths == sorted(set(paths)) and not (folders | {CONTENTS, DIGEST}) & set(paths)
    return apart and all(is_safe(member.path) and _is_size(member.size) for member in members)


def _is_size(size: object) -> bool:
    return type(size) is int and 0 <= size <= SIZE_LIMIT


def _header(path: str, size: int) -> bytes:
    """Return the header of a plain file of nobody's, of no time."""
    head = tarfile.TarInfo(path)
    head.size = size
    return head.tobuf(tarfile.GNU_FORMAT)  # whose sizes have no limit


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


@contextmanager
def _packed(out: BinaryIO, target: Path) -> Iterator[BinaryIO]:
    if target.suffix != ".gz":
        yield out
        return
    with gzip.GzipFile("", "wb", GZIP_LEVEL, out, mtime=0) as packed:
        yield cast(BinaryIO, packed)


def _write_piece(out: BinaryIO, piece: Piece) -> None:
    member = piece.member
    out.write(_header(member.path, member.size))
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(piece.source):
        digest.update(chunk)
        size += len(chunk)
        out.write(chunk)
    if (size, digest.hexdigest()) != (member.size, member.sha256):
        raise SourceUnreadable(str(piece.source), "is not what the manifest says; the hub is damaged, restore it")
    out.write(_padding(member.size))


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
