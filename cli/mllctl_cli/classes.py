"""Read the classes of a task from a file, from stdin or from options."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mllctl.errors import InvalidTask

ClassesOption = Annotated[
    Path | None, typer.Option("--classes", help="File with one class a line; - reads stdin.", show_default=False)
]
ClassOption = Annotated[list[str] | None, typer.Option("--class", help="One class; may be given again and again.")]


def read_classes(file: Path | None, given: list[str] | None) -> list[str]:
    """Return the classes of a file, or those given one by one; blank lines at the end do not count.

    Raises:
        InvalidTask: if neither or both are given, or the file cannot be read as text.
    """
    if (file is None) == (not given):
        raise InvalidTask("give the classes by --classes FILE or by --class NAME, once for each")
    if file is None:
        return list(given or [])
    return _read_text(file).rstrip().splitlines()


def _read_text(file: Path) -> str:
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidTask(f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except IsADirectoryError as error:
        raise InvalidTask(f"{file} is a folder; give a text file with one class a line") from error
    except FileNotFoundError as error:
        raise InvalidTask(f"no file {file}; give a text file with one class a line") from error
    except PermissionError as error:
        raise InvalidTask(f"{file} may not be read; check its permissions") from error
