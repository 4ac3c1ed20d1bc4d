"""A model's embeddings of images and captions: float16 vectors by ordinal, in Arrow files that are mapped, not read.

A hub adds a file whenever a model was shown something new; together they are what it has seen. They let a node be
added, or a label be made again, without running the model.
"""

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

# Arrow is imported where it is used: a sealed hub, such as the bundled one, has no Arrow file to be asked for.
if TYPE_CHECKING:
    import pyarrow as pa

Ordinals = NDArray[np.uint32]
Float16 = NDArray[np.float16]


class Features:
    """Embeddings by ordinal, from any number of files; where two have one, the last counts.

    Attributes:
        ordinals: all that are held, ascending, shape (n,).
        batches: the Arrow batches they lie in.
    """

    def __init__(self, batches: "Sequence[pa.RecordBatch]") -> None:
        self.batches = tuple(batches)
        self._vectors = [_vectors(batch) for batch in batches]
        held = [batch.column("ordinal").to_numpy() for batch in batches]
        ordinal = np.concatenate([np.zeros(0, np.uint32), *held])
        batch = np.repeat(np.arange(len(held)), [len(few) for few in held])
        row = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(few)) for few in held)])
        # Of equal ordinals the last, hence the first of the reversed.
        self.ordinals, last = np.unique(ordinal[::-1], return_index=True)
        self._batch, self._row = batch[::-1][last], row[::-1][last]

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Self:
        """Map files of embeddings."""
        return cls([batch for path in paths for batch in map_batches(path)])

    @classmethod
    def joined(cls, earlier: "Features", later: "Features") -> Self:
        """Return both together; where both have a vector, the later counts."""
        return cls([*earlier.batches, *later.batches])

    @property
    def width(self) -> int:
        """Width of the vectors; 0 when there are none."""
        return self._vectors[0].shape[1] if self._vectors else 0

    def held(self, ordinals: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Say which of these are there, shape (n,)."""
        return np.isin(ordinals, self.ordinals)

    def take(self, ordinals: NDArray[np.integer]) -> Float16:
        """Return the vectors of `ordinals`, all of which must be held, shape (n, d)."""
        place = np.searchsorted(self.ordinals, ordinals)
        batch, row = self._batch[place], self._row[place]
        taken = np.empty((len(ordinals), self.width), dtype=np.float16)
        for number in np.unique(batch):
            here = np.flatnonzero(batch == number)
            taken[here] = self._vectors[number][row[here]]
        return taken

    def parts(self, ordinals: NDArray[np.integer], at_once: int = 4096) -> Iterator[tuple[Ordinals, Float16]]:
        """Yield the vectors of `ordinals` a few thousand at a time, as `write_features` takes them."""
        for start in range(0, len(ordinals), at_once):
            few = ordinals[start : start + at_once].astype(np.uint32)
            yield few, self.take(few)


def write_features(path: Path, parts: Iterable[tuple[Ordinals, Float16]]) -> None:
    """Write vectors as one file, a batch for each part, and flush it to the disk."""
    import pyarrow as pa

    writer = None
    with path.open("wb") as out:
        for ordinals, vectors in parts:
            batch = as_batch(ordinals, vectors)
            writer = writer or pa.ipc.new_file(out, batch.schema)
            writer.write_batch(batch)
        if writer:
            writer.close()
        out.flush()
        os.fsync(out.fileno())


def as_batch(ordinals: Ordinals, vectors: Float16) -> "pa.RecordBatch":
    """Put vectors, shape (n, d), beside their ordinals."""
    import pyarrow as pa

    flat = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).ravel()), vectors.shape[1])
    return pa.record_batch({"ordinal": pa.array(ordinals, pa.uint32()), "embedding": flat})


def map_batches(path: Path) -> "list[pa.RecordBatch]":
    """Map an Arrow file; its arrays are views of the page cache.

    Raises:
        pyarrow.ArrowInvalid: if it is not whole.
    """
    with path.open("rb") as file:
        return batches_of(file.fileno())


def batches_of(descriptor: int) -> "list[pa.RecordBatch]":
    """Map the Arrow file behind an open descriptor, even if it was unlinked since."""
    import pyarrow as pa

    if os.fstat(descriptor).st_size == 0:
        raise pa.ArrowInvalid("the file is empty")
    mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped)))
    return [reader.get_batch(number) for number in range(reader.num_record_batches)]


def _vectors(batch: "pa.RecordBatch") -> Float16:
    column = batch.column("embedding")
    return np.asarray(column.flatten().to_numpy()).reshape(len(column), column.type.list_size)
