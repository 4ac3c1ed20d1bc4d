"""Show things: tables for people, JSON for programs, messages and progress on stderr.

A table fits itself to a terminal, or to COLUMNS; where that is too narrow, each row is a list. On a pipe a row is one
line however long, so that `grep` sees it whole. NO_COLOR gives plain text. JSON goes out as it is, one document, keys
as documented in docs/cli.md.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Protocol

import typer
from rich.cells import cell_len

# Only a terminal needs the rest of Rich; on a pipe it would be imported for nothing.
if TYPE_CHECKING:
    from rich.console import Console, RenderableType

FOLDED = 20  # characters that a folded column has at least
GAP = 2  # characters between columns
LINE_EVERY = 30.0  # seconds between lines of progress where nothing can be overwritten


class Advance(Protocol):
    """Told how far work has come."""

    def __call__(self, name: str, done: int, total: int, /) -> None:
        """`done` of `total` images of the model `name`; images that cannot be read make the total smaller."""


def say(message: str) -> None:
    """Print a message on stderr."""
    typer.echo(f"mllctl: {message}", err=True)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    plain = not sys.stdout.encoding.lower().startswith("utf")
    typer.echo(json.dumps(value, indent=2, ensure_ascii=plain, allow_nan=False))


def print_line(line: str = "") -> None:
    """Print a line of data, wrapped to the terminal."""
    console = _console()
    if console is None:
        typer.echo(line)
        return
    from rich.text import Text

    _print(console, Text(line))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], numeric: Sequence[str] = (), whole: Sequence[str] = ()
) -> None:
    """Print rows under a line of headings.

    Where the terminal is narrow, headings are folded between words, and values too, except in `numeric` columns, which
    are set to the right, and in `whole` ones. Where that would leave columns with less than `FOLDED` characters of
    values that are longer, each row is a list of its own.
    """
    right = [column in numeric for column in columns]
    texts = [[_text(value) for value in row] for row in rows]
    console = _console()
    if console is None:
        _print_aligned([list(columns), *texts], right)
        return
    kept = [column in (*numeric, *whole) for column in columns]
    widths = _column_widths(columns, texts, kept, console.width)
    if widths is None:
        _print_one_by_one(columns, texts)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, width, numbers in zip(columns, widths, right, strict=True):
        table.add_column(column, justify="right" if numbers else "left", width=width, overflow="fold")
    for row in texts:
        table.add_row(*map(Text, row))
    _print(console, table)


def _column_widths(
    columns: Sequence[str], texts: Sequence[Sequence[str]], kept: Sequence[bool], width: int
) -> list[int] | None:
    """Share the terminal's width among columns; None where it does not suffice.

    What is left once every column has what it needs goes to values that are folded, then to headings; to the column
    that lacks least first.
    """
    values = [_longest(row[n] for row in texts) for n in range(len(columns))]
    words = [_longest(column.split()) for column in columns]
    widths = [
        max(word, value if whole else min(value, FOLDED))
        for value, word, whole in zip(values, words, kept, strict=True)
    ]
    left = width - GAP * (len(columns) - 1) - sum(widths)
    if left < 0:
        return None
    for wanted in (values, [cell_len(column) for column in columns]):
        lacking = [max(0, want - has) for want, has in zip(wanted, widths, strict=True)]
        for n in sorted(range(len(columns)), key=lacking.__getitem__):
            more = min(left, lacking[n])
            widths[n] += more
            left -= more
    return widths


def _print_one_by_one(columns: Sequence[str], texts: Sequence[Sequence[str]]) -> None:
    """Print each row as a list, a blank line between them."""
    for number, row in enumerate(texts):
        if number:
            print_line()
        print_facts(dict(zip(columns, row, strict=True)))


def print_facts(facts: Mapping[str, object]) -> None:
    """Print named facts about one thing, one under the other."""
    rows = [[name.replace("_", " "), _text(value)] for name, value in facts.items()]
    console = _console()
    if console is None:
        _print_aligned(rows, [False, False])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    _print(console, table)


def percent(share: float) -> str:
    """Return a share as a percentage with one decimal."""
    return f"{100 * share:.1f}"


@contextmanager
def progress(unit: str = "images") -> Iterator[Advance]:
    """Show a bar per model on a terminal; on a pipe, a line every half a minute and one at the end of each.

    Args:
        unit: what is counted, in the plural.
    """
    if not sys.stderr.isatty():
        yield ProgressLines(unit=unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}
        rates: dict[str, Rate] = {}

        def advance(name: str, done: int, total: int, /) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total, rate="")
                rates[name] = Rate(done)
            rate = rates[name].at(done)
            bars.update(tasks[name], completed=done, total=total, rate=f"{rate:.1f}/s" if rate else "")

        yield advance


class Rate:
    """Images a second since the first that was heard of: what was done before an interruption took no time now."""

    def __init__(self, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._first = done
        self._clock = clock
        self._begin = clock()

    @property
    def seconds(self) -> float:
        """Time since then."""
        return self._clock() - self._begin

    def at(self, done: int) -> float | None:
        """Return images a second once `done` are done; None if there is nothing to tell yet."""
        seconds = self.seconds
        return (done - self._first) / seconds if done > self._first and seconds > 0 else None


class ProgressLines:
    """Progress where nothing can be overwritten: a line now and then, with what is left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, unit: str = "images") -> None:
        self._clock = clock
        self._unit = unit
        self._rates: dict[str, Rate] = {}
        self._said: dict[str, float] = {}

    def __call__(self, name: str, done: int, total: int, /) -> None:
        """Say how far `name` has come if it is at its end, or nothing was said for half a minute."""
        now = self._clock()
        known = self._rates.setdefault(name, Rate(done, self._clock))
        rate = known.at(done)
        if done == total:
            took = f" in {duration(known.seconds)}, {rate:.1f} {self._unit}/s" if rate else ""
            say(f"{name}: {total} {self._unit}{took}")
        elif now - self._said.setdefault(name, now) >= LINE_EVERY and rate:
            self._said[name] = now
            left = duration((total - done) / rate)
            say(f"{name}: {done} of {total} {self._unit}, {rate:.1f} {self._unit}/s, {left} left")


def duration(seconds: float) -> str:
    """Return a time as `0:07`, `12:30` or `3:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _console() -> "Console | None":
    """Return a console that knows how wide it may write, or None if there is no limit."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return None
    from rich.console import Console

    # Rich takes NO_COLOR to mean no colours, and would still print bold headings.
    return Console(color_system=None if os.environ.get("NO_COLOR") else "auto", highlight=False)


def _print(console: "Console", shown: "RenderableType") -> None:
    """Print by `typer.echo`, as all else: Typer ends without a word when `head` has read enough."""
    with console.capture() as captured:
        console.print(shown)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _print_aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    """Print columns two spaces apart: for 200,000 rows Rich takes 20 s and this 1 s."""
    widths = [_longest(column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        for parts in zip_longest(*(text.splitlines() or [""] for text in row), fillvalue=""):
            cells = zip(parts, widths, right, strict=True)
            lines.append("  ".join(_padded(part, width, left) for part, width, left in cells).rstrip())
    typer.echo("\n".join(lines))


def _padded(text: str, width: int, right: bool) -> str:
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank


def _longest(texts: Iterable[str]) -> int:
    return max((cell_len(line) for text in texts for line in text.splitlines()), default=0)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
