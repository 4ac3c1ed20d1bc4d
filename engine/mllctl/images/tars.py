"""Tar archives, read where they lie: nothing is unpacked, and no member's name is ever a path on disk.

An archive is read once for the names and places of its members; links, devices and what is sparse or
lies beyond the end of a cut archive are left out, each with its reason. Compressed archives are
refused: a member could only be found by unpacking all before it.
"""

import io
import os
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mllctl.errors import SourceUnreadable
from mllctl.images.packs import too_large

BLOCK = 512
HEADER_LIMIT = 1 << 20  # bytes of one header; long names are headers, too
# IndexError: what `tarfile` makes of a sparse header that is cut off.
DAMAGE = (tarfile.TarError, OSError, ValueError, EOFError, ArithmeticError, RecursionError, IndexError)


@dataclass(frozen=True)
class Index:
    """Where the members of an archive are.

    Attributes:
        members: name -> (offset, size in bytes), in the archive's order; regular files only.
        left_out: (name, reason) of what is no regular file or cannot be read; an empty name is the archive itself.
    """

    members: dict[str, tuple[int, int]]
    left_out: tuple[tuple[str, str], ...]


def index_of(path: Path) -> Index:
    """Return where the members of an archive are.

    Raises:
        SourceUnreadable: if it is no tar archive.
        OSError: if it cannot be opened.
    """
    facts = path.stat()
    return _read_index(path, facts.st_mtime_ns, facts.st_size)


def member_bytes(path: Path, member: str, limit: int) -> bytes:
    """Return the content of a member.

    Raises:
        OSError: if there is none of that name, or it has more than `limit` bytes.
    """
    try:
        place = index_of(path).members.get(member)
    except SourceUnreadable as error:
        raise OSError(error.reason) from error
    if place is None:
        raise OSError("no such member in the archive")
    offset, size = place
    if size > limit:
        raise too_large(size, limit)
    with path.open("rb") as archive:
        archive.seek(offset)
        return archive.read(size)


class _Headers(io.RawIOBase):
    """An archive as `tarfile` may read it: small pieces, forward from any place that exists."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= HEADER_LIMIT:
            raise tarfile.ReadError("a header of unlikely size")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


# A shard of 10,000 members takes about 2 MB.
@lru_cache(maxsize=4)
def _read_index(path: Path, _changed: int, size: int) -> Index:
    members: dict[str, tuple[int, int]] = {}
    left_out: list[tuple[str, str]] = []
    with _Headers(path) as headers:
        try:
            archive = tarfile.TarFile(fileobj=headers, encoding="utf-8", errors="surrogateescape")
        except DAMAGE as error:
            raise SourceUnreadable(path, "not a tar archive, or a compressed one; unpack it to .tar first") from error
        end = 0
        while True:
            try:
                member = archive.next()
            except DAMAGE:
                left_out.append(("", f"the archive is damaged or cut off (at byte {end:,}); what comes before is used"))
                break
            if member is None:
                left_out += _missing_end(headers, archive.offset)
                break
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
            if archive.offset <= end:  # a size below zero would be read for ever
                left_out.append(("", f"the archive is damaged or cut off (at byte {end:,}); what comes before is used"))
                break
            end = archive.offset
            if member.isdir():
                continue
            reason = _fault(member, size, members)
            if reason:
                left_out.append((member.name, reason))
            else:
                members[member.name] = member.offset_data, member.size
    return Index(members, tuple(left_out))


def _fault(member: tarfile.TarInfo, size: int, members: dict[str, tuple[int, int]]) -> str:
    if member.issym() or member.islnk():
        return "a link in an archive; links are not followed"
    if not member.isfile():
        return "not a regular file"
    if member.issparse():
        return "a sparse file in an archive"
    if member.size < 0 or member.offset_data + member.size > size:
        return "damaged or cut off (it ends after the archive)"
    return "a second member of this name; the first is used" if member.name in members else ""


def _missing_end(headers: _Headers, offset: int) -> list[tuple[str, str]]:
    """Say so if an archive does not end as archives do; `tarfile` takes any nonsense for the end."""
    headers.seek(offset)
    block = headers.read(BLOCK)
    if len(block) == BLOCK and not any(block):
        return []
    return [("", f"the archive is damaged or cut off (at byte {offset:,}); what comes before is used")]
