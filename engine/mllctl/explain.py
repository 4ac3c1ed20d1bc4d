"""Why a model was chosen for a class, from the nodes down to the images, and what would change that.

`explain_choice` takes a selection apart; `report.py` makes a page of it. Nothing is decided here that `select` did not
decide: what would change the decision is found by ranking again with one thing left out.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from mllctl.errors import InvalidTask
from mllctl.hub import Hub, StoredImage, StoredNode
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.reuse import reuse_metric
from mllctl.kernels.shrinkage import Belief
from mllctl.select import Selection

RIVALS_NAMED = 3
NAMES_LISTED = 8


@dataclass(frozen=True)
class NodeEvidence:
    """What one node says of a model for a class.

    Attributes:
        node: the node.
        transfer: Z of the node and the class.
        part: of the node in what is believed of the class, in [0, 1].
        hits, images: of the model, domain -> number; domains without images are left out.
        precision, low, high: what is believed, with the ends of its 90 % interval.
        rivals: nodes that took images, most first, with how many each.
    """

    node: StoredNode
    transfer: float
    part: float
    hits: dict[str, int]
    images: dict[str, int]
    precision: float
    low: float
    high: float
    rivals: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class SeenImage:
    """One sample image and where the model put it.

    Attributes:
        image: the image.
        winner: synset that took it; None where the hub does not know.
        hit: whether that is its true one.
    """

    image: StoredImage
    winner: str | None
    hit: bool


@dataclass(frozen=True)
class AlphaRange:
    """The model that leads a class for `alpha` from `low` to `high`."""

    low: float
    high: float
    model: str


@dataclass(frozen=True)
class Explanation:
    """Why a model was, or was not, chosen for a class.

    Attributes:
        class_, model: their names.
        rank: of the model in this class, 1 is the best.
        reuse, precision: its r and its share p on the class.
        chosen: the model that is first.
        chosen_reuse: its r.
        covered: whether the hub has evidence for the class; if not, the other classes decided, or, where it has
            evidence for none, the best-overall model is first.
        similarity: cosine of the class and its most similar node.
        nodes: what each node of the class says, greatest part first.
        images: the sample images of these nodes.
        alphas: who leads, from alpha 0 to 1.
        changes: what would give the class to another model, each with that model's name.
    """

    class_: str
    model: str
    rank: int
    reuse: float
    precision: float
    chosen: str
    chosen_reuse: float
    covered: bool
    similarity: float
    nodes: tuple[NodeEvidence, ...]
    images: tuple[SeenImage, ...]
    alphas: tuple[AlphaRange, ...]
    changes: tuple[tuple[str, str], ...]

    @property
    def no_evidence(self) -> str:
        """What decided for a class that is not covered, half a sentence."""
        # Rounded down: just under the floor must not read as the floor.
        nearest = math.floor(100 * self.similarity) / 100
        others = (
            "the other classes decided" if self.chosen_reuse else "nor for another, so the best-overall model is first"
        )
        return f"the hub has no evidence for this class (nearest is only {nearest:.2f} like it): {others}"


def explain_choice(hub: Hub, selection: Selection, class_: str, model: str | None = None) -> Explanation:
    """Explain a selection's choice for a class, or why another model was not chosen.

    Args:
        hub: the generation that the selection was made from.
        selection: what `select_models` returned.
        class_: one of its classes.
        model: one of its candidates; the first of the class when None.

    Raises:
        InvalidTask: if it is none of the classes, or the model was no candidate.
    """
    c = _place(selection.classes, class_.strip(), "the classes")
    first = int(selection.members[c, 0])
    left_out = dict(selection.left_out)
    if model in left_out:
        raise InvalidTask(f"{model} was no candidate: {left_out[model]}")
    m = first if model is None else _place(selection.names, model, "the candidates")
    among = _candidates(selection)
    order = np.argsort(-np.where(among, selection.reuse[:, c], -1), kind="stable").tolist()
    seen = _images(hub, selection, c, m)
    return Explanation(
        class_=class_,
        model=selection.names[m],
        rank=1 if m == first else max(order.index(m) + 1, 2),
        reuse=float(selection.reuse[m, c]),
        precision=float(selection.share[m, c]),
        chosen=selection.names[first],
        chosen_reuse=float(selection.reuse[first, c]),
        covered=bool(selection.covered[c]),
        similarity=float(selection.similarity[c]),
        nodes=_nodes(selection, c, m, seen),
        images=seen,
        alphas=_alphas(selection, c, among),
        changes=_changes(selection, c, first, among),
    )


def leading_models(precision: Float, class_: int, names: tuple[str, ...]) -> tuple[AlphaRange, ...]:
    """Return which model has the best r on a class for each alpha in [0, 1].

    r is linear in alpha, so the leaders are the upper envelope of as many lines as models; ties go to the first.

    Args:
        precision: p, shape (m, c).
        class_: its column.
        names: of the models.
    """
    own, mean = precision[:, class_], precision.mean(axis=1)
    rise = own - mean
    ranges: list[AlphaRange] = []
    at = 0.0
    lead = int(np.lexsort((np.arange(len(own)), -rise, -mean))[0])
    while True:
        # Who rises faster overtakes the leader where the lines cross.
        faster = np.flatnonzero(rise > rise[lead])
        crossing = (mean[lead] - mean[faster]) / (rise[faster] - rise[lead])
        if len(faster) == 0 or crossing.min() >= 1:
            ranges.append(AlphaRange(at, 1.0, names[lead]))
            return tuple(ranges)
        nearest = float(crossing.min())
        if nearest > at:
            ranges.append(AlphaRange(at, nearest, names[lead]))
            at = nearest
        tied = faster[crossing == crossing.min()]
        lead = int(tied[np.argmax(rise[tied])])


def _candidates(selection: Selection) -> Bool:
    """Say which models a class could get: of at most so many over the whole task, those that were taken."""
    among = np.zeros(len(selection.names), dtype=np.bool_)
    among[list(selection.answer("few").models) if selection.options.max_models else slice(None)] = True
    return among


def _alphas(selection: Selection, c: int, among: Bool) -> tuple[AlphaRange, ...]:
    if not selection.covered[c]:
        return ()
    names = tuple(name for name, one in zip(selection.names, among, strict=True) if one)
    return leading_models(selection.class_precision[among], c, names)


def _place(names: tuple[str, ...], wanted: str, what: str) -> int:
    if wanted not in names:
        listed = f"{', '.join(names[:NAMES_LISTED])}{', ...' if len(names) > NAMES_LISTED else ''}"
        raise InvalidTask(f"{wanted!r} is none of {what}; they are {listed}")
    return names.index(wanted)


def _nodes_of(selection: Selection, c: int) -> Int:
    """Return the rows of a class's nodes, greatest part first."""
    order = np.argsort(-selection.transfer[:, c], kind="stable")
    return np.asarray(order[selection.transfer[order, c] > 0])


def _images(hub: Hub, selection: Selection, c: int, m: int) -> tuple[SeenImage, ...]:
    rows = _nodes_of(selection, c)
    winners = hub.winners(selection.models[m].model, [node.node for node in selection.nodes])
    synset = {node.node: node.synset for node in selection.nodes}
    took = dict(zip(winners.image.tolist(), winners.winner.tolist(), strict=True))
    return tuple(
        SeenImage(image, synset.get(took[image.image]), took[image.image] == image.node)
        for v in rows
        for image in hub.images(selection.nodes[v].synset)
        if image.image in took
    )


def _nodes(selection: Selection, c: int, m: int, seen: tuple[SeenImage, ...]) -> tuple[NodeEvidence, ...]:
    low, high = selection.belief[m].interval()
    told = []
    for v in _nodes_of(selection, c):
        node = selection.nodes[v]
        of_node = [image for image in seen if image.image.node == node.node]
        lost = Counter(image.winner or "unknown" for image in of_node if not image.hit)
        told.append(
            NodeEvidence(
                node,
                float(selection.transfer[v, c]),
                float(selection.part[v, c]),
                dict(Counter(image.image.domain for image in of_node if image.hit)),
                dict(Counter(image.image.domain for image in of_node)),
                float(selection.belief.mean[m, v]),
                float(low[v]),
                float(high[v]),
                tuple(sorted(lost.items(), key=lambda pair: (-pair[1], pair[0]))[:RIVALS_NAMED]),
            )
        )
    return tuple(told)


def _changes(selection: Selection, c: int, first: int, among: Bool) -> tuple[tuple[str, str], ...]:
    """Rank again with one thing changed, and say where another model comes first."""
    if not selection.covered[c]:
        return ()
    found = []
    for v in _nodes_of(selection, c):
        transfer = selection.transfer.copy()
        transfer[v, c] = 0
        if transfer[:, c].any():
            other = _first(selection, selection.belief, transfer, c, among)
            if other != first:
                found.append((f"without the node {selection.nodes[v].synset}", selection.names[other]))
    plain = np.divide(selection.hits, selection.images, out=np.zeros(selection.hits.shape), where=selection.images > 0)
    other = _first(selection, Belief(plain, selection.belief.images), selection.transfer, c, among)
    if other != first:
        found.append(("with the plain ratio of hits, all domains alike", selection.names[other]))
    found += _images_that_matter(selection, c, first, among)
    return tuple(found)


def _first(selection: Selection, belief: Belief, transfer: Float, c: int, among: Bool) -> int:
    mass = transfer.sum(axis=0)
    part = np.divide(transfer, mass, out=np.zeros(transfer.shape), where=mass > 0)
    reuse = reuse_metric(belief.mean @ part, selection.options.alpha)[:, c]
    return int(np.argmax(np.where(among, reuse, -1)))


def _images_that_matter(selection: Selection, c: int, first: int, among: Bool) -> list[tuple[str, str]]:
    """Say how many hits fewer on the class's weightiest node would give the class to the second model."""
    if among.sum() < 2 or not len(rows := _nodes_of(selection, c)):
        return []
    v, reuse = int(rows[0]), reuse_metric(selection.share, selection.options.alpha)[:, c]
    second = int(np.argsort(-np.where(among & (np.arange(len(reuse)) != first), reuse, -1), kind="stable")[0])
    alpha, part = selection.options.alpha, selection.part
    says = alpha * part[v, c] + (1 - alpha) * part[v].mean()
    fewer = int(np.floor((reuse[first] - reuse[second]) / says * selection.belief.images[first, v])) + 1
    if fewer > selection.hits[first, v]:
        return []
    images = "image" if fewer == 1 else "images"
    return [(f"with {fewer} {images} fewer right on {selection.nodes[v].synset}", selection.names[second])]
