"""Show a model the sample images and captions of a hub, and commit its label.

    images.feeding ───── model.encode_images ──┐
                                               ├─ float16 embeddings ── growing.write_part ── commit
    captions ─────────── model.encode_texts ───┘

Embeddings are kept: what a model has seen it is never shown again. Work in progress waits in the
hub's `staging/` and is taken up by the same call after an interruption.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mllctl.backends.devices import precision_of
from mllctl.backends.gently import Gently
from mllctl.backends.protocol import Float32, ModelCard, VisionLanguageModel
from mllctl.errors import HubError, HubReadOnly, InvalidTask, ModelNotLoadable, SourceUnreadable, StageMissing
from mllctl.hub import Features, Hub, LabelInput, StoredModel
from mllctl.hub.features import Float16
from mllctl.hub.writing import bare_models, cannot_grow, change_hub
from mllctl.images import Skipped
from mllctl.images.feeding import WORKERS
from mllctl.kernels.order import Likely
from mllctl.label.growing import Label, write_part
from mllctl.label.staging import (
    WRITER_WAIT,
    Progress,
    Viewer,
    hold,
    in_parts,
    put_card,
    put_down,
    show_images,
    staged,
    staging_of,
)

Say = Callable[[str], None]

BATCH = 64
TEXT_BATCH = 256


@dataclass(frozen=True)
class LabelReport:
    """What `label_model` did.

    Attributes:
        model: its name.
        images: live images of the hub.
        shown: how many of them the model was shown now, the others' embeddings being there already.
        skipped: images that could not be read.
        hits: images that no other node with evidence takes from the true one; None for an expert, whose heads are of
            no node.
        changed: whether anything was committed; not if all was there.
    """

    model: str
    images: int
    shown: int
    skipped: tuple[Skipped, ...]
    hits: int | None
    changed: bool

    @property
    def labelled(self) -> int:
        """Images that the label is made of: those the model was shown, now or before."""
        return self.images - len(self.skipped)


def label_model(
    path: Path,
    model: VisionLanguageModel,
    progress: Progress | None = None,
    batch: int = BATCH,
    likely: Likely | None = None,
    *,
    text_batch: int = TEXT_BATCH,
    workers: int = WORKERS,
    say: Say | None = None,
) -> LabelReport:
    """Label `model` on the hub at `path`, adding it to the hub if it is new, and commit.

    What the label has already is kept: the cost is that of the images and nodes that are new, and where nothing is new
    nothing is committed. Where memory does not suffice, batches are halved from there on.

    Args:
        path: the hub's folder.
        model: anything that keeps the protocol.
        progress: called before the first batch and after each.
        batch: images handed to the model at once.
        likely: where images are compared with nodes, such as `backends.comparison.likely_on("cuda")`; NumPy when None.
        text_batch: captions handed to the model at once.
        workers: threads that decode images ahead of the model; batches are the same whatever their number.
        say: told once if batches had to be halved.

    Raises:
        StageMissing: if the hub has no images, or nodes that `graph build` has not seen.
        HubReadOnly: on the bundled demo hub.
        SourceUnreadable: if not one image can be read.
        InvalidTask: if the hub has a label of this name, of another model or in another precision.
        HubError: if its label was imported without its embeddings, and there are images or nodes that it lacks.
        ModelNotLoadable: if not even one image fits into memory, or what comes out is not numbers.
    """
    with Hub.open(path) as hub:
        given = label_input(hub)
        check_known(hub.models(), model.card)
        if is_settled(hub, model.card):
            return unchanged_report(hub, hub.model(model.card.name))
    staging = staging_of(path, model.card)
    staging.mkdir(parents=True, exist_ok=True)
    gently = Gently(model, batch, text_batch, say)
    with hold(staging, path):
        put_card(staging, model.card)
        report = _show(path, gently, given, staging, progress, workers)
        while (changed := _commit(path, model, given, staging, likely)) is None:
            # Another process has changed what the label was made for; no image need be shown again.
            with Hub.open(path) as hub:
                given = label_input(hub)
        shutil.rmtree(staging)
    with Hub.open(path) as hub:
        hits = hub.overall_hits(hub.model(model.card.name).model)
        return replace(report, hits=hits, changed=changed)


def unchanged_report(hub: Hub, stored: StoredModel) -> LabelReport:
    """Return what there is to report of a complete label to which nothing was done."""
    return LabelReport(
        stored.card.name, stored.labelled, shown=0, skipped=(), hits=hub.overall_hits(stored.model), changed=False
    )


def _show(
    path: Path,
    gently: Gently,
    given: LabelInput,
    staging: Path,
    progress: Progress | None,
    workers: int,
) -> LabelReport:
    """Show the model what neither the hub nor `staging` has embeddings of, and put them down there."""
    with Hub.open(path) as hub:
        known, named = embedded(hub, gently.card, given, staging)
    # In the order of blocks, whatever their nodes: a batch decides the last bits of an embedding.
    todo = [row for row in np.lexsort((given.bit, given.block)).tolist() if not known[row]]
    unnamed = np.flatnonzero(~named).tolist()
    viewer = Viewer(lambda images: _rounded(gently.card, gently.encode_images(images)), staging, np.array(todo, int))
    skipped = tuple(show_images([viewer], gently.batch, given, todo, progress, workers).values())
    if todo and len(skipped) == len(todo) and not known.any():
        raise SourceUnreadable(skipped[0].path, f"{skipped[0].reason}; no image of the hub can be read")
    for few in in_parts(unnamed, gently.text_batch):
        vectors = _rounded(gently.card, gently.encode_texts([given.captions[n] for n in few]))
        put_down(staging, "caption", dict(zip(given.nodes[few].tolist(), vectors, strict=True)))
    return LabelReport(gently.card.name, len(given.images), len(todo) - len(skipped), skipped, 0, changed=False)


def _commit(
    path: Path, model: VisionLanguageModel, given: LabelInput, staging: Path, likely: Likely | None
) -> bool | None:
    """Write what the label lacks and commit it; None if the hub is no longer what it was written for.

    Returns:
        Whether anything was new, the model's card included.
    """
    with Hub.open(path) as hub:
        stored_images, stored_captions = _stored(hub, model.card)
        images = Features.joined(stored_images, staged(staging, "image"))
        captions = Features.joined(stored_captions, staged(staging, "caption"))
        seen = given.take(images.held(given.images))
        known = _known(hub, model.card)
        label = Label.empty() if known is None else Label.read(hub, known)
        read = () if known is None else hub.label_files(known)
        gone = label.nodes[~np.isin(label.nodes, given.nodes)]
        near = hub.images_near(known, gone) if known is not None and len(gone) else ()
        grown = write_part(staging / "part", seen, model.card, label, images, captions, near, likely)
        fresh = given.images[~stored_images.held(given.images) & images.held(given.images)]
        named = given.nodes[~stored_captions.held(given.nodes)]
        same = known is not None and hub.model(model.card.name).card == model.card
        if same and not grown and not len(fresh) and not len(named):
            return False
    with change_hub(path, f"label {model.card.name}", WRITER_WAIT) as change:
        with Hub.open(path) as hub:
            check_known(hub.models(), model.card)
            known = _known(hub, model.card)
            if known is not None and hub.label_files(known) != read:
                return None
            if not set(given.nodes.tolist()) <= set(hub.label_input().nodes.tolist()):
                return None
        ordinal = change.add_model(model.card)
        if len(fresh):
            change.put_features(ordinal, "image", images.parts(fresh))
        if len(named):
            change.put_features(ordinal, "caption", captions.parts(named))
        if grown:
            change.put_label(ordinal, staging / "part", whole=len(label.nodes) == 0)
    return True


def check_known(stored: Sequence[StoredModel], card: ModelCard) -> None:
    """Refuse a model that would take the place of another one's label.

    A key in the hub is made of names of files and folders, which two models may share. Other weights from where the
    known ones came are a renewal: that label goes. Without labels nothing is lost: then the card is only renewed.

    Raises:
        InvalidTask: if a model of this name has a label, and came from elsewhere or computed in another precision.
    """
    for known in (model.card for model in stored if model.card.name == card.name and model.state != "none"):
        if known.source != card.source and known.fingerprint != card.fingerprint:
            cure = f"rename the file or folder, or first `mllctl model remove {card.name}`"
            raise InvalidTask(f"the hub has another model of the name {card.name}, from {known.source}; {cure}")
        had = precision_of(known)
        if had != precision_of(card):
            cure = f"give --precision {had}, or first `mllctl model remove {card.name}`"
            raise InvalidTask(f"{card.name} is labelled in {had}, which does not mix with {precision_of(card)}; {cure}")


def is_settled(hub: Hub, card: ModelCard) -> bool:
    """Say whether nothing can be added to this very model's label, which was imported without its embeddings.

    Raises:
        HubError: if there is something to add.
    """
    if _known(hub, card) not in bare_models(hub.manifest):
        return False
    if hub.model(card.name).state != "complete":
        raise HubError(cannot_grow([card.name]), hub.path)
    return True


# -- embeddings ---------------------------------------------------------------------------------------


def embedded(
    hub: Hub, card: ModelCard, given: LabelInput, staging: Path
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say of which images and nodes there are embeddings, in the hub or in `staging`, shapes (i,) and (v,)."""
    images, captions = _stored(hub, card)
    known = images.held(given.images) | staged(staging, "image").held(given.images)
    named = captions.held(given.nodes) | staged(staging, "caption").held(given.nodes)
    return known, named


def label_input(hub: Hub) -> LabelInput:
    """Return what a model is labelled on, and refuse a hub that is not ready for it.

    Raises:
        StageMissing, HubReadOnly: as `label_model` does.
    """
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


def _rounded(card: ModelCard, vectors: Float32) -> Float16:
    """Round embeddings to what is stored; what is no number would beat every node, or none."""
    if not np.isfinite(vectors).all():
        raise ModelNotLoadable(card.name, "it gives embeddings that are not numbers; its weights are damaged")
    return vectors.astype(np.float16)
