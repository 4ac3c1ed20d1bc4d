"""Models that answer one task together, in memory.

`Ensemble.load` loads the models a saved selection names; `predict` shows each of them every image once, whatever the
number of classes it serves, and combines their answers. For more images than answers fit into memory, with resume, see
`answering`.

    ensemble = Ensemble.open("selection.json")
    ensemble.predict(images).names          the classes
    ensemble(images, top_k=3)               as a pipeline of transformers answers
    ensemble.classifier.predict(images)     as a classifier of scikit-learn answers
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from mllctl.backends import load_expert, load_model
from mllctl.backends.devices import in_precision, precision_of
from mllctl.backends.protocol import VisionLanguageModel
from mllctl.backends.remembering import remembered
from mllctl.backends.sharing import one_batch
from mllctl.captions import PROMPT
from mllctl.errors import ModelNotLoadable
from mllctl.images.pictures import Viewable, as_pictures, is_one
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.ensemble import Weighting, softmax
from mllctl.reuse.experts import ExpertLoader, ExpertMember, combined, expert_answers, load_expert_member
from mllctl.reuse.saved import DEFAULT_WEIGHTING, SavedModel, SavedSelection, read_selection, save_selection
from mllctl.reuse.styles import Classifier, PipelineAnswer, pipeline_answers
from mllctl.select import Breadth, Selection

Loader = Callable[[str, str], VisionLanguageModel]  # of a source, on a device

BATCH = 64


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
        experts: loaded experts; what they answer goes before what models do.
        expert_chosen: experts of each class, positions in `experts`, -1 pads, shape (c, k).
    """

    def __init__(
        self,
        classes: Sequence[str],
        members: Sequence[Member],
        chosen: Int,
        weighting: Weighting = DEFAULT_WEIGHTING,
        experts: Sequence[ExpertMember] = (),
        expert_chosen: Int | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self.members = tuple(members)
        self.chosen = chosen
        self.weighting = weighting
        self.experts = tuple(experts)
        self.expert_chosen = np.full((len(self.classes), 0), -1) if expert_chosen is None else expert_chosen

    @classmethod
    def open(cls, path: Path | str, device: str = "cpu") -> "Ensemble":
        """Load the models that a selection file names, which `mllctl select --save` has written.

        Raises:
            SourceUnreadable: if it is no such file.
            ModelNotLoadable: if a model cannot be loaded, or is not the one that was labelled.
        """
        return cls.load(read_selection(Path(path)), device=device)

    @classmethod
    def load(
        cls,
        saved: SavedSelection,
        load: Loader = load_model,
        device: str = "cpu",
        load_expert: ExpertLoader = load_expert,
    ) -> "Ensemble":
        """Load the models and experts a saved selection names, and encode the prompts of its classes.

        Args:
            saved: what `read_selection` or `save_selection` returned.
            load, load_expert: make a model, and an expert, from its source, on `device`.
            device: where torch runs it.

        Raises:
            ModelNotLoadable: if a model cannot be loaded, or is not the one that was labelled.
        """
        members = [load_member(model, saved.prompts, load, device) for model in saved.models]
        experts = [load_expert_member(one, len(saved.classes), load_expert, device) for one in saved.experts]
        return cls(saved.classes, members, saved.members, saved.weighting, experts, saved.expert_members)

    @classmethod
    def from_selection(
        cls,
        selection: Selection,
        weighting: Weighting = DEFAULT_WEIGHTING,
        template: str = PROMPT,
        *,
        breadth: Breadth | None = None,
        load: Loader = load_model,
    ) -> "Ensemble":
        """Load the models a selection names: `load` of what `save_selection` makes of it."""
        return cls.load(save_selection(selection, breadth, weighting, (template,)), load)

    def predict(self, images: Viewable | Iterable[Viewable], batch: int = BATCH) -> Prediction:
        """Answer one image or any number of them.

        Args:
            images: Pillow images, paths, arrays or tensors, as `images.pictures.as_picture` takes them; or one array
                or tensor of them all.
            batch: images shown to a model at once.

        Raises:
            SourceUnreadable: if a path has no image behind it.
            ValueError: if an array is none of a picture, or `batch` is below 1.
        """
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        pictures = as_pictures(images)
        parts = [np.zeros((0, len(self.classes)))]
        while few := list(islice(pictures, batch)):
            with one_batch():
                each = [class_probability(member, few) for member in self.members]
                said = np.array([expert_answers(member, few) for member in self.experts])
            probability = np.array(each).reshape(len(each), len(few), len(self.classes))
            parts.append(combined(probability, self.chosen, self.weighting, said, self.expert_chosen))
        return Prediction(self.classes, np.concatenate(parts))

    def __call__(self, images: Viewable | Iterable[Viewable], top_k: int = 5) -> PipelineAnswer | list[PipelineAnswer]:
        """Answer as a zero-shot image classification pipeline of transformers does.

        Returns:
            of each image its best classes, best first, as `{"label": ..., "score": ...}`; of one image, not in a list,
            just these.
        """
        answers = pipeline_answers(self.classes, self.predict(images).confidence, top_k)
        return answers[0] if is_one(images) else answers

    @cached_property
    def classifier(self) -> Classifier:
        """The ensemble with the methods of a fitted classifier of scikit-learn."""
        return Classifier(self.classes, lambda images: self.predict(images).confidence)


def load_member(
    saved: SavedModel,
    prompts: Sequence[Sequence[str]],
    load: Loader = load_model,
    device: str = "cpu",
    cache: Path | None = None,
) -> Member:
    """Load a model and encode the prompts of the classes.

    Args:
        saved: which model.
        prompts: of each class one a template, shape (c, t).
        load: makes a model from its source, on `device`.
        device: where torch runs it.
        cache: folder in which embeddings of prompts are kept; None to encode them.

    Raises:
        ModelNotLoadable: if it cannot be loaded, or is not the one that was labelled.
    """
    model = load_same(saved, load, device)
    return Member(model, encode_classes(model, prompts, cache), saved.temperature)


def load_same(saved: SavedModel, load: Loader = load_model, device: str = "cpu") -> VisionLanguageModel:
    """Load a model, and make sure that it is the one that was labelled.

    Raises:
        ModelNotLoadable: if it cannot be loaded, or is another.
    """
    model = in_precision(load(saved.source, device), precision_of(saved), device)
    if model.card.fingerprint != saved.fingerprint:
        raise ModelNotLoadable(saved.name, "its weights are not those that were labelled; label it again")
    found = SavedModel.of(model.card)
    if (found.preprocess, found.tokenizer, found.image_size) != (saved.preprocess, saved.tokenizer, saved.image_size):
        raise ModelNotLoadable(saved.name, "it is prepared in another way than when it was labelled; label it again")
    return model


def encode_classes(model: VisionLanguageModel, prompts: Sequence[Sequence[str]], cache: Path | None = None) -> Float:
    """Return one unit vector a class: the mean of its prompts' unit vectors, scaled to length 1, shape (c, d)."""
    count = len(prompts[0]) if prompts else 0
    texts = [text for row in prompts for text in row]
    if cache is None:
        found = model.encode_texts(texts)
    else:
        # Apart for each version of what encodes them, which decides the last bits.
        libraries = hashlib.sha256(json.dumps(model.card.libraries, sort_keys=True).encode()).hexdigest()[:8]
        found = remembered(cache / "texts" / f"{model.card.identity}-{libraries}", texts, model.encode_texts)
    vectors = found.astype(np.float64).reshape(len(prompts), count, -1)
    if count == 1:
        return np.asarray(vectors[:, 0])
    mean = vectors.mean(axis=1)
    return np.asarray(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.finfo(np.float64).tiny))


def class_probability(member: Member, images: Sequence[Image.Image]) -> Float:
    """Return P(c | x) of one model: softmax over classes of its scale times cosine, shape (i, c).

    A logit bias is the same for all classes and cancels.

    Raises:
        ModelNotLoadable: if what comes out is not numbers.
    """
    cosine = member.model.encode_images(images).astype(np.float64) @ member.prompts.T
    if not np.isfinite(cosine).all():
        raise ModelNotLoadable(
            member.model.card.name, "it gives embeddings that are not numbers; its weights are damaged"
        )
    return softmax(member.model.card.logit_scale / member.temperature * cosine)
