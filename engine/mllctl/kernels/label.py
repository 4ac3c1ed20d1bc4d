"""From the similarities of one model to its label: which nodes beat the true node on each image.

Embeddings are stored as float16. Products of two float16 are exact in float64 and so, at our
widths, is their sum: a label is a pure function of what is stored, whatever the order of summation.
"""

import numpy as np

from mllctl.kernels.arrays import AnyArray, Bool, Float, Int


def similarities(image_embedding: AnyArray, node_embedding: AnyArray) -> Float:
    """Return s[x, v], the float64 dot of stored float16 vectors, shape (i, v). Source: Eq 2."""
    return np.asarray(image_embedding.astype(np.float64) @ node_embedding.astype(np.float64).T)


def rivals(similarity: Float, truth: Int) -> Bool:
    """Say which nodes beat the true node on which image.

    Node u beats v iff s[u] > s[v], or s[u] = s[v] and u < v: then v wins over any selection of
    nodes exactly where no selected node beats it, the same as a first-index argmax.

    Args:
        similarity: shape (i, v).
        truth: column of the true node of each image, shape (i,).

    Returns:
        shape (i, v); False at the true node.

    Raises:
        ValueError: on NaN, which would beat nothing and be beaten by nothing.
    """
    if np.isnan(similarity).any():
        raise ValueError("similarity must not contain NaN")
    own = np.take_along_axis(similarity, truth[:, None], axis=1)
    earlier = np.arange(similarity.shape[1])[None, :] < truth[:, None]
    return np.asarray((similarity > own) | ((similarity == own) & earlier))
