"""Write answers, an image a row, in their order: CSV, JSON lines or Parquet, by the ending of the file's name.

    path         the image, as the user named it
    class        the class with the highest confidence; ties go to the first
    confidence   that confidence, in [0, 1]
    entropy      of the confidences, scaled to sum to 1, in nats: 0 if only one class has any
    top          the best classes with their confidences, best first; in CSV columns class_2, confidence_2 and so on
    models       those that spoke for the class, best first
    truth        what the image truly shows, where that was asked for; empty if it is none of the classes

Confidences of an image need not sum to 1, since classes have models of their own.
"""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from mllctl.errors import SourceUnreadable
from mllctl.kernels.ensemble import entropy
from mllctl.reuse.answering import Part
from mllctl.reuse.saved import SavedSelection
from mllctl.reuse.styles import best_classes

TOP = 5
DIGITS = 7  # after the point; a model's answer is no more exact
Record = dict[str, Any]


def answer_records(saved: SavedSelection, part: Part, top: int = TOP, truth: bool = False) -> list[Record]:
    """Return the answers to some images, with the keys above.

    Args:
        saved: the selection that answered.
        part: what it answered.
        top: how many classes an image, at least 1.
        truth: whether to say what an image truly shows.
    """
    best = best_classes(part.confidence, top).tolist()
    told = part.confidence.round(DIGITS).tolist()
    disorder = entropy(_scaled(part.confidence)).round(DIGITS).tolist()
    spoke = _voices(saved)
    records = []
    for n, name in enumerate(part.names):
        few = [{"class": saved.classes[c], "confidence": told[n][c]} for c in best[n]]
        record: Record = {"path": name, **few[0], "entropy": disorder[n], "top": few, "models": spoke[best[n][0]]}
        if truth:
            record["truth"] = saved.classes[part.truth[n]] if part.truth[n] >= 0 else None
        records.append(record)
    return records


def _voices(saved: SavedSelection) -> list[list[str]]:
    """Return who answers for each class: experts where there are any, else models."""
    spoke = [[saved.models[m].name for m in row if m >= 0] for row in saved.members.tolist()]
    for c in np.flatnonzero(saved.served).tolist():
        spoke[c] = [saved.experts[m].name for m in saved.expert_members[c].tolist() if m >= 0]
    return spoke


def _scaled(confidence: Any) -> Any:
    total = confidence.sum(axis=1, keepdims=True)
    return np.divide(confidence, total, out=np.zeros(confidence.shape), where=total > 0)


class AnswerWriter(Protocol):
    """A file that answers are written to; a context manager that closes it."""

    def write(self, records: Sequence[Record]) -> None:
        """Append answers."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def check_ending(path: Path) -> str:
    """Return the ending that says how a file of answers is written.

    Raises:
        SourceUnreadable: if it says nothing.
    """
    ending = path.suffix.lower()
    if ending not in _WRITERS:
        raise SourceUnreadable(path, f"its ending must say how to write it: {', '.join(_WRITERS)}")
    return ending


def open_writer(path: Path, ending: str, top: int = TOP, truth: bool = False) -> AnswerWriter:
    """Open a new file for answers.

    Args:
        path: of the file; its own ending does not count.
        ending: `.csv`, `.jsonl` or `.parquet`.
        top: classes an image, at least 1; no more than there are.
        truth: whether records say what an image truly shows.
    """
    return _WRITERS[ending](path, top, truth)


class _TextWriter:
    """What CSV and JSON lines share."""

    def __init__(self, path: Path, top: int, truth: bool) -> None:
        self._out = path.open("w", encoding="utf-8", newline="")
        self._top = top
        self._truth = truth

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()


class _CsvWriter(_TextWriter):
    def __init__(self, path: Path, top: int, truth: bool) -> None:
        super().__init__(path, top, truth)
        further = [f"{what}_{n}" for n in range(2, top + 1) for what in ("class", "confidence")]
        self._rows = csv.writer(self._out)
        own = ["truth"] if truth else []
        self._rows.writerow(["path", "class", "confidence", "entropy", *further, "models", *own])

    def write(self, records: Sequence[Record]) -> None:
        """Append answers."""
        for record in records:
            further = [value for few in record["top"][1:] for value in few.values()]
            own = [record["truth"]] if self._truth else []
            plain = [record[key] for key in ("path", "class", "confidence", "entropy")]
            self._rows.writerow([*plain, *further, "; ".join(record["models"]), *own])


class _JsonWriter(_TextWriter):
    def write(self, records: Sequence[Record]) -> None:
        """Append answers."""
        self._out.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


class _ParquetWriter:
    def __init__(self, path: Path, top: int, truth: bool) -> None:  # noqa: ARG002 - as the others
        import pyarrow as pa
        import pyarrow.parquet as parquet

        one = pa.struct([("class", pa.string()), ("confidence", pa.float64())])
        fields = [("path", pa.string()), ("class", pa.string()), ("confidence", pa.float64())]
        fields += [("entropy", pa.float64()), ("top", pa.list_(one)), ("models", pa.list_(pa.string()))]
        self._schema = pa.schema([*fields, *([("truth", pa.string())] if truth else [])])
        self._writer = parquet.ParquetWriter(path, self._schema)

    def write(self, records: Sequence[Record]) -> None:
        """Append answers."""
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(list(records), schema=self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


_WRITERS: dict[str, Callable[[Path, int, bool], AnswerWriter]] = {
    ".csv": _CsvWriter,
    ".jsonl": _JsonWriter,
    ".parquet": _ParquetWriter,
}
