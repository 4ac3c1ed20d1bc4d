"""Combine the heads of expert classifiers for the classes of a task: CHCO, Eq 4-13 of MLL for expert models.

    mean logits of the task's nodes -> combine_heads -> losses -> least_losses -> the experts of each class
    softmax of the chosen models, with their weights -> expert_confidence -> what they say together about an image

`combine_heads` is a Newton method that works on few heads at a time and says how far from the optimum it stopped.
`best_heads` is what the paper compares it with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.ensemble import entropy, weighted_confidence
from mllctl.kernels.simplices import lower_quadratic

# Measured on one thread on 1,000 heads x 100 classes: steps of 100 or 200 heads, or of twice the passes, are no faster.
ROWS = 150  # heads that one step moves, or one for each class if these are more, or
PART = 50  # one head in so many: with 21,000 heads a step costs more than the model of 400
PAIRS = 3  # classes that such a head is open for, on average; more come only of ties, and take time with their cube
PASSES = 12  # systems of equations a step solves
PATIENCE = 4  # one pass more after so many steps, so that hard cases are solved in the end
STEPS = 200  # of combine_heads at most; benchmarks/chco.py needs 2 to 15
SHORTEST = 1e-12  # part of a step; if even that is not downhill, float64 knows no better answer
DOWNHILL = 1e-4  # part of the decrease that the slope promises (Armijo)
ROUNDING = 1e-14  # error of L, relative where it is more than 1
BLIND = 8  # steps that promise less than this error; they shrink the gap from 1e-9 to 1e-15, if at all
AT_ONCE = 1 << 19  # products held at a time: 4 MB
LEAST_LOG = -100.0  # what torch's binary cross entropy makes of log 0
NEGLIGIBLE = 1e-14  # a head without a probability above this is left where it is


@dataclass(frozen=True)
class HeadCombination:
    """Which part of which head stands for which class.

    Attributes:
        weights: X, at least 0, rows sum to 1, shape (h, c). There are others with the same losses.
        losses: L_c, in nats, shape (c,).
        gap: the sum of losses is at most this far above the least there is; in nats.
    """

    weights: Float
    losses: Float
    gap: float


def combine_heads(mean_logits: Float, tolerance: float = 1e-4, steps: int = STEPS) -> HeadCombination:
    """Give each class the share of each head that tells the classes best apart.

        P    = softmax of mean logits over heads
        Q    = X^T P,   Q[c,c'] = what the heads of c say of images of c'
        L_c  = -log Q[c,c] - 1/(C-1) sum over c' != c of log(1 - Q[c,c'])
        min sum_c L_c   over X >= 0, rows of X sum to 1 at most

    Source: MLL for expert models, Eq 4-10. With one class the second term is 0. L is convex in X, Q and L_c are
    unique at the optimum, X is not. The paper takes one gradient step and one projection a head, in turn; this finds
    the same optimum. A gradient G[h,c] of L bounds how far X is from it (Frank and Wolfe):

        gap = <G, X> - sum_h min(0, min_c G[h,c]) >= L(X) - L*

    Each step takes the heads that add most to the gap, with the classes they serve and the one they would serve
    best, and lowers the second-order model of L over those, exactly or nearly (`lower_quadratic`). At the optimum
    fewer heads than classes are shared, so the models are small. Heads with identical rows of P are one head.

    Args:
        mean_logits: s, of each head on images of each class, shape (h, c), at least one of each. Minus infinity is a
            head that never says that class.
        tolerance: the gap at which to stop, in nats, above 0.
        steps: how many at most.

    Returns:
        The combination, always feasible. If the tolerance was not reached in `steps`, or is less than float64 can
        tell, it is the last and best one, and `gap` says how good it is for certain.

    Raises:
        ValueError: on a wrong shape, NaN, plus infinity, a class with minus infinity only, or if `tolerance` is not
            above 0 or `steps` below 0.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, got {tolerance}")
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    probability = head_probability(mean_logits)
    kind, first = _kinds(probability)
    count = np.bincount(kind)
    weights, gap = _minimise(probability[first] * count[:, None], tolerance, steps)
    weights = weights[kind]
    return HeadCombination(weights, _losses(weights.T @ probability), gap)


def combine_heads_of_models(
    mean_logits: Sequence[Float], tolerance: float = 1e-4, steps: int = STEPS
) -> list[HeadCombination]:
    """Combine the heads of each model, as `combine_heads` does, one at a time.

    Models share nothing, and threads do not make this faster: Python holds the small ones back, and two threads of
    BLAS took nine times as long as one on two cores (benchmarks/README.md), the systems of equations being small.
    Call it under `threadpool_limits(1, "blas")`; who has more cores gives each process some of the models.

    Raises:
        ValueError: as `combine_heads`.
    """
    return [combine_heads(logits, tolerance, steps) for logits in mean_logits]


def least_losses(losses: Float, k: int, threshold: float) -> Int:
    """Return, for each class, up to k models whose loss is at or under a threshold, least first.

    Source: Algorithm 1 of MLL for expert models, line 10 (its delta, the text's beta, is `threshold`). Ties go to the
    lower model. NaN is a model that has no loss for the class.

    Args:
        losses: L[m,c], shape (m, c).
        k: at least 1.
        threshold: in nats; infinity takes any loss that is not NaN.

    Returns:
        models, shape (c, k), -1 where there are no more.

    Raises:
        ValueError: if `losses` is not 2-D, `k` < 1 or `threshold` is NaN.
    """
    if losses.ndim != 2:
        raise ValueError(f"losses must have shape (models, classes), got {losses.shape}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if np.isnan(threshold):
        raise ValueError("threshold must not be NaN")
    order = np.argsort(losses, axis=0, kind="stable")[:k]
    good = np.take_along_axis(losses, order, axis=0) <= threshold
    chosen = np.full((k, losses.shape[1]), -1, dtype=np.int64)
    chosen[: len(order)] = np.where(good, order, -1)
    return chosen.T


def expert_confidence(probabilities: Sequence[Float], weights: Sequence[Float], members: Int) -> Float:
    """Combine, for each class, what the experts chosen for it say.

        confidence[x,c] = sum over m chosen for c of w[m,x,c] F_m(x)^T X_m[:,c]
        w[m,x,c]        = (1 - H(F_m(x)) / log H_m), divided by its sum over the members of c

    Source: MLL for expert models, Eq 12-13. Where the paper is silent: a weight is cut at 0, if all are 0 they are
    equal, and a model of one head weighs 0. A model that stands twice among the members of a class counts twice.
    Nothing is done about rounding: a model that answers the same for all of three heads may weigh 1e-16 or 0, so
    among such models alone it is rounding that decides who is heard, as in the vectors.

    Args:
        probabilities: F_m, softmax of each model over its heads, shapes (i, h_m).
        weights: X_m, as of `combine_heads`, shapes (h_m, c).
        members: models chosen for each class, shape (c, k); -1 pads.

    Returns:
        confidence, shape (i, c); 0 for a class without members. No image changes another's, to the last bit.

    Raises:
        ValueError: if there is no model, shapes do not agree, or a member does not exist.
    """
    _check_experts(probabilities, weights, members)
    chosen = [(members == m).any(axis=1) for m in range(len(weights))]
    used = [np.where(here, shares, 0.0) for here, shares in zip(chosen, weights, strict=True)]
    answers = [head_answers(probability, shares) for probability, shares in zip(probabilities, used, strict=True)]
    return combine_experts(np.stack(answers), np.stack([certainty(p) for p in probabilities]), members)


def combine_experts(answers: Float, sureness: Float, members: Int) -> Float:
    """Combine what experts say for each class, weighed by how certain each is: `expert_confidence`, its parts given.

    Args:
        answers: `head_answers` of each expert, shape (m, i, c).
        sureness: `certainty` of each, shape (m, i); where all members of a class have 0 they count alike.
        members: experts of each class, shape (c, k); -1 pads.

    Returns:
        confidence, shape (i, c); 0 for a class without members.
    """
    return weighted_confidence(answers, sureness, members)


def certainty(probability: Float) -> Float:
    """Return how certain an expert is of each image, 1 - H / log h (Eq 13), at least 0, shape (i,).

    Args:
        probability: F, softmax over heads, shape (i, h). With one head there is nothing to be certain of: 0.
    """
    heads = probability.shape[1]
    if heads < 2:
        return np.zeros(len(probability))
    return np.asarray(np.maximum(1 - entropy(np.ascontiguousarray(probability)) / np.log(heads), 0.0))


def head_answers(probability: Float, weights: Float) -> Float:
    """Return what an expert's heads say together for each class, F X of Eq 12, shape (i, c).

    One product for each weight that is not 0, since most heads serve one class. Unlike in BLAS, what becomes of an
    image does not depend on the others.

    Args:
        probability: F, softmax over heads, shape (i, h).
        weights: X, how much of each head counts for each class, shape (h, c).
    """
    said = np.zeros((len(probability), weights.shape[1]))
    class_, head = np.nonzero(weights.T)
    present, starts = np.unique(class_, return_index=True)
    step = max(1, AT_ONCE // max(len(head), 1))
    for at in range(0, len(probability) if len(present) else 0, step):
        parts = np.take(probability[at : at + step], head, axis=1) * weights[head, class_]
        said[at : at + step, present] = np.add.reduceat(parts, starts, axis=1)
    return said


def best_heads(probability: Float, truth: Int, classes: int) -> tuple[Int, Float]:
    """Return the one head that is the best test for each class, and its loss: (heads (c,), losses (c,)).

        loss[c,h] = mean over images of c of -log p[x,h] + mean over the other images of -log(1 - p[x,h])

    Source: HEU in the ablation of MLL for expert models, the head with the least binary cross entropy. There images
    are drawn so that both sides of the test are as many; here all are used, and both sides weigh the same, which is
    the expectation of that. The sum of two means, twice the mean over a balanced test, is on the scale of L_c of
    `combine_heads`, so one threshold serves both. Without images on one side that mean is 0, as it is there.

    Args:
        probability: softmax of a model over its heads, shape (i, h), at least one head.
        truth: class of each image, 0..classes-1, or -1 for an image of none of them, shape (i,).
        classes: how many there are.

    Returns:
        Heads, the lowest of those that tie, -1 for a class without images; and losses, infinity for those.

    Raises:
        ValueError: on shapes that do not agree, or a truth outside the classes.
    """
    if probability.ndim != 2 or probability.shape[1] == 0 or truth.shape != probability.shape[:1]:
        raise ValueError(f"probability {probability.shape} and truth {truth.shape} must be (images, heads), (images,)")
    if not ((truth >= -1) & (truth < classes)).all():
        raise ValueError(f"truth must be a class 0..{classes - 1} or -1")
    with np.errstate(divide="ignore"):
        hit = np.maximum(np.log(probability), LEAST_LOG)
        miss = np.maximum(np.log1p(-np.minimum(probability, 1)), LEAST_LOG)
    own, count = _sums(hit, truth, classes), np.bincount(truth + 1, minlength=classes + 1)[1:]
    false = _sums(miss, truth, classes)
    others = miss[truth < 0].sum(axis=0) + false.sum(axis=0) - false
    loss = -own / np.maximum(count, 1)[:, None] - others / np.maximum(len(truth) - count, 1)[:, None]
    shown = count > 0
    return np.where(shown, loss.argmin(axis=1), -1), np.where(shown, loss.min(axis=1), np.inf) + 0.0


def _sums(values: Float, truth: Int, classes: int) -> Float:
    """Add up the rows of each class, shape (classes, h); equal columns have equal sums."""
    sums = np.zeros((classes, values.shape[1]))
    rows = np.flatnonzero(truth >= 0)
    rows = rows[np.argsort(truth[rows], kind="stable")]
    present, starts = np.unique(truth[rows], return_index=True)
    if len(present):
        sums[present] = np.add.reduceat(values[rows], starts, axis=0)
    return sums


def _check_experts(probabilities: Sequence[Float], weights: Sequence[Float], members: Int) -> None:
    shapes = [(p.shape, x.shape) for p, x in zip(probabilities, weights, strict=False)]
    if not shapes or len(probabilities) != len(weights):
        raise ValueError(f"{len(probabilities)} probabilities and {len(weights)} weights must be of the same models")
    images, classes = len(probabilities[0]), len(members)
    if members.ndim != 2 or any(p != (images, x[0]) or x != (p[1], classes) for p, x in shapes):
        raise ValueError(f"(images, heads), (heads, classes) {shapes} and members {members.shape} do not agree")
    if members.size and not (members.min() >= -1 and members.max() < len(weights)):
        raise ValueError(f"members must be models 0..{len(weights) - 1} or -1")


def head_probability(mean_logits: Float) -> Float:
    """Return P: of each class, how its images are shared among heads; columns sum to 1, shape (h, c).

    Raises:
        ValueError: as `combine_heads`.
    """
    if mean_logits.ndim != 2 or mean_logits.size == 0:
        raise ValueError(f"mean_logits must have shape (heads, classes) with one of each, got {mean_logits.shape}")
    logits = np.asarray(mean_logits, dtype=np.float64)
    if np.isnan(logits).any() or np.isposinf(logits).any():
        raise ValueError("mean_logits must not contain NaN or plus infinity")
    top = logits.max(axis=0)
    if np.isneginf(top).any():
        raise ValueError(f"mean_logits of class {int(np.isneginf(top).argmax())} are minus infinity for all heads")
    with np.errstate(over="ignore", under="ignore"):  # beyond the range of float64 the difference is minus infinity
        raised = np.exp(logits - top)
        return np.asarray(raised / raised.sum(axis=0))


def _kinds(probability: Float) -> tuple[Int, Int]:
    """Number heads so that those with the same bits share a number: (kind of each, first head of each kind)."""
    # Sorting whole rows would take longer than a step. Sums of products modulo 2^64 are the same for the same bits.
    odd = np.random.default_rng(0).integers(0, 2**63, probability.shape[1], dtype=np.uint64) * 2 + 1
    key = (probability.view(np.uint64) * odd).sum(axis=1)
    _, first, kind = np.unique(key, return_index=True, return_inverse=True)
    if (probability[first[kind]] != probability).any():  # another row with the same key
        _, first, kind = np.unique(probability, axis=0, return_index=True, return_inverse=True)
    return kind.reshape(-1), first


def _minimise(probability: Float, tolerance: float, steps: int) -> tuple[Float, float]:
    """Return X and its gap."""
    weights, bound, blind = _start(probability), -np.inf, 0
    for step in range(steps + 1):
        reached = weights.T @ probability
        prices = _prices(reached)
        slack = _slack(probability, prices)
        shares = np.einsum("hc,hc->h", weights, slack)
        gap, loss = float(shares.sum()), _loss(reached)
        bound = max(bound, loss - gap)
        if gap <= tolerance or step == steps or blind > BLIND:
            break
        rows = _rows_to_move(weights, probability, shares, tolerance)
        if len(rows) == 0:
            break
        bend, passes = _curvature(reached), PASSES + step // PATIENCE
        change = _newton(weights[rows], probability[rows], slack[rows], bend, passes)
        moved = change.T @ probability[rows]
        slope = float((prices * moved).sum())
        length = _length(reached, moved, loss, slope)
        blind += slope > -ROUNDING * max(loss, 1)
        if length == 0:
            break
        weights[rows] = _on_simplex(weights[rows] + length * change)
    # L only sinks, but the gap may rise; a bound that was found on the way still holds.
    return weights, min(gap, max(loss - bound, 0.0))


def _start(probability: Float) -> Float:
    """Give each head to the class it says most, and half of each class's best head to that class.

    Few shares, so that models are small, and no Q[c,c] near 0, where L is infinite.
    """
    heads, classes = probability.shape
    weights, wanted = np.zeros((heads, classes)), np.zeros((heads, classes))
    weights[np.arange(heads), probability.argmax(axis=1)] = 1
    best = probability.argmax(axis=0)
    wanted[best, np.arange(classes)] = 1
    rows = np.unique(best)
    weights[rows] = (weights[rows] + wanted[rows] / wanted[rows].sum(axis=1, keepdims=True)) / 2
    return _on_simplex(weights)


def _on_simplex(weights: Float) -> Float:
    """Take off rounding: at least 0, rows sum to 1."""
    cut = np.maximum(weights, 0)
    return np.asarray(cut / cut.sum(axis=1, keepdims=True))


def _losses(reached: Float) -> Float:
    """Return L_c of Q, exact also where it is far below the rounding of 1 - Q[c,c]."""
    classes = len(reached)
    own = reached.diagonal()
    lost = np.where(np.eye(classes, dtype=np.bool_), 0.0, reached)
    leak = lost.sum(axis=0)  # 1 - Q[c,c], since columns of Q sum to 1
    with np.errstate(divide="ignore"):
        hit = np.where(leak < 1 / 2, -np.log1p(-np.minimum(leak, 1 / 2)), -np.log(own))
        false = -np.log1p(-np.minimum(lost, 1)).sum(axis=1)
    return np.asarray(hit + false / max(classes - 1, 1)) + 0.0


def _loss(reached: Float) -> float:
    """Return L of Q to the rounding of 1 - Q, infinity where it is infinite."""
    own, missing = reached.diagonal(), 1 - reached
    np.fill_diagonal(missing, 1)
    if own.min() <= 0 or missing.min() <= 0:
        return np.inf
    return float(-np.log(own).sum() - np.log(missing).sum() / max(len(own) - 1, 1))


def _prices(reached: Float) -> Float:
    """Return A[c,c'], the derivative of L by Q[c,c']."""
    classes = len(reached)
    slope = 1 / (_missing(reached) * max(classes - 1, 1))
    np.fill_diagonal(slope, -1 / reached.diagonal())
    return np.asarray(slope)


def _curvature(reached: Float) -> Float:
    """Return the second derivative of L by Q[c,c']."""
    classes = len(reached)
    bend = 1 / (_missing(reached) ** 2 * max(classes - 1, 1))
    np.fill_diagonal(bend, 1 / reached.diagonal() ** 2)
    return np.asarray(bend)


def _missing(reached: Float) -> Float:
    """Return 1 - Q, above 0."""
    return np.asarray(np.maximum(1 - reached, np.finfo(np.float64).eps))


def _slack(probability: Float, prices: Float) -> Float:
    """Return by how much each gradient is above the least of its head, or above 0, shape (h, c).

    Of rows that sum to 1 only differences matter, and the gap is a sum of what is not negative: nothing cancels.
    """
    gradient = probability @ prices.T
    gradient -= np.minimum(gradient.min(axis=1, keepdims=True), 0)
    return np.asarray(gradient)


def _rows_to_move(weights: Float, probability: Float, shares: Float, tolerance: float) -> Int:
    """Return the heads that a step moves: those that are shared or add to the gap; if they are many, the worst."""
    heads, classes = weights.shape
    # All that is left out together adds less than a quarter of what is tolerated.
    rows = np.flatnonzero((weights.max(axis=1) < 1) | (shares > tolerance / (4 * heads)))
    rows = rows[probability[rows].max(axis=1) > NEGLIGIBLE]
    limit = max(ROWS, classes, heads // PART)
    rows = rows[np.argsort(-shares[rows], kind="stable")[:limit]]
    pairs = np.cumsum(np.count_nonzero(weights[rows], axis=1) + 1)
    return np.sort(rows[pairs <= max(PAIRS * limit, pairs[:1].sum())])


def _newton(weights: Float, probability: Float, slack: Float, bend: Float, passes: int) -> Float:
    """Return the change of some rows of X that lowers the second-order model of L, shape as `weights`.

    A head may go to classes it serves and to the one it has the least slack for.
    """
    open_ = weights > 0
    open_[np.arange(len(weights)), slack.argmin(axis=1)] = True
    row, class_ = np.nonzero(open_)
    said = probability[row]
    curvature = (said * bend[class_]) @ said.T
    curvature *= class_[:, None] == class_
    change = np.zeros(weights.shape)
    now = weights[row, class_]
    change[row, class_] = lower_quadratic(curvature, slack[row, class_], now, row, passes) - now
    return change


def _length(reached: Float, moved: Float, loss: float, slope: float) -> float:
    """Return how far to go from Q along a change of it, so that L sinks as its slope promises; 0: nowhere."""
    length, noise = 1.0, ROUNDING * max(loss, 1)
    while length >= SHORTEST and slope < noise:
        if _loss(reached + length * moved) <= loss + DOWNHILL * length * slope + noise:
            return length
        length /= 2
    return 0.0
