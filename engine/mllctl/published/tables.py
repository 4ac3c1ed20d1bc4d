"""Tables of published results, and the baseline that everything is compared with: the best model on ImageNet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mllctl.backends.names import near_names
from mllctl.errors import NotPublished, ResultsMixed
from mllctl.kernels.arrays import Float
from mllctl.kernels.ranking import best_first
from mllctl.published.records import Result, ResultTable

IMAGENET = "ImageNet 1k"


@dataclass(frozen=True)
class Baseline:
    """What one model, the same for all tasks, reaches.

    Attributes:
        model: the model.
        on: the data set on which it is the best.
        datasets: the tasks.
        value: of each, nan where the source has none, shape (tasks,).
        left: models that could not be compared, having no value on `on`.
    """

    model: str
    on: str
    datasets: tuple[str, ...]
    value: Float = field(repr=False)
    left: tuple[str, ...]

    @property
    def mean(self) -> float:
        """The mean over the tasks of which there is a value; nan if there is none."""
        known = self.value[~np.isnan(self.value)]
        return float(known.mean()) if len(known) else float("nan")


def matrix(
    results: Iterable[Result],
    source: str | None = None,
    metric: str | None = None,
    protocol: str | None = None,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
) -> ResultTable:
    """Make a table of models and data sets out of results of one source.

    Args:
        results: of any sources.
        source: whose; must be named where there are several.
        metric: which; must be named where a data set has several. Data sets without it are left out.
        protocol: how measured; must be named where there are several.
        models: rows, in this order; all by name when None. Not by the order of the file, which is often that of
            quality: ties, which go to the first, would be won by the better one.
        datasets: columns, in this order; all by name when None.

    Raises:
        NotPublished: if a name is not among the results.
        ResultsMixed: if there are several sources, protocols, or metrics of a data set, and none is named.
    """
    left = list(results)
    for kind, wanted in (("source", source), ("metric", metric), ("protocol", protocol)):
        left = _only(left, kind, wanted)
    for kind, names in (("model", models), ("dataset", datasets)):
        if names is not None:
            left = _among(left, kind, names)
    whose, how = (_one(kind, {getattr(result, kind) for result in left}) for kind in ("source", "protocol"))
    rows = tuple(sorted({result.model for result in left}) if models is None else models)
    columns = tuple(sorted({result.dataset for result in left}) if datasets is None else datasets)
    measured: dict[str, set[str]] = {name: set() for name in columns}
    for result in left:
        measured[result.dataset].add(result.metric)
    metrics = tuple(_one("metric", found, f" of {name}") for name, found in measured.items())
    at_row, at_column = ({name: n for n, name in enumerate(names)} for names in (rows, columns))
    value = np.full((len(rows), len(columns)), np.nan)
    for result in left:
        value[at_row[result.model], at_column[result.dataset]] = result.value
    return ResultTable(rows, columns, metrics, value, whose, how)


def best_on(table: ResultTable, among: Sequence[str], on: str = IMAGENET) -> Baseline:
    """Choose the best model on one data set, and look up what it reaches on the others of a table.

    Source: INB of MLL (arXiv 2501.18271), section 5.1, with one model. Ties go to the first of `among`.

    Args:
        table: of one source.
        among: the models to choose from; those without a value on `on` are said.
        on: the data set to choose by; it is no task.

    Raises:
        NotPublished: if the table has not the data set, or none of the models has a value on it.
        ValueError: if a model is named twice.
    """
    if len(set(among)) < len(among):
        raise ValueError("among must not name a model twice")
    if on not in table.datasets:
        raise NotPublished("dataset", on, near_names(on, table.datasets))
    known = {model: n for n, model in enumerate(table.models) if not np.isnan(table.of(on)[n])}
    present = [model for model in among if model in known]
    if not present:
        raise NotPublished("model", among[0] if among else "", near_names(among[0], table.models) if among else ())
    chosen = present[best_first(table.of(on)[[known[model] for model in present]])[0]]
    tasks = [n for n, name in enumerate(table.datasets) if name != on]
    return Baseline(
        model=chosen,
        on=on,
        datasets=tuple(table.datasets[n] for n in tasks),
        value=table.value[known[chosen], tasks],
        left=tuple(model for model in among if model not in known),
    )


def _only(results: list[Result], kind: str, wanted: str | None) -> list[Result]:
    """Return those of one source, metric or protocol; all if none is wanted."""
    return results if wanted is None else _among(results, kind, [wanted])


def _among(results: list[Result], kind: str, names: Sequence[str]) -> list[Result]:
    known = {str(getattr(result, kind)) for result in results}
    if unknown := next((name for name in names if name not in known), None):
        raise NotPublished(kind, unknown, near_names(unknown, sorted(known)))
    if twice := next((name for name in names if list(names).count(name) > 1), None):
        raise ValueError(f"{kind}s must be named once, got {twice!r} twice")
    wanted = set(names)
    return [result for result in results if getattr(result, kind) in wanted]


def _one(kind: str, found: set[str], of: str = "") -> str:
    """Return the only source, metric or protocol; empty if there are no results."""
    if len(found) > 1:
        raise ResultsMixed(kind, sorted(found), of)
    return next(iter(found), "")
