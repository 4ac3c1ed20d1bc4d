"""`run_suite`: every method on every task of a suite, into the store; what was done before an interruption is kept."""

import hashlib
import json
import platform
import shlex
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mllctl.bench.ground import Ground, GroundTask
from mllctl.bench.measuring import TOP1, measure
from mllctl.bench.records import AS_IT_IS, PRINTED, Cell, Outcome, Plan
from mllctl.bench.store import add_cells, begin_run, finish_run, stored_cells
from mllctl.bench.suites import Suite
from mllctl.errors import InvalidTask
from mllctl.kernels.arrays import Float, Int
from mllctl.methods import METHODS, Method
from mllctl.published import paper_results

Progress = Callable[[str, int, int], None]  # (what, tasks done, tasks in all)

LIBRARIES = ("mllctl", "numpy", "duckdb", "torch", "open_clip_torch", "sentence-transformers")
REACHED, F1 = "reached", "F1 of "  # of a model and not of a method
# The paper's name of a method -> ours of its printed numbers.
IN_PAPER = {"Proposal": "MLL", "ModelGPT": "ModelGPT", "INB": "INB"}


def plan_run(
    suite: Suite,
    ground: Ground,
    kind: str,
    methods: Sequence[str],
    seeds: Sequence[int],
    options: Iterable[str] = (),
    where: Iterable[str] = (),
) -> Plan:
    """Say what a run is: the same plan gives the same numbers.

    Args:
        suite: what was asked for.
        ground: what is there of it.
        kind: `run`, `ablate`, `grow` or `subhubs`.
        methods, seeds: of the run.
        options: of the command, as they are typed.
        where: options that say only where something is, and do not make another run.
    """
    versions = {name: version(name) for name in LIBRARIES}
    settings: dict[str, Any] = {"methods": list(methods), "seeds": list(seeds), "options": list(options)}
    settings |= {"against": suite.against, "metrics": {task.name: task.metric for task in ground.tasks}}
    said = ["mllctl", "bench", kind, suite.asked, *settings["options"], *where]
    facts = [kind, ground.digest, settings, versions]
    return Plan(
        kind=kind,
        suite=suite.name,
        command=shlex.join(said),
        key=hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
        settings=settings,
        versions={**versions, "python": platform.python_version(), "system": platform.platform(), **ground.about},
        missing=ground.missing,
    )


def methods_for(suite: Suite, ground: Ground, wanted: Sequence[str] = ()) -> tuple[list[Method], list[str]]:
    """Return the methods that can be asked on every task of a ground, and why others cannot, a sentence a reason.

    Args:
        suite: its methods are asked unless others are wanted.
        ground: the tasks.
        wanted: names; those of the suite, else all, when empty.

    Raises:
        InvalidTask: if none can be asked.
    """
    names = wanted or suite.methods or tuple(METHODS)
    usable: list[Method] = []
    lacks: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        lacking = next((lack for task in ground.tasks if (lack := task.lacks(METHODS[name]))), "")
        if lacking:
            lacks.setdefault(lacking, []).append(name)
        else:
            usable.append(METHODS[name])
    left = [f"{', '.join(few)}: needs {lacking}" for lacking, few in lacks.items()]
    if not usable:
        raise InvalidTask(f"{suite.name}: no method can be asked; {'; '.join(left)}")
    return usable, left


def run_suite(
    path: Path,
    suite: Suite,
    ground: Ground,
    methods: Sequence[Method],
    seeds: Sequence[int],
    plan: Plan,
    fresh: bool = False,
    progress: Progress | None = None,
) -> int:
    """Ask every method on every task, and add what comes of it to the store, task by task; return the run's number.

    Args:
        path: the file of results, made if there is none.
        suite: what is run.
        ground: what is true of it.
        methods: those that can be asked.
        seeds: each for all tasks.
        plan: of this run; one with the same key that was interrupted goes on.
        fresh: begin anew in any case.
        progress: told of every task.

    Raises:
        SourceUnreadable: if the file cannot be used.
    """

    def cells_of(task: GroundTask, seed: int, done: set[tuple[int, str, str, str]]) -> list[Cell]:
        cells = [
            measure(task, method, seed) for method in methods if (seed, task.name, AS_IT_IS, method.name) not in done
        ]
        return cells + [cell for cell in _given(suite, task, seed) if cell.place not in done]

    return fill(path, ground, seeds, plan, cells_of, fresh, progress)


def fill(
    path: Path,
    ground: Ground,
    seeds: Sequence[int],
    plan: Plan,
    cells_of: Callable[[GroundTask, int, set[tuple[int, str, str, str]]], list[Cell]],
    fresh: bool = False,
    progress: Progress | None = None,
) -> int:
    """Make the cells of every task and seed that are not in the store yet; return the run's number.

    Args:
        path: the file of results.
        ground: the tasks.
        seeds: of methods that draw.
        plan: of the run.
        cells_of: makes what is missing of a task and seed; told what is there.
        fresh: begin anew in any case.
        progress: told of every task.

    Raises:
        SourceUnreadable: if the file cannot be used.
    """
    run = begin_run(path, plan, fresh)
    done = stored_cells(path, run)
    count = len(seeds) * len(ground.tasks)
    for n, (seed, task) in enumerate((seed, task) for seed in seeds for task in ground.tasks):
        if cells := cells_of(task, seed, done):
            add_cells(path, run, cells)
        if progress:
            progress(f"{plan.kind} {plan.suite}", n + 1, count)
    finish_run(path, run)
    return run


def _given(suite: Suite, task: GroundTask, seed: int) -> list[Cell]:
    """Return what no method says: what every model reaches, and what the paper prints."""
    cells = []
    for m, model in enumerate(task.models):
        values = {REACHED: float(task.reached[m])}
        if task.answered is not None:
            of_class = _f1(task.answered.probability[m].argmax(axis=1), task.answered.truth, len(task.classes))
            values |= {F1 + name: value for name, value in zip(task.classes, of_class.tolist(), strict=True)}
        cells.append(_plain_cell(seed, task.name, f"model: {model}", (model,), values))
    if suite.paper:
        for printed in paper_results():
            if printed.table in (1, 2) and printed.method in IN_PAPER and printed.dataset == task.name:
                shown = f"{PRINTED}{IN_PAPER[printed.method]}, k = {printed.k}"
                cells.append(_plain_cell(seed, task.name, shown, (), {TOP1: printed.value}))
    return cells


def _plain_cell(seed: int, task: str, name: str, chosen: tuple[str, ...], values: dict[str, float]) -> Cell:
    outcomes = tuple(
        Outcome(seed, task, AS_IT_IS, name, metric, None if np.isnan(value) else value)
        for metric, value in values.items()
    )
    return Cell(seed, task, AS_IT_IS, name, chosen, 0.0, outcomes)


def _f1(said: Int, truth: Int, classes: int) -> Float:
    """Return the F1 of each class: twice its hits over how often it is said and true; nan if it is neither."""
    hits = np.bincount(truth[said == truth], minlength=classes)
    both = np.bincount(said, minlength=classes) + np.bincount(truth, minlength=classes)
    return np.where(both > 0, 2 * hits / np.maximum(both, 1), np.nan)
