"""`sql`: a person's questions to the labels."""

import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import typer

import mllctl
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption, hub_path


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(sql)


def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SQL query; DuckDB's dialect.")],
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Ask the model labels in SQL.

    Only questions are answered: nothing is changed, and no file is read or written. Views: precision,
    precision_by_domain, confusion, similarity, model_card, sample, and the table macro precision_over(['dog.n.01',
    ...]); docs/hub.md has the schema.

    Example: mllctl sql "from precision order by precision desc limit 5"
    """
    with mllctl.Hub.open(hub_path(hub)) as opened:
        table = opened.query(query)
    columns = _distinct(table.columns)
    if json:
        render.print_json([dict(zip(columns, map(_plain, row), strict=True)) for row in table.rows])
        return
    numbers = [
        name
        for n, name in enumerate(columns)
        if table.rows and all(isinstance(row[n], int | float | Decimal) for row in table.rows)
    ]
    rows = [[f"{cell:.4g}" if isinstance(cell, float) else cell for cell in row] for row in table.rows]
    render.print_table(columns, rows, numbers)


def _distinct(columns: Sequence[str]) -> list[str]:
    """Number columns of the same name: in JSON the last one would be all that is left."""
    seen = Counter[str]()
    names = []
    for column in columns:
        seen[column] += 1
        names.append(column if seen[column] == 1 else f"{column}_{seen[column]}")
    return names


def _plain(value: object) -> object:
    """Return a value that JSON can carry; what it cannot becomes text."""
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
