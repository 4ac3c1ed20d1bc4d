"""How often a model would be right in a task that is drawn at random from all nodes of a hub."""

import numpy as np

from mllctl.kernels.arrays import Float


def chance_of_hit(nodes: int, classes: int) -> Float:
    """Return, by how many nodes beat an image's true one, how often none of them is a class of the same task.

    Of n nodes, classes - 1 are drawn beside the true one; that none of r rivals is among them has probability

        C(n - 1 - r, classes - 1) / C(n - 1, classes - 1)

    Args:
        nodes: n, the true node included, at least 1.
        classes: of a task, the true one included, at least 1; of fewer nodes all are drawn.

    Returns:
        for r = 0 to n - 1, shape (n,).

    Raises:
        ValueError: if there is no node or no class.
    """
    if nodes < 1 or classes < 1:
        raise ValueError(f"need at least one node and one class, got {nodes} and {classes}")
    drawn = min(classes, nodes) - 1
    # From r to r + 1 rivals: the next rival is not among those drawn either.
    before = np.arange(nodes - 1)
    left = np.clip(nodes - 1 - before - drawn, 0, None) / (nodes - 1 - before)
    return np.concatenate([[1.0], np.cumprod(left)])
