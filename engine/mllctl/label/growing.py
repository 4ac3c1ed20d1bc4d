"""Grow labels: from embeddings to the part of a label that a change of the hub makes necessary.

    images not labelled yet      compared with every node: their rows, masks and ordered rivals are new
    nodes that are new           every labelled image is compared with them alone; where one beats the true node or
                                 comes close to it, the image's row is written again, and masks for the new nodes
    nodes that have lost         the rows of those images are written again to which they were rivals or runners-up
    their last image

The result answers every question as a label made from nothing would. No model is run here.
"""

from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mllctl.backends.protocol import ModelCard
from mllctl.hub import Features, Hub, LabelInput, LabelState
from mllctl.hub.parts import RUNNERS_UP, LabelWriter
from mllctl.kernels.arrays import Bool
from mllctl.kernels.order import Likely, NodeVectors, Order, order_nodes

CELLS_AT_ONCE = 1 << 23  # images x nodes compared at a time: 32 MB of float32, which is used again and not mapped anew
WORKERS = 2

NO_STATE = LabelState(np.zeros(0, np.uint32), np.zeros(0, np.uint64), np.zeros(0, np.uint64))


@dataclass(frozen=True)
class Label:
    """What is known of a model's label before it grows.

    Attributes:
        nodes: that compete in it.
        state: of its blocks.
        weakest: of each labelled image, by ordinal, the similarity of its last runner-up.
    """

    nodes: NDArray[np.uint32]
    state: LabelState
    weakest: tuple[NDArray[np.uint32], NDArray[np.float32]]

    @classmethod
    def empty(cls) -> "Label":
        """Return the label of a model that has none."""
        return cls(np.zeros(0, np.uint32), NO_STATE, (np.zeros(0, np.uint32), np.zeros(0, np.float32)))

    @classmethod
    def read(cls, hub: Hub, model: int) -> "Label":
        """Read what a hub holds of a model's label."""
        if not hub.label_files(model):
            return cls.empty()
        return cls(hub.label_nodes(model), hub.label_state(model), hub.weakest_runners_up(model, RUNNERS_UP))


def write_part(
    folder: Path,
    given: LabelInput,
    card: ModelCard,
    label: Label,
    images: Features,
    captions: Features,
    near_the_gone: Collection[int] = (),
    likely: Likely | None = None,
) -> bool:
    """Write into `folder` what a label lacks to be that of `given`.

    Args:
        folder: where the part goes.
        given: live images of which there are embeddings, and the nodes with evidence.
        card: of the model.
        label: as it is.
        images, captions: the model's embeddings.
        near_the_gone: labelled images that have nodes of the label among their rivals or runners-up which are no
            longer in `given`.
        likely: what finds the nodes that matter to an image, such as `backends.comparison.likely_on`.

    Returns:
        Whether there was anything to write.
    """
    if len(given.nodes) == 0:
        return False
    labelled, _ = label.state.of(given.block)
    old = (labelled >> given.bit.astype(np.uint64)) & np.uint64(1) != 0
    newcomers = ~np.isin(given.nodes, label.nodes)
    nodes = NodeVectors.of(captions.take(given.nodes))
    renewed = np.zeros(len(given.images), dtype=np.bool_)
    if old.any():
        renewed[old] = np.isin(given.images[old], list(near_the_gone))
        if newcomers.any():
            renewed[old] |= _touched(given.take(old), label, images, nodes, newcomers)
    if old.all() and not newcomers.any() and len(label.nodes) == len(given.nodes):
        return False
    with LabelWriter(folder, given, card) as part, threadpool_limits(1, "blas"), ThreadPoolExecutor(WORKERS) as pool:
        for few, order in _orders(pool, given.take(~old), nodes, images, likely):
            part.add(few, order)
        for few, order in _orders(pool, given.take(renewed), nodes, images, likely):
            part.renew(few, order, newcomers)
        part.finish(label.state)
    return True


def _orders(
    pool: ThreadPoolExecutor, given: LabelInput, nodes: NodeVectors, images: Features, likely: Likely | None
) -> Iterator[tuple[LabelInput, Order]]:
    """Yield runs of whole blocks with the order of their nodes; a few are made ahead of the one that is written."""

    def compare(rows: slice) -> tuple[LabelInput, Order]:
        few = given.take(np.arange(rows.start, rows.stop))
        truth = np.searchsorted(given.nodes, few.image_node)
        return few, order_nodes(images.take(few.images), nodes, truth, RUNNERS_UP, likely)

    runs = _runs(given.block, max(1, CELLS_AT_ONCE // len(given.nodes)))
    ahead: list[Future[tuple[LabelInput, Order]]] = [pool.submit(compare, run) for run in islice(runs, WORKERS + 1)]
    while ahead:
        yield ahead.pop(0).result()
        ahead += [pool.submit(compare, run) for run in islice(runs, 1)]


def _runs(block: NDArray[np.uint32], at_once: int) -> Iterator[slice]:
    """Cut the images into runs of about `at_once` that never split a block."""
    edges = np.append(np.flatnonzero(np.diff(block)) + 1, len(block))
    start = 0
    while start < len(block):
        stop = int(edges[min(int(np.searchsorted(edges, start + at_once)), len(edges) - 1)])
        yield slice(start, stop)
        start = stop


def _touched(given: LabelInput, label: Label, images: Features, nodes: NodeVectors, newcomers: Bool) -> Bool:
    """Say to which labelled images a new node comes closer than the last node that is kept of them."""
    held, weakest = label.weakest
    # The float32 that is stored may lie above the value it was rounded from.
    bound = np.nextafter(weakest[np.searchsorted(held, given.images)], np.float32(-np.inf))
    fresh = replace(nodes, single=nodes.single[newcomers], double=nodes.double[newcomers])
    touched = np.zeros(len(given.images), dtype=np.bool_)
    for rows in _runs(given.block, max(1, CELLS_AT_ONCE // (len(fresh.double) + images.width))):
        similarity = images.take(given.images[rows]).astype(np.float64) @ fresh.double.T
        touched[rows] = (similarity >= bound[rows, None]).any(axis=1)
    return touched
