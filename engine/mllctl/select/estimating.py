"""From hits to what is believed of each model on each node.

`paper` divides hits by images (Eq 5) and stops there. `shrunk` weighs the images of a node against what the model shows
on the node's kin among the selected nodes, so that a node with one image does not say 0 or 1.
"""

from collections.abc import Sequence

import numpy as np

from mllctl.hub import Evidence, StoredNode
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.evidence import weighted_precision
from mllctl.kernels.shrinkage import Belief, shrunk_precision
from mllctl.select.selection import Estimator
from mllctl.wordnet import WordNet, wordnet

# The paper's ratio says nothing of how sure it is; intervals and odds take the prior that knows least (Jeffreys).
PAPER_STRENGTH = 1.0


def estimate(evidence: Evidence, weights: Float, nodes: Sequence[StoredNode], estimator: Estimator) -> Belief:
    """Return what is believed of each model on each node, shape (m, v).

    Args:
        evidence: hits over the selected nodes.
        weights: of the domains, shape (domains,).
        nodes: the selected nodes.
        estimator: how.
    """
    if estimator == "paper":
        shown = evidence.images @ weights
        worth = np.divide(shown**2, evidence.images @ weights**2, out=np.zeros(shown.shape), where=shown > 0)
        return Belief(weighted_precision(evidence.hits, evidence.images, weights), worth + PAPER_STRENGTH)
    return shrunk_precision(evidence.hits, evidence.images, weights, lineage(nodes, wordnet()))


def lineage(nodes: Sequence[StoredNode], nouns: WordNet) -> Int:
    """Number the ancestors that several, but not all, of the nodes share, from the most general down.

    The graph is followed along first hypernyms, as a tree; of ancestors with the same nodes under them one is kept.

    Returns:
        shape (v, levels), -1 where a node has no more.
    """
    road = [nouns.rows([node.synset for node in nodes])]
    while (road[-1] >= 0).any():
        road.append(nouns.first_hypernyms(road[-1]))
    # From the top down, a column a level; nodes stand at different heights.
    rows = np.stack(road[::-1], axis=1)
    _, place, under = np.unique(rows, return_inverse=True, return_counts=True)
    count = np.where(rows < 0, 0, under[place.reshape(rows.shape)])
    above = np.concatenate([np.zeros((len(nodes), 1), dtype=np.int64), count[:, :-1]], axis=1)
    kept = (count > 1) & (count < len(nodes)) & (count != above)
    order = np.argsort(~kept, axis=1, kind="stable")[:, : int(kept.sum(axis=1).max(initial=0))]
    return np.take_along_axis(np.where(kept, rows, -1), order, axis=1)
