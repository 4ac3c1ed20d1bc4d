"""Which nodes speak for a class, and how far each does.

Through WordNet, by default: a class means a synset, and nodes near it in the graph speak for it, the nearer the more,
weighed by how alike the captions are. By captions alone, as the paper has it: the nodes whose captions are most alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mllctl.backends.vectors import VectorIndex
from mllctl.graph import Synset, WordNet, wordnet
from mllctl.hub import Hub, StoredNode
from mllctl.index import match_nodes
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.transfer import transfer_matrix
from mllctl.select.selection import Options
from mllctl.senses import Meaning, find_meanings

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
        # Ancestor -> the nodes under it and how far down they are.
        self._under: dict[str, list[tuple[int, int]]] = {}
        self.wnids: set[str] = set()
        for node in nodes:
            [synset] = nouns.senses(node.synset)
            self.wnids.add(synset.wnid)
            for wnid, steps in self._climb(synset).items():
                self._under.setdefault(wnid, []).append((node.node, steps))

    def of(self, synset: Synset) -> tuple[Int, Int]:
        """Return the nodes within reach, ascending, and their steps."""
        nearest: dict[int, int] = {}
        for wnid, up in self._climb(synset).items():
            for node, down in self._under.get(wnid, ()):
                if up + down <= min(self.reach, nearest.get(node, self.reach)):
                    nearest[node] = up + down
        nodes = np.array(sorted(nearest), dtype=np.int64)
        return nodes, np.array([nearest[node] for node in nodes.tolist()], dtype=np.int64)

    def _climb(self, synset: Synset) -> dict[str, int]:
        """Return the ancestors within reach and the steps to each; the synset itself is none away."""
        steps, frontier = {synset.wnid: 0}, [synset]
        for step in range(1, self.reach + 1):
            above = {wnid for below in frontier for wnid in below.hypernyms} - steps.keys()
            steps |= dict.fromkeys(above, step)
            frontier = [self._nouns[wnid] for wnid in above]
        return steps
