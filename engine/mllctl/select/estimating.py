"""From hits to what is believed of each model on each node.

`paper` divides hits by images (Eq 5) and stops there. `shrunk` weighs the images of a node against what the model shows
on the node's kin among the selected nodes, so that a node with one image does not say 0 or 1.
"""

from collections.abc import Sequence

import numpy as np

from mllctl.graph import WordNet, wordnet
from mllctl.hub import Evidence, StoredNode
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.evidence import weighted_precision
from mllctl.kernels.shrinkage import Belief, shrunk_precision
from mllctl.select.selection import Estimator

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
    roads = [_road(node.synset, nouns) for node in nodes]
    under: dict[str, set[int]] = {}
    for v, road in enumerate(roads):
        for wnid in road:
            under.setdefault(wnid, set()).add(v)
    number = {wnid: n for n, wnid in enumerate(under)}
    shared = []
    for road in roads:
        kept: list[str] = []
        for wnid in road:
            count = len(under[wnid])
            if 1 < count < len(nodes) and (not kept or count < len(under[kept[-1]])):
                kept.append(wnid)
        shared.append([number[wnid] for wnid in kept])
    table = np.full((len(nodes), max(map(len, shared), default=0)), -1, dtype=np.int64)
    for v, kept_numbers in enumerate(shared):
        table[v, : len(kept_numbers)] = kept_numbers
    return table


def _road(synset: str, nouns: WordNet) -> list[str]:
    """Return a synset's first hypernyms from the top down, itself at the end."""
    [at] = nouns.senses(synset)
    road = [at.wnid]
    while at.hypernyms:
        at = nouns[at.hypernyms[0]]
        road.append(at.wnid)
    return road[::-1]
