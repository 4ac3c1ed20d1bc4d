"""What goes into a hub and comes out of it: frozen dataclasses and arrays, never a cursor."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mllctl.backends.protocol import ExpertCard, ModelCard

Ordinals = NDArray[np.uint32]
Masks = NDArray[np.uint64]


@dataclass(frozen=True)
class StoredDomain:
    """A domain with its ordinal, and its number of live images."""

    domain: int
    name: str
    description: str
    images: int


@dataclass(frozen=True)
class StoredNode:
    """A node with its ordinal, and its number of live images."""

    node: int
    synset: str
    name: str
    definition: str
    lexname: str
    caption: str
    images: int


@dataclass(frozen=True)
class StoredImage:
    """A live image: its truth, and its place in the label store."""

    image: int
    node: int
    synset: str
    domain: str
    block: int
    bit: int
    uri: str


@dataclass(frozen=True)
class StoredModel:
    """A model with its ordinal, its card and how far it is labelled.

    Attributes:
        labelled: live images the model was shown.
        missing: live images it was not shown yet.
        unseen: nodes with images its label was not compared with yet.
    """

    model: int
    card: ModelCard
    labelled: int
    missing: int
    unseen: int

    @property
    def state(self) -> str:
        """`none`, `stale` (images or nodes came later) or `complete`."""
        if self.labelled == 0:
            return "none"
        return "stale" if self.missing or self.unseen else "complete"


@dataclass(frozen=True)
class StoredExpert:
    """An expert with its ordinal, its card and how far it is labelled.

    Attributes:
        expert: ordinal; no model of the hub has the same.
        labelled: live images it was shown.
        missing: live images it was not shown yet.
    """

    expert: int
    card: ExpertCard
    labelled: int
    missing: int

    @property
    def state(self) -> str:
        """`none`, `stale` (images came later) or `complete`."""
        if self.labelled == 0:
            return "none"
        return "stale" if self.missing else "complete"


@dataclass(frozen=True)
class HeadTotals:
    """What an expert's heads answered on the images of some nodes, by block.

    Attributes:
        node, domain: of each block, ordinals, shape (b,).
        images: how many were shown, shape (b,), at least 1.
        live: how many of these are still there, shape (b,); all, but where a label was imported without its answers.
        total: sum of float16 log-probabilities over them, exact, shape (b, h).
    """

    node: NDArray[np.int64]
    domain: NDArray[np.int64]
    images: NDArray[np.int64]
    live: NDArray[np.int64]
    total: NDArray[np.float64]


@dataclass(frozen=True)
class LabelInput:
    """Everything a label is made from, besides embeddings.

    Attributes:
        graph_version: of the graph the nodes are from.
        nodes: nodes with live images, ascending, shape (v,).
        captions: their captions.
        images: live images, sorted by their node, block and bit, shape (i,).
        image_node, block, bit: of each image, shape (i,).
        uris: of each image.
    """

    graph_version: int
    nodes: Ordinals
    captions: tuple[str, ...]
    images: Ordinals
    image_node: Ordinals
    block: Ordinals
    bit: NDArray[np.uint8]
    uris: tuple[str, ...]

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "LabelInput":
        """Return only these images, in this order."""
        kept = np.arange(len(self.images))[rows]
        return replace(
            self,
            images=self.images[kept],
            image_node=self.image_node[kept],
            block=self.block[kept],
            bit=self.bit[kept],
            uris=tuple(self.uris[row] for row in kept),
        )

    def without(self, images: Collection[int]) -> "LabelInput":
        """Return what is left when images are taken out, and with the last of them their nodes."""
        left = self.take(~np.isin(self.images, list(images)))
        kept = np.isin(self.nodes, left.image_node)
        captions = tuple(caption for caption, keep in zip(self.captions, kept, strict=True) if keep)
        return replace(left, nodes=self.nodes[kept], captions=captions)


def find(sorted_: NDArray[np.integer], wanted: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where those of `wanted` that are there stand in an ascending array, and which of them are."""
    at = np.searchsorted(sorted_, wanted)
    there = at < len(sorted_)
    there[there] = sorted_[at[there]] == wanted[there]
    return at[there], there


@dataclass(frozen=True)
class LabelState:
    """What a label says of each block, over all nodes that compete.

    Attributes:
        block: ascending, shape (b,).
        labelled: bit set: the model was shown that image, shape (b,).
        beaten: bit set: some competing node takes that image from its true one, shape (b,).
    """

    block: Ordinals
    labelled: Masks
    beaten: Masks

    def of(self, block: NDArray[np.integer]) -> tuple[Masks, Masks]:
        """Return (labelled, beaten) of these blocks; 0 of those it does not know."""
        at, known = find(self.block, block)
        labelled, beaten = np.zeros(len(block), np.uint64), np.zeros(len(block), np.uint64)
        labelled[known], beaten[known] = self.labelled[at], self.beaten[at]
        return labelled, beaten


@dataclass(frozen=True)
class ImageRows:
    """Images of some blocks in a part of a label, block by block.

    Attributes:
        block: place of each image's block among those asked for, shape (i,).
        first: where each block's images begin, shape (blocks,).
        row: of each image in the part's Arrow file, shape (i,).
        mask: the image's bit, shape (i,).
        run: where each run of rows that follow one another begins, shape (runs,).
        last: where it ends: its last image, shape (runs,).
    """

    block: NDArray[np.int64]
    first: NDArray[np.int64]
    row: NDArray[np.int64]
    mask: Masks
    run: NDArray[np.int64]
    last: NDArray[np.int64]


@dataclass(frozen=True)
class PartRows:
    """Which images a part of a label holds: the table `label_row`, by block.

    Attributes:
        block: ascending, shape (b,).
        shown: bit set: that image, shape (b,).
        row: of the first of them, shape (b,).
    """

    block: Ordinals
    shown: Masks
    row: NDArray[np.int64]

    def same(self, other: "PartRows") -> bool:
        """Say whether both hold the same images in the same rows."""
        return all(
            np.array_equal(mine, theirs)
            for mine, theirs in ((self.block, other.block), (self.shown, other.shown), (self.row, other.row))
        )

    def within(self, blocks: Ordinals) -> ImageRows:
        """Return the images of `blocks`, ascending."""
        at, here = find(self.block, blocks)
        bits = np.unpackbits(self.shown[at].astype("<u8").view(np.uint8), bitorder="little").reshape(len(at), 64)
        _, bit = np.nonzero(bits)
        count = np.bitwise_count(self.shown[at]).astype(np.int64)
        first = np.cumsum(count) - count
        # Rows of a block follow one another; those of the next block may begin elsewhere.
        row = np.arange(count.sum()) + np.repeat(self.row[at] - first, count)
        run = np.flatnonzero(np.diff(row, prepend=-2) != 1)
        return ImageRows(
            block=np.repeat(np.flatnonzero(here), count),
            first=first,
            row=row,
            mask=np.uint64(1) << bit.astype(np.uint64),
            run=run,
            last=np.append(run[1:], len(row)) - 1,
        )


@dataclass(frozen=True)
class Evidence:
    """Integer hits over a selection of nodes, apart for each domain.

    Attributes:
        models: model ordinals, ascending, shape (m,).
        nodes: V_sel, ascending, shape (v,).
        hits, images: shape (m, v, domains).
    """

    models: NDArray[np.int64]
    nodes: NDArray[np.int64]
    hits: NDArray[np.int64]
    images: NDArray[np.int64]


@dataclass(frozen=True)
class Winners:
    """Which selected node took each image of the selected nodes, by order of images.

    Attributes:
        image, truth, domain: ordinals, shape (i,).
        winner: node; the truth itself where no other takes the image, -1 where one does and a hub that keeps only
            the first rivals does not know which, shape (i,).
    """

    image: NDArray[np.int64]
    truth: NDArray[np.int64]
    domain: NDArray[np.int64]
    winner: NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """Rows of a query with the names of their columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
