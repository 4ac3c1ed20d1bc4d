"""Label models: show them every sample image of a hub and keep who beats the true node.

    showing    model + images + captions -> float16 embeddings, kept in the hub
    staging    what was shown waits there until it is committed
    growing    embeddings -> what changes in the label: new images, nodes that came or went, or all of it
    experts    expert + images -> what its heads answered, summed by block
    following  images that leave the hub, parts that are merged
    planning   what a labelling will cost, from what is known without loading a model

A label is a pure function of the embeddings. What a model has seen it is never shown again, and a label that is there
is added to, not made again: each change of the hub costs what it changes.
"""

from mllctl.label.experts import label_expert, label_experts
from mllctl.label.following import compact_labels, remove_images
from mllctl.label.showing import LabelReport, label_model

__all__ = ["LabelReport", "compact_labels", "label_expert", "label_experts", "label_model", "remove_images"]
