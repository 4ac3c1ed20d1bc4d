"""The numbers that MLL's paper (arXiv 2501.18271) prints, and where its averages are not those of its cells."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

import mllctl_data

PAPER_SOURCE = "arXiv 2501.18271, as printed"
DIGITS = 4  # of what is printed


@dataclass(frozen=True)
class PrintedResult:
    """A number of Tables 1-4.

    Attributes:
        table: 1 to 4.
        method: `INB`, `ModelGPT` or `Proposal`.
        k: models a class.
        alpha: of Eq 7; None of methods that have none.
        dataset: its name here; None of an average over the 17 targets.
        metric: `accuracy`, in [0, 1], or `relative inference time`, 1 being that of k = 1.
        value: as printed.
    """

    table: int
    method: str
    k: int
    alpha: float | None
    dataset: str | None
    metric: str
    value: float


@dataclass(frozen=True)
class Slip:
    """A printed average that is not that of its cells.

    Attributes:
        table, method, k: which one.
        printed, computed: both to four digits.
    """

    table: int
    method: str
    k: int
    printed: float
    computed: float

    def __str__(self) -> str:
        where = f"Table {self.table}, {self.method}, k = {self.k}"
        return f"{where}: prints {self.printed:.{DIGITS}f}, its cells average {self.computed:.{DIGITS}f}"


@cache
def paper_results() -> tuple[PrintedResult, ...]:
    """Return all numbers of Tables 1-4, in their order."""
    return tuple(
        PrintedResult(
            table=int(row["table"]),
            method=row["method"],
            k=int(row["k"]),
            alpha=float(row["alpha"]) if row["alpha"] else None,
            dataset=row["dataset"] or None,
            metric=row["metric"],
            value=float(row["value"]),
        )
        for row in _rows("paper.csv")
    )


@cache
def paper_models() -> tuple[str, ...]:
    """Return the 49 models of the paper's hub, as ours names them, in the order of its Table 6."""
    return tuple(row["model"] for row in _rows("paper_models.csv"))


def paper_slips() -> tuple[Slip, ...]:
    """Return the averages that are off by more than rounding their cells can explain: half of the last digit twice."""
    slips = []
    for average in paper_results():
        alike = [r for r in paper_results() if (r.table, r.method, r.k) == (average.table, average.method, average.k)]
        cells = [result.value for result in alike if result.dataset]
        if average.dataset or not cells:
            continue
        computed = float(np.mean(cells))
        if abs(computed - average.value) > 10.0**-DIGITS:
            slips.append(Slip(average.table, average.method, average.k, average.value, round(computed, DIGITS)))
    return tuple(slips)


def _rows(name: str) -> Iterator[dict[str, str]]:
    with mllctl_data.path("published", name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
