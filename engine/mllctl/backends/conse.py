"""ConSE: a classifier of 1,000 classes as a vision-language model, nothing trained.

An image is embedded where its most probable ImageNet classes are in the space of a sentence encoder:

    f(x) = sum_t p(y_t | x) s(y_t) / sum_t p(y_t | x),   t = 1 .. T, most probable first

with s the unit vector of a class's name; f is normalised, and a text is embedded as s(text). Source:
Norouzi et al., Zero-Shot Learning by Convex Combination of Semantic Embeddings (arXiv 1312.5650),
Eq 2, with sentence vectors where the paper has word vectors.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

import numpy as np
from PIL import Image

from mllctl.backends import towers
from mllctl.backends.open_clip_models import describe_preprocess, hash_state, image_transform
from mllctl.backends.protocol import Float32, ModelCard
from mllctl.backends.sentence import DEFAULT, TorchEncoder

ARCH = "lite0-conse"
CLASSES = 1000

_LIBRARIES = ("torch", "torchvision", "timm", "sentence_transformers", "transformers", "pillow")


class ConseModel:
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
        if not 1 <= top <= CLASSES:
            raise ValueError(f"top must be in [1, {CLASSES}], got {top}")
        import torch

        self._top = top
        self._device = device
        self._encoder = TorchEncoder(towers.text_folder(), DEFAULT, device)
        self._network = towers.image_network().to(device, memory_format=torch.channels_last)
        self._transform = image_transform(towers.preprocess(image_size))
        self._class_vectors = self._encoder.encode(class_names())
        self._card = self._describe(name, image_size, scale)

    @property
    def card(self) -> ModelCard:
        return self._card

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        """Return unit vectors, shape (i, d)."""
        import torch

        if not images:
            return np.empty((0, self._card.embedding_width), np.float32)
        pixels = torch.stack([self._transform(image.convert("RGB")) for image in images])
        with torch.inference_mode():
            logits = self._network(pixels.to(self._device, memory_format=torch.channels_last))
            best, classes = logits.softmax(dim=1).topk(self._top, dim=1)
        return combine_classes(best.cpu().numpy(), self._class_vectors[classes.cpu().numpy()])

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d)."""
        return self._encoder.encode(texts)

    def _describe(self, name: str, image_size: int, scale: float) -> ModelCard:
        weights = f"{hash_state(self._network.state_dict())} {self._encoder.fingerprint}"
        return ModelCard(
            name=f"{ARCH}/{name}",
            kind="conse",
            fingerprint=hashlib.sha256(weights.encode()).hexdigest(),
            parameters=sum(tensor.numel() for tensor in self._network.parameters()) + self._encoder.parameters,
            image_size=image_size,
            embedding_width=self._class_vectors.shape[1],
            logit_scale=scale,
            logit_bias=0.0,
            preprocess=f"{describe_preprocess(towers.preprocess(image_size))}; the {self._top} most probable classes",
            tokenizer=f"{DEFAULT} {self._encoder.fingerprint}",
            source=f"demo:{name}",
            libraries={library: version(library) for library in _LIBRARIES},
        )


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
