"""Count a model's hits on the selected nodes: Eq 5 of MLL, before the division."""

import numpy as np

from mllctl.kernels.arrays import Float, Int


def node_hits(similarity: Float, image_node: Int, selected: Int) -> tuple[Int, Int]:
    """Count, for each selected node, its images and those the model gives to it.

        hits[v] = #{x in X_v : v = argmax over u in V_sel of s[x, u]}

    Ties go to the lower node. The argmax runs over the selected columns alone: masking the others
    with 0 instead would let a masked column win where every selected similarity is negative.

    Args:
        similarity: cosine of image and node caption for one model, shape (i, v).
        image_node: the true node of each image, shape (i,).
        selected: V_sel, distinct node indices, ascending, shape (s,).

    Returns:
        (hits, images), integers, each of shape (s,).

    Raises:
        ValueError: on shapes that do not fit or `selected` not strictly ascending.
    """
    if similarity.ndim != 2 or image_node.shape != similarity.shape[:1]:
        raise ValueError(f"similarity {similarity.shape} and image_node {image_node.shape} must share their images")
    if (np.diff(selected) <= 0).any():
        raise ValueError("selected must be strictly ascending")
    hits = np.zeros(len(selected), dtype=np.int64)
    images = np.zeros(len(selected), dtype=np.int64)
    if len(selected) == 0:
        return hits, images
    shown = np.isin(image_node, selected)
    winner = selected[np.argmax(similarity[np.ix_(shown, selected)], axis=1)]
    truth = image_node[shown]
    position = np.searchsorted(selected, truth)
    np.add.at(images, position, 1)
    np.add.at(hits, position[winner == truth], 1)
    return hits, images
