"""What a run comes to: means over tasks with intervals, and how far each method is ahead of one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mllctl.bench.measuring import ALL, MASS, MODELS, REGRET, TOP1
from mllctl.bench.records import MEAN, Outcome
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
    """

    task: str
    variant: str
    method: str
    metric: str
    value: float | None
    low: float | None
    high: float | None


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
    return [
        Row(*key, *(_mean([getattr(one, name) for one in few]) for name in ("value", "low", "high")))
        for key, few in groups.items()
    ]


def mean_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the mean over tasks of each variant, method and metric, with an interval over the tasks."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        values = groups.setdefault((row.variant, row.method, row.metric), [])
        if row.value is not None:
            values.append(row.value)
    means = []
    for (variant, method, metric), values in groups.items():
        if values:
            # All methods and metrics draw the same tasks.
            low, high = central_interval(resample_mean(np.array(values), RESAMPLES, np.random.default_rng(0)), MASS)
            means.append(Row(MEAN, variant, method, metric, float(np.mean(values)), low, high))
        else:
            means.append(Row(MEAN, variant, method, metric, None, None, None))
    return means


def compare(rows: Sequence[Row], against: str, metric: str = TOP1, variant: str = "") -> list[Comparison]:
    """Compare every method with one, task by task.

    Args:
        rows: of tasks.
        against: the method they are compared with.
        metric: of what.
        variant: within which.

    Returns:
        one for each other method that has a task in common with it.
    """
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.metric == metric and row.variant == variant and row.value is not None:
            values.setdefault(row.method, {})[row.task] = row.value
    comparisons = []
    for method, of_task in values.items():
        common = [task for task in of_task if task in values.get(against, {})]
        if method != against and common:
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
    """Return the methods by their mean top-1, the best first, ties by name; those that have none last."""
    top1 = {row.method: row.value for row in means if row.metric == TOP1 and row.value is not None}
    return sorted({row.method for row in means}, key=lambda method: (-top1.get(method, -1.0), method))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


__all__ = ["MODELS", "REGRET", "TOP1", "Comparison", "Row", "compare", "mean_rows", "order_of", "task_rows"]
