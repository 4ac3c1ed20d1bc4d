"""Weigh hits by the domain their images come from.

The paper counts every sample image alike. A hub knows the domain of each block of images, so
evidence from pictures like the user's own can count for more.
"""

import numpy as np

from mllctl.kernels.arrays import Float, Int


def domain_weights(similarity: Float, temperature: float, floor: float) -> Float:
    """Turn the likeness of the user's domain to each sample domain into weights.

        w[d] = softmax(similarity / temperature)[d]

    Uniform where even the best likeness is under `floor`: then no domain resembles the user's.

    Args:
        similarity: cosine of the user's words and each domain's description, shape (domains,).
        temperature: > 0; the smaller, the more the best domain decides.
        floor: a cosine in [-1, 1].

    Returns:
        w, shape (domains,), sums to 1.

    Raises:
        ValueError: if there is no domain or `temperature` is not positive.
    """
    if similarity.ndim != 1 or len(similarity) == 0:
        raise ValueError(f"similarity must have shape (domains,) with at least one domain, got {similarity.shape}")
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if similarity.max() < floor:
        return np.full(len(similarity), 1 / len(similarity))
    weight = np.exp((similarity - similarity.max()) / temperature)
    return np.asarray(weight / weight.sum())


def weighted_precision(hits: Int, images: Int, weights: Float) -> Float:
    """Divide hits by images after weighing both by domain.

        p[m, v] = sum_d w[d] hits[m, v, d] / sum_d w[d] images[m, v, d]

    Equal weights give Eq 5 of MLL. A node no image of which was shown to the model has p = 0.
    When all the weight lies on domains in which a node has no image, the sums are tiny but their
    ratio is still that of the nearest domains.

    Args:
        hits: shape (m, v, domains), 0 <= hits <= images.
        images: shape (m, v, domains).
        weights: non-negative, shape (domains,).

    Returns:
        p, shape (m, v), in [0, 1].

    Raises:
        ValueError: if the shapes do not agree.
    """
    if hits.shape != images.shape or hits.ndim != 3 or weights.shape != hits.shape[2:]:
        raise ValueError(f"hits {hits.shape}, images {images.shape} and weights {weights.shape} do not agree")
    if (weights == weights.flat[0]).all():
        # Equal weights cancel; summing integers first keeps Eq 5 exact.
        weights = np.ones_like(weights)
    won, shown = hits @ weights, images @ weights
    return np.asarray(np.divide(won, shown, out=np.zeros(won.shape), where=shown > 0))
