"""Show a model the sample images and captions of a hub, and commit its label.

    images ── model.encode_images ──┐
                                    ├─ float16 embeddings ── growing.write_part ── commit
    captions ─ model.encode_texts ──┘

Embeddings are kept: what a model has seen it is never shown again. Work in progress waits in the
hub's `staging/` and is taken up by the same call after an interruption.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from mllctl.backends.protocol import Float32, ModelCard, VisionLanguageModel
from mllctl.errors import HubBusy, HubReadOnly, ModelNotLoadable, SourceUnreadable, StageMissing
from mllctl.hub import Features, Hub, LabelInput
from mllctl.hub.features import Float16, map_batches, write_features
from mllctl.hub.writing import change_hub
from mllctl.images import Skipped, open_image
from mllctl.kernels.order import Likely
from mllctl.label.growing import WRITER_WAIT, Label, write_part

Item = TypeVar("Item")
Progress = Callable[[int, int], None]  # (images done, images in all)

BATCH = 64
BATCHES_PER_PART = 16  # embeddings are put down every 1,024 images; at most that many are lost
TEXT_BATCH = 256


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
    path: Path,
    model: VisionLanguageModel,
    progress: Progress | None = None,
    batch: int = BATCH,
    likely: Likely | None = None,
) -> LabelReport:
    """Label `model` on the hub at `path`, adding it to the hub if it is new, and commit.

    What the label has already is kept: the cost is that of the images and nodes that are new.

    Args:
        path: the hub's folder.
        model: anything that keeps the protocol.
        progress: called after each batch.
        batch: images handed to the model at once.
        likely: where images are compared with nodes, such as `backends.comparison.likely_on("cuda")`; NumPy when None.

    Raises:
        StageMissing: if the hub has no images, or nodes that `graph build` has not seen.
        HubReadOnly: on the bundled demo hub.
        SourceUnreadable: if not one image can be read.
    """
    with Hub.open(path) as hub:
        given = _label_input(hub)
    staging = path / "staging" / f"label-{model.card.identity[:16]}"
    staging.mkdir(parents=True, exist_ok=True)
    with _hold(staging, path):
        report = _show(path, model, given, staging, progress, batch)
        while not _commit(path, model, given, staging, likely):
            # Another process has changed what the label was made for; no image need be shown again.
            with Hub.open(path) as hub:
                given = _label_input(hub)
        shutil.rmtree(staging)
    with Hub.open(path) as hub:
        return replace(report, hits=hub.overall_hits(hub.model(model.card.name).model))


def _show(
    path: Path,
    model: VisionLanguageModel,
    given: LabelInput,
    staging: Path,
    progress: Progress | None,
    batch: int,
) -> LabelReport:
    """Show the model what neither the hub nor `staging` has embeddings of, and put them down there."""
    with Hub.open(path) as hub:
        images, captions = _stored(hub, model.card)
        known = images.held(given.images) | _staged(staging, "image").held(given.images)
        named = captions.held(given.nodes) | _staged(staging, "caption").held(given.nodes)
    # In the order of blocks, whatever their nodes: a batch decides the last bits of an embedding.
    todo = [row for row in np.lexsort((given.bit, given.block)).tolist() if not known[row]]
    skipped: list[Skipped] = []
    done = len(given.images) - len(todo)
    for part in _in_parts(todo, batch * BATCHES_PER_PART):
        fresh: dict[int, Float16] = {}
        for few in _in_parts(part, batch):
            fresh.update(_encode_images(model, given, few, skipped))
            done += len(few)
            if progress:
                progress(done, len(given.images))
        _put_down(staging, "image", fresh)
    if todo and len(skipped) == len(todo) and not known.any():
        raise SourceUnreadable(skipped[0].path, f"{skipped[0].reason}; no image of the hub can be read")
    for few in _in_parts(np.flatnonzero(~named).tolist(), TEXT_BATCH):
        vectors = _rounded(model, model.encode_texts([given.captions[n] for n in few]))
        _put_down(staging, "caption", dict(zip(given.nodes[few].tolist(), vectors, strict=True)))
    return LabelReport(model.card.name, len(given.images), len(todo) - len(skipped), tuple(skipped), 0)


def _commit(path: Path, model: VisionLanguageModel, given: LabelInput, staging: Path, likely: Likely | None) -> bool:
    """Write what the label lacks and commit it; say False if the hub is no longer what it was written for."""
    with Hub.open(path) as hub:
        stored_images, stored_captions = _stored(hub, model.card)
        images = Features.joined(stored_images, _staged(staging, "image"))
        captions = Features.joined(stored_captions, _staged(staging, "caption"))
        seen = given.take(images.held(given.images))
        known = _known(hub, model.card)
        label = Label.empty() if known is None else Label.read(hub, known)
        read = () if known is None else hub.label_files(known)
        gone = label.nodes[~np.isin(label.nodes, given.nodes)]
        near = hub.images_near(known, gone) if known is not None and len(gone) else ()
        grown = write_part(staging / "part", seen, model.card, label, images, captions, near, likely)
    with change_hub(path, f"label {model.card.name}", WRITER_WAIT) as change:
        with Hub.open(path) as hub:
            known = _known(hub, model.card)
            if known is not None and hub.label_files(known) != read:
                return False
            if not set(given.nodes.tolist()) <= set(hub.label_input().nodes.tolist()):
                return False
        ordinal = change.add_model(model.card)
        fresh = given.images[~stored_images.held(given.images) & images.held(given.images)]
        if len(fresh):
            change.put_features(ordinal, "image", images.parts(fresh))
        named = given.nodes[~stored_captions.held(given.nodes)]
        if len(named):
            change.put_features(ordinal, "caption", captions.parts(named))
        if grown:
            change.put_label(ordinal, staging / "part", whole=len(label.nodes) == 0)
    return True


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


def _known(hub: Hub, card: ModelCard) -> int | None:
    """Return the ordinal under which the hub has this very model."""
    known = {model.card.name: model for model in hub.models()}.get(card.name)
    return known.model if known and known.card.identity == card.identity else None


def _stored(hub: Hub, card: ModelCard) -> tuple[Features, Features]:
    """Return the embeddings of images and captions that the hub already has of this very model."""
    known = _known(hub, card)
    return (Features([]), Features([])) if known is None else hub.features(known)


def _staged(staging: Path, kind: str) -> Features:
    """Return the embeddings that wait in `staging`."""
    batches: list[pa.RecordBatch] = []
    for path in sorted(staging.glob(f"{kind}-*.arrow")):
        try:
            batches += map_batches(path)
        except pa.ArrowInvalid:
            # A power cut may leave a part that is empty; its images are shown again.
            path.unlink()
    return Features(batches)


def _put_down(staging: Path, kind: str, fresh: dict[int, Float16]) -> None:
    """Put down a part under its final name only when it is whole."""
    if fresh:
        ordinals, vectors = np.array(list(fresh), dtype=np.uint32), np.array(list(fresh.values()), dtype=np.float16)
        write_features(staging / "unfinished", [(ordinals, vectors)])
        (staging / "unfinished").replace(staging / f"{kind}-{ordinals.min():010d}.arrow")


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


def _rounded(model: VisionLanguageModel, vectors: Float32) -> Float16:
    """Round embeddings to what is stored; what is no number would beat every node, or none."""
    if not np.isfinite(vectors).all():
        raise ModelNotLoadable(model.card.name, "it gives embeddings that are not numbers; its weights are damaged")
    return vectors.astype(np.float16)


def _in_parts(items: list[Item], size: int) -> Iterator[list[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
