"""Methods that know nothing of the task: what a choice must beat to be worth anything."""

import warnings

import numpy as np

from mllctl.kernels.arrays import Float
from mllctl.kernels.reuse import best_models
from mllctl.methods.protocol import Afterwards, Asked, Choice, Method, as_score, known

DRAWS = 200  # orders that `random` draws: the mean of its top-1 is within a fifth of a point


def _random(asked: Asked, _: Afterwards | None) -> Choice:
    drawn = asked.random.permuted(np.tile(np.arange(len(asked.models)), (DRAWS, 1)), axis=1)
    return Choice(drawn.astype(np.float64))


def _best_on_average(_: Asked, afterwards: Afterwards | None) -> Choice:
    return Choice(as_score(mean_known(known(afterwards).others)))


def _mean_rank(_: Asked, afterwards: Afterwards | None) -> Choice:
    """Order by mean rank over the other tasks; equal models share the mean of their ranks."""
    others = known(afterwards).others
    better = (others[:, None, :] > others[:, :, None]).sum(axis=2)
    equal = (others[:, None, :] == others[:, :, None]).sum(axis=2)
    rank = np.where(np.isnan(others), np.nan, better + (equal - 1) / 2)
    return Choice(as_score(-mean_known(rank)))


def _best_universal(asked: Asked, _: Afterwards | None) -> Choice:
    return Choice(as_score(asked.universal))


def _largest(asked: Asked, _: Afterwards | None) -> Choice:
    return Choice(as_score(asked.parameters))


def best_together(method: Method, k: int) -> Method:
    """Return the method that has the `k` models another one finds best answer all classes together.

    They are weighed by entropy, as the paper does it with the methods it compares itself with (its Table 2).
    """

    def choose(asked: Asked, afterwards: Afterwards | None) -> Choice:
        score = method.choose(asked, afterwards).score[:1]
        worth = np.repeat(score.T, len(asked.classes), axis=1)
        return Choice(score, best_models(worth, k), worth, "entropy")

    about = f"the {k} best of {method.name}, by entropy"
    return Method(f"{method.name}-k{k}", about, method.sees, choose, per_class=True, need=method.need)


def mean_known(values: Float) -> Float:
    """Return the mean of each column's known values, nan where there are none."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that a column is all nan is an answer, too
        return np.asarray(np.nanmean(values, axis=0))


_INB = Method("inb", "the best model on the universal sample set (INB)", "facts", _best_universal, need="universal")
BASELINES = (
    Method("random", "any model: mean of seeded draws", "facts", _random),
    Method("size", "the model with the most parameters", "facts", _largest, need="parameters"),
    _INB,
    best_together(_INB, 3),
    Method("best-on-average", "the best mean over the other tasks", "other tasks", _best_on_average),
    Method("mean-rank", "the best mean rank over the other tasks", "other tasks", _mean_rank),
)
