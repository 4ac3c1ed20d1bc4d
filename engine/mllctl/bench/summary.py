"""What a run comes to: means over tasks with intervals, and how far each method is ahead of one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mllctl.bench.measuring import ALL, MASS, TOP1
from mllctl.bench.records import MEAN, PRINTED, Outcome
from mllctl.kernels.arrays import Float
from mllctl.kernels.bootstrap import central_interval, resample_mean
from mllctl.kernels.paired import sign_flip

RESAMPLES = 10_000  # of tasks


@dataclass(frozen=True)
class Row:
    """One number of a table.

    Attributes:
        task: its name, or `mean`.
        variant: what was changed.
        method, metric: as of `Outcome`.
        value: None where the metric is not defined.
        low, high: ends of the middle 90 %: over the images of a task, of a mean over tasks; None where there is none.
        tasks: of how many tasks the value is.
    """

    task: str
    variant: str
    method: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    tasks: int = 1


@dataclass(frozen=True)
class Comparison:
    """How far a method is ahead of another over the tasks of a run.

    Attributes:
        method, against: the two.
        metric: of what.
        mean: of the differences over the tasks both have; positive where the value of `method` is higher.
        low, high: ends of the middle 90 % of resampled means.
        better, worse: on how many tasks.
        p: of `paired.sign_flip`.
    """

    method: str
    against: str
    metric: str
    mean: float
    low: float
    high: float
    better: int
    worse: int
    p: float


def task_rows(outcomes: Sequence[Outcome], metrics: Sequence[str] = ALL) -> list[Row]:
    """Return a row for each task, variant, method and metric, seeds averaged, in the order of the outcomes."""
    groups: dict[tuple[str, str, str, str], list[Outcome]] = {}
    for one in outcomes:
        if one.metric in metrics:
            groups.setdefault((one.task, one.variant, one.method, one.metric), []).append(one)
    rows = []
    for key, few in groups.items():
        value, low, high = (_mean([getattr(one, name) for one in few]) for name in ("value", "low", "high"))
        rows.append(Row(*key, value, low, high))
    return rows


def mean_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the mean of each variant, method and metric over the tasks that have it, with an interval over them."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        values = groups.setdefault((row.variant, row.method, row.metric), [])
        if row.value is not None:
            values.append(row.value)
    means = []
    for (variant, method, metric), values in groups.items():
        if values:
            # Those that are defined of all tasks draw the same ones.
            low, high = central_interval(resample_mean(np.array(values), RESAMPLES, np.random.default_rng(0)), MASS)
            means.append(Row(MEAN, variant, method, metric, float(np.mean(values)), low, high, len(values)))
        else:
            means.append(Row(MEAN, variant, method, metric, None, None, None, 0))
    return means


def compare(rows: Sequence[Row], against: str, metric: str = TOP1, variant: str = "") -> list[Comparison]:
    """Compare every method with one, task by task.

    Args:
        rows: of tasks.
        against: the method they are compared with.
        metric: of what.
        variant: within which.

    Returns:
        one for each other method that has a task in common with it and was measured: what the paper prints is of
        other models.
    """
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.metric == metric and row.variant == variant and row.value is not None:
            values.setdefault(row.method, {})[row.task] = row.value
    comparisons = []
    for method, of_task in values.items():
        common = [task for task in of_task if task in values.get(against, {})]
        if method != against and common and not method.startswith(PRINTED):
            apart = np.array([of_task[task] - values[against][task] for task in common])
            comparisons.append(_compared(method, against, metric, apart))
    return comparisons


def _compared(method: str, against: str, metric: str, apart: Float) -> Comparison:
    said = hashlib.sha256(f"{method}\n{against}\n{metric}".encode()).digest()
    low, high = central_interval(resample_mean(apart, RESAMPLES, np.random.default_rng(0)), MASS)
    return Comparison(
        method=method,
        against=against,
        metric=metric,
        mean=float(apart.mean()),
        low=low,
        high=high,
        better=int((apart > 0).sum()),
        worse=int((apart < 0).sum()),
        p=sign_flip(apart, np.random.default_rng(np.frombuffer(said, dtype=np.uint32))),
    )


def order_of(means: Sequence[Row]) -> list[str]:
    """Return the methods by mean top-1, the best first, ties by name; then those without, then printed ones."""
    top1 = {row.method: row.value for row in means if row.metric == TOP1 and row.value is not None}
    every = {row.method for row in means}
    return sorted(every, key=lambda method: (method.startswith(PRINTED), -top1.get(method, -1.0), method))


def by_number(variant: str) -> tuple[str, float, str]:
    """Return what variants are sorted by: the option, then its value as a number, else as a word."""
    name, _, value = variant.partition("=")
    number = number_of(variant)
    return (name, np.inf, value) if number is None else (name, number, "")


def number_of(variant: str) -> float | None:
    """Return the value of a variant such as `alpha=0.5`; None if it is no number."""
    try:
        return float(variant.partition("=")[2])
    except ValueError:
        return None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
