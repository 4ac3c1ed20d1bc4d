"""`sql`: a person's questions to the labels."""

from typing import Annotated

import typer

import mllctl
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption, hub_path


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(sql)


def sql(
    query: Annotated[str, typer.Argument(help="One SQL query; DuckDB's dialect.", show_default=False)],
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Ask the model labels in SQL. Read-only; no file can be read or written.

    Views: precision, precision_by_domain, confusion, similarity, model_card, sample, and the table macro
    precision_over(['dog.n.01', ...]); docs/hub.md has the schema.

    Example: mllctl sql "select model, node, precision from precision order by precision desc limit 5"
    """
    with mllctl.Hub.open(hub_path(hub)) as opened:
        table = opened.query(query)
    if json:
        render.print_json([dict(zip(table.columns, map(_plain, row), strict=True)) for row in table.rows])
        return
    numbers = [
        name
        for n, name in enumerate(table.columns)
        if table.rows and all(isinstance(row[n], int | float) for row in table.rows)
    ]
    rows = [[f"{cell:.4g}" if isinstance(cell, float) else cell for cell in row] for row in table.rows]
    render.print_table(table.columns, rows, numbers)


def _plain(value: object) -> object:
    """Return a value that JSON can carry; what it cannot becomes text."""
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
