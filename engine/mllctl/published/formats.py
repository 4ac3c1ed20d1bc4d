"""What the columns of published tables mean: from rows of text to cells.

    open_clip        docs/openclip_results.csv: `name`, `pretrained`, a column a data set
    clip_benchmark   CSV or JSON of CLIP_benchmark: `dataset`, `model`, `pretrained`, a column a metric
    lovm             `model_fullname`, `dataset`, a column a metric
    long             `model`, `task` or `dataset`, `metric`, `value`; perhaps `pretrained`, `unit`, `protocol`, `source`

Each reader says what it leaves out. Numbers are read by `units`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from mllctl.errors import SourceUnreadable
from mllctl.published.names import hub_model, open_clip_metric, usual_dataset
from mllctl.published.records import Cell, Rows, Unit

UNSTATED = "not stated"  # a metric that a table of data sets does not name
ZERO_SHOT = "zero-shot"

_METRIC = re.compile(r"^acc|_acc$|accuracy|recall|precision|f1|jaccard|auc", re.IGNORECASE)
_KEYS = ("model", "pretrained", "dataset", "task", "language", "model_fullname", "protocol", "source", "unit")
_NO_DATASET = re.compile(r"^(params \(M\)|FLOPs \(B\)|average\b.*)$", re.IGNORECASE)
# Columns of openclip_retrieval_results.csv.
_RETRIEVAL = re.compile(r"(?P<dataset>.+) (?P<kind>image|text) retr\. R@(?P<rank>\d+)")
_JACCARD = re.compile(r"(?P<dataset>.+?) (?P<metric>(avg )?jaccard score.*)")
_PERCENT = ("%", "percent", "percentage", "per cent")
_FRACTION = ("fraction", "proportion", "ratio", "0-1", "1")


@dataclass(frozen=True)
class Given:
    """What a caller says of a whole file, for cells of which the file does not.

    Attributes:
        source: whose numbers they are.
        protocol: how they were measured; empty if not said.
        unit: of its numbers; None if not said.
    """

    source: str
    protocol: str = ""
    unit: Unit | None = None


@dataclass(frozen=True)
class Format:
    """A kind of table: which columns it must have, and how its rows are read.

    Attributes:
        columns: all of them; of `a|b` one.
        read: gives the cells of a table.
        left: which columns it does not read.
    """

    columns: tuple[str, ...]
    read: Callable[[Rows, Given], Iterator[Cell]]
    left: Callable[[Sequence[str]], list[str]]

    def lacks(self, columns: Sequence[str]) -> list[str]:
        """Return which columns are missing."""
        return [names for names in self.columns if not set(names.split("|")) & set(columns)]


def detect(rows: Rows) -> str:
    """Say which format a table is of: the first one of which no column is missing.

    Raises:
        SourceUnreadable: if it is of none.
    """
    fitting = [name for name, format_ in FORMATS.items() if not format_.lacks(rows.columns)]
    if not fitting:
        shown = ", ".join(rows.columns[:8]) + (", ..." if len(rows.columns) > 8 else "")
        forms = "; ".join(f"{name} ({', '.join(format_.columns)})" for name, format_ in FORMATS.items())
        raise SourceUnreadable(rows.path, f"row 1: columns {shown} are of no format; known are {forms}")
    return fitting[0]


def read_cells(rows: Rows, format_: str, given: Given) -> tuple[list[Cell], list[str]]:
    """Return the cells of a table, and notes on what is left out.

    Raises:
        SourceUnreadable: if a column is missing, or a row does not name its model, data set or metric.
    """
    reader = FORMATS[format_]
    if missing := reader.lacks(rows.columns):
        raise SourceUnreadable(rows.path, f"row 1: no column {missing[0]}, which {format_} tables have")
    cells = list(reader.read(rows, given))
    left = reader.left(rows.columns)
    return cells, [f"columns left out: {', '.join(left)}"] if left else []


def _open_clip(rows: Rows, given: Given) -> Iterator[Cell]:
    columns = [name for name in rows.columns if name not in ("name", "pretrained") and not _NO_DATASET.match(name)]
    meant = {column: _dataset_and_metric(column) for column in columns}
    for number, row in rows.rows:
        model = hub_model(_named(rows, number, row, "name"), row.get("pretrained", ""))
        for column, (named, metric) in meant.items():
            protocol, text = given.protocol or ZERO_SHOT, row.get(column, "")
            yield Cell(number, column, model, named, metric, text, given.unit, protocol, given.source)


def _open_clip_left(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if _NO_DATASET.match(name)]


def _dataset_and_metric(column: str) -> tuple[str, str]:
    if read := _RETRIEVAL.fullmatch(column):
        return read["dataset"], f"{read['kind']}_retrieval_recall@{read['rank']}"
    if read := _JACCARD.fullmatch(column):
        return read["dataset"], read["metric"]
    return column, open_clip_metric(usual_dataset(column)) or UNSTATED


def _clip_benchmark(rows: Rows, given: Given) -> Iterator[Cell]:
    for number, row in rows.rows:
        model = hub_model(_named(rows, number, row, "model"), row.get("pretrained", ""))
        yield from _metric_columns(rows, number, row, model, given)


def _lovm(rows: Rows, given: Given) -> Iterator[Cell]:
    for number, row in rows.rows:
        model = hub_model(_named(rows, number, row, "model_fullname"))
        yield from _metric_columns(rows, number, row, model, given)


def _metric_columns(rows: Rows, number: int, row: dict[str, str], model: str, given: Given) -> Iterator[Cell]:
    dataset = _named(rows, number, row, "dataset")
    told = row.get("protocol") or ", ".join(part for part in (row.get("task"), row.get("language")) if part)
    unit = _unit(rows, number, row) or given.unit
    for column in rows.columns:
        # A JSON object that does not have a metric has no such cell; a CSV row has an empty one.
        if _METRIC.search(column) and column not in _KEYS and column in row:
            metric, text, source = column, row[column], row.get("source") or given.source
            yield Cell(number, column, model, dataset, metric, text, unit, told or given.protocol, source)


def _metric_columns_left(columns: Sequence[str]) -> list[str]:
    # A nameless column is the index that pandas writes.
    return [name for name in columns if name and name not in _KEYS and not _METRIC.search(name)]


def _long(rows: Rows, given: Given) -> Iterator[Cell]:
    where = "dataset" if "dataset" in rows.columns else "task"
    for number, row in rows.rows:
        protocols = [row.get("protocol"), row.get("task") if where == "dataset" else "", row.get("language")]
        yield Cell(
            row=number,
            column="value",
            model=hub_model(_named(rows, number, row, "model"), row.get("pretrained", "")),
            named=_named(rows, number, row, where),
            metric=_named(rows, number, row, "metric"),
            text=row.get("value", ""),
            unit=_unit(rows, number, row) or given.unit,
            protocol=", ".join(part for part in protocols if part) or given.protocol,
            source=row.get("source") or given.source,
        )


def _long_left(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if (name and name not in (*_KEYS, "metric", "value")) or name == "model_fullname"]


def _named(rows: Rows, number: int, row: dict[str, str], column: str) -> str:
    if not row.get(column):
        raise SourceUnreadable(rows.path, f"row {number}, column {column!r}: empty; every row names its {column}")
    return row[column]


def _unit(rows: Rows, number: int, row: dict[str, str]) -> Unit | None:
    told = row.get("unit", "").lower()
    if not told:
        return None
    if told not in (*_PERCENT, *_FRACTION):
        raise SourceUnreadable(rows.path, f"row {number}, column 'unit': {told!r} is not {' or '.join(get_args(Unit))}")
    return "percent" if told in _PERCENT else "fraction"


FORMATS = {
    "long": Format(("model", "dataset|task", "metric", "value"), _long, _long_left),
    "clip_benchmark": Format(("dataset", "model", "pretrained"), _clip_benchmark, _metric_columns_left),
    "lovm": Format(("model_fullname", "dataset"), _lovm, _metric_columns_left),
    "open_clip": Format(("name", "pretrained"), _open_clip, _open_clip_left),
}
