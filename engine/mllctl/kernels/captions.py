"""From the vectors of a class's captions to the one vector the class is matched by."""

import numpy as np

from mllctl.kernels.arrays import Float, Int


def average_unit(vectors: Float, counts: Int) -> Float:
    """Average the vectors of each class and scale the mean to length 1.

        q[c] = u[c] / |u[c]|,  u[c] = mean of the rows of class c

    Source: ours. MLL (arXiv 2501.18271, section 4.2) has one caption a class; the captions released with it are ten a
    class. A class of one row keeps it bit for bit. Rows that cancel out give zeros: such a class resembles no node.

    Args:
        vectors: unit rows, those of a class next to each other, shape (n, d).
        counts: rows of each class, at least 1, shape (c,); their sum is n.

    Returns:
        q, shape (c, d).

    Raises:
        ValueError: on a wrong shape, a count below 1, or counts that do not add up to n.
    """
    if vectors.ndim != 2:
        raise ValueError(f"vectors must have shape (texts, width), got {vectors.shape}")
    if counts.ndim != 1 or (counts < 1).any():
        raise ValueError(f"counts must be at least 1 and have shape (classes,), got {counts.tolist()}")
    if counts.sum() != len(vectors):
        raise ValueError(f"counts must add up to {len(vectors)} vectors, got {int(counts.sum())}")
    rows = np.asarray(vectors, dtype=np.float64)
    if len(rows) == 0:
        return rows.copy()
    first = np.cumsum(counts) - counts
    mean = np.add.reduceat(rows, first, axis=0) / counts[:, None]
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    unit = np.divide(mean, length, out=np.zeros(mean.shape), where=length > 0)
    return np.asarray(np.where(counts[:, None] == 1, rows[first], unit))
