"""Pictures ready before the model asks for them: decoded by threads, handed over in order.

    uris ── worker ─┐
    uris ── worker ─┴─ ready, at most ROOM bytes ── batches of the given size ── the model

A batch holds the same images whatever the number of workers, since a batch decides the last bits of an embedding.
Threads, not processes: Pillow lets go of the interpreter while it decodes, and processes would have to start and to
copy every picture (600 files of 160 to 560 px on two busy cores: 4.8 s by one thread, 3.2 s by two, 7 to 9 s by two
processes).
Nothing here knows of a model or a hub.
"""

import threading
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from PIL import Image

from mllctl.images.pixels import Unusable, decode, reason_of
from mllctl.images.records import Skipped
from mllctl.images.uris import read_bytes

Result = TypeVar("Result")

WORKERS = 2
ROOM = 256 << 20  # bytes of pictures that wait for the model, beside the batch that it sees

Picture = Image.Image | Skipped
Batches = Generator[list[Picture], None, None]


def picture_batches(uris: Sequence[str], size: int, workers: int = WORKERS, room: int = ROOM) -> Batches:
    """Yield pictures in the order of their uris, `size` at a time; those that cannot be read as `Skipped`.

    Workers end when the iterator does, however it does: close it (`contextlib.closing`) to be sure of when.

    Args:
        uris: of the images.
        size: images a batch, at least 1; the last may have fewer.
        workers: threads that decode ahead; 0 decodes when a batch is asked for.
        room: bytes of decoded pictures beyond which no worker begins another one.

    Raises:
        ValueError: if `size` is below 1 or `workers` below 0.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    return _decoded_here(uris, size) if workers == 0 else _decoded_ahead(uris, size, workers, room)


def _decoded_here(uris: Sequence[str], size: int) -> Batches:
    for start in range(0, len(uris), size):
        yield [_decode(uri) for uri in uris[start : start + size]]


def _decoded_ahead(uris: Sequence[str], size: int, workers: int, room: int) -> Batches:
    queue = _Ahead(uris, room)
    threads = [threading.Thread(target=queue.work, name=f"mllctl-decode-{n}", daemon=True) for n in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for start in range(0, len(uris), size):
            yield [queue.take(n) for n in range(start, min(start + size, len(uris)))]
    finally:
        queue.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


class _Ahead:
    """What workers have decoded and the model has not asked for yet.

    Workers begin pictures in order, and taking one makes room. If the next one to be taken was not begun yet, all that
    were have been taken, so that there is room: nobody waits for ever.
    """

    def __init__(self, uris: Sequence[str], room: int) -> None:
        self._uris = uris
        self._room = room
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._next = 0
        self._ready: dict[int, Picture | BaseException] = {}
        self._held = 0
        self._stopped = False

    def work(self) -> None:
        """Decode until there is nothing left to begin, or `stop`."""
        while (begun := self._begin()) is not None:
            n, content = begun
            done = content if isinstance(content, BaseException) else _caught(_decode, self._uris[n], content)
            with self._changed:
                self._ready[n] = done
                self._held += _weight(done)
                self._changed.notify_all()

    def take(self, n: int) -> Picture:
        """Wait for picture `n` and let go of it; what went wrong with it is raised here."""
        with self._changed:
            self._changed.wait_for(lambda: n in self._ready)
            done = self._ready.pop(n)
            self._held -= _weight(done)
            self._changed.notify_all()
        if isinstance(done, BaseException):
            raise done
        return done

    def stop(self) -> None:
        """Let workers end with the picture they are at."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _begin(self) -> tuple[int, bytes | Skipped | BaseException | None] | None:
        """Return the next picture's number, with its encoded bytes if it lies in a pack or archive; None at the end.

        Those have one reader, which is quick in order only, for all threads; files are read by each on its own.
        """
        with self._turn:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._held < self._room)
                if self._stopped or self._next == len(self._uris):
                    return None
                n = self._next
                self._next += 1
            uri = self._uris[n]
            return n, (_caught(_read, uri) if "#" in uri else None)


def _decode(uri: str, content: bytes | Skipped | None = None) -> Picture:
    """Return the pixels of encoded bytes that were read already, else of what is behind the uri."""
    if content is None:
        content = _read(uri)
    if isinstance(content, Skipped):
        return content
    try:
        return decode(content)
    except Unusable as error:
        return Skipped(uri, error.reason)


def _read(uri: str) -> bytes | Skipped:
    try:
        return read_bytes(uri)
    except OSError as error:
        return Skipped(uri, reason_of(error))


def _caught(function: Callable[..., Result], *args: object) -> Result | BaseException:
    """Call; what is raised in a worker belongs to the thread that asked."""
    try:
        return function(*args)
    except BaseException as error:  # noqa: BLE001
        return error


def _weight(done: Picture | BaseException) -> int:
    return 3 * done.width * done.height if isinstance(done, Image.Image) else 0
