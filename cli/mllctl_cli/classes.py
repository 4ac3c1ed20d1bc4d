"""Read the classes of a task from a file, from stdin or from options."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mllctl.errors import InvalidTask

ClassesOption = Annotated[
    Path | None,
    typer.Option("--classes", metavar="FILE", help="File with one class a line; - reads stdin.", show_default=False),
]
ClassOption = Annotated[
    list[str] | None, typer.Option("--class", metavar="NAME", help="One class; may be given again and again.")
]


def read_classes(file: Path | None, given: list[str] | None) -> list[str]:
    """Return the classes of a file, or those given one by one; blank lines at the end do not count.

    Raises:
        InvalidTask: if neither or both are given, or the file cannot be read as text.
    """
    if file and given:
        raise InvalidTask("give --classes FILE or --class NAME, not both")
    if file:
        return _read_text(file).rstrip().splitlines()
    if not given:
        raise InvalidTask("name the classes by --classes FILE, or by --class NAME once for each")
    return given


def _read_text(file: Path) -> str:
    name = "stdin" if str(file) == "-" else str(file)
    try:
        content = sys.stdin.buffer.read() if name == "stdin" else file.read_bytes()
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidTask(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except IsADirectoryError as error:
        raise InvalidTask(f"{name} is a folder; give a text file with one class a line") from error
    except FileNotFoundError as error:
        raise InvalidTask(f"no file {name}; give a text file with one class a line") from error
    except PermissionError as error:
        raise InvalidTask(f"{name} may not be read; check its permissions") from error
    # Letters a byte apart, as UTF-16 has them, are valid UTF-8 too.
    if "\0" in text:
        raise InvalidTask(f"{name} is not UTF-8 text (byte {content.index(0)} is zero); save it as UTF-8")
    return text
