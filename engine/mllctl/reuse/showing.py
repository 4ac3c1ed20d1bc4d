"""Show images to models of a hub, once: embeddings are kept in the user's cache, by model and picture.

    uris ── SHA-256 ── CACHE/shown/MODEL/SHA-256.npy ─────────────┐
                  └─ images.feeding ── the model, if it must be ──┴─ show_images ── vectors, model by model

A model is loaded when something is asked of it that the cache does not hold, and let go before the next.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mllctl.backends import load_model
from mllctl.backends.devices import choose_device, release_memory
from mllctl.backends.gently import Gently, Say
from mllctl.backends.protocol import Float32, ModelCard, VisionLanguageModel
from mllctl.errors import ModelNotLoadable
from mllctl.hub import StoredModel
from mllctl.images import Skipped, read_bytes
from mllctl.images.feeding import WORKERS, picture_batches
from mllctl.images.pixels import reason_of
from mllctl.kernels.arrays import Float
from mllctl.reuse.ensemble import Loader, load_same
from mllctl.reuse.saved import SavedModel

if TYPE_CHECKING:
    from PIL import Image

Progress = Callable[[str, int, int], None]  # (model, images done, images in all)


@dataclass(frozen=True)
class Showing:
    """How images are shown.

    Attributes:
        device: where torch runs models, as `choose_device` has it; asked for when one is loaded.
        batch: images handed to a model at once.
        workers: threads that decode images ahead of the model.
        cache: folder in which embeddings are kept; None to keep none.
        load: makes a model from its source, on a device.
        say: told if a batch had to be halved for lack of memory.
        progress: called after each batch of images.
    """

    device: str = "cpu"
    batch: int = 64
    workers: int = WORKERS
    cache: Path | None = None
    load: Loader = load_model
    say: Say | None = None
    progress: Progress | None = None


class LazyModel:
    """A model that is loaded when it is first asked to encode something."""

    def __init__(self, stored: StoredModel, showing: Showing) -> None:
        self._stored = stored
        self._showing = showing

    @property
    def card(self) -> ModelCard:
        """What the hub knows of it; the model that is loaded is checked against it."""
        return self._stored.card

    @cached_property
    def _model(self) -> VisionLanguageModel:
        how = self._showing
        model = load_same(SavedModel.of(self.card), how.load, choose_device(how.device))
        return Gently(model, how.batch, how.batch, how.say)

    def encode_images(self, images: "Sequence[Image.Image]") -> Float32:
        """Return unit vectors, shape (i, d)."""
        return self._model.encode_images(images)

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d)."""
        return self._model.encode_texts(texts)


def show_images(
    models: Sequence[StoredModel], uris: Sequence[str], showing: Showing
) -> Iterator[tuple[LazyModel, Float, dict[int, str]]]:
    """Yield (model, its vectors of all images, why some have none by their place), model by model.

    A vector of an image that cannot be read is nan. The model is let go when the next one is asked for.

    Raises:
        ModelNotLoadable: if a model cannot be loaded, is not the one that was labelled, or gives no numbers.
    """
    content, unread = _hashes(uris)
    for stored in models:
        model = LazyModel(stored, showing)
        folder = showing.cache / "shown" / stored.card.identity if showing.cache else None
        held = {sha: vector for sha in set(content.values()) if (vector := _read(folder, sha)) is not None}
        lacking = [n for n, sha in content.items() if sha not in held]
        fresh, undecoded = _encoded(model, [uris[n] for n in lacking], showing)
        for n, vector in fresh.items():
            held[content[lacking[n]]] = vector
            _write(folder, content[lacking[n]], vector)
        vectors = np.full((len(uris), stored.card.embedding_width), np.nan)
        for n, sha in content.items():
            if sha in held:
                vectors[n] = held[sha]
        yield model, vectors, {**unread, **{lacking[n]: reason for n, reason in undecoded.items()}}
        del model
        release_memory()


def _hashes(uris: Sequence[str]) -> tuple[dict[int, str], dict[int, str]]:
    """Return SHA-256 of images by their place, and why some have none."""
    content, unread = {}, {}
    for n, uri in enumerate(uris):
        try:
            content[n] = hashlib.sha256(read_bytes(uri)).hexdigest()
        except OSError as error:
            unread[n] = reason_of(error)
    return content, unread


def _encoded(model: LazyModel, uris: Sequence[str], showing: Showing) -> tuple[dict[int, Float32], dict[int, str]]:
    """Return vectors of images by their place, and why some have none."""
    vectors: dict[int, Float32] = {}
    reasons: dict[int, str] = {}
    with closing(picture_batches(uris, showing.batch, showing.workers)) as batches:
        done = 0
        for pictures in batches:
            seen = {done + n: picture for n, picture in enumerate(pictures) if not isinstance(picture, Skipped)}
            reasons |= {done + n: picture.reason for n, picture in enumerate(pictures) if isinstance(picture, Skipped)}
            if seen:
                rows = model.encode_images(list(seen.values()))
                if not np.isfinite(rows).all():
                    reason = "it gives embeddings that are not numbers; its weights are damaged"
                    raise ModelNotLoadable(model.card.name, reason)
                vectors |= dict(zip(seen, rows, strict=True))
            done += len(pictures)
            if showing.progress:
                showing.progress(model.card.name, done, len(uris))
    return vectors, reasons


def _read(folder: Path | None, sha: str) -> Float32 | None:
    if folder is None:
        return None
    path = folder / f"{sha}.npy"
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError):
        path.unlink(missing_ok=True)  # not whole; it is made again
        return None


def _write(folder: Path | None, sha: str, vector: Float32) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".")
    with os.fdopen(handle, "wb") as file:
        np.save(file, vector, allow_pickle=False)
    Path(name).replace(folder / f"{sha}.npy")
