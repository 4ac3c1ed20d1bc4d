"""What a semantic graph makes of the images of its nodes, and which node is which class: Eq 1-2 of MLL for experts.

Mean logits of the nodes that have images go in, a label for each node that has some, or children with some, comes
out. `mutual_best_match` then says which node stands for which class (Algorithm 1, line 4).
"""

import numpy as np

from mllctl.kernels.arrays import Bool, Float, Int


def node_label(mean_logits: Float, usable: Bool, edges: Int, discount: float = 0.5, recursive: bool = False) -> Float:
    """Let what a model shows on the children of a node speak for the node.

        s[v] = discount * own[v] + (1 - discount) * mean over usable children of own[child]

    Source: MLL for expert models, Eq 2 as printed. With `recursive` the children's s stands in place of their own mean
    logits, from the leaves up. A node without usable children has its own; one without images of its own has the mean
    of its children's; one without either has none. A node with several parents counts for each; an edge that is
    there twice counts once.

    Args:
        mean_logits: own, mean logits over the images of each node, shape (v, h); what stands at nodes without
            images does not matter.
        usable: which nodes have images, shape (v,).
        edges: parent and child, shape (e, 2).
        discount: weight of a node's own images, in [0, 1].

    Returns:
        s, shape (v, h); NaN in rows of nodes without a label.

    Raises:
        ValueError: on shapes that do not agree, logits of usable nodes that are not finite, an edge to no node or
            to itself, `discount` outside [0, 1], and with `recursive` on edges that go round.
    """
    edges = _checked_edges(mean_logits, usable, edges)
    if not 0 <= discount <= 1:
        raise ValueError(f"discount must be in [0, 1], got {discount}")
    own = np.where(usable[:, None], mean_logits, np.nan).astype(np.float64, copy=False)
    if not np.isfinite(own[usable]).all():
        raise ValueError(f"mean_logits of node {_first_bad(own, usable)} must be finite")
    label = own.copy()
    if not recursive:
        _add_children(label, own, edges, discount)
        return label
    for level in _levels(len(own), edges):
        _add_children(label, label, level, discount)
    return label


def mutual_best_match(similarity: Float, usable: Bool) -> Int:
    """Match a class and a node if each is the other's most similar.

    Source: MLL for expert models, Algorithm 1, line 4. Ties go to the lower class and the lower node, so no node is
    matched twice.

    Args:
        similarity: shape (c, v).
        usable: which nodes may be matched, shape (v,).

    Returns:
        the node of each class, -1 if it has none, shape (c,).

    Raises:
        ValueError: on shapes that do not agree, or NaN.
    """
    if similarity.ndim != 2 or usable.shape != similarity.shape[1:]:
        raise ValueError(f"similarity {similarity.shape} and usable {usable.shape} must be (classes, nodes), (nodes,)")
    if np.isnan(similarity).any():
        raise ValueError("similarity must not contain NaN")
    nodes = np.flatnonzero(usable)
    if len(nodes) == 0 or len(similarity) == 0:
        return np.full(len(similarity), -1, dtype=np.int64)
    among = similarity[:, nodes]
    node, class_ = among.argmax(axis=1), among.argmax(axis=0)
    return np.where(class_[node] == np.arange(len(similarity)), nodes[node], -1)


def _checked_edges(mean_logits: Float, usable: Bool, edges: Int) -> Int:
    """Return the edges by parent, each once."""
    if mean_logits.ndim != 2 or usable.shape != mean_logits.shape[:1] or usable.dtype != np.bool_:
        shapes = f"mean_logits {mean_logits.shape} and usable {usable.shape} {usable.dtype}"
        raise ValueError(f"{shapes} must be (nodes, heads) and (nodes,) bool")
    if edges.size == 0:
        return np.zeros((0, 2), dtype=np.int64)
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise ValueError(f"edges must have shape (edges, 2), got {edges.shape}")
    if not ((edges >= 0) & (edges < len(usable))).all():
        raise ValueError(f"edges must be between nodes 0..{len(usable) - 1}")
    if (edges[:, 0] == edges[:, 1]).any():
        raise ValueError(f"node {edges[edges[:, 0] == edges[:, 1]][0, 0]} must not be its own child")
    return np.unique(edges, axis=0)


def _first_bad(own: Float, usable: Bool) -> int:
    return int((usable & ~np.isfinite(own).all(axis=1)).argmax())


def _add_children(label: Float, source: Float, edges: Int, discount: float) -> None:
    """Mix into the label of each parent the mean of what `source` has of its children; edges are by parent."""
    edges = edges[~np.isnan(source[edges[:, 1], 0])] if source.shape[1] else edges[:0]
    if len(edges) == 0:
        return
    parent, starts, count = np.unique(edges[:, 0], return_index=True, return_counts=True)
    mean = np.add.reduceat(source[edges[:, 1]], starts, axis=0) / count[:, None]
    alone = np.isnan(label[parent, :1])
    label[parent] = np.where(alone, mean, discount * label[parent] + (1 - discount) * mean)


def _levels(nodes: int, edges: Int) -> list[Int]:
    """Part the edges by how far above the leaves their parents are, lowest first."""
    waiting = np.bincount(edges[:, 0], minlength=nodes)
    by_child = edges[np.argsort(edges[:, 1], kind="stable")]
    done, levels = np.flatnonzero(waiting == 0), []
    ready = np.zeros(nodes, dtype=np.bool_)
    while len(done):
        ready[done] = True
        above = by_child[_within(by_child[:, 1], done), 0]
        waiting -= np.bincount(above, minlength=nodes)
        done = np.unique(above[waiting[above] == 0])
        levels.append(edges[_within(edges[:, 0], done)])
    if not ready.all():
        raise ValueError(f"edges must not go round, but some do above node {int((~ready).argmax())} or at it")
    return levels


def _within(ordered: Int, values: Int) -> Int:
    """Return where ascending `ordered` holds any of some ascending values, in order."""
    low, high = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    count = high - low
    return np.asarray(np.arange(count.sum()) + np.repeat(low - np.cumsum(count) + count, count))
