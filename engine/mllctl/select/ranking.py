"""From what is believed of each model on each class to answers: one model, few models, a model a class."""

from dataclasses import dataclass

import numpy as np

from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.reuse import best_models, reuse_metric
from mllctl.kernels.subset import best_subset
from mllctl.select.selection import Answer, Options

FEW = 2  # models of the answer in the middle, where no number is asked for


@dataclass(frozen=True)
class Ranked:
    """What models are ordered by, and how they come out.

    Attributes:
        reuse: r, shape (m, c).
        single: the one model for the whole task.
        answers: one model, few models, a model a class.
    """

    reuse: Float
    single: int
    answers: tuple[Answer, ...]


def rank(precision: Float, share: Float, covered: Bool, overall: int, options: Options) -> Ranked:
    """Order the candidates by p and r (Eq 7).

    Args:
        precision: p, shape (m, c).
        share: the same in the form people read, shape (m, c).
        covered: whether anything speaks for a class, shape (c,).
        overall: the model that leads where nothing does.
        options: how the selection is made.
    """
    reuse = reuse_metric(precision, options.alpha)
    single = int(np.argmax(precision.mean(axis=1))) if covered.any() else overall
    one = _members(reuse[[single]], 1, 0) + single
    # What is believed after examples may be a little under 0; choices do not change when all is lifted.
    lift = max(0.0, -float(reuse.min()))
    few = best_subset(reuse + lift, min(options.max_models or FEW, len(precision)))
    # Where nothing speaks for any class all choices are alike, and the first would be taken.
    places = few.models if covered.any() else np.array([overall])
    members = places[_members(reuse[places], options.k, _place(places, overall))]
    each = _members(reuse, options.k, overall)
    bound, bound_of_few = float(reuse.max(axis=0).mean()), few.bound / len(covered) - lift
    answers = (
        Answer("one", one, (single,), _mean(share, one, covered), True, float(reuse[single].mean())),
        Answer("few", members, _used(members), _mean(share, members, covered), few.exact, bound_of_few),
        Answer("each", each, _used(each), _mean(share, each, covered), True, bound),
    )
    return Ranked(reuse, single, answers)


def _place(models: Int, model: int) -> int:
    """Return where `model` stands among `models`, else the first place."""
    found = np.flatnonzero(models == model)
    return int(found[0]) if len(found) else 0


def _mean(share: Float, members: Int, covered: Bool) -> float:
    """Return what the first model of each class is believed to reach, mean over the covered classes."""
    best = share[members[:, 0], np.arange(len(members))][covered]
    return float(best.mean()) if len(best) else 0.0


def _used(members: Int) -> tuple[int, ...]:
    return tuple(np.unique(members).tolist())


def _members(reuse: Float, k: int, overall: int) -> Int:
    """Return the k best models of each class; where nothing speaks for any, the best overall leads."""
    members = best_models(reuse, k)
    silent = ~(reuse > 0).any(axis=0)
    if silent.any():
        others = [model for model in range(reuse.shape[0]) if model != overall]
        members[silent] = np.array([overall, *others])[:k]
    return members
