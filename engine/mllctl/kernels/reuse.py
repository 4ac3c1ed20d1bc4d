"""From node precision to the models of each class: Eq 6 and 7 of MLL (arXiv 2501.18271)."""

import numpy as np

from mllctl.kernels.arrays import Float, Int


def class_precision(node_precision: Float, transfer: Float, normalize: bool = False) -> Float:
    """Carry precision from nodes to classes.

        p[m, c] = sum_v p[m, v] Z[v, c]

    Source: Eq 6, unnormalised as printed. With `normalize` it is divided by sum_v Z[v, c], which
    makes it a share a person can read; the order of models within a class stays, Eq 7's mean over
    classes does not. A class without nodes has p = 0.

    Args:
        node_precision: shape (m, v), in [0, 1].
        transfer: Z, shape (v, c), non-negative.

    Returns:
        p, shape (m, c).

    Raises:
        ValueError: if the shapes do not share their nodes.
    """
    if node_precision.ndim != 2 or transfer.ndim != 2 or node_precision.shape[1] != transfer.shape[0]:
        raise ValueError(f"node_precision {node_precision.shape} and transfer {transfer.shape} must share their nodes")
    precision = node_precision @ transfer
    if not normalize:
        return np.asarray(precision)
    mass = transfer.sum(axis=0)
    return np.asarray(np.divide(precision, mass, out=np.zeros(precision.shape), where=mass > 0))


def reuse_metric(class_precision: Float, alpha: float = 0.7) -> Float:
    """Blend a model's precision on each class with its mean over the task.

        r[m, c] = alpha * p[m, c] + (1 - alpha) * mean(p[m, :])

    Source: Eq 7. The released code averages over the other classes only; we follow the paper.

    Args:
        class_precision: p, shape (m, c), at least one class.
        alpha: weight of the class itself, in [0, 1].

    Returns:
        r, shape (m, c).

    Raises:
        ValueError: if `class_precision` is not 2-D or empty, or `alpha` is outside [0, 1].
    """
    if class_precision.ndim != 2 or class_precision.shape[1] == 0:
        raise ValueError(f"class_precision must have shape (models, classes), got {class_precision.shape}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    overall = class_precision.mean(axis=1, keepdims=True)
    return np.asarray(alpha * class_precision + (1 - alpha) * overall)


def best_models(reuse_metric: Float, k: int) -> Int:
    """Return the k best models of each class, best first, shape (c, min(k, m)).

    Ties go to the lower model.

    Raises:
        ValueError: if `reuse_metric` is not 2-D or `k` < 1.
    """
    if reuse_metric.ndim != 2:
        raise ValueError(f"reuse_metric must have shape (models, classes), got {reuse_metric.shape}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return np.argsort(-reuse_metric, axis=0, kind="stable")[:k].T.astype(np.int64)
