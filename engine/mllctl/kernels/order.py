"""In which order nodes come to an image: from a model's embeddings to its label, exactly and in bounded memory.

Embeddings are stored as float16. Products of two float16 are exact in float64 and so, at our widths, is their sum: a
label is a pure function of what is stored, whatever the order of summation. A product of matrices in float32 costs
half of one in float64 and finds, with a margin for all its rounding, the few nodes that may matter to an image; only
those are computed again in float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mllctl.kernels.arrays import Bool, Float, Int

Float16 = NDArray[np.float16]
Float32 = NDArray[np.float32]

# Measured at 9,055 nodes and 512 columns on two cores; none of them changes a result.
FEW_NODES = 256  # up to so many, every node is computed in float64
GROUP = 64  # nodes whose greatest similarity stands for them when the runners-up are sought
CROWDED = 64  # from so many candidates on, a product of matrices is faster than one dot each
PAIRS_AT_ONCE = 256  # dots gathered at a time: 2 MB, which stays in the cache
NARROW = 32  # images with so few candidates are sorted together, as rows of a matrix


@dataclass(frozen=True)
class NodeVectors:
    """Caption embeddings of the compared nodes, in the precisions the comparison needs.

    Attributes:
        single, double: shape (v, d).
        longest: the greatest norm.
    """

    single: Float32
    double: Float
    longest: float

    @classmethod
    def of(cls, captions: Float16) -> "NodeVectors":
        """Take float16 captions, shape (v, d), v > 0.

        Raises:
            ValueError: on values that are not finite: such a node would beat all others, or none.
        """
        double = captions.astype(np.float64)
        if not np.isfinite(double).all():
            raise ValueError("caption embeddings must be finite")
        return cls(captions.astype(np.float32), double, float(np.linalg.norm(double, axis=1).max()))


@dataclass(frozen=True)
class Order:
    """For each image, the nodes that beat its true node, best first, and after them the next best ones.

    Attributes:
        start: where the nodes of each image begin, shape (i + 1,).
        node: columns of the nodes, shape (k,); the true node is not among them.
        similarity: of these, shape (k,).
        own: similarity of each image and its true node, shape (i,).
        rank: how many nodes beat the true one, shape (i,).
    """

    start: Int
    node: Int
    similarity: Float
    own: Float
    rank: Int

    @property
    def place(self) -> Int:
        """Position of each entry among those of its image, shape (k,)."""
        return np.asarray(np.arange(len(self.node)) - np.repeat(self.start[:-1], np.diff(self.start)))

    @property
    def image(self) -> Int:
        """Row of the image each entry belongs to, shape (k,)."""
        return np.repeat(np.arange(len(self.rank)), np.diff(self.start))


# (images, nodes, own, error, after) -> rows and columns, sorted, of at least every node that beats the true one or is
# among the `after` next ones, given that a float32 similarity is off by at most `error`, shape (i,).
Likely = Callable[[Float16, NodeVectors, Float, Float, int], tuple[Int, Int]]


def order_nodes(images: Float16, nodes: NodeVectors, truth: Int, after: int, likely: Likely | None = None) -> Order:
    """Order the nodes of each image by s[x, v], the float64 dot of the stored embeddings. Source: Eq 2-4.

    Node u beats v iff s[u] > s[v], or s[u] = s[v] and u < v: then v wins over any selection of nodes exactly where no
    selected node beats it, the same as a first-index argmax.

    Args:
        images: shape (i, d).
        nodes: v nodes.
        truth: column of the true node of each image, shape (i,).
        after: how many nodes to keep that do not beat the true one, where there are as many.
        likely: what narrows the nodes down; `likely_nodes` when None.

    Raises:
        ValueError: on image embeddings that are not finite.
    """
    double = images.astype(np.float64)
    own = np.einsum("id,id->i", double, nodes.double[truth])
    if not np.isfinite(own).all():
        raise ValueError("image embeddings must be finite")
    if len(nodes.double) <= FEW_NODES:
        row, column = (index.ravel() for index in np.indices((len(images), len(nodes.double))))
    else:
        row, column = (likely or likely_nodes)(images, nodes, own, float32_error(double, nodes), after)
    count = np.bincount(row, minlength=len(images))
    similarity = _dots(double, nodes, row, column, count)
    best_first = _sorted_rows(similarity, count)
    column, similarity = column[best_first], similarity[best_first]
    beats = (similarity > own[row]) | ((similarity == own[row]) & (column < truth[row]))
    rank = np.bincount(row[beats], minlength=len(images))
    # Whatever beats the true node stands before it, so its own place is its rank.
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    kept = beats | ((place > rank[row]) & (place <= rank[row] + after))
    start = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=len(images)))])
    return Order(start, column[kept], similarity[kept], own, rank)


def float32_error(images: Float, nodes: NodeVectors) -> Float:
    """Bound how far a float32 dot of each image with any node is off, shape (i,).

        |fl(x . t) - x . t| <= d u / (1 - d u) * |x| |t|,  u = 2^-24

    in whatever order it is summed, the products being exact (Higham, Accuracy and Stability, 3.5, and Cauchy-Schwarz).
    One more u of the same size is for rounding a threshold to float32.
    """
    bound = (images.shape[1] + 4) * 2.0**-24
    return np.asarray(bound / (1 - bound) * np.linalg.norm(images, axis=1) * nodes.longest)


def likely_nodes(images: Float16, nodes: NodeVectors, own: Float, error: Float, after: int) -> tuple[Int, Int]:
    """Find what a label may need with one product of matrices in float32; see `Likely`.

    The best runner-up of each group of nodes stands for the group: the `after`-th best of those is a lower bound of
    the `after`-th best runner-up, and close to it.
    """
    similarity = images.astype(np.float32) @ nodes.single.T
    below = similarity < (own - error).astype(np.float32)[:, None]
    # Zero in place of what may be a rival: cheaper than -inf, and right as long as the bound is positive.
    best = np.maximum.reduceat(similarity * below, np.arange(0, similarity.shape[1], GROUP), axis=1)
    place = best.shape[1] - max(after, 1)
    bound = np.partition(best, place, axis=1)[:, place].astype(np.float64) if place >= 0 else np.zeros(len(images))
    cut = np.where(bound > 0, bound - 2 * error, -np.inf).astype(np.float32)
    flat = np.flatnonzero(similarity >= cut[:, None])
    row = flat // similarity.shape[1]
    return row, flat - row * similarity.shape[1]


def _dots(images: Float, nodes: NodeVectors, row: Int, column: Int, count: Int) -> Float:
    """Compute the float64 dots of the pairs, shape (pairs,); the same values either way."""
    crowded = count > CROWDED
    within = crowded[row]
    similarity = np.empty(len(row))
    if crowded.any():
        table = images[crowded] @ nodes.double.T
        line = np.cumsum(crowded) - 1
        similarity[within] = table[line[row[within]], column[within]]
    few = np.flatnonzero(~within)
    dots = np.empty(len(few))
    for start in range(0, len(few), PAIRS_AT_ONCE):
        part = few[start : start + PAIRS_AT_ONCE]
        one, other = images.take(row[part], axis=0), nodes.double.take(column[part], axis=0)
        np.einsum("pd,pd->p", one, other, out=dots[start : start + PAIRS_AT_ONCE])
    similarity[few] = dots
    return similarity


def _sorted_rows(similarity: Float, count: Int) -> Int:
    """Return the permutation that sorts each image's run descending, ties in the order they stand."""
    start = np.cumsum(count) - count
    order = np.empty(len(similarity), dtype=np.int64)
    narrow = np.flatnonzero(count <= NARROW)
    filled = np.arange(NARROW) < count[narrow, None]
    padded = np.full(filled.shape, np.inf)
    runs = np.repeat(count <= NARROW, count)
    padded[filled] = -similarity[runs]
    order[runs] = (np.argsort(padded, axis=1, kind="stable") + start[narrow, None])[filled]
    for image in np.flatnonzero(count > NARROW):
        run = slice(start[image], start[image] + count[image])
        order[run] = start[image] + _argsort_stable(-similarity[run])
    return order


def _argsort_stable(values: Float) -> Int:
    """Sort ascending, ties in place. NumPy's unstable sort is vectorised and ties are rare: look before paying."""
    order = np.argsort(values)
    ordered = values[order]
    if (ordered[1:] == ordered[:-1]).any():
        return np.argsort(values, kind="stable")
    return order


# -- the order as it is read back -----------------------------------------------------------------------

STRIDE_BITS = 3
STRIDE = 1 << STRIDE_BITS  # rivals looked up at once: eight booleans are one 64-bit word
NEAR = 128  # so many rivals of each image lie together: seldom must one look at more


@dataclass(frozen=True)
class Rivals:
    """Ordered rivals of some images, best first, cut into rows of `STRIDE` that are padded with the greatest value.

    Attributes:
        rows: shape (rows, STRIDE).
        start, end: which of them are each image's, shape (i,).
    """

    rows: NDArray[np.unsignedinteger]
    start: NDArray[np.signedinteger]
    end: NDArray[np.signedinteger]

    @classmethod
    def of(cls, values: NDArray[np.unsignedinteger], offsets: Int) -> "Rivals":
        """Take lists one behind the other; the offsets are those of values, shape (i + 1,)."""
        edges = offsets >> STRIDE_BITS
        return cls(values.reshape(-1, STRIDE), edges[:-1], edges[1:])

    def take(self, images: Int) -> "Rivals":
        """Return those of some images, in this order."""
        return Rivals(self.rows, self.start.take(images), self.end.take(images))

    @property
    def full(self) -> Bool:
        """Say which images fill the near part, so that others of their rivals may be in the far one, shape (i,)."""
        return np.asarray(self.end - self.start == NEAR >> STRIDE_BITS)


def lay_out(order: Order, nodes: NDArray[np.unsignedinteger]) -> tuple[Rivals, Rivals]:
    """Lay out the best `NEAR` rivals of some images, and apart from them the others.

    Args:
        order: of these images.
        nodes: the ordinals of its columns.
    """
    place = order.place
    beats = place < order.rank[order.image]
    near, far = beats & (place < NEAR), beats & (place >= NEAR)
    return _packed(order, near, place, nodes), _packed(order, far, place - NEAR, nodes)


def _packed(order: Order, part: Bool, place: Int, nodes: NDArray[np.unsignedinteger]) -> Rivals:
    image = order.image[part]
    length = -(-np.bincount(image, minlength=len(order.rank)) // STRIDE) * STRIDE
    offsets = np.concatenate([[0], np.cumsum(length)])
    values = np.full(offsets[-1], np.iinfo(nodes.dtype).max, dtype=nodes.dtype)
    values[offsets[image] + place[part]] = nodes[order.node[part]]
    return Rivals.of(values, offsets)


def taken(rivals: Rivals, selected: Bool, step: int = 1) -> Bool:
    """Say which images a selected node takes from their true node: where any of their rivals is selected.

    Args:
        rivals: of i images.
        selected: V_sel, True at its nodes; its last entry, which stands for the padding, is False.
        step: rows of rivals that are looked at first; more where the first are known to settle little.

    Returns:
        shape (i,); False is a hit if the true node is selected and these are all rivals.
    """
    lost = np.zeros(len(rivals.start), dtype=np.bool_)
    for at, _, _, settled in _looks(rivals, selected, step):
        # Nobody is looked at again once settled, so that a False writes nothing wrong.
        lost[at] = settled
    return lost


def takers(rivals: Rivals, selected: Bool) -> Int:
    """Say which selected node takes each image from its true node: the first selected of its ordered rivals.

    Args:
        rivals, selected: as `taken` has them.

    Returns:
        shape (i,); -1 where no selected node does.
    """
    taker = np.full(len(rivals.start), -1, dtype=np.int64)
    for at, look, found, settled in _looks(rivals, selected, 1):
        # From (rows, images, STRIDE) to one list an image.
        wide = (np.count_nonzero(settled), len(look) * STRIDE)
        which, rival = (np.moveaxis(table[:, settled], 1, 0).reshape(wide) for table in (found, look))
        taker[at[settled]] = rival[np.arange(len(rival)), which.argmax(axis=1)]
    return taker


def _looks(rivals: Rivals, selected: Bool, step: int) -> Iterator[tuple[Int, NDArray[np.unsignedinteger], Bool, Bool]]:
    """Look along the ordered rivals of images until a selected one comes.

    Most images are settled by their first eight rivals, and those that are not by a few more: each round doubles what
    was seen of the lists of the images that are left.

    Yields:
        (the images left, the rivals looked at, shape (rows, left, STRIDE), which of them are selected, which of the
        images that settles)
    """
    left = np.flatnonzero(rivals.start < rivals.end)
    row, end = rivals.start.take(left), rivals.end.take(left)
    done = 0
    while len(left):
        # Images last: NumPy is slow where the last axis is short. Past its end a list's last row is seen again.
        ahead = np.minimum(row + np.arange(step)[:, None], end - 1)
        look = rivals.rows.take(ahead, axis=0)
        found = selected.take(look, mode="clip")
        settled = (found.view(np.uint64)[..., 0] != 0).any(axis=0)
        yield left, look, found, settled
        more = np.flatnonzero(~settled & (row + step < end))
        left, row, end = left.take(more), row.take(more) + step, end.take(more)
        done += step
        step = done
