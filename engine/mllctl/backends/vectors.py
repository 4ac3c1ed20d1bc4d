"""FAISS: an exact flat index over captions. The only importer of `faiss`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mllctl.backends.protocol import Float32
from mllctl.errors import NoFaiss


class VectorIndex:
    """Unit vectors, found by inner product. Exact: flat search takes 1.5 ms a query at 117,000 nodes."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Float32) -> "VectorIndex":
        """Index the rows of `vectors`, shape (v, d)."""
        index = _faiss().IndexFlatIP(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        return cls(index)

    @classmethod
    def from_bytes(cls, content: bytes) -> "VectorIndex":
        """Read an index that `to_bytes` made."""
        return cls(_faiss().deserialize_index(np.frombuffer(content, dtype=np.uint8)))

    def to_bytes(self) -> bytes:
        """Return the index as FAISS writes it to disk."""
        return bytes(_faiss().serialize_index(self._index).tobytes())

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def nearest(self, queries: Float32, count: int, usable: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the `count` usable rows nearest to each query, best first, shape (n, count); -1 pads."""
        faiss = _faiss()
        ids = np.ascontiguousarray(usable, dtype=np.int64)
        # With a selector FAISS computes one dot after another; without, a product of matrices, ten times faster.
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorBatch(ids)) if len(ids) < len(self) else None
        rows = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), count, params=chosen)[1]
        return np.asarray(rows, dtype=np.int64)

    def vectors(self, rows: NDArray[np.int64]) -> Float32:
        """Return stored vectors, shape (n, d)."""
        return np.asarray(self._index.reconstruct_batch(np.ascontiguousarray(rows)), dtype=np.float32)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise NoFaiss from error
    return faiss
