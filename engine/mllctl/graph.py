"""The semantic graph: WordNet 3.0 nouns, and the part of them a hub has evidence for.

`WordNet` is the shipped table of all 82,115 noun synsets. `with_ancestors` turns the synsets that
have sample images into the nodes and edges of a graph. Called by `images` and `hub`; never touches
a database or an image.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

import pyarrow.parquet as parquet

import mllctl_data

WNID = re.compile(r"n\d{8}")
SYNSET = re.compile(r"\S+\.n\.\d+")


@dataclass(frozen=True)
class Synset:
    """One noun synset of WordNet 3.0.

    Attributes:
        synset: `dog.n.01`.
        wnid: `n02084071`, the ImageNet way to write the offset.
        lemmas: words for it, most usual first, with underscores.
        senses: of each lemma, which of its senses this is; 1 is the most frequent.
        definition: the gloss without its examples.
        hypernyms: wnids of the more general synsets, instance hypernyms included.
        lexname: lexicographer file, such as `animal`.
    """

    synset: str
    wnid: str
    lemmas: tuple[str, ...]
    senses: tuple[int, ...]
    definition: str
    hypernyms: tuple[str, ...]
    lexname: str

    @property
    def name(self) -> str:
        """The first lemma, as people write it."""
        return self.lemmas[0].replace("_", " ")


class WordNet:
    """All noun synsets, looked up by wnid, synset name or lemma."""

    def __init__(self, synsets: Iterable[Synset]) -> None:
        self._by_wnid = {synset.wnid: synset for synset in synsets}

    def __len__(self) -> int:
        return len(self._by_wnid)

    def __getitem__(self, wnid: str) -> Synset:
        return self._by_wnid[wnid]

    def synsets(self) -> Iterable[Synset]:
        """Return all synsets, in the order of the table."""
        return self._by_wnid.values()

    def senses(self, word: str) -> list[Synset]:
        """Return what `word` may mean: a wnid or synset name has one sense, a lemma may have several.

        Senses come most frequent first, those written in the same case before others; nothing matches: an empty list.
        """
        if WNID.fullmatch(word):
            return [self._by_wnid[word]] if word in self._by_wnid else []
        if SYNSET.fullmatch(word):
            found = self._by_name.get(word.lower())
            return [found] if found else []
        lemma = word.strip().replace(" ", "_")
        # WordNet's first `crane` is the poet Hart Crane: a name is meant only by who writes it as one.
        return sorted(self._by_lemma.get(lemma.lower(), []), key=lambda synset: lemma not in synset.lemmas)

    @cached_property
    def _by_name(self) -> dict[str, Synset]:
        return {synset.synset: synset for synset in self._by_wnid.values()}

    @cached_property
    def _by_lemma(self) -> dict[str, list[Synset]]:
        numbered: dict[str, dict[int, Synset]] = {}
        for synset in self._by_wnid.values():
            for lemma, sense in zip(synset.lemmas, synset.senses, strict=True):
                numbered.setdefault(lemma.lower(), {})[sense] = synset
        return {lemma: [synset for _, synset in sorted(senses.items())] for lemma, senses in numbered.items()}


@cache
def wordnet() -> WordNet:
    """Return WordNet's nouns, read once a process (0.3 s)."""
    table = parquet.read_table(mllctl_data.path("wordnet", "nouns.parquet"))
    columns = (table.column(name).to_pylist() for name in table.column_names)
    return WordNet(
        Synset(synset, f"n{at:08d}", tuple(lemmas), tuple(senses), text, tuple(f"n{h:08d}" for h in hypernyms), lexname)
        for at, synset, lemmas, senses, text, hypernyms, lexname in zip(*columns, strict=True)
    )


@dataclass(frozen=True)
class Graph:
    """Nodes in a stated order, and every hypernym edge between them.

    Attributes:
        synsets: the nodes; evidence first in the order it was given, then new ancestors by wnid.
        edges: (parent, child) positions in `synsets`, sorted.
    """

    synsets: tuple[Synset, ...]
    edges: tuple[tuple[int, int], ...]


def with_ancestors(wnids: Iterable[str], nouns: WordNet) -> Graph:
    """Add every ancestor of the given synsets, and the edges between all of them."""
    given = list(dict.fromkeys(wnids))
    reached = set(given)
    frontier = list(given)
    while frontier:
        parents = {parent for wnid in frontier for parent in nouns[wnid].hypernyms} - reached
        reached |= parents
        frontier = sorted(parents)
    order = given + sorted(reached - set(given))
    position = {wnid: n for n, wnid in enumerate(order)}
    edges = sorted((position[parent], position[wnid]) for wnid in order for parent in nouns[wnid].hypernyms)
    return Graph(tuple(nouns[wnid] for wnid in order), tuple(edges))
