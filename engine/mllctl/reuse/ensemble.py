"""Models that answer one task together, in memory.

`Ensemble.load` loads the models a saved selection names; `predict` shows each of them every image once, whatever the
number of classes it serves, and combines their answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mllctl.backends import load_model
from mllctl.backends.devices import in_precision, precision_of
from mllctl.backends.protocol import VisionLanguageModel
from mllctl.captions import PROMPT
from mllctl.errors import ModelNotLoadable
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.ensemble import Weighting, ensemble_confidence, softmax
from mllctl.reuse.saved import SavedModel, SavedSelection, save_selection
from mllctl.select import Breadth, Selection

Loader = Callable[[str], VisionLanguageModel]


@dataclass(frozen=True)
class Prediction:
    """What an ensemble answers.

    Attributes:
        classes: their names.
        confidence: shape (i, c), in [0, 1]; rows need not sum to 1, since classes have models of their own.
    """

    classes: tuple[str, ...]
    confidence: Float

    @property
    def winner(self) -> Int:
        """Class of each image, ties to the first, shape (i,)."""
        return np.asarray(self.confidence.argmax(axis=1))

    @property
    def names(self) -> list[str]:
        """Name of the class of each image."""
        return [self.classes[c] for c in self.winner]


@dataclass(frozen=True)
class Member:
    """A loaded model, what its logits are divided by, and its embeddings of the classes, shape (c, d)."""

    model: VisionLanguageModel
    prompts: Float
    temperature: float = 1.0


class Ensemble:
    """Models that answer one task together.

    Attributes:
        classes: names of the classes.
        members: the loaded models.
        chosen: models of each class, positions in `members`, -1 pads, shape (c, k).
        weighting: how their answers are weighed.
    """

    def __init__(
        self, classes: Sequence[str], members: Sequence[Member], chosen: Int, weighting: Weighting = "entropy"
    ) -> None:
        self.classes = tuple(classes)
        self.members = tuple(members)
        self.chosen = chosen
        self.weighting = weighting

    @classmethod
    def load(cls, saved: SavedSelection, load: Loader = load_model, device: str = "cpu") -> "Ensemble":
        """Load the models a saved selection names, and encode the prompts of its classes.

        Args:
            saved: what `read_selection` or `save_selection` returned.
            load: makes a model from its source, on `device`.
            device: where torch runs it.

        Raises:
            ModelNotLoadable: if a model cannot be loaded, or is not the one that was labelled.
        """
        members = [load_member(model, saved.prompts, load, device) for model in saved.models]
        return cls(saved.classes, members, saved.members, saved.weighting)

    @classmethod
    def from_selection(
        cls,
        selection: Selection,
        weighting: Weighting = "entropy",
        template: str = PROMPT,
        *,
        breadth: Breadth | None = None,
        load: Loader = load_model,
    ) -> "Ensemble":
        """Load the models a selection names: `load` of what `save_selection` makes of it."""
        return cls.load(save_selection(selection, breadth, weighting, (template,)), load)

    def predict(self, images: Sequence[Image.Image]) -> Prediction:
        """Answer a batch of images."""
        if not images:
            return Prediction(self.classes, np.zeros((0, len(self.classes))))
        probability = np.stack([class_probability(member, images) for member in self.members])
        return Prediction(self.classes, ensemble_confidence(probability, self.chosen, self.weighting))


def load_member(
    saved: SavedModel, prompts: Sequence[Sequence[str]], load: Loader = load_model, device: str = "cpu"
) -> Member:
    """Load a model and encode the prompts of the classes.

    Args:
        saved: which model.
        prompts: of each class one a template, shape (c, t).
        load: makes a model from its source, on `device`.
        device: where torch runs it.

    Raises:
        ModelNotLoadable: if it cannot be loaded, or is not the one that was labelled.
    """
    model = in_precision(load(saved.source), precision_of(saved), device)
    if model.card.fingerprint != saved.fingerprint:
        raise ModelNotLoadable(saved.name, "its weights are not those that were labelled; label it again")
    found = SavedModel.of(model.card)
    if (found.preprocess, found.tokenizer, found.image_size) != (saved.preprocess, saved.tokenizer, saved.image_size):
        raise ModelNotLoadable(saved.name, "it is prepared in another way than when it was labelled; label it again")
    return Member(model, encode_classes(model, prompts), saved.temperature)


def encode_classes(model: VisionLanguageModel, prompts: Sequence[Sequence[str]]) -> Float:
    """Return one unit vector a class: the mean of its prompts' unit vectors, scaled to length 1, shape (c, d)."""
    count = len(prompts[0]) if prompts else 0
    texts = [text for row in prompts for text in row]
    vectors = model.encode_texts(texts).astype(np.float64).reshape(len(prompts), count, -1)
    if count == 1:
        return np.asarray(vectors[:, 0])
    mean = vectors.mean(axis=1)
    return np.asarray(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.finfo(np.float64).tiny))


def class_probability(member: Member, images: Sequence[Image.Image]) -> Float:
    """Return P(c | x) of one model: softmax over classes of its scale times cosine, shape (i, c).

    A logit bias is the same for all classes and cancels.
    """
    cosine = member.model.encode_images(images).astype(np.float64) @ member.prompts.T
    return softmax(member.model.card.logit_scale / member.temperature * cosine)
