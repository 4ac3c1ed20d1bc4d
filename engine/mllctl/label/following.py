"""Labels follow a hub that changes: images that leave it, and parts that are merged."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mllctl.errors import HubError, HubReadOnly
from mllctl.hub import Hub, LabelInput, StoredModel
from mllctl.hub.writing import bare_models, cannot_grow, change_hub
from mllctl.label.experts import compact_experts, follow_removal
from mllctl.label.growing import Label, write_part
from mllctl.label.staging import WRITER_WAIT


def remove_images(path: Path, images: Collection[int], note: str = "images remove") -> None:
    """Take images out of the hub at `path`, and out of its labels the nodes that thereby lose their last one.

    Args:
        path: the hub's folder.
        images: ordinals of live images.
        note: for `hub log`.

    Raises:
        HubReadOnly, HubBusy: as their names say.
    """
    with change_hub(path, note) as change, Hub.open(path) as hub:
        change.remove_images(sorted(images))
        given = hub.label_input().without(images)
        for model in hub.models():
            folder = path / "staging" / f"grow-{model.model}"
            if hub.label_files(model.model) and shrink(folder, hub, model, given):
                change.put_label(model.model, folder, whole=False)
                folder.rmdir()
        follow_removal(change, hub, given)


def shrink(folder: Path, hub: Hub, model: StoredModel, given: LabelInput) -> bool:
    """Write what changes in a model's label when nodes have lost their last image; say whether anything did."""
    label = Label.read(hub, model.model)
    gone = label.nodes[~np.isin(label.nodes, given.nodes)]
    if len(gone) == 0:
        return False
    labelled, _ = label.state.of(given.block)
    given = given.take((labelled >> given.bit.astype(np.uint64)) & np.uint64(1) != 0)
    kept = np.isin(given.nodes, label.nodes)
    given = replace(given, nodes=given.nodes[kept])
    images, captions = hub.features(model.model)
    return write_part(folder, given, model.card, label, images, captions, hub.images_near(model.model, gone))


def compact_labels(path: Path, names: Sequence[str] | None = None) -> list[str]:
    """Make labels that consist of several parts again, as one part, from the embeddings in the hub.

    Embeddings of images and nodes that are gone go with it. No model is run.

    Args:
        path: the hub's folder.
        names: models and experts; all with more than one part when None.

    Returns:
        The models and experts whose label was made again.

    Raises:
        HubReadOnly, HubBusy, NotInHub: as their names say.
        HubError: if a label was imported without its embeddings.
    """
    with Hub.open(path) as hub:
        if hub.manifest.read_only:
            raise HubReadOnly(path)
        experts = {expert.card.name for expert in hub.experts()}
        if names is None:
            chosen = [model for model in hub.models() if len(hub.label_files(model.model)) > 1]
        else:
            chosen = [hub.model(name) for name in names if name not in experts]
        bare = [model.card.name for model in chosen if model.model in bare_models(hub.manifest)]
        if bare:
            raise HubError(cannot_grow(bare), path)
    for model in chosen:
        _compact(path, model.card.name)
    return [*(model.card.name for model in chosen), *compact_experts(path, names)]


def _compact(path: Path, name: str) -> None:
    folder = path / "staging" / "compact"
    with change_hub(path, f"hub compact {name}", WRITER_WAIT) as change, Hub.open(path) as hub:
        model = hub.model(name)
        images, captions = hub.features(model.model)
        given = hub.label_input()
        labelled, _ = hub.label_state(model.model).of(given.block)
        shown = (labelled >> given.bit.astype(np.uint64)) & np.uint64(1) != 0
        kept = np.isin(given.nodes, hub.label_nodes(model.model))
        given = replace(given.take(shown), nodes=given.nodes[kept])
        if write_part(folder, given, model.card, Label.empty(), images, captions):
            change.put_label(model.model, folder, whole=True)
            folder.rmdir()
            change.put_features(model.model, "image", images.parts(given.images), whole=True)
            change.put_features(model.model, "caption", captions.parts(given.nodes), whole=True)
