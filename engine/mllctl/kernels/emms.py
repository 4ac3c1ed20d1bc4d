"""EMMS: how well features reach, by linear regression, a mixture of label embeddings of several foundation models.

    features X (n, d), F-labels Y_k (n, e) ── standardised ── M (k, k) ── weights t on the simplex ── score

For any weights t the best linear map is a projection, so all there is to find is t:

    min over W, t of |X W - sum_k t_k Y_k|^2 = min over t of t^T M t,  M_kl = <Y_k, (I - H) Y_l>,  H = X X^+

M is as small as there are foundation models. Where all images of a class have the same F-labels, which is so whenever
the label is a class name, M comes from the scatter matrix and c x c numbers; nothing of n x e is made.
Source: Meng et al., Foundation Model is Efficient Multimodal Multitask Model Selector (NeurIPS 2023), section 3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mllctl.kernels.arrays import AnyArray, Float, Int
from mllctl.kernels.summary import FeatureSummary, checked_features

Solver = Literal["exact", "alternating", "released"]

STEPS = 10_000
CONVERGED = 1e-13  # relative change of the objective
WELL_POSED = 1e-10  # least pivot of a Cholesky factor, squared, against the greatest


@dataclass(frozen=True)
class Emms:
    """What EMMS finds.

    Attributes:
        score: minus the least mean square, <= 0; of `released` as its code scales it, times e^2.
        weights: t, of each foundation model, >= 0, sum 1, shape (k,).
        residual: |X W - sum_k t_k Y_k|^2 over standardised columns (with a ridge, its penalty included).
    """

    score: float
    weights: Float
    residual: float


@dataclass(frozen=True)
class _Problem:
    """Inner products of standardised F-labels: own <Y_k, Y_l>, of their projections <Y_k, H Y_l>, each (k, k)."""

    own: Float
    projected: Float
    images: int
    width: int

    def residual(self, weights: Float) -> float:
        """Return |(I - H) Y t|^2."""
        return max(float(weights @ (self.own - self.projected) @ weights), 0.0)


def emms(features: AnyArray, label_embeddings: AnyArray, solver: Solver = "exact", ridge: float = 0.0) -> Emms:
    """Return how well features reach the F-labels of a task, the greater the better.

    Every column of X and of each Y_k is brought to mean 0 and variance 1 (ddof 0) first; a constant one becomes 0.

        exact         the minimum over all t on the simplex: a quadratic programme
        alternating   from equal weights: least squares in W, then a step of t down the slope, projected onto the
                      simplex (sparsemax); the objective never rises
        released      the authors' code: equal weights, W, unconstrained least squares in t, sparsemax, and the residual
                      of that W with these weights; score = - residual / n * e

    Args:
        features: X, shape (n, d).
        label_embeddings: Y, shape (n, e, k).
        solver: one of the three.
        ridge: added to the diagonal of X^T X, times n; with n <= d it must be above 0, as X reaches anything.

    Raises:
        ValueError: on shapes that do not agree, numbers that are not finite, an unknown solver, or n <= d and no ridge.
    """
    values = checked_features(features)
    if label_embeddings.ndim != 3 or len(label_embeddings) != len(values) or label_embeddings.size == 0:
        raise ValueError(
            f"label_embeddings must have shape ({len(values)}, width, models), got {label_embeddings.shape}"
        )
    if not np.isfinite(label_embeddings).all():
        raise ValueError("label_embeddings must be finite")
    kinds = _kinds(label_embeddings)
    if kinds is not None:
        truth, first = kinds
        return emms_of_classes(values, truth, np.asarray(label_embeddings[first]), solver, ridge)
    _check(len(values), values.shape[1], solver, ridge)
    standard = _standard(values)
    gram = standard.T @ standard
    factor = _factor(gram, ridge * len(values))
    width, models = label_embeddings.shape[1:]
    columns = [_standard(np.asarray(label_embeddings[:, :, k], dtype=np.float64)) for k in range(models)]
    reached = [factor(standard.T @ column) for column in columns]
    own = np.array([[np.vdot(one, other) for other in columns] for one in columns])
    projected = np.array([[np.vdot(one, other) for other in reached] for one in reached])
    return _solve(_Problem(own, projected, len(values), width), solver)


def emms_of_classes(
    features: AnyArray, labels: AnyArray, class_embeddings: AnyArray, solver: Solver = "exact", ridge: float = 0.0
) -> Emms:
    """Return `emms` of F-labels that are those of the image's class.

    Args:
        features: X, shape (n, d).
        labels: any integers, shape (n,).
        class_embeddings: of the c labels in ascending order, shape (c, e, k).
        solver, ridge: as of `emms`.

    Raises:
        ValueError: as `emms`.
    """
    return emms_of(FeatureSummary.of(features, labels), class_embeddings, solver, ridge)


def emms_of(summary: FeatureSummary, class_embeddings: AnyArray, solver: Solver = "exact", ridge: float = 0.0) -> Emms:
    """Return `emms_of_classes` of features that are summed up already."""
    if class_embeddings.ndim != 3 or len(class_embeddings) != summary.classes or class_embeddings.size == 0:
        raise ValueError(
            f"class_embeddings must have shape ({summary.classes}, width, models), got {class_embeddings.shape}"
        )
    if not np.isfinite(class_embeddings).all():
        raise ValueError("class_embeddings must be finite")
    _check(summary.images, summary.width, solver, ridge)
    deviation = _deviations(summary.scatter.diagonal(), summary.images, summary.mean)
    inverse = np.divide(1, deviation, out=np.zeros(summary.width), where=deviation > 0)
    gram = summary.scatter * inverse * inverse[:, None]
    reached = _factor(gram, ridge * summary.images)((summary.sums * inverse).T)
    counts = summary.counts.astype(np.float64)
    width, models = class_embeddings.shape[1:]
    columns = [_standard(np.asarray(class_embeddings[:, :, k], dtype=np.float64), counts) for k in range(models)]
    # <Y_k, B Y_l> over classes, for B of one-hot labels: their counts, and what of them H keeps.
    own = np.array([[np.vdot(one, counts[:, None] * other) for other in columns] for one in columns])
    kept = reached.T @ reached
    projected = np.array([[np.vdot(one, kept @ other) for other in columns] for one in columns])
    return _solve(_Problem(own, projected, summary.images, width), solver)


def _check(images: int, width: int, solver: str, ridge: float) -> None:
    if solver not in get_args(Solver):
        raise ValueError(f"solver must be one of {', '.join(get_args(Solver))}, got {solver!r}")
    if not ridge >= 0:
        raise ValueError(f"ridge must be at least 0, got {ridge}")
    if images <= width and ridge == 0:
        raise ValueError(
            f"{images} images of {width} features reach any labels, so that every score would be 0; "
            "give more images, or a ridge above 0"
        )


def _kinds(embeddings: AnyArray) -> tuple[Int, Int] | None:
    """Return which rows are alike and the first of each kind; None if there are more kinds than half the rows."""
    rows = embeddings.reshape(len(embeddings), -1)
    key = rows @ np.random.default_rng(0).random(rows.shape[1])
    _, first, kind = np.unique(key, return_index=True, return_inverse=True)
    kind = kind.reshape(-1)
    if 2 * len(first) > len(rows) or any((rows[at] != rows[first[kind[at]]]).any() for at in range(len(rows))):
        return None
    return kind, first


def _standard(values: Float, counts: Float | None = None) -> Float:
    """Bring columns to mean 0 and variance 1, rows counting as often as `counts` says; a constant one becomes 0."""
    weight = np.ones(len(values)) if counts is None else counts
    total = float(weight.sum())
    mean = weight @ values / total
    centred = values - mean
    deviation = _deviations(weight @ centred**2, total, mean)
    return np.divide(centred, deviation, out=np.zeros(centred.shape), where=deviation > 0)


def _deviations(squares: Float, images: float, mean: Float) -> Float:
    """Return standard deviations, 0 where they are rounding."""
    deviation = np.sqrt(np.maximum(squares, 0) / images)
    return np.asarray(np.where(deviation > 1e-14 * np.maximum(np.abs(mean), np.finfo(np.float64).tiny), deviation, 0.0))


def _factor(gram: Float, ridge: float) -> Callable[[Float], Float]:
    """Return what takes X^T Y to B with B^T B = Y^T H Y."""
    system = gram.copy()
    system.flat[:: len(gram) + 1] += ridge
    try:
        lower = np.asarray(np.linalg.cholesky(system), dtype=np.float64)
    except np.linalg.LinAlgError:
        lower = np.zeros((1, 1))
    pivots = lower.diagonal()
    if pivots.min() ** 2 > WELL_POSED * pivots.max() ** 2:
        return lambda products: _forward(lower, products)
    values, vectors = np.linalg.eigh(system)
    kept = values > values.max(initial=0) * len(gram) * np.finfo(np.float64).eps
    root = vectors[:, kept] / np.sqrt(values[kept])
    return lambda products: root.T @ products


def _forward(lower: Float, right: Float) -> Float:
    """Solve a triangular system by blocks: NumPy has none, and a general solver takes four times as long."""
    solved = np.array(right, dtype=np.float64)
    step = 256
    for at in range(0, len(lower), step):
        block = slice(at, at + step)
        if at:
            solved[block] -= lower[block, :at] @ solved[:at]
        solved[block] = np.linalg.solve(lower[block, block], solved[block])
    return solved


# -- weights ------------------------------------------------------------------------------------------


def _solve(problem: _Problem, solver: Solver) -> Emms:
    if solver == "released":
        return _released(problem)
    weights = _least(problem) if solver == "exact" else alternate(problem.own, problem.projected)[-1]
    residual = problem.residual(weights)
    return Emms(-residual / (problem.images * problem.width) + 0.0, weights, residual)


def _released(problem: _Problem) -> Emms:
    """W for equal weights, t by least squares against that W, sparsemax; the residual is that of W with t."""
    models = len(problem.own)
    equal = np.full(models, 1 / models)
    weights = onto_simplex(np.linalg.lstsq(problem.own, problem.projected @ equal, rcond=None)[0])
    reached = float(equal @ problem.projected @ equal)
    residual = reached - 2 * float(weights @ problem.projected @ equal) + float(weights @ problem.own @ weights)
    residual = max(residual, 0.0)
    return Emms(-residual / problem.images * problem.width + 0.0, weights, residual)


def alternate(own: Float, projected: Float) -> list[Float]:
    """Return the weights of every step of the alternating solver, from equal ones on.

    W for given t leaves |Y t - H Y t'|^2 with t' = t. The slope in t is 2 (own t - projected t'), and a step of 1 / L
    along it, L the greatest eigenvalue of 2 own, then onto the simplex, cannot raise it.

    Args:
        own: <Y_k, Y_l>, shape (k, k).
        projected: <Y_k, H Y_l>, shape (k, k).
    """
    bend = 2 * float(np.linalg.eigvalsh(own).max(initial=0))
    weights = [np.full(len(own), 1 / len(own))]
    if bend == 0:
        return weights
    left = own - projected
    before = float(weights[0] @ left @ weights[0])
    for _ in range(STEPS):
        weights.append(onto_simplex(weights[-1] - 2 * (left @ weights[-1]) / bend))
        now = float(weights[-1] @ left @ weights[-1])
        if now > before:  # by rounding
            weights.pop()
            break
        if before - now <= CONVERGED * max(before, np.finfo(np.float64).tiny):
            break
        before = now
    return weights


def _least(problem: _Problem) -> Float:
    """Return argmin t^T M t on the simplex: an active-set walk, each step exact on its face.

    M is positive semidefinite; where several t are best, that with the fewest and lowest models entered is returned.
    """
    left = problem.own - problem.projected
    left = (left + left.T) / 2
    models = len(left)
    noise = 1e-14 * max(float(problem.own.diagonal().max()), np.finfo(np.float64).tiny)
    weights = np.zeros(models)
    weights[int(left.diagonal().argmin())] = 1
    active = weights > 0
    for _ in range(20 * models * models + 20):
        slope = left @ weights
        gain = float(weights @ slope) - slope
        gain[active] = 0
        entering = int(gain.argmax())
        if gain[entering] <= noise:
            break
        active[entering] = True
        weights, active = _down(left, weights, active)
    return weights


def _down(left: Float, weights: Float, active: np.ndarray) -> tuple[Float, np.ndarray]:
    """Go to the minimum on the face of the active models, leaving it for a smaller one where that lies outside."""
    while True:
        some = np.flatnonzero(active)
        face = left[np.ix_(some, some)]
        count = len(some)
        system = np.zeros((count + 1, count + 1))
        system[:count, :count] = face / max(float(np.abs(face).max()), np.finfo(np.float64).tiny)
        system[:count, count] = system[count, :count] = 1
        wanted = np.linalg.lstsq(system, np.append(np.zeros(count), 1.0), rcond=1e-13)[0][:count]
        now = weights[some]
        if (wanted >= 0).all():
            found = np.zeros(len(weights))
            found[some] = wanted / wanted.sum()
            return found, found > 0
        falling = wanted < 0
        length = float((now[falling] / (now[falling] - wanted[falling])).min())
        moved = now + length * (wanted - now)
        gone = falling & (moved <= moved[falling].min() + 1e-300)
        moved[gone] = 0
        weights = np.zeros(len(weights))
        weights[some] = np.maximum(moved, 0) / np.maximum(moved, 0).sum()
        active = active.copy()
        active[some[gone]] = False


def onto_simplex(values: Float) -> Float:
    """Return the nearest point with entries >= 0 that sum to 1 (sparsemax), shape (k,).

    Source: Martins and Astudillo, From Softmax to Sparsemax (ICML 2016), Algorithm 1.
    """
    falling = np.sort(values)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(values) + 1)
    support = int(np.flatnonzero(falling > excess)[-1])
    return np.asarray(np.maximum(values - excess[support], 0))
