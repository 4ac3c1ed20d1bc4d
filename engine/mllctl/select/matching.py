"""Which nodes speak for a class, and how far each does.

Through WordNet, by default: a class means a synset, and nodes near it in the graph speak for it, the nearer the more,
weighed by how alike the captions are. By captions alone, as the paper has it: the nodes whose captions are most alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mllctl.backends.vectors import VectorIndex
from mllctl.hub import Hub, StoredNode
from mllctl.index import match_nodes
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.transfer import transfer_matrix
from mllctl.select.selection import Options
from mllctl.senses import Meaning, find_meanings
from mllctl.wordnet import Synset, WordNet, wordnet

# docs/decisions.md says how these were tuned.
SIMILARITY_FLOOR = 0.45
STEP = 0.5  # what a node keeps of its say with each step away from the class in the graph
REACH = 4  # steps; nodes further away, and not related ones, all speak alike


@dataclass(frozen=True)
class Match:
    """Classes and the nodes that speak for them.

    Attributes:
        transfer: Z, over all nodes of the hub, shape (v, c).
        similarity: cosine of each class's caption and its nearest node's, shape (c,).
        steps: between each class and its nearest node in the graph; REACH where there is none so near, shape (c,).
        covered: whether the hub has evidence for each class, shape (c,).
        meanings: of the classes; empty when matched by captions.
    """

    transfer: Float
    similarity: Float
    steps: Int
    covered: Bool
    meanings: tuple[Meaning, ...]


def match_classes(hub: Hub, index: VectorIndex, classes: Sequence[str], queries: Float, options: Options) -> Match:
    """Match the classes of a task to the nodes of a hub that have evidence, as `options` say.

    Args:
        hub: open for reading.
        index: its caption index.
        classes: their names, as given.
        queries: embedded classes, unit vectors, shape (c, d).
        options: matching and nodes_per_class.
    """
    usable = hub.evidence_nodes()
    if options.matching == "caption":
        return match_by_caption(index, queries, usable, options.nodes_per_class)
    nouns = wordnet()
    kin = Kin([node for node in hub.nodes() if usable[node.node]], nouns)
    meanings = find_meanings(classes, nouns, kin.wnids)
    return match_by_wordnet(index, queries, usable, options.nodes_per_class, meanings, kin)


def match_by_caption(index: VectorIndex, queries: Float, usable: Bool, nodes_per_class: int) -> Match:
    """Match each class to the nodes with the most similar captions (MLL, section 4.2).

    Args:
        index: over the captions of all nodes.
        queries: embedded classes, unit vectors, shape (c, d).
        usable: whether a node has evidence, shape (v,).
        nodes_per_class: at most this many.
    """
    near = match_nodes(index, queries, usable, nodes_per_class)
    similarity = near.max(axis=0)
    covered = similarity >= SIMILARITY_FLOOR
    transfer = transfer_matrix(np.where(covered[None, :], near, 0.0), nodes_per_class)
    return Match(transfer, similarity, np.full(len(queries), REACH), covered, ())


def match_by_wordnet(
    index: VectorIndex,
    queries: Float,
    usable: Bool,
    nodes_per_class: int,
    meanings: Sequence[Meaning],
    kin: "Kin",
) -> Match:
    """Match each class to nodes that are near it in the graph and alike in their captions.

        Z[v, c] = cosine(v, c) * STEP ^ min(steps(v, c), REACH)

    for the `nodes_per_class` nodes where that is greatest, ties to the lower node. A class that means no synset is
    matched by captions alone.

    Args:
        index, queries, usable, nodes_per_class: as `match_by_caption` has them.
        meanings: of the classes.
        kin: the nodes' places in the graph.
    """
    near = match_nodes(index, queries, usable, nodes_per_class)
    similarity = near.max(axis=0)
    say = near * STEP**REACH
    steps = np.full(len(meanings), REACH)
    for c, meaning in enumerate(meanings):
        if meaning.synset is None:
            continue
        nodes, distance = kin.of(meaning.synset)
        nodes, distance = nodes[usable[nodes]], distance[usable[nodes]]
        if len(nodes):
            cosine = index.vectors(nodes).astype(np.float64) @ queries[c]
            say[nodes, c] = cosine * STEP ** distance.astype(np.float64)
            steps[c] = distance.min()
    covered = np.where(steps < REACH, True, similarity >= SIMILARITY_FLOOR)
    transfer = transfer_matrix(np.where(covered[None, :], say, 0.0), nodes_per_class)
    return Match(transfer, similarity, steps, covered, tuple(meanings))


class Kin:
    """Which nodes of a hub are how many steps from a synset, up to a common ancestor and down again.

    Attributes:
        reach: steps further than this are not told apart.
        wnids: of the nodes.
    """

    def __init__(self, nodes: Sequence[StoredNode], nouns: WordNet, reach: int = REACH - 1) -> None:
        self.reach = reach
        self._nouns = nouns
        rows = nouns.rows([node.synset for node in nodes])
        self.wnids = set(nouns.wnids(rows))
        below, above, down = self._climb(rows)
        # Ancestor after ancestor: the nodes under it and how far down they are.
        order = np.argsort(above, kind="stable")
        self._ancestor, self._down = above[order], down[order]
        self._node = np.array([node.node for node in nodes], dtype=np.int64)[below[order]]

    def of(self, synset: Synset) -> tuple[Int, Int]:
        """Return the nodes within reach, ascending, and their steps."""
        _, ancestors, up = self._climb(self._nouns.rows([synset.synset]))
        first, last = (np.searchsorted(self._ancestor, ancestors, side) for side in ("left", "right"))
        found = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
        steps = np.repeat(up, last - first) + self._down[found]
        near = np.flatnonzero(steps <= self.reach)
        near = near[np.argsort(steps[near], kind="stable")]
        nodes, nearest = np.unique(self._node[found[near]], return_index=True)
        return nodes, steps[near][nearest]

    def _climb(self, rows: Int) -> tuple[Int, Int, Int]:
        """Return (place in `rows`, ancestor's row, steps) of all ancestors within reach, each as often as roads lead
        there; a row itself is none away."""
        places, ancestors = [np.arange(len(rows))], [rows]
        for _ in range(self.reach):
            below, above = self._nouns.climb(ancestors[-1])
            places.append(places[-1][below])
            ancestors.append(above)
        steps = np.repeat(np.arange(len(ancestors)), [len(level) for level in ancestors])
        return np.concatenate(places), np.concatenate(ancestors), steps
