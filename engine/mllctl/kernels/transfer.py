"""Match classes to nodes: the transfer matrix Z of MLL (arXiv 2501.18271, section 4.2)."""

import numpy as np

from mllctl.kernels.arrays import Bool, Float, Int


def transfer_matrix(similarity: Float, nodes_per_class: int, usable: Bool | None = None) -> Float:
    """Keep each class's most similar nodes and forget the rest.

        Z[v, c] = similarity[v, c]  if v is among the `nodes_per_class` most similar usable nodes of c
                  0                 otherwise

    A similarity <= 0 is never chosen, so a class may have fewer nodes, or none. Ties go to the
    lower node. The paper gives no number; its released code takes 5.

    Args:
        similarity: cosine of node caption and class caption, shape (v, c).
        nodes_per_class: at most this many nodes a class, >= 1.
        usable: nodes that have evidence, shape (v,); all when None.

    Returns:
        Z, shape (v, c).

    Raises:
        ValueError: on a wrong shape, NaN, or `nodes_per_class` < 1.
    """
    if similarity.ndim != 2:
        raise ValueError(f"similarity must have shape (nodes, classes), got {similarity.shape}")
    if np.isnan(similarity).any():
        raise ValueError("similarity must not contain NaN")
    if nodes_per_class < 1:
        raise ValueError(f"nodes_per_class must be at least 1, got {nodes_per_class}")
    candidates = np.asarray(similarity, dtype=np.float64)
    if usable is not None:
        if usable.shape != (similarity.shape[0],):
            raise ValueError(f"usable must have shape {(similarity.shape[0],)}, got {usable.shape}")
        candidates = np.where(usable[:, None], candidates, -np.inf)
    best = np.argsort(-candidates, axis=0, kind="stable")[:nodes_per_class]
    chosen = np.take_along_axis(candidates, best, axis=0)
    transfer = np.zeros(similarity.shape)
    np.put_along_axis(transfer, best, np.where(chosen > 0, chosen, 0.0), axis=0)
    return transfer


def selected_nodes(transfer: Float) -> Int:
    """Return V_sel, the nodes that stand for at least one class, ascending, shape (s,)."""
    return np.flatnonzero((transfer > 0).any(axis=1))
