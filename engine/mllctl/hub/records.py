"""What goes into a hub and comes out of it: frozen dataclasses and arrays, never a cursor."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mllctl.backends.protocol import ModelCard

Ordinals = NDArray[np.uint32]


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
class LabelInput:
    """Everything a label is made from, besides embeddings.

    Attributes:
        graph_version: of the graph the nodes are from.
        nodes: nodes with live images, ascending, shape (v,).
        captions: their captions.
        images: live images, sorted by block and bit, shape (i,).
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


@dataclass(frozen=True)
class Label:
    """One model's label, as the tables of `schema/label.sql`."""

    graph_version: int
    nodes: Ordinals
    state: pa.Table
    masks: pa.Table
    images: pa.Table


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
class Table:
    """Rows of a query with the names of their columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
