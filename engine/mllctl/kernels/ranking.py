"""How good a ranking of models for one task is: what the pick gets, the top of the ranking, and rank correlations.

`predicted` is what a method says each model is worth, `truth` what it is worth; both of shape (m,), finite, the
greater the better. Where one model must be chosen or a top be cut, equal values go to the lower index. A mean over
tasks and its interval are `bootstrap`'s, a comparison of two methods `paired`'s.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from mllctl.kernels.arrays import Float, Int

TOP = 5  # as LOVM has it


def best_first(score: Float) -> Int:
    """Return the order of models by descending score, ties to the lower index, shape (m,).

    Raises:
        ValueError: if `score` is not of shape (m,), or not finite.
    """
    _need_scores(score=score)
    return np.argsort(-score, kind="stable")


def truth_of_chosen(predicted: Float, truth: Float) -> float:
    """Return what the chosen model is worth: of accuracies, its top-1.

        truth[c],  c = argmax predicted, the first of equals

    Raises:
        ValueError: if there is no model, or on what `best_first` refuses.
    """
    _need_scores(predicted=predicted, truth=truth)
    _need_a_model(truth)
    return float(truth[predicted.argmax()])


def regret(predicted: Float, truth: Float) -> float:
    """Return by how much the chosen model is worse than the oracle's, >= 0.

        max truth - truth[c],  c = argmax predicted, the first of equals

    Raises:
        ValueError: if there is no model, or on what `best_first` refuses.
    """
    got = truth_of_chosen(predicted, truth)
    return float(truth.max()) - got


def top_recall(predicted: Float, truth: Float, top: int = TOP) -> float:
    """Return the share of the truly best models that the ranking has among its best, in [0, 1].

        |P and T| / |T|,  P the `top` best by prediction, T the `top` best by truth

    Source: LOVM (arXiv 2306.08893), R5, for top = 5. With fewer models than `top`, P and T are all of them and it is 1,
    which is what its released code gives, too; that code leaves ties to an unstable sort.

    Raises:
        ValueError: if there is no model, `top` < 1, or on what `best_first` refuses.
    """
    return len(_both_tops(predicted, truth, top)) / min(top, len(truth))


def top_tau(predicted: Float, truth: Float, top: int = TOP) -> float:
    """Return Kendall's tau of those models that are at the top of both rankings, in [-1, 1].

        tau_b over P and T;  0 if |P and T| <= 2,  P and T as in `top_recall`

    Source: LOVM (arXiv 2306.08893), tau, as its released code computes it: models in one top only do not count, and
    two common ones are too few to speak of an order.

    Returns:
        tau; nan where all common models are equal by prediction, or by truth.

    Raises:
        ValueError: if there is no model, `top` < 1, or on what `best_first` refuses.
    """
    common = _both_tops(predicted, truth, top)
    return kendall_tau(predicted[common], truth[common]) if len(common) > 2 else 0.0


def kendall_tau(predicted: Float, truth: Float) -> float:
    """Return Kendall's tau-b, in [-1, 1].

        sum_{i<j} P[i,j] T[i,j] / sqrt(sum_{i<j} P[i,j]^2 * sum_{i<j} T[i,j]^2)
        P[i,j] = sign(predicted[i] - predicted[j]),  T[i,j] = sign(truth[i] - truth[j])

    Source: Kendall, The treatment of ties in ranking problems (1945). A pair that is tied on one side counts against
    neither.

    Returns:
        tau; nan with fewer than two models, or where all are equal on one side.

    Raises:
        ValueError: on what `best_first` refuses, or shapes that differ.
    """
    _need_scores(predicted=predicted, truth=truth)
    return _tau(predicted, truth, np.ones(len(truth)))


def weighted_tau(predicted: Float, truth: Float) -> float:
    """Return Kendall's tau with pairs weighed by how near the top they are, in [-1, 1].

        sum_{i<j} w[i,j] P[i,j] T[i,j] / sqrt(sum_{i<j} w[i,j] P[i,j]^2 * sum_{i<j} w[i,j] T[i,j]^2)
        w[i,j] = 1 / (1 + r[i]) + 1 / (1 + r[j]),  r[i] = 0 for the best model

    Source: Vigna, A weighted correlation index for rankings with ties (WWW 2015), additive hyperbolic weights. It is
    the mean of two values: with r by prediction, ties by truth, and with r by truth, ties by prediction; models that
    are tied on both sides are interchangeable. The same as `scipy.stats.weightedtau` by default.

    Returns:
        tau; nan with fewer than two models, or where all are equal on one side.

    Raises:
        ValueError: on what `best_first` refuses, or shapes that differ.
    """
    _need_scores(predicted=predicted, truth=truth)
    place = np.arange(len(truth))
    values = []
    for first, second in ((predicted, truth), (truth, predicted)):
        weight = np.empty(len(truth))
        weight[np.lexsort((-second, -first))] = 1 / (1 + place)
        values.append(_tau(predicted, truth, weight))
    return (values[0] + values[1]) / 2


def pearson(predicted: Float, truth: Float) -> float:
    """Return Pearson's correlation, in [-1, 1].

        sum_i p[i] t[i] / sqrt(sum_i p[i]^2 * sum_i t[i]^2),  p and t less their means

    Returns:
        r; nan with fewer than two models, or where all are equal on one side.

    Raises:
        ValueError: on what `best_first` refuses, or shapes that differ.
    """
    _need_scores(predicted=predicted, truth=truth)
    # Asked of the values themselves: what is left of equal ones less their mean is rounding, not always 0.
    if len(truth) < 2 or (predicted == predicted[0]).all() or (truth == truth[0]).all():
        return float("nan")
    one, other = _centred(predicted), _centred(truth)
    return float(np.clip(one @ other / np.sqrt((one @ one) * (other @ other)), -1, 1))


def spearman(predicted: Float, truth: Float) -> float:
    """Return Spearman's rho: `pearson` of ranks, those of equal values being their mean rank.

    Raises:
        ValueError: on what `best_first` refuses, or shapes that differ.
    """
    _need_scores(predicted=predicted, truth=truth)
    return pearson(_mean_ranks(predicted), _mean_ranks(truth))


def _both_tops(predicted: Float, truth: Float, top: int) -> Int:
    """Return the models that are among the `top` best of both, ascending."""
    _need_scores(predicted=predicted, truth=truth)
    _need_a_model(truth)
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    return np.intersect1d(best_first(predicted)[:top], best_first(truth)[:top])


def _tau(one: Float, other: Float, weight: Float) -> float:
    """Return tau with w[i,j] = weight[i] + weight[j].

    Such weights can be summed by models: sum_{i<j} w[i,j] S[i,j] = sum_i weight[i] sum_j S[i,j], S being symmetric and
    0 on its diagonal. The inner sums are whole numbers, exact.
    """
    signs = [np.greater.outer(score, score).astype(np.int8) - np.less.outer(score, score) for score in (one, other)]
    agree, left, right = (
        weight @ np.einsum("ij,ij->i", a, b, dtype=np.int64)
        for a, b in (signs, (signs[0], signs[0]), (signs[1], signs[1]))
    )
    if left == 0 or right == 0:
        return float("nan")
    return float(np.clip(agree / np.sqrt(left * right), -1, 1))


def _centred(score: Float) -> Float:
    """Return scores less their mean, in units of the greatest of these, so that no square is lost or too large."""
    scaled = score / np.abs(score).max()
    less = scaled - scaled.mean()
    return np.asarray(less / np.abs(less).max())


def _mean_ranks(score: Float) -> Float:
    _, group, count = np.unique(score, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[group])


def _need_a_model(truth: Float) -> None:
    if len(truth) == 0:
        raise ValueError("a ranking needs at least one model")


def _need_scores(**scores: Float) -> None:
    for name, score in scores.items():
        if score.ndim != 1:
            raise ValueError(f"{name} must have shape (models,), got {score.shape}")
        if not np.isfinite(score).all():
            raise ValueError(f"{name} must be finite; leave models without a value out")
    if len({len(score) for score in scores.values()}) > 1:
        raise ValueError(f"{' and '.join(scores)} must be of the same models, got {[len(s) for s in scores.values()]}")


# (predicted, truth) -> value, by the names of reports; R5 and tau are LOVM's.
METRICS: Mapping[str, Callable[[Float, Float], float]] = MappingProxyType(
    {
        "top-1": truth_of_chosen,
        "regret": regret,
        "R5": top_recall,
        "tau": top_tau,
        "tau-b": kendall_tau,
        "weighted tau": weighted_tau,
        "Pearson": pearson,
        "Spearman": spearman,
    }
)
