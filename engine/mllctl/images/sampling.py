"""At most n images a node, drawn by a hash of their names.

A draw depends on the seed and on the names alone: not on the order of files, nor on where the source
lies. Images that come later take the place of those with a higher hash, and move no others.
"""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item")

SPARE = 8  # beyond twice as many as are wanted: what turns out to be damaged is replaced by the next


@dataclass(frozen=True)
class Draw:
    """Draw at most `per_node` images of each node in each domain.

    Raises:
        ValueError: if `per_node` is below 1.
    """

    per_node: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_node < 1:
            raise ValueError(f"per_node must be at least 1, got {self.per_node}")

    def rank(self, name: str) -> int:
        """Return the place of a name in the draw: the lowest are drawn."""
        text = f"{self.seed}\0{name}".encode(errors="surrogateescape")
        return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")


class Drawing(Generic[Item]):
    """Items as they are offered, of which the lowest few of each group are kept.

    Attributes:
        left_out: how many were offered and not settled.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._kept = 2 * draw.per_node + SPARE
        self._groups: dict[tuple[str, ...], list[tuple[int, int, int, Item]]] = {}
        self._order = count()
        self._taken = 0
        self.left_out = 0

    def offer(self, group: tuple[str, ...], name: str, uri: str, item: Item) -> None:
        """Take part with an item; `uri` decides between items of one name."""
        self.left_out += 1
        heap = self._groups.setdefault(group, [])
        # A heap has its least entry on top; here that is the one to be dropped first.
        entry = (-self._draw.rank(name), -self._draw.rank(uri), -next(self._order), item)
        if len(heap) < self._kept:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)

    def groups(self) -> Iterator[list[Item]]:
        """Return the items of each group, drawn first first; groups in the order of their keys."""
        for key in sorted(self._groups):
            self._taken = 0
            yield [entry[-1] for entry in sorted(self._groups[key], reverse=True)]

    def settle(self, *, taken: bool) -> bool:
        """Note that an item of the group at hand was looked at, and say whether the group has enough."""
        self.left_out -= 1
        self._taken += taken
        return self._taken == self._draw.per_node
