"""Label a model: show it every sample image of a hub and keep who beats the true node.

    images ── model.encode_images ──┐
                                    ├─ float16 embeddings ── label (a pure function) ── commit
    captions ─ model.encode_texts ──┘

Embeddings are kept: what a model has seen it is never shown again. Work in progress waits in the
hub's `staging/` and is taken up by the same call after an interruption.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from mllctl.backends.protocol import Float32, ModelCard, VisionLanguageModel
from mllctl.errors import HubBusy, HubReadOnly, ModelNotLoadable, SourceUnreadable, StageMissing
from mllctl.hub import Hub, Label, LabelInput
from mllctl.hub.writing import change_hub
from mllctl.images import Skipped, open_image
from mllctl.kernels.arrays import AnyArray, Bool, Float, Int
from mllctl.kernels.label import rivals, similarities

Item = TypeVar("Item")
Float16 = NDArray[np.float16]
Progress = Callable[[int, int], None]  # (images done, images in all)

BATCH = 64
BATCHES_PER_PART = 16  # embeddings are put down every 1,024 images; at most that many are lost
TEXT_BATCH = 256
WRITER_WAIT = 600.0  # seconds; another writer's commit must not cost hours of labelling
COMPARED_AT_ONCE = 2048  # images x nodes float64 in memory: 150 MB at 9,055 nodes

# Issue on labels at scale: kept short so that the bundled hub stays small; `rivals` itself is whole.
RIVAL_SIMILARITIES = 8
RUNNERS_UP = 3


@dataclass(frozen=True)
class LabelReport:
    """What `label_model` did.

    Attributes:
        model: its name.
        images: live images of the hub.
        shown: how many of them the model was shown now, the others' embeddings being there already.
        skipped: images that could not be read.
        hits: images that no other node with evidence takes from the true one.
    """

    model: str
    images: int
    shown: int
    skipped: tuple[Skipped, ...]
    hits: int


def label_model(
    path: Path, model: VisionLanguageModel, progress: Progress | None = None, batch: int = BATCH
) -> LabelReport:
    """Label `model` on the hub at `path`, adding it to the hub if it is new, and commit.

    Args:
        path: the hub's folder.
        model: anything that keeps the protocol.
        progress: called after each batch.
        batch: images handed to the model at once.

    Raises:
        StageMissing: if the hub has no images, or nodes that `graph build` has not seen.
        HubReadOnly: on the bundled demo hub.
        SourceUnreadable: if not one image can be read.
    """
    with Hub.open(path) as hub:
        given = _label_input(hub)
        stored = _stored_embeddings(hub, model.card)
    staging = path / "staging" / f"label-{model.card.identity[:16]}"
    staging.mkdir(parents=True, exist_ok=True)
    with _hold(staging, path):
        return _label(path, model, given, stored, staging, progress, batch)


def _label(
    path: Path,
    model: VisionLanguageModel,
    given: LabelInput,
    stored: dict[int, Float16],
    staging: Path,
    progress: Progress | None,
    batch: int,
) -> LabelReport:
    """Show the model what neither the hub nor `staging` has embeddings of, and commit its label."""
    found = {**stored, **_read_parts(staging)}
    todo = [n for n, image in enumerate(given.images.tolist()) if image not in found]
    skipped: list[Skipped] = []
    done = len(given.images) - len(todo)
    for part in _in_parts(todo, batch * BATCHES_PER_PART):
        fresh = {}
        for few in _in_parts(part, batch):
            fresh.update(_encode_images(model, given, few, skipped))
            done += len(few)
            if progress:
                progress(done, len(given.images))
        _write_part(staging, fresh)
        found.update(fresh)
    captions = _encode_captions(model, given)
    seen = np.array([image in found for image in given.images.tolist()], dtype=np.bool_)
    if not seen.any():
        raise SourceUnreadable(skipped[0].path, f"{skipped[0].reason}; no image of the hub can be read")
    given = _only(given, seen)
    embedding = np.array([found[image] for image in given.images.tolist()], dtype=np.float16)
    label, hits = make_label(given, embedding.reshape(len(given.images), -1), captions)
    with change_hub(path, wait=WRITER_WAIT) as change:
        ordinal = change.add_model(model.card)
        change.set_features(ordinal, "image", _feature_table(given.images, embedding))
        change.set_features(ordinal, "caption", _feature_table(given.nodes, captions))
        change.set_label(ordinal, model.card, label)
    shutil.rmtree(staging)
    return LabelReport(model.card.name, len(seen), len(todo) - len(skipped), tuple(skipped), hits)


def make_label(given: LabelInput, images: Float16, captions: Float16) -> tuple[Label, int]:
    """Turn embeddings into a label: a pure function, whatever batch or machine made them.

    Args:
        given: images sorted by block and bit, and the nodes they are compared with.
        images: shape (i, d).
        captions: shape (v, d), in the order of `given.nodes`.

    Returns:
        The label, and the number of images without a rival.
    """
    masks, rows, hits = [], [], 0
    for start in _block_starts(given.block, COMPARED_AT_ONCE):
        part = slice(*start)
        similarity = similarities(images[part], captions)
        truth = np.searchsorted(given.nodes, given.image_node[part])
        beaten_by = rivals(similarity, truth)
        hits += int((~beaten_by.any(axis=1)).sum())
        masks.append(_masks(given, part, beaten_by))
        rows.append(_image_rows(given, part, similarity, beaten_by, truth))
    state = _state(given)
    # Equal masks side by side take a quarter of the file less than rivals in order.
    order = [(column, "ascending") for column in ("node", "block", "mask", "rival")]
    mask_table = pa.concat_tables(masks).sort_by(order)
    image_table = pa.concat_tables(rows).sort_by("image")
    return Label(given.graph_version, given.nodes, state, mask_table, image_table), hits


# -- tables of a label --------------------------------------------------------------------------------


def _state(given: LabelInput) -> pa.Table:
    block, first = np.unique(given.block, return_index=True)
    labelled = np.bitwise_or.reduceat(np.uint64(1) << given.bit.astype(np.uint64), first)
    return pa.table({"block": block, "labelled": labelled})


def _masks(given: LabelInput, part: slice, beaten_by: Bool) -> pa.Table:
    """Pack the images of each block into one mask a rival."""
    block, first = np.unique(given.block[part], return_index=True)
    bits = np.uint64(1) << given.bit[part].astype(np.uint64)
    packed = np.bitwise_or.reduceat(np.where(beaten_by, bits[:, None], np.uint64(0)), first, axis=0)
    of_block, of_node = np.nonzero(packed)
    return pa.table(
        {
            "node": given.image_node[part][first][of_block],
            "block": block[of_block],
            "rival": given.nodes[of_node],
            "mask": packed[of_block, of_node],
        }
    )


def _image_rows(given: LabelInput, part: slice, similarity: Float, beaten_by: Bool, truth: Int) -> pa.Table:
    """Order, for each image, the nodes that beat the true one, and a few that do not."""
    order = np.argsort(-similarity, axis=1, kind="stable")
    rank = beaten_by.sum(axis=1)
    # Whatever beats the truth stands before it in this order, and nothing else does.
    lists = [order[row, :count] for row, count in enumerate(rank)]
    after = [order[row, count + 1 : count + 1 + RUNNERS_UP] for row, count in enumerate(rank)]
    strongest = [columns[:RIVAL_SIMILARITIES] for columns in lists]
    own = np.take_along_axis(similarity, truth[:, None], axis=1)[:, 0]
    return pa.table(
        {
            "image": given.images[part],
            "similarity": own.astype(np.float32),
            "rank": rank.astype(np.uint32),
            "rivals": _list_array(lists, given.nodes),
            "rival_similarities": _list_array(strongest, similarity),
            "runners_up": _list_array(after, given.nodes),
            "runner_up_similarities": _list_array(after, similarity),
        }
    )


def _list_array(columns: list[Int], values: AnyArray) -> pa.ListArray:
    """Look up each image's columns in `values` (node ordinals, or the image's own similarities)."""
    lengths = np.array([len(column) for column in columns], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    flat = np.concatenate(columns) if columns else np.zeros(0, dtype=np.int64)
    if values.ndim == 2:
        looked_up = values[np.repeat(np.arange(len(columns)), lengths), flat].astype(np.float32)
    else:
        looked_up = values[flat]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(looked_up))


def _block_starts(block: NDArray[np.uint32], at_once: int) -> Iterator[tuple[int, int]]:
    """Cut the images into runs of about `at_once` that never split a block."""
    edges = np.flatnonzero(np.diff(block)) + 1
    start = 0
    while start < len(block):
        later = edges[edges >= start + at_once]
        stop = int(later[0]) if len(later) else len(block)
        yield start, stop
        start = stop


# -- embeddings ---------------------------------------------------------------------------------------


def _label_input(hub: Hub) -> LabelInput:
    if hub.manifest.read_only:
        raise HubReadOnly(hub.path)
    given = hub.label_input()
    if len(given.images) == 0:
        raise StageMissing("the hub has no images", "mllctl images add DIR --domain NAME")
    if hub.graph_version() == 0 or hub.nodes_outside_graph():
        raise StageMissing("the hub has nodes that its graph does not cover", "mllctl graph build")
    return given


def _stored_embeddings(hub: Hub, card: ModelCard) -> dict[int, Float16]:
    """Return the embeddings of images that the hub already has of this very model, by ordinal."""
    known = {model.card.name: model for model in hub.models()}.get(card.name)
    if known is None or known.card.identity != card.identity:
        return {}
    files = [file for file in hub.manifest.image_features if file.model == known.model]
    return read_features(hub.path / files[0].path) if files else {}


@contextmanager
def _hold(staging: Path, hub: Path) -> Iterator[None]:
    """Let one process at a time label this model on this hub."""
    lock = FileLock(staging / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise HubBusy(hub) from error
    try:
        yield
    finally:
        (staging / "lock").unlink(missing_ok=True)
        lock.release()


def read_features(path: Path) -> dict[int, Float16]:
    """Read a file of embeddings: ordinal -> vector."""
    table = parquet.read_table(path)
    flat = table.column("embedding").combine_chunks().flatten().to_numpy()
    width = table.schema.field("embedding").type.list_size
    return dict(zip(table.column("ordinal").to_pylist(), flat.reshape(-1, width), strict=True))


def _feature_table(ordinals: NDArray[np.uint32], embedding: Float16) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(embedding.reshape(-1)), embedding.shape[1])
    return pa.table({"ordinal": ordinals, "embedding": vectors})


def _encode_images(
    model: VisionLanguageModel, given: LabelInput, few: list[int], skipped: list[Skipped]
) -> dict[int, Float16]:
    pictures, ordinals = [], []
    for n in few:
        try:
            pictures.append(open_image(given.uris[n]))
        except SourceUnreadable as error:
            skipped.append(Skipped(given.uris[n], error.reason))
        else:
            ordinals.append(int(given.images[n]))
    if not pictures:
        return {}
    return dict(zip(ordinals, _rounded(model, model.encode_images(pictures)), strict=True))


def _encode_captions(model: VisionLanguageModel, given: LabelInput) -> Float16:
    parts = [model.encode_texts(few) for few in _in_parts(list(given.captions), TEXT_BATCH)]
    return _rounded(model, np.concatenate(parts))


def _rounded(model: VisionLanguageModel, vectors: Float32) -> Float16:
    """Round embeddings to what is stored; what is no number would beat every node, or none."""
    if not np.isfinite(vectors).all():
        raise ModelNotLoadable(model.card.name, "it gives embeddings that are not numbers; its weights are damaged")
    return vectors.astype(np.float16)


def _write_part(staging: Path, fresh: dict[int, Float16]) -> None:
    """Put down a part under its final name only when it is whole."""
    if not fresh:
        return
    table = _feature_table(np.array(list(fresh), dtype=np.uint32), np.array(list(fresh.values())))
    unfinished = staging / "unfinished"
    parquet.write_table(table, unfinished, compression="none")
    with unfinished.open("rb+") as written:
        os.fsync(written.fileno())
    unfinished.replace(staging / f"{min(fresh):010d}.parquet")


def _read_parts(staging: Path) -> dict[int, Float16]:
    found: dict[int, Float16] = {}
    for path in sorted(staging.glob("*.parquet")):
        try:
            found.update(read_features(path))
        except (pa.ArrowInvalid, OSError):
            # A power cut may leave a part that is empty; its images are shown again.
            path.unlink()
    return found


def _only(given: LabelInput, keep: Bool) -> LabelInput:
    """Leave out the images that could not be read."""
    return LabelInput(
        graph_version=given.graph_version,
        nodes=given.nodes,
        captions=given.captions,
        images=given.images[keep],
        image_node=given.image_node[keep],
        block=given.block[keep],
        bit=given.bit[keep],
        uris=tuple(uri for uri, kept in zip(given.uris, keep, strict=True) if kept),
    )


def _in_parts(items: list[Item], size: int) -> Iterator[list[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
