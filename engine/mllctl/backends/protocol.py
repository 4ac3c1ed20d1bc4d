"""What the engine asks of a foreign model, and nothing more.

A sentence encoder turns captions into vectors for matching. A vision-language model turns
images and texts into vectors of one space. An expert turns images into answers of heads of its
own. Every class in `backends` keeps one of these protocols; the rest of the engine sees arrays only.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Float32 = NDArray[np.float32]


class Encoder(Protocol):
    """A sentence encoder."""

    @property
    def name(self) -> str:
        """What the hub records, such as `all-MiniLM-L6-v2`."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights: captions encoded by another encoder cannot be compared."""

    def encode(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d)."""


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model without running it; the hub keeps it beside the label.

    Attributes:
        name: key in the hub, `arch/weights`.
        kind: `open_clip`, `conse`, `sentence_transformers`, or what a plugin calls its own.
        fingerprint: SHA-256 over the weights that were loaded.
        parameters: number of weights.
        image_size: side of the square the model sees, in pixels.
        embedding_width: d.
        logit_scale: what cosines are multiplied by before the softmax.
        logit_bias: added after scaling; 0 where the model has none.
        preprocess: the image transform, in words that change when it changes.
        tokenizer: the tokenizer, likewise.
        libraries: versions that made the embeddings, such as `{"torch": "2.14.1"}`; `canary` keeps one there, too.
        source: what `model add` was given, so that it can be loaded again.
    """

    name: str
    kind: str
    fingerprint: str
    parameters: int
    image_size: int
    embedding_width: int
    logit_scale: float
    logit_bias: float
    preprocess: str
    tokenizer: str
    source: str
    libraries: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """SHA-256 of all that decides an embedding but the libraries; equal weights may be prepared differently."""
        facts = (self.name, self.fingerprint, self.preprocess, self.tokenizer, str(self.image_size))
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()


class VisionLanguageModel(Protocol):
    """Images and texts in one space."""

    @property
    def card(self) -> ModelCard:
        """The facts the hub records."""

    def encode_images(self, images: "Sequence[Image.Image]") -> Float32:
        """Return unit vectors, shape (i, d). The batch is what is handed in."""

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d)."""


@dataclass(frozen=True)
class ExpertCard:
    """What is known of an expert, a classifier with outputs of its own, without running it.

    Attributes:
        name: key in the hub, `arch/weights`, unlike that of any other model.
        kind: `timm`, `torchvision`, `onnx`, `hf`, or what a plugin calls its own.
        fingerprint: SHA-256 over the weights that were loaded.
        parameters: number of weights.
        image_size: side of the square it sees, in pixels.
        heads: names of its outputs, empty texts where they are not known; h is their number. Nothing is selected by
            them: experts are anonymous.
        preprocess: the image transform, in words that change when it changes.
        source: what `model add` was given, so that it can be loaded again.
        libraries: versions that made the answers.
    """

    name: str
    kind: str
    fingerprint: str
    parameters: int
    image_size: int
    heads: tuple[str, ...]
    preprocess: str
    source: str
    libraries: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """SHA-256 of all that decides an answer but the libraries."""
        facts = (self.name, self.fingerprint, self.preprocess, str(self.image_size), str(len(self.heads)))
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()


class Expert(Protocol):
    """Images in, answers of its own heads out."""

    @property
    def card(self) -> ExpertCard:
        """The facts the hub records."""

    def log_probability(self, images: "Sequence[Image.Image]") -> Float32:
        """Return log softmax over the heads, shape (i, h), finite and at most 0."""
