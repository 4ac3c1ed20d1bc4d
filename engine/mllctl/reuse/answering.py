"""Answer any number of images with a saved selection, in memory that does not grow with them.

    rows ── images.arrow ── images.feeding ── member ── answers-000 ─┐
                                          └── member ── answers-001 ─┴─ parts ── confidences, in order

Each model is shown each image once. Models that fit into memory together are shown a batch one after the other, so
that it is decoded once; the rest wait for the next pass. What a model answered is put down every few batches in a
folder of work, P(c | x) of every class: combining is a matter of seconds and can wait until all have answered. The same
call goes on from there after an interruption.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, overload

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from mllctl.backends import load_expert, load_model
from mllctl.backends.devices import release_memory
from mllctl.backends.gently import Gently, Say
from mllctl.backends.sharing import one_batch
from mllctl.errors import SourceUnreadable
from mllctl.files import write_whole
from mllctl.images import Row, Skipped
from mllctl.images.feeding import WORKERS, Picture, picture_batches
from mllctl.kernels.arrays import Float, Int
from mllctl.reuse.ensemble import Loader, Member, class_probability, load_member
from mllctl.reuse.experts import ExpertLoader, ExpertMember, combined, expert_answers, load_expert_member
from mllctl.reuse.saved import SavedExpert, SavedModel, SavedSelection
from mllctl.reuse.truth import TruthFinder

Progress = Callable[[str, int, int], None]  # (model or models, images done, images in all)

BATCH = 64
BATCHES_PER_PART = 16  # answers are put down every 1,024 images; at most that many are lost
LISTED_AT_ONCE = 4096  # images
COMBINED_AT_ONCE = 1 << 25  # bytes of P(c | x) of all models, as float64
BYTES_PER_WEIGHT = 4

_SCHEMA = pa.schema([("uri", pa.string()), ("name", pa.string()), ("truth", pa.int32())])


@dataclass(frozen=True)
class Manner:
    """How images are shown.

    Attributes:
        device: where torch runs models.
        batch: images handed to a model at once.
        workers: threads that decode images ahead of the models.
        memory: bytes that models loaded together may take; one is loaded in any case. None for one at a time.
        cache: folder in which embeddings of prompts are kept; None to encode them each time.
        load, load_expert: make a model, and an expert, from its source, on a device.
        say: told if a batch had to be halved for lack of memory.
    """

    device: str = "cpu"
    batch: int = BATCH
    workers: int = WORKERS
    memory: float | None = None
    cache: Path | None = None
    load: Loader = load_model
    load_expert: ExpertLoader = load_expert
    say: Say | None = None


@dataclass(frozen=True)
class Part:
    """Some images that could be read, in their order, and what was answered.

    Attributes:
        names: of the images, as the user named them.
        truth: class of each, -1 if it is none of them or not known, shape (i,).
        probability: P(c | x) of each model, shape (m, i, c).
        confidence: of the ensemble, shape (i, c), in [0, 1].
    """

    names: tuple[str, ...]
    truth: Int
    probability: Float
    confidence: Float


class Answering:
    """Work on the answer for a list of images, in a folder of its own; a context manager that holds it.

    Attributes:
        saved: the selection that answers.
        count: images that were listed.
        known: images whose true class is known.
        unknown: words for a truth that is none of the classes, with how many images have it.
        done: answers that an interrupted run had put down already, over all models.
    """

    def __init__(self, folder: Path, saved: SavedSelection, rows: Iterable[Row | Skipped]) -> None:
        """List the images, and take up what was done for the very same ones with the same selection.

        Args:
            folder: where work waits; made if it is not there.
            saved: the selection that answers.
            rows: the images, as `images.list_images` gives them.

        Raises:
            SourceUnreadable: if another process works in this folder, or a source cannot be used.
        """
        self.saved = saved
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / "lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise SourceUnreadable(folder, "another process works on this; wait for it") from error
        try:
            finder = TruthFinder(saved.classes)
            self._unlisted = self._begin(rows, finder)
            self.unknown, self.known = finder.unknown, finder.known
            self._images = _Images(folder / "images.arrow")
            self.count = len(self._images)
            widths = [len(saved.classes)] * len(saved.models) + [len(saved.classes) + 1] * len(saved.experts)
            self._kept = [_Kept(folder, n, width) for n, width in enumerate(widths)]
            self.done = sum(kept.done for kept in self._kept)
        except BaseException:
            self.abandon()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; what is in it stays."""
        (self._folder / "lock").unlink(missing_ok=True)
        self._lock.release()

    def ask(self, manner: Manner, progress: Progress | None = None) -> None:
        """Show every model every image that it has not answered yet.

        Raises:
            ModelNotLoadable: if a model cannot be loaded, or is not the one that was labelled.
        """
        open_ = [n for n, kept in enumerate(self._kept) if kept.done < self.count]
        all_: tuple[SavedModel | SavedExpert, ...] = (*self.saved.models, *self.saved.experts)
        groups = _passes([all_[n] for n in open_], manner.memory)
        for number, group in enumerate(groups, start=1):
            ordinals = [open_[n] for n in group]
            names = [all_[n].name for n in ordinals]
            told = names[0] if len(names) == 1 else f"{len(names)} models"
            place = f"{number}/{len(groups)} {told}" if len(groups) > 1 else told
            members = [self._load(all_[n], manner) for n in ordinals]
            self._pass(members, [self._kept[n] for n in ordinals], manner, place, progress)
            del members
            release_memory()

    def _load(self, model: SavedModel | SavedExpert, manner: Manner) -> Member | ExpertMember:
        if isinstance(model, SavedExpert):
            return load_expert_member(model, len(self.saved.classes), manner.load_expert, manner.device)
        member = load_member(model, self.saved.prompts, manner.load, manner.device, manner.cache)
        return replace(member, model=Gently(member.model, manner.batch, manner.batch, manner.say))

    def _pass(
        self,
        members: Sequence[Member | ExpertMember],
        kept: Sequence["_Kept"],
        manner: Manner,
        told: str,
        progress: Progress | None,
    ) -> None:
        """Show some loaded models the images that one of them has not answered."""
        start = min(one.done for one in kept)
        uris = self._images.uris(start)
        if progress:
            progress(told, start, self.count)
        done = start
        with closing(picture_batches(uris, manner.batch, manner.workers)) as batches:
            for number, pictures in enumerate(batches, start=1):
                with one_batch():
                    for member, one in zip(members, kept, strict=True):
                        one.add(done, _answered(member, pictures, one.width), pictures)
                done += len(pictures)
                if progress:
                    progress(told, done, self.count)
                if number % BATCHES_PER_PART == 0 or done == self.count:
                    for one in kept:
                        one.put_down(done)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was listed but cannot be used, then images that a model could not be shown; by their order."""
        unread = {row: reason for kept in reversed(self._kept) for row, reason in kept.unread().items()}
        names = self._images.names(sorted(unread))
        return (*self._unlisted, *(Skipped(name, unread[row]) for name, row in zip(names, sorted(unread), strict=True)))

    def parts(self) -> Iterator[Part]:
        """Yield the answers once every model has given its own, some images at a time, in their order."""
        models, classes = len(self.saved.models), len(self.saved.classes)
        unread = {row for kept in self._kept for row in kept.unread()}
        size = max(1, COMBINED_AT_ONCE // (8 * len(self._kept) * classes))
        for start in range(0, self.count, size):
            rows = range(start, min(start + size, self.count))
            read = np.array([n for n, row in enumerate(rows) if row not in unread], dtype=np.int64)
            if not len(read):
                continue
            answers = [kept.answers(rows)[read] for kept in self._kept]
            probability = np.array(answers[:models]).reshape(models, len(read), classes)
            said = np.array(answers[models:])
            saved = self.saved
            confidence = combined(probability, saved.members, saved.weighting, said, saved.expert_members)
            names = self._images.names([rows[n] for n in read.tolist()])
            yield Part(names, self._images.truth(rows)[read], probability, confidence)

    def clear(self) -> None:
        """Remove the folder: the answers are where they belong."""
        shutil.rmtree(self._folder)

    def abandon(self) -> None:
        """Let go of the folder, and leave nothing behind if no model has answered yet."""
        if not any(self._folder.glob("answers-*")):
            self.clear()
        self.close()

    def _begin(self, rows: Iterable[Row | Skipped], finder: TruthFinder) -> tuple[Skipped, ...]:
        """List the images, and begin anew unless the work that waits is for just these."""
        listed = self._folder / "images.unfinished"
        unlisted = _write_list(listed, rows, finder)
        with listed.open("rb") as content:
            images = hashlib.file_digest(content, "sha256").hexdigest()
        key = hashlib.sha256(f"{self.saved.identity}\n{images}".encode()).hexdigest()
        begun = self._folder / "begun"
        with suppress(FileNotFoundError):
            if begun.read_text() == key:
                listed.unlink()
                return unlisted
        for old in self._folder.iterdir():
            if old.name not in (listed.name, "lock"):
                old.unlink()
        listed.replace(self._folder / "images.arrow")
        write_whole(begun, key)
        return unlisted


def _write_list(path: Path, rows: Iterable[Row | Skipped], finder: TruthFinder) -> tuple[Skipped, ...]:
    """Write what is listed, some rows at a time, and return what cannot be used."""
    unlisted: list[Skipped] = []
    few: list[tuple[str, str, int]] = []
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, _SCHEMA) as writer:

        def put_down() -> None:
            columns = zip(*few, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
            few.clear()

        for row in rows:
            if isinstance(row, Skipped):
                unlisted.append(row)
                continue
            few.append((row.uri, row.name, finder.find(row.word)))
            if len(few) == LISTED_AT_ONCE:
                put_down()
        if few:
            put_down()
    return tuple(unlisted)


class _Images:
    """What was listed, mapped: texts are made of it one by one."""

    def __init__(self, path: Path) -> None:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self._batches = [reader.get_batch(n) for n in range(reader.num_record_batches)]

    def __len__(self) -> int:
        return sum(len(batch) for batch in self._batches)

    def uris(self, start: int) -> "_Uris":
        """Return the uris of all images from `start` on."""
        return _Uris(self._batches, start, len(self))

    def names(self, rows: Iterable[int]) -> tuple[str, ...]:
        """Return the names of some images."""
        return tuple(_cell(self._batches, "name", row) for row in rows)

    def truth(self, rows: range) -> Int:
        """Return the class of some images, -1 where there is none, shape (i,)."""
        of_batches = [batch.column("truth").to_numpy() for batch in self._touched(rows)]
        first = rows.start % LISTED_AT_ONCE
        return np.concatenate(of_batches)[first : first + len(rows)].astype(np.int64)

    def _touched(self, rows: range) -> list[pa.RecordBatch]:
        return self._batches[rows.start // LISTED_AT_ONCE : (rows.stop - 1) // LISTED_AT_ONCE + 1]


class _Uris(Sequence[str]):
    """Uris from some row on; every batch but the last has `LISTED_AT_ONCE` of them."""

    def __init__(self, batches: Sequence[pa.RecordBatch], start: int, stop: int) -> None:
        self._batches = batches
        self._rows = range(start, stop)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, n: int) -> str: ...

    @overload
    def __getitem__(self, n: slice) -> Sequence[str]: ...

    def __getitem__(self, n: int | slice) -> str | Sequence[str]:
        if isinstance(n, slice):
            return [_cell(self._batches, "uri", row) for row in self._rows[n]]
        return _cell(self._batches, "uri", self._rows[n])


def _cell(batches: Sequence[pa.RecordBatch], column: str, row: int) -> str:
    text: str = batches[row // LISTED_AT_ONCE].column(column)[row % LISTED_AT_ONCE].as_py()
    return text


class _Kept:
    """What one model has answered so far, row by row, and why some images have none.

    P(c | x) of a model; of an expert what it says for each class, and how certain it is of the image.

    A count says how many rows are whole; it is written after they are. Rows beyond it are written again.
    """

    def __init__(self, folder: Path, number: int, width: int) -> None:
        self._answers = folder / f"answers-{number:03d}"
        self._reasons = folder / f"unread-{number:03d}.jsonl"
        self._count = folder / f"done-{number:03d}"
        self.width = width
        self._waiting: list[tuple[int, Float]] = []
        self._unread: dict[int, str] = {}
        self.done = 0
        with suppress(FileNotFoundError):
            self.done = int(self._count.read_text())
        with suppress(FileNotFoundError):
            self._unread = {row: reason for row, reason in _whole_lines(self._reasons) if row < self.done}
        self._fresh: dict[int, str] = {}

    def add(self, start: int, answers: Float, pictures: Sequence[Picture]) -> None:
        """Take the answers to a batch that begins at row `start`, shape (i, c)."""
        self._waiting.append((start, answers))
        self._fresh |= {start + n: p.reason for n, p in enumerate(pictures) if isinstance(p, Skipped)}

    def put_down(self, done: int) -> None:
        """Write what was taken; `done` rows are whole then."""
        with os.fdopen(os.open(self._answers, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as out:
            for start, answers in self._waiting:
                out.seek(start * self.width * 4)
                out.write(answers.astype(np.float32).tobytes())
            out.flush()
            os.fsync(out.fileno())
        if self._fresh:
            with self._reasons.open("a", encoding="utf-8") as lines:
                lines.writelines(json.dumps([row, reason]) + "\n" for row, reason in self._fresh.items())
                lines.flush()
                os.fsync(lines.fileno())
        self._unread |= self._fresh
        self._waiting, self._fresh = [], {}
        if done > self.done:
            write_whole(self._count, str(done))
            self.done = done

    def unread(self) -> dict[int, str]:
        """Return why some images have no answer, by row."""
        return self._unread

    def answers(self, rows: range) -> Float:
        """Return what was kept of some images, shape (i, width)."""
        count = len(rows) * self.width
        found = np.fromfile(self._answers, np.float32, count, offset=rows.start * self.width * 4)
        return found.reshape(len(rows), self.width).astype(np.float64)


def _whole_lines(path: Path) -> list[tuple[int, str]]:
    """Read lines of JSON, and cut off a last one that a killed process has not ended."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        os.truncate(path, end)
    return [tuple(json.loads(line)) for line in content[:end].splitlines()]


def _answered(member: Member | ExpertMember, pictures: Sequence[Picture], width: int) -> Float:
    """Return what is kept of a batch, shape (i, width); nothing but nan for what could not be read."""
    answers = np.full((len(pictures), width), np.nan)
    read = [n for n, picture in enumerate(pictures) if not isinstance(picture, Skipped)]
    if read:
        seen = [picture for picture in pictures if not isinstance(picture, Skipped)]
        ask = expert_answers(member, seen) if isinstance(member, ExpertMember) else class_probability(member, seen)
        answers[read] = ask
    return answers


def _passes(models: Sequence[SavedModel | SavedExpert], memory: float | None) -> list[list[int]]:
    """Group models that are loaded together, in their order: as many as fit, and one in any case."""
    groups: list[list[int]] = []
    taken = 0.0
    for n, model in enumerate(models):
        need = BYTES_PER_WEIGHT * model.parameters
        if groups and memory is not None and taken + need <= memory:
            groups[-1].append(n)
            taken += need
        else:
            groups.append([n])
            taken = need
    return groups
