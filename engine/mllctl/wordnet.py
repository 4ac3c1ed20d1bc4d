"""WordNet 3.0's nouns: the shipped table of all 82,115 synsets, and how its words are looked up.

The table is a few columns of numbers and text that open in milliseconds; a row becomes a `Synset` when somebody asks
for it. Called by whoever needs to know what a word means or what is above it; knows no hub and no image.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mllctl_data
from mllctl.kernels.arrays import Int

WNID = re.compile(r"n\d{8}")
SYNSET = re.compile(r"\S+\.n\.\d+")


@dataclass(frozen=True)
class Synset:
    """One noun synset of WordNet 3.0.

    Attributes:
        synset: `dog.n.01`: its first lemma in lower case, and which of that lemma's senses it is.
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
    """Noun synsets, looked up by wnid, synset name or lemma.

    Rows are synsets in the order of their offsets; `columns_of` says what the columns are.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self._columns = columns
        self._offset = columns["offset"].data
        self._lexname, self._lexnames = columns["lexname"], columns["lexnames"].tolist()
        self._lemma_of, self._sense = columns["lemma_of"].data, columns["sense"]
        self._above, self._above_of = columns["above"], columns["above_of"]
        lemmas = columns["lemma_text"].tobytes()
        self._lemmas, self._lower = (_Texts(text, columns["lemma_ends"]) for text in (lemmas, lemmas.lower()))
        self._definitions = _Texts(columns["definition_text"].tobytes(), columns["definition_ends"])
        self._by_lemma = columns["by_lemma"].data
        self._seen: dict[int, Synset] = {}

    @classmethod
    def of(cls, synsets: Iterable[Synset]) -> "WordNet":
        """Return a small WordNet of one's own; every hypernym must be among `synsets`."""
        return cls(columns_of(synsets))

    def __reduce__(self) -> Any:
        return WordNet, (self._columns,)

    def __len__(self) -> int:
        return len(self._offset)

    def __contains__(self, wnid: str) -> bool:
        return self._row_of_wnid(wnid) is not None

    def __getitem__(self, wnid: str) -> Synset:
        row = self._row_of_wnid(wnid)
        if row is None:
            raise KeyError(wnid)
        return self._synset(row)

    def synsets(self) -> list[Synset]:
        """Return all synsets, in the order of their offsets."""
        return [self._synset(row) for row in range(len(self))]

    def senses(self, word: str) -> list[Synset]:
        """Return what `word` may mean: a wnid or synset name has one sense, a lemma may have several.

        Senses come most frequent first, those written in the same case before others; nothing matches: an empty list.
        """
        if WNID.fullmatch(word):
            return [self[word]] if word in self else []
        if SYNSET.fullmatch(word):
            row = self._row_of_synset(word)
            return [] if row is None else [self._synset(row)]
        lemma = word.strip().replace(" ", "_")
        meant = [self._synset(row) for row, _ in self._uses(lemma.lower())]
        # WordNet's first `crane` is the poet Hart Crane: a name is meant only by who writes it as one.
        return sorted(meant, key=lambda synset: lemma not in synset.lemmas)

    def hyponyms(self, wnid: str) -> list[Synset]:
        """Return what is directly below a synset, in the order of their offsets.

        Raises:
            KeyError: if there is no such synset.
        """
        row = self._row_of_wnid(wnid)
        if row is None:
            raise KeyError(wnid)
        below = np.searchsorted(self._above_of, np.flatnonzero(self._above == row), side="right") - 1
        return [self._synset(child) for child in below.tolist()]

    # -- by row: for whoever climbs from many synsets at once --------------------------------------

    def rows(self, synsets: Sequence[str]) -> Int:
        """Return the rows of synsets given by name, in their order.

        Raises:
            KeyError: if there is no such synset.
        """
        rows = []
        for synset in synsets:
            row = self._row_of_synset(synset)
            if row is None:
                raise KeyError(synset)
            rows.append(row)
        return np.array(rows, dtype=np.int64)

    def wnids(self, rows: Int) -> list[str]:
        """Return the wnids of rows."""
        return [wnid_of(self._offset[row]) for row in rows.tolist()]

    def climb(self, rows: Int) -> tuple[Int, Int]:
        """Return (place, hypernym's row) for each hypernym of each of `rows`; place is where it stands in `rows`."""
        first, count = self._above_of[rows], np.diff(self._above_of)[rows]
        place = np.repeat(np.arange(len(rows)), count)
        within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        return place, self._above[np.repeat(first, count) + within].astype(np.int64)

    def first_hypernyms(self, rows: Int) -> Int:
        """Return the row of each one's first hypernym, -1 at the top and below it."""
        top = self._above_of[rows] == self._above_of[rows + 1]
        above = self._above[np.where(top | (rows < 0), 0, self._above_of[rows])] if len(self._above) else rows
        return np.where(top | (rows < 0), -1, above)

    # -- inside ------------------------------------------------------------------------------------

    def _row_of_wnid(self, wnid: str) -> int | None:
        if not WNID.fullmatch(wnid):
            return None
        row = bisect_left(self._offset, int(wnid[1:]))
        return row if row < len(self) and self._offset[row] == int(wnid[1:]) else None

    def _row_of_synset(self, synset: str) -> int | None:
        """Return the row of a synset by name: the sense of a lemma that is first among its row's."""
        if not SYNSET.fullmatch(synset.lower()):
            return None
        lemma, _, sense = synset.lower().rsplit(".", 2)
        uses = ((row, at) for row, at in self._uses(lemma) if self._lemma_of[row] == at)
        return next((row for row, at in uses if self._sense[at] == int(sense)), None)

    def _uses(self, lemma: str) -> list[tuple[int, int]]:
        """Return (row, which of all lemmas) of each sense of a lemma in lower case, most frequent first."""
        if not lemma.isascii():
            return []
        order, lower, wanted, found = self._by_lemma, self._lower.bytes_of, lemma.encode(), []
        place = bisect_left(order, wanted, key=lower)
        while place < len(order) and lower(order[place]) == wanted:
            found.append((bisect_right(self._lemma_of, order[place]) - 1, order[place]))
            place += 1
        return found

    def _synset(self, row: int) -> Synset:
        if row not in self._seen:
            first, last = self._lemma_of[row], self._lemma_of[row + 1]
            lemmas = tuple(self._lemmas[at] for at in range(first, last))
            senses = tuple(self._sense[first:last].tolist())
            self._seen[row] = Synset(
                f"{lemmas[0].lower()}.n.{senses[0]:02d}",
                wnid_of(self._offset[row]),
                lemmas,
                senses,
                self._definitions[row],
                tuple(self.wnids(self._above[slice(*self._above_of[row : row + 2].tolist())])),
                self._lexnames[self._lexname[row]],
            )
        return self._seen[row]


class _Texts:
    """Many texts, one after another in UTF-8."""

    def __init__(self, text: bytes, ends: NDArray[np.int32]) -> None:
        self._text, self._ends = text, ends.data

    def __getitem__(self, n: int) -> str:
        return self.bytes_of(n).decode()

    def bytes_of(self, n: int) -> bytes:
        """Return a text as it is kept."""
        return self._text[self._ends[n] : self._ends[n + 1]]


def columns_of(synsets: Iterable[Synset]) -> dict[str, NDArray[Any]]:
    """Return synsets as the columns of a table.

    Lemmas must be ASCII, as WordNet's are. Of n synsets with l lemmas and h hypernyms, all in the order of the offsets:

        offset (n)                          the synset
        lexname (n), lexnames               its lexicographer file, by number
        lemma_of (n + 1), above_of (n + 1)  where its lemmas and its hypernyms begin
        sense (l), above (h)                of a lemma, which of its senses this is; a hypernym's row
        lemma_text, lemma_ends (l + 1)      lemmas, and where each begins
        by_lemma                            lemmas by (lower case, sense), a synset once
        definition_text, definition_ends    definitions, and where each begins (n + 1)
    """
    known = sorted(synsets, key=lambda synset: synset.wnid)
    row = {synset.wnid: n for n, synset in enumerate(known)}
    uses = [(n, *use) for n, one in enumerate(known) for use in zip(one.lemmas, one.senses, strict=True)]
    first: dict[tuple[str, int, int], int] = {}
    for at, (n, lemma, sense) in enumerate(uses):
        first.setdefault((lemma.lower(), sense, n), at)
    lexnames = sorted({synset.lexname for synset in known})
    lemma_text, lemma_ends = _joined([lemma for _, lemma, _ in uses])
    definition_text, definition_ends = _joined([synset.definition for synset in known])
    return {
        "offset": np.array([int(synset.wnid[1:]) for synset in known], dtype=np.int32),
        "lexname": np.array([lexnames.index(synset.lexname) for synset in known], dtype=np.uint8),
        "lexnames": np.array(lexnames, dtype=np.str_),
        "lemma_of": _edges([len(synset.lemmas) for synset in known]),
        "sense": np.array([sense for _, _, sense in uses], dtype=np.uint8),
        "lemma_text": lemma_text,
        "lemma_ends": lemma_ends,
        "by_lemma": np.array([first[key] for key in sorted(first)], dtype=np.int32),
        "definition_text": definition_text,
        "definition_ends": definition_ends,
        "above_of": _edges([len(synset.hypernyms) for synset in known]),
        "above": np.array([row[wnid] for synset in known for wnid in synset.hypernyms], dtype=np.int32),
    }


def _joined(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), _edges(map(len, encoded))


def _edges(counts: Iterable[int]) -> NDArray[np.int32]:
    return np.array([0, *accumulate(counts)], dtype=np.int32)


def wnid_of(offset: int) -> str:
    """Return a WordNet offset the way ImageNet writes it."""
    return f"n{offset:08d}"


@cache
def wordnet() -> WordNet:
    """Return WordNet's nouns, opened once a process."""
    with np.load(mllctl_data.path("wordnet", "nouns.npz"), allow_pickle=False) as columns:
        return WordNet(dict(columns))
