"""The one node that stands for a class: each is the other's nearest (Algorithm 1, line 4).

Through WordNet, by default: a class that means a synset with a usable node is matched to that node. All others by
their captions, as in the paper, but not to a node that is hardly like them.
"""

from collections.abc import Sequence

import numpy as np

from mllctl.backends.vectors import VectorIndex
from mllctl.hub import Hub
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.sdag import mutual_best_match
from mllctl.select.matching import SIMILARITY_FLOOR
from mllctl.select.selection import Matching
from mllctl.senses import find_meanings
from mllctl.wordnet import wordnet

MEANT = 1.0  # added to a cosine: what a class means goes before all that is only like it


def match_to_nodes(
    hub: Hub, index: VectorIndex, classes: Sequence[str], queries: Float, usable: Bool, matching: Matching
) -> tuple[Int, Float]:
    """Match classes and nodes one to one.

    Args:
        hub: open for reading.
        index: its caption index.
        classes: their names, as given.
        queries: embedded classes, unit vectors, shape (c, d).
        usable: whether experts can have a label on a node, shape (v,).
        matching: `wordnet` or `caption`.

    Returns:
        (node of each class, -1 where there is none; cosine of both, 0 where there is none), each of shape (c,).
    """
    vectors = index.vectors(np.arange(len(index))).astype(np.float64)
    cosine = queries @ vectors.T
    rows = np.arange(len(classes))
    if matching == "caption":
        nodes = mutual_best_match(cosine, usable)
    else:
        meant = _meant(hub, classes, usable, len(index))
        nodes = mutual_best_match(cosine + MEANT * meant, usable)
        unlike = (cosine[rows, nodes] < SIMILARITY_FLOOR) & ~meant[rows, nodes]
        nodes = np.where(unlike, -1, nodes)
    return nodes, np.where(nodes >= 0, cosine[rows, nodes], 0.0)


def _meant(hub: Hub, classes: Sequence[str], usable: Bool, count: int) -> Bool:
    """Say which node is just what a class means, shape (c, v)."""
    nouns = wordnet()
    nodes = {node.synset: node.node for node in hub.nodes() if usable[node.node]}
    known = set(nouns.wnids(nouns.rows(list(nodes))))
    meant = np.zeros((len(classes), count), dtype=np.bool_)
    for c, meaning in enumerate(find_meanings(classes, nouns, known)):
        if meaning.synset is not None and meaning.synset.synset in nodes:
            meant[c, nodes[meaning.synset.synset]] = True
    return meant
