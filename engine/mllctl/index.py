"""Match texts to nodes: the caption index.

`build_index` encodes the captions of a hub's nodes and the descriptions of its domains and commits
them. `match_nodes` finds the nodes nearest to each text. Called by `select`; decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mllctl.backends.protocol import Encoder
from mllctl.backends.vectors import VectorIndex
from mllctl.errors import HubDamaged, HubReadOnly, StageMissing
from mllctl.hub import Hub
from mllctl.kernels.arrays import Bool, Float

# FAISS breaks ties as it likes; that many more candidates are fetched and sorted by our own rule.
SPARE_CANDIDATES = 32


@dataclass(frozen=True)
class IndexReport:
    """What `build_index` made."""

    nodes: int
    domains: int
    width: int
    encoder: str


def build_index(path: Path, encoder: Encoder) -> IndexReport:
    """Encode every caption and domain of the hub at `path`, and commit the index.

    Raises:
        StageMissing: if the hub has no nodes, or nodes that `graph build` has not seen.
        HubReadOnly: on the bundled demo hub.
    """
    # Imported here: a query only reads the index, and all that writes a hub takes longer to import than to ask it.
    from mllctl.hub.writing import change_hub

    with Hub.open(path) as hub:
        captions, descriptions = index_input(hub)
    vectors = encoder.encode(captions)
    domains = encoder.encode(descriptions)
    with change_hub(path, "index build") as change:
        content = VectorIndex.build(vectors).to_bytes()
        change.set_index(content, len(captions), domains, encoder.name, encoder.fingerprint)
    return IndexReport(len(captions), len(domains), vectors.shape[1], encoder.name)


def index_input(hub: Hub) -> tuple[list[str], list[str]]:
    """Return the captions and descriptions of domains that are encoded, and refuse a hub that is not ready for it.

    Raises:
        StageMissing, HubReadOnly: as `build_index` does.
    """
    if hub.manifest.read_only:
        raise HubReadOnly(hub.path)
    if hub.graph_version() == 0:
        raise StageMissing("the hub has no graph yet", "mllctl graph build")
    if hub.nodes_outside_graph():
        raise StageMissing(f"{hub.nodes_outside_graph()} nodes came after the last graph build", "mllctl graph build")
    return hub.captions(), [domain.description for domain in hub.domains()]


def open_index(hub: Hub) -> VectorIndex:
    """Return the caption index of a hub.

    Raises:
        StageMissing: if there is none, or nodes or domains were added after it was built.
        HubDamaged: if its file is not one that FAISS wrote.
    """
    made, content = hub.manifest.index, hub.caption_index()
    if made is None or content is None:
        raise StageMissing("the hub has no caption index", "mllctl index build")
    nodes, domains = len(hub.nodes()), len(hub.domains())
    if (made.nodes, made.domains) != (nodes, domains):
        raise StageMissing(
            f"the caption index is older than its captions ({made.nodes} of {nodes} nodes, "
            f"{made.domains} of {domains} domains)",
            "mllctl index build",
        )
    try:
        return VectorIndex.from_bytes(content)
    except RuntimeError as error:
        raise HubDamaged(hub.path, f"{made.path} is not an index") from error


def check_encoder(hub: Hub, encoder: Encoder) -> None:
    """Refuse to compare captions with vectors of another encoder.

    Raises:
        StageMissing: if the index was made by other weights than `encoder` has.
    """
    made = hub.manifest.index
    if made is None or made.encoder_fingerprint != encoder.fingerprint:
        raise StageMissing(
            f"the caption index was made by {made.encoder if made else 'no encoder'}, not {encoder.name}",
            f"mllctl index build --encoder {encoder.name}",
        )


def match_nodes(index: VectorIndex, queries: Float, usable: Bool, count: int) -> Float:
    """Return cosines of each text and its nearest usable nodes, 0 for all others, shape (v, n).

    FAISS proposes, exact float64 cosines decide, ties go to the lower node: the `count` best of a
    column are the same that a full matrix would give.

    Args:
        index: over all nodes.
        queries: unit vectors, shape (n, d).
        usable: whether a node has evidence, shape (v,).
        count: how many nodes a text will be given.
    """
    allowed = np.flatnonzero(usable)
    similarity = np.zeros((len(index), len(queries)))
    if len(allowed) == 0:
        return similarity
    fetched = min(count + SPARE_CANDIDATES, len(allowed))
    for column, rows in enumerate(index.nearest(queries.astype(np.float32), fetched, allowed)):
        rows = rows[rows >= 0]
        similarity[rows, column] = index.vectors(rows).astype(np.float64) @ queries[column].astype(np.float64)
    return similarity


def encode_texts(encoder: Encoder, texts: Sequence[str]) -> Float:
    """Encode texts as float64 unit vectors, shape (n, d)."""
    return encoder.encode(list(texts)).astype(np.float64)


__all__ = ["IndexReport", "build_index", "check_encoder", "encode_texts", "index_input", "match_nodes", "open_index"]
