"""The Semantic DAG label of experts on a task's nodes (Eq 1-3), from sums by block."""

from dataclasses import dataclass

import numpy as np

from mllctl.hub import Hub, StoredExpert
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.sdag import node_label


@dataclass(frozen=True)
class Neighbourhood:
    """Nodes of a task with all from whose images they inherit.

    Attributes:
        nodes: ordinals, ascending, shape (n,).
        edges: (parent, child) among them, positions in `nodes`, shape (e, 2).
        images: live images of each, shape (n,).
    """

    nodes: Int
    edges: Int
    images: Int

    @classmethod
    def of(cls, hub: Hub, wanted: Int, recursive: bool) -> "Neighbourhood":
        """Return `wanted` and their children, or all their descendants."""
        edges = edges_of(hub)
        nodes = np.unique(wanted)
        while True:
            below = edges[np.isin(edges[:, 0], nodes), 1]
            grown = np.union1d(nodes, below)
            done = len(grown) == len(nodes)
            nodes = grown
            if done or not recursive:
                break
        within = edges[np.isin(edges, nodes).all(axis=1)]
        count = np.array([node.images for node in hub.nodes()], dtype=np.int64)
        return cls(nodes, np.searchsorted(nodes, within), count[nodes])


def edges_of(hub: Hub) -> Int:
    """Return every (parent, child) pair of a hub's nodes, shape (e, 2)."""
    return np.array(hub.edges(), dtype=np.int64).reshape(-1, 2)


def labelled_nodes(hub: Hub, recursive: bool) -> Bool:
    """Say on which nodes an expert that was shown all images has a label, shape (v,)."""
    own = hub.evidence_nodes()
    # One head that always answers alike: where its label is a number there is a label.
    told = node_label(np.zeros((len(own), 1)), own, edges_of(hub), recursive=recursive)
    usable: Bool = ~np.isnan(told[:, 0])
    return usable


def expert_label(
    hub: Hub, expert: StoredExpert, around: Neighbourhood, weights: Float, discount: float, recursive: bool
) -> Float | None:
    """Return an expert's label on the nodes of a neighbourhood, shape (n, h); None if it was not shown all images.

    Args:
        hub: open for reading.
        expert: whose label.
        around: the nodes.
        weights: of the domains, shape (domains,): an image counts so much in the mean of its node.
        discount, recursive: of Eq 2.
    """
    found = hub.head_totals(expert.expert, around.nodes)
    place = np.searchsorted(around.nodes, found.node)
    shown = np.bincount(place, weights=found.live, minlength=len(around.nodes))
    if (shown < around.images).any():
        return None
    weight = weights[found.domain]
    total = np.zeros((len(around.nodes), len(expert.card.heads)))
    np.add.at(total, place, weight[:, None] * found.total)
    count = np.bincount(place, weights=weight * found.images, minlength=len(around.nodes))
    own = count > 0
    mean = np.divide(total, count[:, None], out=np.zeros(total.shape), where=own[:, None])
    return node_label(mean, own, around.edges, discount, recursive)
