"""The semantic graph: the synsets a hub has evidence for, and all that is above them in WordNet.

`with_ancestors` turns the synsets that have sample images into the nodes and edges of a graph. Called by `images` and
`hub`; never touches a database or an image.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mllctl.wordnet import Synset, WordNet


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
