"""A small world without towers: colours are images, and what a model sees is a fixed table."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mllctl.backends.protocol import Float32, ModelCard

WIDTH = 16

# Folder name of an ImageFolder -> the colour all its images are painted in.
COLOURS = {
    "dog.n.01": (200, 30, 30),
    "wolf.n.01": (180, 40, 40),
    "cat.n.01": (30, 200, 30),
    "apple.n.01": (30, 30, 200),
    "car.n.01": (200, 200, 30),
}


def unit(rows: np.ndarray) -> Float32:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def vector_of(text: str, width: int = WIDTH) -> np.ndarray:
    """A fixed vector for a text: its words' vectors added up, so that shared words mean likeness."""
    words = text.lower().replace(",", " ").split()
    seeds = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") for word in words or [""]]
    return np.sum([np.random.default_rng(seed).normal(size=width) for seed in seeds], axis=0)


class FakeEncoder:
    name = "fake"
    fingerprint = "f" * 64

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, texts: Sequence[str]) -> Float32:
        self.encoded += len(texts)
        return unit(np.array([5 * vector_of(text.split(" which ")[0], 256) + vector_of(text, 256) for text in texts]))


class FakeModel:
    """Embeds an image by its mean colour and a text by its words, blurred by a seed of its own."""

    def __init__(self, name: str, seed: int = 0, blur: float = 0.3) -> None:
        self._project = np.random.default_rng(seed).normal(size=(WIDTH, WIDTH)) * blur + np.eye(WIDTH)
        digest = hashlib.sha256(f"{name}{seed}{blur}".encode()).hexdigest()
        self.card = ModelCard(name, "fake", digest, 7, 8, WIDTH, 50.0, 0.0, "mean colour", "words", name, {"fake": "1"})
        self.shown = 0

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        self.shown += len(images)
        means = np.array([np.asarray(image, dtype=np.float64).mean(axis=(0, 1)) for image in images])
        nearest = [min(COLOURS, key=lambda s: np.abs(mean - COLOURS[s]).sum()) for mean in means]
        seen = np.array([vector_of(synset.split(".")[0]) for synset in nearest])
        return unit((seen + means[:, :1] / 50) @ self._project)

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        return unit(np.array([vector_of(text.split(" which ")[0].split()[-1]) for text in texts]))


def paint_folder(root: Path, synsets: Sequence[str], count: int, seed: int = 0) -> Path:
    """Write an ImageFolder: `count` noisy images a synset."""
    random = np.random.default_rng(seed)
    for synset in synsets:
        folder = root / synset
        folder.mkdir(parents=True, exist_ok=True)
        for n in range(count):
            noise = random.integers(-25, 25, size=(8, 8, 3))
            pixels = np.clip(np.array(COLOURS[synset]) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{n}.png")
    return root
