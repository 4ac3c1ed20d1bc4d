"""How far results would move if the evidence, or the tasks, had come out a little differently."""

import numpy as np

from mllctl.kernels.arrays import Bool, Float, Int

AT_ONCE = 4_000_000  # random weights made at a time: 16 MB


def bootstrap_means(
    hit: Bool,
    node: Int,
    weight: Float,
    part: Float,
    belief_mean: Float,
    belief_images: Float,
    draws: int,
    random: np.random.Generator,
) -> Float:
    """Draw each model's mean precision over a task again and again, with images and nodes weighed anew.

    A Bayesian bootstrap (Rubin 1981): every image and every node gets a weight drawn from the exponential
    distribution, the same for all models, so that what is hard for all moves all alike. A node's precision moves round
    what is believed of it by as much as its own images weigh in that belief:

        q[m,v] = p[m,v] + e[v] / images[m,v] * (drawn ratio - ratio)
        T[m]   = sum_v g[v] a[v] q[m,v] / sum_v g[v] a[v],   g drawn

    Args:
        hit: whether a model has an image right, shape (m, i).
        node: of each image, ascending, in [0, v), shape (i,).
        weight: of each image by its domain, > 0, shape (i,).
        part: a, each node's part in the mean, shape (v,).
        belief_mean, belief_images: p and what it is worth, shape (m, v).
        draws: how many.
        random: where the weights come from.

    Returns:
        T, shape (draws, m).
    """
    count = part.shape[0]
    first = np.searchsorted(node, np.arange(count))
    seen = np.flatnonzero(np.bincount(node, minlength=count))
    edges = first[seen]
    means = np.empty((draws, len(hit)))
    if len(seen) == 0:
        means[:] = belief_mean @ part / max(part.sum(), np.finfo(np.float64).tiny)
        return means
    shown = np.add.reduceat(weight, edges)
    worth = shown**2 / np.add.reduceat(weight**2, edges)
    ratio = np.add.reduceat(hit * weight, edges, axis=1) / shown
    own = worth / belief_images[:, seen]
    for start in range(0, draws, step := max(1, AT_ONCE // max(len(node), 1))):
        few = min(step, draws - start)
        # Single precision: noise of 1e-7 is nothing beside that of the draws.
        drawn = random.standard_exponential((few, len(node)), dtype=np.float32) * weight.astype(np.float32)
        total = np.add.reduceat(drawn, edges, axis=1)
        parts = random.standard_exponential((few, count)) * part
        for m in range(len(hit)):
            again = np.add.reduceat(drawn * hit[m], edges, axis=1) / total
            moved = np.repeat(belief_mean[m][None, :], few, axis=0)
            moved[:, seen] += own[m] * (again - ratio[m])
            means[start : start + few, m] = (parts * moved).sum(axis=1) / parts.sum(axis=1)
    return means


def resample_mean(values: Float, draws: int, random: np.random.Generator) -> Float:
    """Draw as many tasks as there are, with replacement, again and again, and take the mean of each draw.

    All columns are drawn alike, so that differences and ratios of methods keep their pairs. Source: Efron, Bootstrap
    methods: another look at the jackknife (1979).

    Args:
        values: of each task, shape (t,) or (t, methods).
        draws: how many.
        random: where the tasks come from.

    Returns:
        shape (draws,) or (draws, methods).

    Raises:
        ValueError: if there is no task, a value is not finite, or `draws` < 1.
    """
    if values.ndim not in (1, 2) or len(values) == 0:
        raise ValueError(f"values must have shape (tasks,) or (tasks, methods) with at least one, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite; leave tasks without a value out")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    return np.asarray(values[random.integers(0, len(values), (draws, len(values)))].mean(axis=1))


def central_interval(drawn: Float, mass: float = 0.9) -> tuple[float, float]:
    """Return the ends of what lies in the middle of some draws: the percentile interval.

    Args:
        drawn: shape (draws,), at least one.
        mass: how much of them lies between, in (0, 1).

    Raises:
        ValueError: if there is no draw, or `mass` is outside (0, 1).
    """
    if drawn.ndim != 1 or len(drawn) == 0:
        raise ValueError(f"drawn must have shape (draws,) with at least one, got {drawn.shape}")
    if not 0 < mass < 1:
        raise ValueError(f"mass must be in (0, 1), got {mass}")
    low, high = np.quantile(drawn, [(1 - mass) / 2, (1 + mass) / 2])
    return float(low), float(high)
