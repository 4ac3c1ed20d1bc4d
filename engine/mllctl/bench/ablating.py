"""One option of the selection changed at a time, all others as they are: the paper's Tables 3 and 4, and more.

Each value is asked of MLL as the paper has it and of ours, with a model a class and with three; `k` of that many.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from mllctl.bench.ground import Ground, GroundTask
from mllctl.bench.measuring import measure
from mllctl.bench.records import Cell, Plan
from mllctl.bench.running import Progress, fill
from mllctl.errors import InvalidTask
from mllctl.kernels.ensemble import Weighting
from mllctl.methods import ENSEMBLE_SIZE, PAPER, Method, label_method
from mllctl.select import ESTIMATORS, MATCHINGS

# What the paper's method and ours are, before an option of them is changed.
FAMILIES: Mapping[str, dict[str, Any]] = {
    "mll-paper": {"weighting": "entropy", **PAPER},
    "mll": {"weighting": "uniform", "domain": True},
}
MOST = 64  # values of one option


@dataclass(frozen=True)
class Factor:
    """An option that can be changed.

    Attributes:
        name: of the option of `bench ablate`.
        about: for its help.
        read: makes a value of a word; ValueError if it is none.
        option: of `label_method` or `select_models`.
    """

    name: str
    about: str
    read: Callable[[str], Any]
    option: str


def _share(word: str) -> float:
    value = float(word)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def _count(word: str) -> int:
    value = int(word)
    if value < 1:
        raise ValueError
    return value


def _one_of(known: Sequence[str], word: str) -> str:
    if word not in known:
        raise ValueError
    return word


FACTORS: Mapping[str, Factor] = {
    factor.name: factor
    for factor in (
        Factor("alpha", "numbers from 0 to 1, such as 0.5..0.9", _share, "alpha"),
        Factor("k", "models a class, such as 1..6", _count, "k"),
        Factor("nodes", "nodes a class, such as 1..20", _count, "nodes_per_class"),
        Factor("estimator", f"of {', '.join(ESTIMATORS)}", partial(_one_of, ESTIMATORS), "estimator"),
        Factor("matching", f"of {', '.join(MATCHINGS)}", partial(_one_of, MATCHINGS), "matching"),
        Factor(
            "weighting",
            f"of {', '.join(get_args(Weighting))}",
            partial(_one_of, get_args(Weighting)),
            "weighting",
        ),
    )
}


def read_values(factor: Factor, text: str) -> tuple[Any, ...]:
    """Read the values of an option: with commas between, or a range `low..high` in steps of 0.1 or 1.

    Raises:
        InvalidTask: if a word is no value of it, or there are more than `MOST`.
    """
    words = [word for part in text.split(",") for word in _range(factor, part.strip())]
    try:
        values = tuple(dict.fromkeys(factor.read(word) for word in words))
    except ValueError as error:
        raise InvalidTask(f"--{factor.name} {text}: give {factor.about}") from error
    if not 0 < len(values) <= MOST:
        raise InvalidTask(f"--{factor.name} {text}: give 1 to {MOST} values, got {len(values)}")
    return values


def _range(factor: Factor, part: str) -> list[str]:
    low, dots, high = part.partition("..")
    if not dots:
        return [part]
    step = 0.1 if factor.read is _share else 1
    try:
        first, last = float(factor.read(low)), float(factor.read(high))
        count = math.floor((last - first) / step + 1e-9) + 1
    except ValueError as error:
        raise InvalidTask(f"--{factor.name} {part}: give {factor.about}") from error
    if not 0 < count <= MOST:
        raise InvalidTask(f"--{factor.name} {part}: give 1 to {MOST} values, the lower one first")
    return [f"{first + step * n:.10g}" for n in range(count)]


def variant_methods(values: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, Method]]:
    """Yield each variant, such as `alpha=0.5`, with the methods it is asked of.

    Args:
        values: by the names of `FACTORS`.
    """
    for name, few in values.items():
        for value in few:
            for family, base in FAMILIES.items():
                for k in (value,) if name == "k" else (1, ENSEMBLE_SIZE):
                    changed = {**base, "k": k, FACTORS[name].option: value}
                    about = f"{family}, {k} models a class, {name} = {value}"
                    called = f"{family}-each" if name == "k" else f"{family}-k{k}"
                    yield f"{name}={value}", label_method(called, about, "each", **changed)


def run_ablation(
    path: Path,
    ground: Ground,
    values: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    plan: Plan,
    fresh: bool = False,
    progress: Progress | None = None,
) -> int:
    """Ask every variant on every task, and add what comes of it to the store; return the run's number.

    Args:
        path: the file of results.
        ground: of a suite of kind `hub`.
        values: by the names of `FACTORS`.
        seeds, plan, fresh, progress: as of `run_suite`.

    Raises:
        InvalidTask: if the ground has no labels.
        SourceUnreadable: if the file cannot be used.
    """
    methods = list(variant_methods(values))
    if lacking := next((lack for task in ground.tasks for _, one in methods if (lack := task.lacks(one))), ""):
        raise InvalidTask(
            f"{plan.kind} needs {lacking}, which {plan.suite} has not; run it on demo, or a suite of yours"
        )

    def cells_of(task: GroundTask, seed: int, done: set[tuple[int, str, str, str]]) -> list[Cell]:
        return [
            _as_variant(measure(task, method, seed), variant)
            for variant, method in methods
            if (seed, task.name, variant, method.name) not in done
        ]

    return fill(path, ground, seeds, plan, cells_of, fresh, progress)


def _as_variant(cell: Cell, variant: str) -> Cell:
    return replace(
        cell, variant=variant, outcomes=tuple(replace(outcome, variant=variant) for outcome in cell.outcomes)
    )
