"""The semantic graph: WordNet 3.0 nouns, and the part of them a hub has evidence for.

`WordNet` is the shipped table of all 82,115 noun synsets. `with_ancestors` turns the synsets that
have sample images into the nodes and edges of a graph. Called by `images` and `hub`; never touches
a database or an image.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
    """Noun synsets, looked up by wnid, synset name or lemma."""

    def __init__(self, synsets: Iterable[Synset]) -> None:
        self._by_wnid: Mapping[str, Synset] = {synset.wnid: synset for synset in synsets}

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
            found = self._wnid_of_name.get(word.lower())
            return [self._by_wnid[found]] if found else []
        lemma = word.strip().replace(" ", "_")
        meant = [self._by_wnid[wnid] for wnid in self._wnids_of_lemma(lemma.lower())]
        # WordNet's first `crane` is the poet Hart Crane: a name is meant only by who writes it as one.
        return sorted(meant, key=lambda synset: lemma not in synset.lemmas)

    @cached_property
    def _wnid_of_name(self) -> dict[str, str]:
        return {synset.synset: synset.wnid for synset in self._by_wnid.values()}

    def _wnids_of_lemma(self, lemma: str) -> list[str]:
        """Return the synsets of a lemma in lower case, most frequent first."""
        return self._lemmas.get(lemma, [])

    @cached_property
    def _lemmas(self) -> dict[str, list[str]]:
        numbered: dict[str, dict[int, str]] = {}
        for synset in self._by_wnid.values():
            for lemma, sense in zip(synset.lemmas, synset.senses, strict=True):
                numbered.setdefault(lemma.lower(), {})[sense] = synset.wnid
        return {lemma: [wnid for _, wnid in sorted(senses.items())] for lemma, senses in numbered.items()}


class _Table(Mapping[str, Synset]):
    """The shipped synsets by wnid: a row becomes a Synset when somebody asks for it, 82,115 at once take 0.4 s."""

    def __init__(self, table: pa.Table) -> None:
        self.columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        self.offset = self.columns["offset"].to_numpy()
        self._lists = {name: _List(self.columns[name]) for name in ("lemmas", "senses", "hypernyms")}
        self._seen: dict[str, Synset] = {}

    def __len__(self) -> int:
        return len(self.offset)

    def __iter__(self) -> Iterator[str]:
        return map(wnid_of, self.offset.tolist())

    def __getitem__(self, wnid: str) -> Synset:
        if wnid not in self._seen:
            at = int(wnid[1:])
            row = int(np.searchsorted(self.offset, at))
            if row == len(self.offset) or self.offset[row] != at:
                raise KeyError(wnid)
            self._seen[wnid] = self._read(row)
        return self._seen[wnid]

    def values(self) -> ValuesView[Synset]:
        """Return all synsets: columns at a time, ten times faster than row by row."""
        if len(self._seen) < len(self):
            names = ("offset", "synset", "lemmas", "senses", "definition", "hypernyms", "lexname")
            rows = zip(*(self.columns[name].to_pylist() for name in names), strict=True)
            self._seen = {
                (wnid := wnid_of(at)): Synset(name, wnid, tuple(words), tuple(n), text, tuple(map(wnid_of, up)), kind)
                for at, name, words, n, text, up, kind in rows
            }
        return self._seen.values()

    def _read(self, row: int) -> Synset:
        lemmas, senses, hypernyms = (self._lists[name].of(row) for name in ("lemmas", "senses", "hypernyms"))
        synset, definition, lexname = (self.columns[n][row].as_py() for n in ("synset", "definition", "lexname"))
        above = tuple(map(wnid_of, hypernyms))
        return Synset(synset, wnid_of(self.offset[row]), tuple(lemmas), tuple(senses), definition, above, lexname)


class _List:
    """A column of lists, row by row."""

    def __init__(self, column: pa.ListArray) -> None:
        self.edges = column.offsets.to_numpy()
        self.values = column.flatten()

    def of(self, row: int) -> list[Any]:
        """Return the list of a row."""
        start, stop = self.edges[row : row + 2].tolist()
        return [self.values[n].as_py() for n in range(start, stop)]


class _ShippedWordNet(WordNet):
    """All noun synsets, read as they are asked for."""

    def __init__(self, table: pa.Table) -> None:
        self._by_wnid = self._table = _Table(table)

    @cached_property
    def _wnid_of_name(self) -> dict[str, str]:
        names = self._table.columns["synset"].to_pylist()
        return dict(zip(names, map(wnid_of, self._table.offset.tolist()), strict=True))

    def _wnids_of_lemma(self, lemma: str) -> list[str]:
        code = self._codes.get(lemma)
        if code is None:
            return []
        places = self._places[self._edges[code] : self._edges[code + 1]]
        return [wnid_of(offset) for offset in self._table.offset[self._rows[places]].tolist()]

    @cached_property
    def _codes(self) -> dict[str, int]:
        """Number the lemmas, and sort where they stand by lemma and sense."""
        lemmas, senses = (self._table.columns[name] for name in ("lemmas", "senses"))
        coded = pc.utf8_lower(lemmas.flatten()).dictionary_encode()
        code = coded.indices.to_numpy()
        self._rows = np.repeat(np.arange(len(self)), np.diff(lemmas.offsets.to_numpy()))
        self._places = np.lexsort((senses.flatten().to_numpy(), code))
        self._edges = np.searchsorted(code[self._places], np.arange(len(coded.dictionary) + 1))
        return {lemma: n for n, lemma in enumerate(coded.dictionary.to_pylist())}


def wnid_of(offset: int) -> str:
    """Return a WordNet offset the way ImageNet writes it."""
    return f"n{offset:08d}"


@cache
def wordnet() -> WordNet:
    """Return WordNet's nouns, opened once a process."""
    # Not read_table: it imports all of pyarrow's ways to reach a file.
    return _ShippedWordNet(parquet.ParquetFile(mllctl_data.path("wordnet", "nouns.parquet")).read())


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
