"""A small world without towers: colours are images, and what a model sees is a fixed table."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mllctl.backends.protocol import ExpertCard, Float32, ModelCard
from mllctl.graph import with_ancestors
from mllctl.hub import Features, Hub, LabelInput
from mllctl.hub.features import as_batch
from mllctl.hub.writing import change_hub
from mllctl.images import Domain, scan
from mllctl.label.growing import Label, write_part
from mllctl.wordnet import Synset, WordNet

WIDTH = 16

# Folder name of an ImageFolder -> the colour all its images are painted in.
COLOURS = {
    "dog.n.01": (200, 30, 30),
    "wolf.n.01": (180, 40, 40),
    "cat.n.01": (30, 200, 30),
    "apple.n.01": (30, 30, 200),
    "car.n.01": (200, 200, 30),
}


# Domain -> side in pixels of the images `paint_folder` is asked for: how an `ExactModel` tells domains apart.
SIDES = {"photo": 8, "drawing": 12}


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
    """Embeds an image by its mean colour and a text by its words, blurred by a seed of its own.

    Images of one colour differ by their noise, so it hits some and misses some. One row at a time: a
    product of matrices may differ in its last bit with the size of the batch.
    """

    def __init__(self, name: str, seed: int = 0, blur: float = 0.3) -> None:
        random = np.random.default_rng(seed)
        self._project = random.normal(size=(WIDTH, WIDTH)) * blur + np.eye(WIDTH)
        self._drift = random.normal(size=(3, WIDTH)) * blur
        digest = hashlib.sha256(f"{name}{seed}{blur}".encode()).hexdigest()
        self.card = ModelCard(name, "fake", digest, 7, 8, WIDTH, 50.0, 0.0, "mean colour", "words", name, {"fake": "1"})
        self.shown = 0

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        self.shown += len(images)
        return unit(np.array([self._see(image) for image in images]))

    def _see(self, image: Image.Image) -> np.ndarray:
        mean = np.asarray(image, dtype=np.float64).mean(axis=(0, 1))
        nearest = min(COLOURS, key=lambda synset: np.abs(mean - COLOURS[synset]).sum())
        return (vector_of(nearest.split(".")[0]) + (mean - COLOURS[nearest]) @ self._drift) @ self._project

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        return unit(np.array([vector_of(text.split(" which ")[0].split()[-1]) for text in texts]))


def fake(number: int) -> FakeModel:
    """One of three fake models, each the best at something: 0 at cars and cats, 1 at apples and wolves, 2 at dogs."""
    return FakeModel(f"fake/{number}", seed=(5, 8, 4)[number], blur=0.5)


class InterruptedModel(FakeModel):
    """A fake model whose user presses Ctrl-C after some batches."""

    def __init__(self, *args: object, after: int, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._left = after

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        return super().encode_images(images)


class FakeExpert:
    """Has a head for each of some colours, named by its synset if at all, and one for all else.

    The nearer an image's mean colour, the higher the logit. Its answers are of one image at a time, as a model's are.
    """

    def __init__(self, name: str, synsets: Sequence[str], named: bool = True, sharpness: float = 0.05) -> None:
        self._anchors = np.array([*(COLOURS[synset] for synset in synsets), (128, 128, 128)], dtype=np.float64)
        self._sharpness = sharpness
        heads = (*(synset if named else "" for synset in synsets), "")
        digest = hashlib.sha256(f"{name}{synsets}{sharpness}".encode()).hexdigest()
        self.card = ExpertCard(name, "fake", digest, 5, 8, heads, "mean colour", f"expert:{name}", {"fake": "1"})
        self.shown = 0

    def log_probability(self, images: Sequence[Image.Image]) -> Float32:
        self.shown += len(images)
        return np.array([self._answer(image) for image in images], dtype=np.float32)

    def _answer(self, image: Image.Image) -> np.ndarray:
        mean = np.asarray(image, dtype=np.float64).mean(axis=(0, 1))
        logits = -self._sharpness * np.linalg.norm(self._anchors - mean, axis=1)
        return logits - np.log(np.exp(logits).sum())


class InterruptedExpert(FakeExpert):
    """A fake expert whose user presses Ctrl-C after some batches."""

    left = 1

    def log_probability(self, images: Sequence[Image.Image]) -> Float32:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().log_probability(images)


def known_axis(text: str, words: Sequence[str]) -> list[int]:
    """Positions of the words that stand in a text before its definition."""
    spoken = text.lower().split(" which ")[0].replace(",", " ").split()
    return [axis for axis, word in enumerate(words) if word in spoken]


class WordEncoder:
    """An axis a word: `dog` and `dog which is ...` have cosine 1, `dog, photo` and `dog` 1/sqrt(2), others 0."""

    name = "words"
    fingerprint = "e" * 64

    def __init__(self, *words: str) -> None:
        self._words = words

    def encode(self, texts: Sequence[str]) -> Float32:
        rows = np.zeros((len(texts), len(self._words) + 1))
        for row, text in zip(rows, texts, strict=True):
            row[known_axis(text, self._words) or [-1]] = 1
        return unit(rows)


class ExactModel:
    """Knows some colours in some domains for certain; all other images are alike to it, and like no text."""

    def __init__(self, name: str, knows: dict[str, set[str]]) -> None:
        self._knows = {(SIDES[domain], word) for domain, words in knows.items() for word in words}
        self._words = [synset.split(".")[0] for synset in COLOURS]
        digest = hashlib.sha256(name.encode()).hexdigest()
        width = len(COLOURS) + 2
        self.card = ModelCard(name, "fake", digest, 1, 8, width, 10.0, 0.0, "colour", "words", name, {"fake": "1"})
        self.shown = 0

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        self.shown += len(images)
        rows = np.zeros((len(images), len(COLOURS) + 2), dtype=np.float32)
        for row, image in zip(rows, images, strict=True):
            mean = np.asarray(image, dtype=np.float64).mean(axis=(0, 1))
            axis = int(np.argmin([np.abs(mean - colour).sum() for colour in COLOURS.values()]))
            row[axis if (image.width, self._words[axis]) in self._knows else -1] = 1
        return rows

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        rows = np.zeros((len(texts), len(COLOURS) + 2), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[known_axis(text, self._words) or [-2]] = 1
        return unit(rows)


def hub_of_folders(path: Path, folders: dict[str, Path], nouns: WordNet) -> Path:
    """Create a hub from one ImageFolder a domain, with a graph; no index, no models."""
    Hub.create(path).close()
    found = {domain: scan(folder, domain, nouns).images for domain, folder in folders.items()}
    graph = with_ancestors((image.wnid for images in found.values() for image in images), nouns)
    with change_hub(path) as change:
        change.add_nodes(graph.synsets)
        for domain, images in found.items():
            change.add_domain(Domain(domain, f"{domain} which is how these images look"))
            change.add_images(images)
        change.set_graph(graph)
    return path


def plain_synset(number: int, hypernyms: Sequence[int] = ()) -> Synset:
    """A synset outside WordNet, where only its identity counts."""
    name = f"thing{number}"
    above = tuple(f"n{parent:08d}" for parent in hypernyms)
    return Synset(f"{name}.n.01", f"n{number:08d}", (name,), (1,), f"thing number {number}", above, "artifact")


def plain_card(name: str, fingerprint: str = "0") -> ModelCard:
    """The card of a model that is never run."""
    return ModelCard(name, "fake", fingerprint, 1, 8, 3, 1.0, 0.0, "none", "none", name, {"fake": "1"})


class TableModel:
    """Embeds images and captions by looking them up: what a test drew for each, by uri or caption."""

    def __init__(self, card: ModelCard, images: Mapping[str, Sequence[float]], captions: Mapping[str, Sequence[float]]):
        self.card = card
        self.images, self.captions = images, captions

    def features(self, given: LabelInput) -> tuple[Features, Features]:
        """All embeddings for a label of `given`, as a hub would have kept them."""
        tables = (
            (given.images, [self.images[uri] for uri in given.uris]),
            (given.nodes, [self.captions[caption] for caption in given.captions]),
        )
        return tuple(
            Features([as_batch(ordinals, np.array(vectors, dtype=np.float16))] if len(ordinals) else [])
            for ordinals, vectors in tables
        )


def commit_label(path: Path, model: TableModel) -> None:
    """Bring the label of a model up to date, as `label_model` does, without images to look at."""
    with Hub.open(path) as hub:
        given = hub.label_input()
        known = {stored.card.name: stored.model for stored in hub.models()}.get(model.card.name)
        label = Label.empty() if known is None else Label.read(hub, known)
        gone = label.nodes[~np.isin(label.nodes, given.nodes)]
        near = hub.images_near(known, gone) if len(gone) else ()
        held = hub.features(known) if known is not None else (Features([]), Features([]))
    images, captions = model.features(given)
    folder = path / "staging" / "by-hand"
    if not write_part(folder, given, model.card, label, images, captions, near):
        return
    with change_hub(path, "label by hand") as change:
        ordinal = change.add_model(model.card)
        fresh = given.images[~held[0].held(given.images)]
        named = given.nodes[~held[1].held(given.nodes)]
        if len(fresh):
            change.put_features(ordinal, "image", images.parts(fresh))
        if len(named):
            change.put_features(ordinal, "caption", captions.parts(named))
        change.put_label(ordinal, folder, whole=len(label.nodes) == 0)


def paint_folder(root: Path, synsets: Sequence[str], count: int, seed: int = 0, side: int = 8) -> Path:
    """Write an ImageFolder: `count` noisy images a synset."""
    random = np.random.default_rng(seed)
    for synset in synsets:
        folder = root / synset
        folder.mkdir(parents=True, exist_ok=True)
        for n in range(count):
            noise = random.integers(-25, 25, size=(side, side, 3))
            pixels = np.clip(np.array(COLOURS[synset]) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{n}.png")
    return root
