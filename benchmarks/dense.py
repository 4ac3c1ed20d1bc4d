"""The obvious way to keep a label: the similarity of every image to every node, as float32, and what it costs to use.

Written from the paper's description: for each model, load its label, take the columns of the selected nodes, and count
the images of each selected node whose greatest similarity lies in its own column.
"""

import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mllctl.hub import Hub

AT_ONCE = 4096  # images written or read at a time: 148 MB at 9,055 nodes
IN_MEMORY = 0.25  # part of the label that fits the page cache beside everything else


class DenseLabel:
    """One model's similarities in a file, one row an image.

    Attributes:
        said: what was measured, and what was scaled from a part.
    """

    def __init__(self, work: Path, hub: Hub, size: Any) -> None:
        self._path = work / "dense.f32"
        self._nodes = size.nodes
        self._truth = np.repeat(np.arange(size.nodes), size.per_node)
        rows, width = len(self._truth), 4 * size.nodes
        free = shutil.disk_usage(work).free + (self._path.stat().st_size if self._path.exists() else 0)
        self._rows = rows if free > 1.2 * rows * width else rows // 4
        # All of a label that fits in memory is read warm; of a larger one a part, scaled.
        fits = rows * width < 2**33
        self._warm_rows = min(self._rows, rows if fits else int(rows * IN_MEMORY))
        self._scale = rows / self._rows
        self._warm_scale = rows / self._warm_rows
        self.said = f"{self._rows:,} of {rows:,} rows written, {self._warm_rows:,} read warm; times scaled to all"
        if not self._path.exists() or self._path.stat().st_size != self._rows * width:
            self._write(hub)

    def _write(self, hub: Hub) -> None:
        images, captions = hub.features(0)
        nodes = captions.take(captions.ordinals).astype(np.float32).T
        with self._path.open("wb") as out:
            for start in range(0, self._rows, AT_ONCE):
                ordinals = images.ordinals[start : min(start + AT_ONCE, self._rows)]
                out.write(np.ascontiguousarray(images.take(ordinals).astype(np.float32) @ nodes).data)
            out.flush()
            os.fsync(out.fileno())

    def time(self, nodes: NDArray[np.int64]) -> dict[str, float]:
        """Return the seconds to count hits over V_sel, a whole model: loading cold and warm, scanning, V_sel alone."""
        self._forget()
        begin = time.perf_counter()
        self._load_and_count(nodes, self._rows)
        cold = (time.perf_counter() - begin) * self._scale
        self._load_and_count(nodes, self._warm_rows)
        warm = median(lambda: self._load_and_count(nodes, self._warm_rows), 3) * self._warm_scale
        scan = self._scan(nodes)
        inside = np.flatnonzero(np.isin(self._truth, nodes)[: self._rows])
        mapped = np.memmap(self._path, dtype=np.float32, mode="r", shape=(self._rows, self._nodes))
        table = np.stack([mapped[row, nodes] for row in inside])
        truth = np.searchsorted(nodes, self._truth[inside])
        scale = float(np.isin(self._truth, nodes).sum() / len(inside))
        ram = median(lambda: _count(table, truth, len(nodes)), 10) * scale
        return {"load, cold": cold, "load, warm": warm, "scan alone": scan, "V_sel in memory": ram}

    def _load_and_count(self, nodes: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
        """Read the label from its file, all of it, and count."""
        hits = np.zeros(len(nodes), dtype=np.int64)
        with self._path.open("rb") as file:
            for start in range(0, rows, AT_ONCE):
                count = min(AT_ONCE, rows - start)
                part = np.fromfile(file, dtype=np.float32, count=count * self._nodes).reshape(count, self._nodes)
                hits += self._count_selected(part, nodes, start)
        return hits

    def _scan(self, nodes: NDArray[np.int64]) -> float:
        """Count from arrays that are in memory already; one part of the label, looked at as often as the label has."""
        count = min(AT_ONCE, self._rows)
        part = np.fromfile(self._path, dtype=np.float32, count=count * self._nodes).reshape(count, self._nodes)
        seconds = median(lambda: self._count_selected(part, nodes, 0), 10)
        return seconds * len(self._truth) / count

    def _count_selected(self, part: NDArray[np.float32], nodes: NDArray[np.int64], start: int) -> NDArray[np.int64]:
        winner = nodes[part[:, nodes].argmax(axis=1)]
        truth = self._truth[start : start + len(part)]
        hit = np.searchsorted(nodes, truth[winner == truth])
        return np.bincount(hit, minlength=len(nodes))

    def _forget(self) -> None:
        """Drop the file from the page cache."""
        with self._path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def median(work: Callable[[], Any], repeats: int = 10) -> float:
    """Return the median seconds of some runs."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def _count(table: NDArray[np.float32], truth: NDArray[np.int64], nodes: int) -> NDArray[np.int64]:
    return np.bincount(truth[table.argmax(axis=1) == truth], minlength=nodes)
