"""Count a model's hits on the selected nodes: Eq 5 of MLL, before the division; and what else the winners tell."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class NodeScores:
    """What a model does on each selected node. A ratio without a denominator is 0.

    Attributes:
        recall: of the node's images, the part it keeps: p[m, v] of Eq 5, shape (s,).
        precision: of the images it is given, the part that are its own, shape (s,).
        f1: harmonic mean of both, shape (s,).
    """

    recall: Float
    precision: Float
    f1: Float


def confusion(truth: Int, winner: Int, selected: Int) -> Int:
    """Count the images of each selected node that each selected node takes, shape (s, s), truth first.

    Args:
        truth, winner: of each image, members of `selected`; a winner of -1 is unknown and not counted, shape (i,).
        selected: V_sel, distinct node indices, ascending, shape (s,).

    Raises:
        ValueError: if a truth or winner is not selected.
    """
    known = winner >= 0
    if not (np.isin(truth, selected).all() and np.isin(winner[known], selected).all()):
        raise ValueError("every truth and winner must be among the selected nodes")
    cell = np.searchsorted(selected, truth[known]) * len(selected) + np.searchsorted(selected, winner[known])
    counts = np.bincount(cell, minlength=len(selected) ** 2)
    return np.asarray(counts.reshape(len(selected), len(selected)), dtype=np.int64)


def node_scores(counts: Int) -> NodeScores:
    """Turn a confusion matrix, shape (s, s), truth first, into scores of each node.

    recall = n[v, v] / sum_u n[v, u]     precision = n[v, v] / sum_u n[u, v]     f1 = 2 n[v, v] / (both sums)
    """
    hits, shown, given = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)

    def ratio(over: Int, under: Int) -> Float:
        return np.asarray(np.divide(over, under, out=np.zeros(len(counts)), where=under > 0))

    return NodeScores(ratio(hits, shown), ratio(hits, given), ratio(2 * hits, shown + given))
