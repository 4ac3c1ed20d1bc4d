"""What an import gives: single results, and what there is to say of how they were read."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mllctl.kernels.arrays import Float

Unit = Literal["fraction", "percent"]


@dataclass(frozen=True)
class Result:
    """What one source says one model reaches on one data set.

    Attributes:
        model: as the hub names it, `arch/tag`, where it can be so named.
        dataset: as open_clip's tables name it, where it is known.
        metric: such as `acc1` or `mean_per_class_recall`.
        value: in [0, 1], whatever the unit of the source.
        unit: in which the source gives it.
        protocol: how it was measured, as far as the source says; may be empty.
        source: whose number it is. Two sources are two results, even of equal values.
    """

    model: str
    dataset: str
    metric: str
    value: float
    unit: Unit
    protocol: str
    source: str

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """Everything that makes it another result than others; there is one value of each."""
        return self.model, self.dataset, self.metric, self.protocol, self.source


@dataclass(frozen=True)
class Imported:
    """A file of results, read.

    Attributes:
        path: the file.
        format: one of `FORMATS`.
        results: in the order of the file.
        notes: what was converted, renamed or left out, a sentence each.
    """

    path: str
    format: str
    results: tuple[Result, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A number of a file as it is written, with all that its row and column say of it.

    Attributes:
        row: 1 is the first; in CSV that is the header.
        column: its header.
        named: what the file calls the data set.
        text: the number.
        unit: where the file says it.
    """

    row: int
    column: str
    model: str
    named: str
    metric: str
    text: str
    unit: Unit | None
    protocol: str
    source: str


@dataclass(frozen=True)
class Rows:
    """A file as rows of text.

    Attributes:
        path: the file.
        columns: headers, none of them twice.
        rows: number of each row, and its cells by column; a column may be missing.
        notes: what was left out already.
    """

    path: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResultTable:
    """Results of one source as a table.

    Attributes:
        models: of the rows.
        datasets: of the columns.
        metrics: one of each data set.
        value: in [0, 1], nan where the source has none, shape (models, datasets).
        source: whose numbers they are.
        protocol: how they were measured.
    """

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    value: Float = field(repr=False)
    source: str
    protocol: str

    def of(self, dataset: str) -> Float:
        """Return the values on one data set, shape (models,)."""
        return np.asarray(self.value[:, self.datasets.index(dataset)])
