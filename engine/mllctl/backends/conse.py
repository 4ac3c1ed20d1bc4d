"""ConSE: a classifier as a vision-language model, nothing trained.

An image is embedded where its most probable classes are in the space of a sentence encoder:

    f(x) = sum_t p(y_t | x) s(y_t) / sum_t p(y_t | x),   t = 1 .. T, most probable first

with s the unit vector of a class's name; f is normalised, and a text is embedded as s(text). Source:
Norouzi et al., Zero-Shot Learning by Convex Combination of Semantic Embeddings (arXiv 1312.5650),
Eq 2, with sentence vectors where the paper has word vectors.

    Outputs            what is asked of whatever has outputs
    Classifier         what is asked of a classifier; `TorchClassifier` here, others in `classifiers`
    ClassifierModel    ConSE over any of them
    ConseModel         ConSE over the packaged ImageNet tower, for the demo hub
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mllctl.backends import towers
from mllctl.backends.open_clip_models import describe_preprocess, hash_state, image_transform
from mllctl.backends.protocol import Float32, ModelCard
from mllctl.backends.sentence import DEFAULT, TorchEncoder

ARCH = "lite0-conse"
CLASSES = 1000

_TORCH_LIBRARIES = ("torch", "torchvision", "timm")
_ENCODER_LIBRARIES = ("torch", "sentence_transformers", "transformers", "pillow")


class Outputs(Protocol):
    """Images in, what each of a fixed number of outputs answers out, and the facts of what answers."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""

    @property
    def parameters(self) -> int:
        """Number of weights."""

    @property
    def image_size(self) -> int:
        """Side of the square it sees, in pixels."""

    @property
    def preprocess(self) -> str:
        """The image transform, in words that change when it, or the list of classes, changes."""

    @property
    def libraries(self) -> Mapping[str, str]:
        """Versions of what computes the probabilities."""

    def log_probability(self, images: Sequence[Image.Image]) -> Float32:
        """Return log softmax over the outputs, shape (i, outputs), finite and at most 0."""


class Classifier(Outputs, Protocol):
    """Images in, the most probable of a fixed list of classes out."""

    @property
    def classes(self) -> Sequence[str]:
        """The name of each output, in order."""

    def most_probable(self, images: Sequence[Image.Image], top: int) -> tuple[Float32, NDArray[np.int64]]:
        """Return the probabilities and numbers of the `top` most probable classes, best first, shape (i, top)."""


class TorchClassifier:
    """A torch network that turns pixels into one logit a class.

    Args:
        network: in evaluation mode, weights loaded.
        transform: from an RGB picture to a tensor.
        classes: names of its outputs.
        image_size: side of the square it sees, in pixels.
        preprocess: the transform in words.
        device: where torch runs it.
    """

    def __init__(
        self,
        network: Any,
        transform: Callable[[Image.Image], Any],
        classes: Sequence[str],
        image_size: int,
        preprocess: str,
        device: str = "cpu",
    ) -> None:
        import torch

        self.classes = tuple(classes)
        self.image_size = image_size
        self.preprocess = preprocess
        self.fingerprint = hash_state(network.state_dict())
        self.parameters = sum(tensor.numel() for tensor in network.parameters())
        self.libraries = {library: version(library) for library in _TORCH_LIBRARIES}
        self._network = network.to(device, memory_format=torch.channels_last)
        self._transform = transform
        self._device = device

    def most_probable(self, images: Sequence[Image.Image], top: int) -> tuple[Float32, NDArray[np.int64]]:
        best, classes = self._logits(images).softmax(dim=1).topk(top, dim=1)
        return best.cpu().numpy(), classes.cpu().numpy()

    def log_probability(self, images: Sequence[Image.Image]) -> Float32:
        answers: Float32 = self._logits(images).log_softmax(dim=1).cpu().numpy()
        return answers

    def _logits(self, images: Sequence[Image.Image]) -> Any:
        import torch

        pixels = torch.stack([self._transform(image.convert("RGB")) for image in images])
        with torch.inference_mode():
            # In float32 even where autocast computes in fewer bits: NumPy has no bfloat16.
            return self._network(pixels.to(self._device, memory_format=torch.channels_last)).float()


class ClassifierModel:
    """ConSE over a classifier and a sentence encoder.

    Args:
        classifier: what says how probable each class is.
        encoder: what embeds names of classes and captions.
        name: key in the hub, `arch/weights`.
        source: what `load_model` was given.
        top: T, how many classes an image is a mean of, in [1, number of classes].
        scale: what cosines are multiplied by before the softmax. Nothing fixes it, as nothing is trained.

    Raises:
        ValueError: if `top` is outside its range.
    """

    def __init__(
        self, classifier: Classifier, encoder: TorchEncoder, name: str, source: str, top: int, scale: float
    ) -> None:
        if not 1 <= top <= len(classifier.classes):
            raise ValueError(f"top must be in [1, {len(classifier.classes)}], got {top}")
        self._classifier = classifier
        self._encoder = encoder
        self._top = top
        self._class_vectors = encoder.encode(classifier.classes)
        self._card = self._describe(name, source, scale)

    @property
    def card(self) -> ModelCard:
        return self._card

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        """Return unit vectors, shape (i, d)."""
        if not images:
            return np.empty((0, self._card.embedding_width), np.float32)
        best, classes = self._classifier.most_probable(images, self._top)
        return combine_classes(best, self._class_vectors[classes])

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d)."""
        return self._encoder.encode(texts)

    def _describe(self, name: str, source: str, scale: float) -> ModelCard:
        weights = f"{self._classifier.fingerprint} {self._encoder.fingerprint}"
        return ModelCard(
            name=name,
            kind="conse",
            fingerprint=hashlib.sha256(weights.encode()).hexdigest(),
            parameters=self._classifier.parameters + self._encoder.parameters,
            image_size=self._classifier.image_size,
            embedding_width=self._class_vectors.shape[1],
            logit_scale=scale,
            logit_bias=0.0,
            preprocess=f"{self._classifier.preprocess}; the {self._top} most probable classes",
            tokenizer=f"{self._encoder.name} {self._encoder.fingerprint}",
            source=source,
            libraries={**self._classifier.libraries, **{library: version(library) for library in _ENCODER_LIBRARIES}},
        )


class ConseModel(ClassifierModel):
    """ConSE over EfficientNet-lite0 and MiniLM, both from the packages that carry them.

    Args:
        name: what follows `demo:`.
        top: T, how many classes an image is a mean of, in [1, 1000].
        image_size: side of the square that the image tower sees, in pixels.
        scale: what cosines are multiplied by before the softmax. Nothing fixes it, as nothing is trained.
        device: where torch runs it, such as `cpu` or `cuda:1`.

    Raises:
        ValueError: if `top` is outside [1, 1000].
    """

    def __init__(self, name: str, top: int, image_size: int, scale: float, device: str = "cpu") -> None:
        config = towers.preprocess(image_size)
        classifier = TorchClassifier(
            towers.image_network(),
            image_transform(config),
            class_names(),
            image_size,
            describe_preprocess(config),
            device,
        )
        super().__init__(classifier, packaged_encoder(device), f"{ARCH}/{name}", f"demo:{name}", top, scale)


def packaged_encoder(device: str = "cpu") -> TorchEncoder:
    """Return MiniLM from its package, run by torch."""
    return TorchEncoder(towers.text_folder(), DEFAULT, device)


def combine_classes(probability: Float32, vectors: Float32) -> Float32:
    """Return the mean of class vectors weighted by probability, scaled to length 1.

    Args:
        probability: p, shape (i, t), positive; need not sum to 1.
        vectors: s, shape (i, t, d).

    Returns:
        f, shape (i, d). A mean of length 0, from vectors that cancel out, stays 0.
    """
    mean = np.einsum("it,itd->id", probability, vectors)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    unit: Float32 = (mean / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit


@cache
def class_names() -> list[str]:
    """Return the first name of each ImageNet class, in the order of the network's outputs (that of their wnids)."""
    from timm.data.imagenet_info import ImageNetInfo

    labels = ImageNetInfo()
    return [labels.index_to_description(index).split(",")[0] for index in range(CLASSES)]
