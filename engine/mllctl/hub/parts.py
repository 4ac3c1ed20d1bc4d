"""Write one part of a model's label as it is made, chunk by chunk, so that memory does not grow with the label.

    LabelWriter(folder, ...).add(images, order) ... .finish(state) -> label.duckdb, order.arrow

`label.duckdb` holds the tables of `schema/label.sql`. `order.arrow` holds all rivals of each image in order, laid out
for reading from a mapped file: what `Hub.hits` and `Hub.winners` look at. Both are named and moved by a `HubChange`.
"""

import json
import mmap
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from mllctl.backends.canary import versions_of
from mllctl.backends.protocol import ModelCard
from mllctl.hub.records import ImageRows, LabelInput, LabelState, Masks, Ordinals
from mllctl.kernels.arrays import AnyArray, Bool, Int
from mllctl.kernels.order import STRIDE, STRIDE_BITS, Order, Rivals, lay_out

# Arrow is imported where it is used: a sealed hub has no Arrow file to be asked for.
if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = Path(__file__).parent / "schema"
LABEL, ORDER = "label.duckdb", "order.arrow"

# Pages of 256 KB, DuckDB's own, leave a small label mostly empty (2.4 bytes a rival instead of 1.6);
# in pages of 16 KB it does not pack the bits of ordinals at all (4.1 bytes).
PAGE_BYTES = 32768
RIVAL_SIMILARITIES = STRIDE
RUNNERS_UP = 3


class LabelWriter(AbstractContextManager["LabelWriter"]):
    """A part of a label while it is written."""

    def __init__(self, folder: Path, given: LabelInput, card: ModelCard) -> None:
        """Begin a part.

        Args:
            folder: where its files go; emptied first.
            given: the nodes that compete, and the version of the graph they are from.
            card: of the model.
        """
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._given = given
        self._ordinal = np.uint16 if len(given.nodes) == 0 or given.nodes[-1] < np.iinfo(np.uint16).max else np.uint32
        self._seen: list[Masks] = [np.zeros((4, 0), np.uint64)]
        self._rows = 0
        self._lengths: dict[str, list[Int]] = {"near": [np.zeros(1, np.int64)], "far": [np.zeros(1, np.int64)]}
        self._stack = ExitStack()
        self._raw = {
            name: self._stack.enter_context((folder / name).open("wb")) for name in ("image", "bit", "near", "far")
        }
        self._db = self._stack.enter_context(new_label(folder / LABEL))
        self._db.execute("BEGIN").fetchall()
        made = {
            "graph_version": given.graph_version,
            "fingerprint": card.fingerprint,
            "preprocess": card.preprocess,
            "tokenizer": card.tokenizer,
            "libraries": json.dumps(versions_of(card), sort_keys=True),
        }
        self._insert("label_made", {name: [value] for name, value in made.items()})
        self._insert("label_node", {"node": given.nodes})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, images: LabelInput, order: Order) -> None:
        """Write images that were not labelled yet.

        Args:
            images: whole blocks, sorted by node, block and bit, and after those that were added before.
            order: of them, over the nodes that compete.
        """
        block, first = _runs(images)
        shown = np.bitwise_or.reduceat(_bit(images), first)
        self._note(block, shown, shown, _beaten(images, order, first))
        self._insert("label_row", {"block": block, "shown": shown, "row": (self._rows + first).astype(np.uint32)})
        self._insert_masks(images, order, np.ones(len(self._given.nodes), dtype=np.bool_))
        self._insert_images(images, order)
        self._append("image", images.images)
        self._append("bit", images.bit)
        near, far = lay_out(order, self._given.nodes.astype(self._ordinal))
        for name, rivals in (("near", near), ("far", far)):
            self._append(name, rivals.rows)
            self._lengths[name].append((rivals.end - rivals.start) * STRIDE)
        self._rows += len(images.images)

    def renew(self, images: LabelInput, order: Order, newcomers: Bool) -> None:
        """Write what nodes that came or went have changed for images that are labelled already.

        Args:
            images: sorted by node, block and bit, and after those that were renewed before.
            order: of them, over the nodes that compete now.
            newcomers: which of these nodes are new to the label, shape (v,); only their masks are.
        """
        block, first = _runs(images)
        seen = np.bitwise_or.reduceat(_bit(images), first)
        self._note(block, np.zeros_like(seen), seen, _beaten(images, order, first))
        self._insert_masks(images, order, newcomers)
        self._insert_images(images, order)

    def finish(self, before: LabelState) -> None:
        """Complete the files, given the state of the label until now."""
        self._insert_state(before)
        self._db.execute("COMMIT").fetchall()
        self._stack.close()
        self._assemble()

    def _note(self, block: Ordinals, shown: Masks, seen: Masks, beaten: Masks) -> None:
        self._seen.append(np.stack([block.astype(np.uint64), shown, seen, beaten]))

    def _insert_state(self, before: LabelState) -> None:
        """Say what is now known of every block that was touched."""
        noted = np.concatenate(self._seen, axis=1)
        noted = noted[:, np.argsort(noted[0], kind="stable")]
        block, first = np.unique(noted[0], return_index=True)
        if len(block) == 0:
            return
        shown, seen, beaten = np.bitwise_or.reduceat(noted[1:], first, axis=1)
        labelled, lost = before.of(block)
        self._insert(
            "label_state",
            {"block": block.astype(np.uint32), "labelled": labelled | shown, "beaten": (lost & ~seen) | beaten},
        )

    def _insert_masks(self, images: LabelInput, order: Order, rivals: Bool) -> None:
        """Pack the images of each block into one mask a rival."""
        block, first = _runs(images)
        run = np.repeat(np.arange(len(first)), np.diff([*first, len(images.block)]))
        beats = (order.place < order.rank[order.image]) & rivals[order.node]
        nodes = len(self._given.nodes)
        packed = np.zeros(len(block) * nodes, dtype=np.uint64)
        cell = run[order.image[beats]] * nodes + order.node[beats]
        np.bitwise_or.at(packed, cell, _bit(images)[order.image[beats]])
        cell = np.flatnonzero(packed)
        mask, of_block = packed[cell], cell // nodes
        # Equal masks side by side take a third of the file that rivals in order do.
        kept = np.lexsort((mask, of_block, images.image_node[first][of_block]))
        cell, mask, of_block = cell[kept], mask[kept], of_block[kept]
        rows = {
            "node": images.image_node[first][of_block],
            "block": block[of_block],
            "rival": self._given.nodes[cell - of_block * nodes],
            "mask": mask,
        }
        self._insert("rival_mask", rows)

    def _insert_images(self, images: LabelInput, order: Order) -> None:
        beats = order.place < order.rank[order.image]
        near = beats & (order.place < RIVAL_SIMILARITIES)
        rows = {
            "image": images.images,
            "similarity": order.own.astype(np.float32),
            "rank": order.rank.astype(np.uint32),
            "rivals": _lists(order, near, self._given.nodes[order.node]),
            "rival_similarities": _lists(order, near, order.similarity.astype(np.float32)),
            "runners_up": _lists(order, ~beats, self._given.nodes[order.node]),
            "runner_up_similarities": _lists(order, ~beats, order.similarity.astype(np.float32)),
        }
        self._insert("image_label", rows)

    def _insert(self, table: str, columns: dict[str, Any]) -> None:
        import pyarrow as pa

        self._db.register("incoming", pa.table(columns))
        self._db.execute(f"INSERT INTO {table} SELECT * FROM incoming").fetchall()
        self._db.unregister("incoming")

    def _append(self, name: str, values: AnyArray) -> None:
        # A buffered writer writes all of it or raises.
        self._raw[name].write(np.ascontiguousarray(values).data)

    def _assemble(self) -> None:
        """Join the columns into one Arrow file, through maps of what was written."""
        import pyarrow as pa

        types = {"image": np.uint32, "bit": np.uint8, "near": self._ordinal, "far": self._ordinal}
        columns = {name: pa.array(_mapped(self.folder / name, dtype)) for name, dtype in types.items()}
        for name, lengths in self._lengths.items():
            start = pa.array(np.cumsum(np.concatenate(lengths)))
            columns[name] = pa.LargeListArray.from_arrays(start, columns[name])
        batch = pa.record_batch(columns)
        with (self.folder / ORDER).open("wb") as out, pa.ipc.new_file(out, batch.schema) as writer:
            writer.write_batch(batch)
        for name in columns:
            (self.folder / name).unlink()


class OrderFile:
    """The ordered rivals of a part's images, in an open Arrow file.

    Near rivals are read, not mapped: the pages of a map would add up to gigabytes over the models of a hub, and cost
    more to map and unmap than to read.
    """

    def __init__(self, descriptor: int) -> None:
        """Take the descriptor of an `order.arrow`.

        Raises:
            pyarrow.ArrowInvalid: if it is not whole.
        """
        import pyarrow as pa

        self._descriptor = descriptor
        mapped = pa.py_buffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        batch = pa.ipc.open_file(pa.BufferReader(mapped)).get_batch(0)
        self._near, self._far = (batch.column(name) for name in ("near", "far"))
        # Of a list array the offsets are the second buffer and the values the last.
        offsets, values = self._near.buffers()[1], self._near.buffers()[-1]
        self._begin = values.address - mapped.address
        # Read, and kept as row numbers of four bytes: mapped, they would drag in pages many times their size.
        read = os.pread(descriptor, offsets.size, offsets.address - mapped.address)
        edges = np.frombuffer(read, dtype=np.int64, count=len(self._near) + 1)
        self._edges = (edges >> STRIDE_BITS).astype(np.int32)

    def near(self, images: ImageRows) -> Rivals:
        """Read the best rivals of some images, of at least one: images whose rows follow one another in one go."""
        start = self._edges.take(images.row)
        begin, stop = start.take(images.run), self._edges.take(images.row.take(images.last) + 1)
        end = np.empty_like(start)
        end[:-1] = start[1:]
        end[images.last] = stop
        length = (stop - begin).astype(np.int64)
        shift = np.repeat((begin - (np.cumsum(length) - length)).astype(np.int32), images.last - images.run + 1)
        dtype = np.dtype(self._near.values.type.to_pandas_dtype())
        row_bytes = STRIDE * dtype.itemsize
        values = np.empty(int(length.sum()) * STRIDE, dtype=dtype)
        target, filled = memoryview(values.view(np.uint8).data), 0
        places = (self._begin + begin.astype(np.int64) * row_bytes).tolist()
        for place, size in zip(places, (length * row_bytes).tolist(), strict=True):
            if size:
                filled += os.preadv(self._descriptor, [target[filled : filled + size]], place)
        return Rivals(values.reshape(-1, STRIDE), start - shift, end - shift)

    def far(self, rows: Int) -> Rivals:
        """Return the other rivals of the images in some rows, from the map."""
        offsets = self._far.offsets.to_numpy()
        rivals = self._far.values.to_numpy().reshape(-1, STRIDE)
        return Rivals(rivals, offsets.take(rows) >> STRIDE_BITS, offsets.take(rows + 1) >> STRIDE_BITS)


@contextmanager
def new_label(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Make a label file with empty tables, to be filled over the connection."""
    with new_file(path) as db:
        db.execute((SCHEMA / "label.sql").read_text())
        yield db


@contextmanager
def new_file(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Make a database file with small pages, and close it whole."""
    path.unlink(missing_ok=True)
    with duckdb.connect(":memory:") as db:
        db.execute(f"ATTACH {quoted(path)} AS made (BLOCK_SIZE {PAGE_BYTES})")
        db.execute("USE made")
        yield db
        db.execute("USE memory")
        db.execute("DETACH made")


def quoted(path: Path) -> str:
    """Quote a path for ATTACH, which takes no parameters."""
    return "'" + str(path).replace("'", "''") + "'"


def _runs(images: LabelInput) -> tuple[Ordinals, Int]:
    """Return the blocks in the order they come, and the row each begins at."""
    first = np.concatenate([[0], np.flatnonzero(np.diff(images.block)) + 1])
    return images.block[first], first


def _bit(images: LabelInput) -> Masks:
    return np.uint64(1) << images.bit.astype(np.uint64)


def _beaten(images: LabelInput, order: Order, first: Int) -> Masks:
    return np.asarray(np.bitwise_or.reduceat(np.where(order.rank > 0, _bit(images), np.uint64(0)), first))


def _lists(order: Order, kept: Bool, values: AnyArray) -> "pa.ListArray":
    """Group the kept values by image."""
    import pyarrow as pa

    count = np.bincount(order.image[kept], minlength=len(order.rank))
    offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[kept]))


def _mapped(path: Path, dtype: Any) -> AnyArray:
    # A map of nothing is an error.
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype=dtype)
