"""Show things: tables for people, JSON for programs, messages and progress on stderr.

Colour and width are Rich's business: it honours NO_COLOR and COLUMNS, and writes plain text to a
pipe. JSON goes out as it is, one document, keys as documented in docs/cli.md.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 160  # columns of a table that is not shown on a terminal


class Advance(Protocol):
    """Told how far work has come."""

    def __call__(self, name: str, done: int, total: int, /) -> None:
        """`done` of `total` images of the model `name`."""


def out() -> Console:
    """Return the console for data."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, soft_wrap=False)


def say(message: str) -> None:
    """Print a message on stderr."""
    typer.echo(f"mllctl: {message}", err=True)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_line(line: str) -> None:
    """Print a line of data, wrapped to the terminal."""
    out().print(Text(line))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], numeric: Sequence[str] = ()) -> None:
    """Print rows under a line of headings; `numeric` columns are set to the right and never folded."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column in numeric
        table.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    out().print(table)


def percent(share: float) -> str:
    """Return a share as a percentage with one decimal."""
    return f"{100 * share:.1f}"


@contextmanager
def progress() -> Iterator[Advance]:
    """Show a bar per model on a terminal; on a pipe, a line at the end of each."""
    if not sys.stderr.isatty():
        yield _line_progress
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def advance(name: str, done: int, total: int, /) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield advance


def _line_progress(name: str, done: int, total: int, /) -> None:
    if done == total:
        say(f"{name}: {total} images")
