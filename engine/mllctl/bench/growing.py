"""Hubs of fewer models: random orders in which a hub grows, random sub-hubs, and hubs below a budget.

A method chooses once for the whole hub, and of a smaller one by the same scores: what a label says of a model does not
depend on which others there are. Methods whose score of a model does (mean ranks) are left out.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mllctl.bench.ground import Ground, GroundTask
from mllctl.bench.measuring import MODELS, REGRET, TOP1
from mllctl.bench.records import Cell, Outcome, Plan
from mllctl.bench.running import Progress, fill
from mllctl.errors import InvalidTask
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.ranking import weighted_tau
from mllctl.methods import METHODS, Choice, Method

GROWN = ("random", "inb", "inb-k3", "best-on-hub", "mll-paper-k1", "mll-paper-k3", "mll", "mll-k1", "mll-k3", "oracle")
SUBHUB_METHODS = (*GROWN, "best-on-average", "mll-names", "size")
# What they say of a model depends on which others there are.
OF_OTHERS = ("mean-rank", "modelgpt", "modelgpt-k3", "modelgpt-c", "modelgpt-g")
Cells = set[tuple[int, str, str, str]]


def methods_of_fewer(ground: Ground, wanted: Sequence[str], default: Sequence[str]) -> list[Method]:
    """Return the methods that can be asked of fewer models.

    Args:
        ground: the tasks.
        wanted: names; `default` when empty, as far as they can be asked.
        default: names.

    Raises:
        InvalidTask: if one that is wanted cannot be asked, or none can.
    """
    usable = []
    for name in dict.fromkeys(wanted or default):
        method = METHODS[name]
        lacking = next((f"needs {lack}" for task in ground.tasks if (lack := task.lacks(method))), "")
        if name in OF_OTHERS or method.sees_images or name in ("mll-2", "oracle-per-class"):
            lacking = lacking or "cannot be asked of fewer models"
        if lacking and wanted:
            raise InvalidTask(f"{name} {lacking}; leave it out")
        if not lacking:
            usable.append(method)
    if not usable:
        raise InvalidTask(f"none of {', '.join(default)} can be asked; name others with --method")
    return usable


def run_growth(
    path: Path,
    ground: Ground,
    methods: Sequence[Method],
    orders: int,
    plan: Plan,
    fresh: bool = False,
    progress: Progress | None = None,
) -> int:
    """Let the hub grow in random orders, model by model; return the run's number.

    The order is the seed of an outcome, `models=N` its variant. All tasks and methods see the same orders.

    Args:
        path: the file of results.
        ground: whose models the hub has in the end.
        methods: of `methods_of_fewer`.
        orders: how many, at least 1.
        plan, fresh, progress: as of `run_suite`.

    Raises:
        SourceUnreadable: if the file cannot be used.
    """
    count = len(ground.models)
    grown = [
        (order, f"models={size}", np.sort(_drawn(order, count)[:size]))
        for order in range(orders)
        for size in range(1, count + 1)
    ]
    return _run_hubs(path, ground, methods, grown, plan, fresh, progress)


def run_subhubs(
    path: Path,
    ground: Ground,
    methods: Sequence[Method],
    count: int,
    size: int,
    budget: bool,
    plan: Plan,
    fresh: bool = False,
    progress: Progress | None = None,
) -> int:
    """Let methods choose in random sub-hubs; return the run's number.

    The sub-hub is the seed of an outcome. With a budget, a number of parameters is drawn for each from those of its
    models, and what is larger cannot be chosen.

    Args:
        path: the file of results.
        ground: whose models are drawn from.
        methods: of `methods_of_fewer`.
        count: how many sub-hubs, at least 1.
        size: models of each, at least 2.
        budget: whether there is one.
        plan, fresh, progress: as of `run_suite`.

    Raises:
        InvalidTask: if there are fewer models than `size`.
        SourceUnreadable: if the file cannot be used.
    """
    if not 2 <= size <= len(ground.models):
        raise InvalidTask(f"--size must be 2 to {len(ground.models)}, as many as there are models, got {size}")
    variant = f"{size} models" + (" below a budget" if budget else "")
    hubs = [(n, variant, np.sort(_drawn(n, len(ground.models))[:size])) for n in range(count)]
    return _run_hubs(path, ground, methods, hubs, plan, fresh, progress, budget)


def _run_hubs(
    path: Path,
    ground: Ground,
    methods: Sequence[Method],
    hubs: Sequence[tuple[int, str, Int]],
    plan: Plan,
    fresh: bool,
    progress: Progress | None,
    budget: bool = False,
) -> int:
    place = {name: m for m, name in enumerate(ground.models)}
    sizes = _sizes(ground)
    if budget:
        hubs = [(n, variant, _affordable(models, sizes, n)) for n, variant, models in hubs]

    def cells_of(task: GroundTask, _: int, done: Cells) -> list[Cell]:
        at = np.full(len(ground.models), -1)
        at[[place[name] for name in task.models]] = np.arange(len(task.models))
        choices = {method.name: method(task.asked(0, method), task.afterwards()) for method in methods}
        return [
            cell
            for seed, variant, models in hubs
            for cell in _cells(task, choices, seed, variant, at[models][at[models] >= 0])
            if cell.place not in done
        ]

    return fill(path, ground, (0,), plan, cells_of, fresh, progress)


def _drawn(seed: int, count: int) -> Int:
    """Return the models in the order of a seed."""
    return np.random.default_rng([seed, count]).permutation(count)


def _sizes(ground: Ground) -> Float:
    """Return the parameters of all models, nan where not known, shape (m,)."""
    of = {name: size for task in ground.tasks for name, size in zip(task.models, task.parameters, strict=True)}
    return np.array([of.get(name, np.nan) for name in ground.models])


def _affordable(models: Int, sizes: Float, seed: int) -> Int:
    """Return those of a sub-hub's models that are not above the budget drawn for it; all if no size is known."""
    known = sizes[models][~np.isnan(sizes[models])]
    if not len(known):
        return models
    most = np.random.default_rng([seed, 1]).choice(np.sort(known))
    return np.asarray(models[sizes[models] <= most])


def _cells(task: GroundTask, choices: dict[str, Choice], seed: int, variant: str, models: Int) -> Iterator[Cell]:
    """Yield what each method comes to where only some models can be chosen; nothing where there are none."""
    if not len(models):
        return
    reached = task.reached[models]
    for name, choice in choices.items():
        small = choice.among(models)
        top1 = float(reached[small.chosen].mean())
        if small.members is not None and task.answered is not None:
            top1 = float(small.answered(task.answered.probability[models], task.answered.truth).mean())
        values = {TOP1: top1, REGRET: float(reached.max()) - top1, MODELS: float(small.models)}
        if small.members is None and len(models) > 1 and len(small.score) == 1:
            values["weighted tau"] = weighted_tau(small.score[0], reached)
        chosen = small.chosen if small.members is None else np.unique(small.members[small.members >= 0])
        yield Cell(
            seed=seed,
            task=task.name,
            variant=variant,
            method=name,
            chosen=tuple(task.models[models[m]] for m in dict.fromkeys(chosen.tolist())),
            seconds=0.0,
            outcomes=tuple(
                Outcome(seed, task.name, variant, name, metric, None if np.isnan(value) else value)
                for metric, value in values.items()
            ),
        )
