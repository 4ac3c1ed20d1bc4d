"""Methods that know nothing of the task: what a choice must beat to be worth anything."""

import warnings

import numpy as np

from mllctl.kernels.arrays import Float
from mllctl.methods.protocol import Afterwards, Asked, Choice, Method, as_score, known

DRAWS = 200  # orders that `random` draws: the mean of its top-1 is within a fifth of a point


def _random(asked: Asked, _: Afterwards | None) -> Choice:
    drawn = asked.random.permuted(np.tile(np.arange(len(asked.models)), (DRAWS, 1)), axis=1)
    return Choice(drawn.astype(np.float64))


def _best_on_average(_: Asked, afterwards: Afterwards | None) -> Choice:
    return Choice(as_score(_mean(known(afterwards).others)))


def _mean_rank(_: Asked, afterwards: Afterwards | None) -> Choice:
    """Order by mean rank over the other tasks; equal models share the mean of their ranks."""
    others = known(afterwards).others
    better = (others[:, None, :] > others[:, :, None]).sum(axis=2)
    equal = (others[:, None, :] == others[:, :, None]).sum(axis=2)
    rank = np.where(np.isnan(others), np.nan, better + (equal - 1) / 2)
    return Choice(as_score(-_mean(rank)))


def _best_universal(asked: Asked, _: Afterwards | None) -> Choice:
    return Choice(as_score(asked.universal))


def _largest(asked: Asked, _: Afterwards | None) -> Choice:
    return Choice(as_score(asked.parameters))


def _mean(values: Float) -> Float:
    """Return the mean of each column's known values, nan where there are none."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that a column is all nan is an answer, too
        return np.asarray(np.nanmean(values, axis=0))


BASELINES = (
    Method("random", "any model: mean of seeded draws", "facts", _random),
    Method("size", "the model with the most parameters", "facts", _largest),
    Method("inb", "the best model on the universal sample set (INB)", "facts", _best_universal),
    Method("best-on-average", "the best mean over the other tasks", "other tasks", _best_on_average),
    Method("mean-rank", "the best mean rank over the other tasks", "other tasks", _mean_rank),
)
