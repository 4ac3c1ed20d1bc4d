"""Files that are whole or not there: what a killed process leaves is never taken for one."""

import os
import tempfile
from pathlib import Path

from mllctl.errors import SourceUnreadable


def check_new(path: Path, *, replace: bool = False) -> None:
    """Refuse a file that could not, or should not, be written; before long work rather than after.

    Raises:
        SourceUnreadable: if there is such a file already, and it is not to be replaced; or no such folder.
    """
    if path.is_dir():
        raise SourceUnreadable(path, "is a folder; name a file")
    if path.exists() and not replace:
        raise SourceUnreadable(path, "is there already; name a new file or give --force")
    if not path.parent.is_dir():
        raise SourceUnreadable(path, "there is no such folder to write it in; make it first")


def write_whole(path: Path, text: str) -> None:
    """Write a text in one step: who reads the file finds all of it, or what was there before."""
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".", text=True)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(unfinished).chmod(0o666 & ~_umask())
        Path(unfinished).replace(path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _umask() -> int:
    """Return which permissions new files are not to have; asking for it is setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
