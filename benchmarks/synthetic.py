"""Hubs of any size from synthetic models whose ranks are those of real ones: what `labels.py` measures on.

Nodes are WordNet nouns with their captions, so class names are matched as in any hub. A model embeds a node near its
hypernym, and an image of a node as

    x = s t_v + b_v + e

with t_v the node's vector, s how well the model sees this image (it differs by image, node and domain), b_v what
images of one node share, and e noise. Nothing is kept in memory but one node's images at a time; every vector is a
function of (seed, model, node), so any part can be made again.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mllctl.backends.protocol import Encoder, ModelCard
from mllctl.graph import Graph, with_ancestors
from mllctl.hub import Features, Hub
from mllctl.hub.features import as_batch
from mllctl.hub.writing import change_hub
from mllctl.images import Domain, SampleImage
from mllctl.index import build_index
from mllctl.label.growing import Label, write_part
from mllctl.wordnet import Synset, wordnet

DOMAINS = {
    "photo": "a photograph",
    "drawing": "a pencil drawing",
    "clip art": "a clip art picture with flat colours",
    "satellite": "a satellite image seen from above",
    "sketch": "a rough black and white sketch",
}
KINDS = ("animal", "artifact", "food", "plant", "body", "object", "substance", "person", "phenomenon", "location")
INNER = 64  # columns in which the geometry lives; wider models are a rotation of it
LIKE_PARENT = 0.75  # how much of its hypernym a node's vector keeps
SHARED = 0.5  # part of the noise that images of one node share


@dataclass(frozen=True)
class Case:
    """How well models see: mean and spread of s, tuned to the ranks of real models.

    Attributes:
        name: of the case.
        skill: mean of s.
        spread: standard deviation of s; part of it by node, part by image.
    """

    name: str
    skill: float
    spread: float


# About 34 % top-1, median rank 3, mean rank 166 at 9,055 nodes; and a weaker model, median 14.
REFERENCE = Case("reference", 3.72, 1.03)
HARD = Case("hard", 3.17, 0.88)


@dataclass(frozen=True)
class Size:
    """How large a hub is: nodes, images a node in each domain, and domains."""

    nodes: int
    images: int
    domains: int

    @property
    def per_node(self) -> int:
        """Images of a node in all domains."""
        return self.images * self.domains


PAPER = Size(9055, 15, 5)


class SyntheticModel:
    """One model over all nodes and images of a size."""

    def __init__(self, number: int, size: Size, graph: Graph, case: Case = REFERENCE, width: int = INNER) -> None:
        self.size, self.case, self.number, self.width = size, case, number, width
        random = np.random.default_rng([case_seed(case), number])
        self.nodes = _node_vectors(graph, random)
        # Each model is better at some kinds of things and in some domains than in others; number 0 is the case itself
        # over all, the others are somewhat better or worse.
        kinds = sorted({synset.lexname for synset in graph.synsets})
        by_kind = random.normal(0, 0.3 * case.spread, len(kinds))
        of_node = by_kind[[kinds.index(synset.lexname) for synset in graph.synsets]]
        overall = random.normal(0, 0.15 * case.spread) if number else 0.0
        self._node_skill = of_node - of_node.mean() + overall
        of_domain = random.normal(0, 0.3 * case.spread, size.domains)
        self._domain_skill = of_domain - of_domain.mean()
        self._turn = np.linalg.qr(random.normal(size=(width, width)))[0][:INNER].astype(np.float32)
        name = f"{case.name}/{number:02d}"
        self.card = ModelCard(
            name, "synthetic", name, 0, 0, width, 100.0, 0.0, "none", "none", name, {"numpy": np.__version__}
        )

    def captions(self) -> NDArray[np.float16]:
        """Return the embeddings of all nodes' captions, shape (v, width)."""
        return _unit(self.nodes @ self._turn)

    def images(self, node: int) -> NDArray[np.float16]:
        """Return the embeddings of a node's images, by domain, shape (images of a node, width)."""
        random = np.random.default_rng([case_seed(self.case), self.number, node])
        count, spread = self.size.per_node, self.case.spread
        skill = self.case.skill + self._node_skill[node] + random.normal(0, 0.4 * spread)
        skill = skill + np.repeat(self._domain_skill, self.size.images) + random.normal(0, 0.8 * spread, count)
        shared = SHARED * random.standard_normal(INNER, dtype=np.float32)
        own = np.float32(np.sqrt(1 - SHARED**2)) * random.standard_normal((count, INNER), dtype=np.float32)
        seen = np.maximum(skill, 0)[:, None].astype(np.float32) * self.nodes[node]
        return _unit((seen + shared + own) @ self._turn)


class StreamedFeatures(Features):
    """A synthetic model's image embeddings, made when they are asked for: ordinals are node * per_node + place."""

    def __init__(self, model: SyntheticModel) -> None:
        super().__init__([])
        self._model = model
        self.ordinals = np.arange(model.size.nodes * model.size.per_node, dtype=np.uint32)

    @property
    def width(self) -> int:
        """Width of the vectors."""
        return self._model.width

    def take(self, ordinals: NDArray[np.integer]) -> NDArray[np.float16]:
        """Make the vectors of `ordinals`, which come node by node."""
        node, place = np.divmod(ordinals, self._model.size.per_node)
        edges = [*np.flatnonzero(np.diff(node, prepend=-1)), len(node)]
        parts = [self._model.images(int(node[start]))[place[start:stop]] for start, stop in pairwise(edges)]
        return np.concatenate([np.zeros((0, self.width), np.float16), *parts])


def case_seed(case: Case) -> int:
    """Return a number that sets the cases apart."""
    return sum(case.name.encode())


def graph_of(count: int) -> Graph:
    """Return a graph of `count` nouns of things one can see, ancestors included, the same every time."""
    nouns = wordnet()
    seen: dict[str, Synset] = {}
    wanted = [synset for synset in nouns.synsets() if synset.lexname in KINDS]
    for n in np.random.default_rng(0).permutation(len(wanted)):
        new = [synset for synset in with_ancestors([wanted[n].wnid], nouns).synsets if synset.wnid not in seen]
        if len(seen) + len(new) <= count:
            seen |= {synset.wnid: synset for synset in new}
        if len(seen) == count:
            break
    return with_ancestors(sorted(seen), nouns)


def make_hub(path: Path, size: Size, graph: Graph, encoder: Encoder) -> None:
    """Make a hub with a graph, images that are only named, and an index; no models."""
    Hub.create(path).close()
    with change_hub(path, "synthetic images") as change:
        for name in list(DOMAINS)[: size.domains]:
            change.add_domain(Domain(name, DOMAINS[name]))
        change.set_graph(graph)
        change.add_images(list(_images(size, graph)))
    build_index(path, encoder)


def label_hub(path: Path, model: SyntheticModel, images: Features | None = None) -> None:
    """Commit a model's label, made from its streamed embeddings by the code that labels any model."""
    with Hub.open(path) as hub:
        given = hub.label_input()
    captions = Features([as_batch(np.arange(model.size.nodes, dtype=np.uint32), model.captions())])
    folder = path / "staging" / "part"
    write_part(folder, given, model.card, Label.empty(), images or StreamedFeatures(model), captions)
    with change_hub(path, f"label {model.card.name}") as change:
        change.put_label(change.add_model(model.card), folder, whole=True)


def _images(size: Size, graph: Graph) -> Iterator[SampleImage]:
    """Name the images so that their ordinals are node * per_node + place, by domain."""
    for node, synset in enumerate(graph.synsets):
        for domain in list(DOMAINS)[: size.domains]:
            for n in range(size.images):
                uri = f"/{domain}/{node}/{n}"
                yield SampleImage(uri, synset.wnid, domain, hashlib.sha256(uri.encode()).hexdigest())


def _node_vectors(graph: Graph, random: np.random.Generator) -> NDArray[np.float32]:
    """Give each node a unit vector near that of its first hypernym, shape (v, INNER)."""
    parents: dict[int, int] = {}
    for parent, child in graph.edges:
        parents.setdefault(child, parent)
    fresh = random.standard_normal((len(graph.synsets), INNER)) / np.sqrt(INNER)
    vectors = np.full(fresh.shape, np.nan)

    def place(node: int) -> NDArray[np.float64]:
        if np.isnan(vectors[node, 0]):
            above = place(parents[node]) if node in parents else 0
            vectors[node] = LIKE_PARENT * above + np.sqrt(1 - LIKE_PARENT**2) * fresh[node]
        return vectors[node]

    for node in range(len(vectors)):
        place(node)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float16]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
