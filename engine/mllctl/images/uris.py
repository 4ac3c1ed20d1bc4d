"""The bytes behind a uri. A uri is one of

    /path/to/file.png                     a file
    /path/to/shard.tar#cats/17.jpg        a member of a tar archive, which stays packed
    /path/to/pack.parquet#17              row 17 of a Parquet file with a column `picture` of encoded bytes
    mllctl_data:demo/images.parquet#17    the same in the files mllctl ships

Names of files may hold a `#` themselves.
"""

import os
import stat
from pathlib import Path

import mllctl_data
from mllctl.images import packs, tars

SHIPPED = "mllctl_data:"
MAX_BYTES = 1 << 28  # of one encoded image: 256 MB


def read_bytes(uri: str) -> bytes:
    """Return the encoded bytes behind a uri.

    Raises:
        OSError: if they cannot be read, or are more than `MAX_BYTES`.
    """
    path, row = split_row(uri)
    if row is not None:
        return packs.picture(locate(path), row, MAX_BYTES)
    path, member = split_member(uri)
    if member is not None:
        return tars.member_bytes(locate(path), member, MAX_BYTES)
    return _file_bytes(locate(uri))


def file_behind(uri: str) -> Path:
    """Return the file that a uri's bytes are in: the image's own, the archive or the pack."""
    path, row = split_row(uri)
    return locate(path if row is not None else split_member(uri)[0])


def split_row(uri: str) -> tuple[str, int | None]:
    """Split the uri of a Parquet file into its path and its row."""
    path, _, row = uri.rpartition("#")
    # int() reads at most 4,300 digits, and no file has rows beyond 18 of them.
    return (path, int(row)) if path.lower().endswith(".parquet") and row.isdecimal() and len(row) < 19 else (uri, None)


def split_member(uri: str) -> tuple[str, str | None]:
    """Split the uri of a member into the archive's path and the member's name: at the first `.tar#` that is a file."""
    start = uri.lower().find(".tar#")
    while start >= 0:
        path, member = uri[: start + 4], uri[start + 5 :]
        if locate(path).is_file():
            return path, member
        start = uri.lower().find(".tar#", start + 1)
    return uri, None


def locate(path: str) -> Path:
    """Return where the path of a uri is on this machine."""
    if path.startswith(SHIPPED):
        return mllctl_data.path(*path.removeprefix(SHIPPED).split("/"))
    return Path(path)


def store(path: Path) -> str:
    """Return the path of a uri for a file: that of a shipped one holds wherever mllctl is installed."""
    resolved, shipped = path.resolve(), mllctl_data.path().resolve()
    if resolved.is_relative_to(shipped):
        return f"{SHIPPED}{resolved.relative_to(shipped).as_posix()}"
    return str(resolved)


def _file_bytes(path: Path) -> bytes:
    """Read a file, but no pipe or device, which may never end."""
    if "\0" in str(path):
        raise OSError("no such file")
    # Without O_NONBLOCK, opening a pipe waits for whoever writes to it.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise OSError("not a regular file")
        if facts.st_size > MAX_BYTES:
            raise too_large(facts.st_size)
        return file.read(MAX_BYTES)


def too_large(size: int) -> OSError:
    """Return the error of encoded bytes beyond the limit."""
    return packs.too_large(size, MAX_BYTES)
