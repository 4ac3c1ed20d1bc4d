"""Read from labels what the logits of each model should be divided by, before an image of the user's is seen.

    Selection ── images of its nodes, weighed as p[m, c] weighs them (Eq 6) ─┐
    Hub ──────── embeddings of these images and of the nodes' captions ──────┴─ temperatures ── save_selection

The selected nodes compete as the classes will, and an image's truth is its node. docs/decisions.md says what
temperatures are worth.
"""

import numpy as np

from mllctl.errors import StageMissing
from mllctl.hub import Hub, StoredModel
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.calibration import fit_temperature, shrink_temperatures
from mllctl.select import Selection

MOST_IMAGES = 2048  # of all selected nodes; what is left to chance is 3 % of a temperature, and a model takes 0.2 s
LIGHTEST = 1e-20  # weight of an image of the most unlike domain: it may be a node's only one


def temperatures(hub: Hub, selection: Selection) -> dict[str, float]:
    """Return what the logits of each model of a selection should be divided by, as its label has it.

    A model that no answer of the selection uses is left out where its embeddings are not there.

    Args:
        hub: the one that was asked, open for reading.
        selection: what `select_models` returned.

    Returns:
        name of a model -> temperature, above 0; 1 for all where no class has a node.

    Raises:
        StageMissing: if a model that answers has no embeddings in the hub, as in the bundled one.
    """
    if not selection.nodes:
        return dict.fromkeys(selection.names, 1.0)
    models = _models(hub, selection)
    images, truth, weight = weighed_images(hub, selection)
    logits = (node_logits(hub, selection, model, images) for model in models)
    fitted = np.array([fit_temperature(each, truth, weight) for each in logits])
    worth = float(weight.sum() ** 2 / (weight**2).sum())
    names = [model.card.name for model in models]
    return dict(zip(names, shrink_temperatures(fitted, worth).tolist(), strict=True))


def weighed_images(hub: Hub, selection: Selection) -> tuple[Int, Int, Float]:
    """Return images of the selected nodes, the places of their nodes among these, and how much each image counts.

    A node counts by its part in what is believed of the classes, its images share that by their domains, and classes
    count alike. Candidates were shown all images of these nodes, so that the first speaks for all.

    Args:
        hub: open for reading.
        selection: with at least one node.

    Returns:
        (ordinals of images, truth, weight), each of shape (i,).
    """
    nodes = _ordinals(selection)
    shown = hub.winners(selection.models[0].model, nodes)
    order = np.argsort(shown.truth, kind="stable")
    # Evenly spread, so that no node is passed over while another keeps several.
    kept = order[:: 1 + (len(order) - 1) // MOST_IMAGES]
    truth = np.searchsorted(nodes, shown.truth[kept])
    domain = np.maximum([domain.weight for domain in selection.domains], LIGHTEST)[shown.domain[kept]]
    of_node = np.bincount(truth, weights=domain, minlength=len(nodes))
    return shown.image[kept], truth, selection.part.sum(axis=1)[truth] * domain / of_node[truth]


def node_logits(hub: Hub, selection: Selection, model: StoredModel, images: Int) -> Float:
    """Return a model's scaled similarity of images and the captions of the selected nodes, shape (i, v)."""
    seen, named = hub.features(model.model)
    captions = named.take(_ordinals(selection)).astype(np.float64)
    return np.asarray(model.card.logit_scale * (seen.take(images).astype(np.float64) @ captions.T))


def _ordinals(selection: Selection) -> Int:
    return np.array([node.node for node in selection.nodes], dtype=np.int64)


def _models(hub: Hub, selection: Selection) -> list[StoredModel]:
    """Return the candidates that have embeddings.

    Raises:
        StageMissing: if a model that answers has none.
    """
    answering = {m for answer in selection.answers for m in answer.models}
    held = {file.model for file in hub.manifest.image_features}
    for m, model in enumerate(selection.models):
        if m in answering and model.model not in held:
            raise _lacking(hub, model)
    return [model for model in selection.models if model.model in held]


def _lacking(hub: Hub, model: StoredModel) -> StageMissing:
    if hub.manifest.read_only:
        reason = "temperatures are read from embeddings, which the bundled demo hub is without"
        return StageMissing(f"{reason}; --hub DIR takes a hub that has them", "mllctl demo build DIR")
    name, source = model.card.name, model.card.source
    reason = f"the label of {name} was imported without the embeddings that its temperature is read from"
    return StageMissing(reason, f"mllctl model remove {name} && mllctl label {source}")
