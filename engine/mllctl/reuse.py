"""Let the selected models answer the task: Eq 8-10 of MLL.

`Ensemble.from_selection` loads the models a selection names; `predict` shows each of them every
image once, whatever the number of classes it serves, and combines their answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mllctl.backends import load_model
from mllctl.backends.protocol import VisionLanguageModel
from mllctl.captions import PROMPT, class_prompts
from mllctl.errors import ModelNotLoadable
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.ensemble import Weighting, ensemble_confidence, softmax
from mllctl.select import Breadth, Selection
from mllctl.senses import plain_name

Loader = Callable[[str], VisionLanguageModel]


@dataclass(frozen=True)
class Prediction:
    """What an ensemble answers.

    Attributes:
        classes: their names.
        confidence: shape (i, c), in [0, 1]; rows need not sum to 1, since classes have models of their own.
        winner: class of each image, ties to the first, shape (i,).
    """

    classes: tuple[str, ...]
    confidence: Float

    @property
    def winner(self) -> Int:
        """Class of each image, shape (i,)."""
        return np.asarray(self.confidence.argmax(axis=1))

    @property
    def names(self) -> list[str]:
        """Name of the class of each image."""
        return [self.classes[c] for c in self.winner]


@dataclass(frozen=True)
class Member:
    """A loaded model and its embeddings of the class prompts, shape (c, d)."""

    model: VisionLanguageModel
    prompts: Float


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
    def from_selection(
        cls,
        selection: Selection,
        weighting: Weighting = "entropy",
        template: str = PROMPT,
        *,
        breadth: Breadth | None = None,
        load: Loader = load_model,
    ) -> "Ensemble":
        """Load the models a selection names, and encode the prompts of its classes.

        Args:
            selection: what `select_models` returned.
            weighting: `entropy` (the paper's), `confidence` or `uniform`.
            template: prompt with `{}` where the class goes.
            breadth: which answer; None for the models of each class, or the few that were asked for.
            load: makes a model from what the hub recorded as its source.

        Raises:
            ModelNotLoadable: if a model cannot be loaded, or its weights are not the labelled ones.
        """
        members = selection.answer(breadth).members if breadth else selection.members
        needed = np.unique(members)
        prompts = class_prompts([plain_name(class_) for class_ in selection.classes], template)
        loaded = []
        for m in needed:
            card = selection.models[m].card
            model = load(card.source)
            if model.card.fingerprint != card.fingerprint:
                raise ModelNotLoadable(card.name, "its weights are not those that were labelled; label it again")
            loaded.append(Member(model, model.encode_texts(prompts).astype(np.float64)))
        return cls(selection.classes, loaded, np.searchsorted(needed, members), weighting)

    def predict(self, images: Sequence[Image.Image]) -> Prediction:
        """Answer a batch of images."""
        if not images:
            return Prediction(self.classes, np.zeros((0, len(self.classes))))
        probability = np.stack([class_probability(member, images) for member in self.members])
        return Prediction(self.classes, ensemble_confidence(probability, self.chosen, self.weighting))


def class_probability(member: Member, images: Sequence[Image.Image]) -> Float:
    """Return P(c | x) of one model: softmax over classes of its scale times cosine, shape (i, c).

    A logit bias is the same for all classes and cancels.
    """
    cosine = member.model.encode_images(images).astype(np.float64) @ member.prompts.T
    return softmax(member.model.card.logit_scale * cosine)
