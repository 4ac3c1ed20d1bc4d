"""One method on one task: what it says, and what that is worth."""

import hashlib
import time
from collections import Counter

import numpy as np

from mllctl.bench.ground import GroundTask, folds
from mllctl.bench.records import AS_IT_IS, Cell, Outcome
from mllctl.kernels.arrays import Float
from mllctl.kernels.bootstrap import central_interval, resample_mean
from mllctl.kernels.ranking import METRICS
from mllctl.methods import Choice, Method

MASS = 0.9  # of intervals
RESAMPLES = 1_000  # of a task's images
TOP1, REGRET, MODELS, TIME = "top-1", "regret", "models", "ms an image"
# A method that has several models answer together says no order of models.
OF_RANKINGS = tuple(name for name in METRICS if name not in (TOP1, REGRET))
ALL = (TOP1, REGRET, *OF_RANKINGS, MODELS, TIME)


def measure(task: GroundTask, method: Method, seed: int) -> Cell:
    """Let a method choose for a task, and look up what its choice reaches.

    A method that sees a few images is asked twice, with either half, and measured on the other; its rankings are
    compared with what models reach there.

    Args:
        task: with all that the method needs; see `GroundTask.lacks`.
        method: the method.
        seed: of methods that draw, and of the halves.
    """
    begin = time.perf_counter()
    right: Float | None
    if method.sees_images:
        choices, right, rankings = _measure_halves(task, method, seed)
    else:
        choices = [method(task.asked(seed, method), task.afterwards())]
        right = None if task.answered is None else choices[0].answered(task.answered.probability, task.answered.truth)
        rankings = [(choices[0].score, task.reached)]
    seconds = time.perf_counter() - begin
    values = {TOP1: _top1(choices[0], task.reached) if right is None else float(right.mean())}
    values[REGRET] = float(task.reached.max()) - values[TOP1]
    between = {} if right is None else _between(right, task, seed)
    if not method.per_class:
        values |= {name: _of_rankings(name, rankings) for name in OF_RANKINGS}
    values[MODELS] = float(np.mean([choice.models for choice in choices]))
    if not np.isnan(task.milliseconds).any():
        values[TIME] = float(np.mean([_time(choice, task.milliseconds) for choice in choices]))
    return Cell(
        seed=seed,
        task=task.name,
        variant=AS_IT_IS,
        method=method.name,
        chosen=_chosen(choices, task.models),
        seconds=seconds,
        outcomes=tuple(
            Outcome(seed, task.name, AS_IT_IS, method.name, name, _known(value), *between.get(name, (None, None)))
            for name, value in values.items()
        ),
    )


def _measure_halves(
    task: GroundTask, method: Method, seed: int
) -> tuple[list[Choice], Float, list[tuple[Float, Float]]]:
    answered = task.answered
    assert answered is not None
    right = np.empty(len(answered.truth))
    choices, rankings = [], []
    for few, rest in folds(answered.truth, seed):
        choice = method(task.asked(seed, method, answered.of(few)), task.afterwards())
        probability, truth = answered.probability[:, rest], answered.truth[rest]
        right[rest] = choice.answered(probability, truth)
        choices.append(choice)
        rankings.append((choice.score, (probability.argmax(axis=2) == truth).mean(axis=1)))
    return choices, right, rankings


def _top1(choice: Choice, reached: Float) -> float:
    return float(reached[choice.chosen].mean())


def _time(choice: Choice, milliseconds: Float) -> float:
    """Return what the models that are used take for an image, one after the other; of several draws the mean."""
    if choice.members is None:
        return float(milliseconds[choice.chosen].mean())
    return float(milliseconds[np.unique(choice.members[choice.members >= 0])].sum())


def _of_rankings(name: str, rankings: list[tuple[Float, Float]]) -> float:
    """Return the mean of a metric over all draws of which it is defined; nan if of none."""
    values = np.array([METRICS[name](draw, truth) for score, truth in rankings for draw in score])
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _between(right: Float, task: GroundTask, seed: int) -> dict[str, tuple[float, float]]:
    """Return intervals over the images of the task."""
    said = hashlib.sha256(f"{seed}\n{task.name}".encode()).digest()
    drawn = resample_mean(right, RESAMPLES, np.random.default_rng(np.frombuffer(said, dtype=np.uint32)))
    low, high = central_interval(drawn, MASS)
    return {TOP1: (low, high)}


def _chosen(choices: list[Choice], models: tuple[str, ...]) -> tuple[str, ...]:
    """Return the models that are used, the most used first, ties to the first of the hub."""
    used: Counter[int] = Counter()
    for choice in choices:
        used.update((choice.chosen if choice.members is None else choice.members).ravel().tolist())
    used.pop(-1, None)  # no member
    return tuple(models[m] for m in sorted(used, key=lambda m: (-used[m], m)))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
