"""Embeddings of texts, kept in the user's cache: what was encoded once is not encoded again."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mllctl.backends.protocol import Encoder, Float32


def remembered(folder: Path, texts: Sequence[str], encode: Callable[[Sequence[str]], Float32]) -> Float32:
    """Return what `encode` makes of texts, from the cache if it is there.

    Args:
        folder: of what decides the embeddings besides the texts.
        texts: kept as a whole list, since a task is asked for again as a whole, and is one small file.
        encode: called if there is no such file.
    """
    path = folder / f"{hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()}.npy"
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    except FileNotFoundError:
        pass
    except (ValueError, EOFError):
        path.unlink(missing_ok=True)  # not whole; it is made again
    vectors = encode(texts)
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".")
    with os.fdopen(handle, "wb") as file:
        np.save(file, vectors, allow_pickle=False)
    Path(name).replace(path)
    return vectors


class RememberingEncoder:
    """A sentence encoder that keeps what it encoded."""

    def __init__(self, encoder: Encoder, cache: Path) -> None:
        self._encoder = encoder
        self._folder = cache / "texts" / encoder.fingerprint

    @property
    def name(self) -> str:
        return self._encoder.name

    @property
    def fingerprint(self) -> str:
        return self._encoder.fingerprint

    def encode(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d)."""
        return remembered(self._folder, texts, self._encoder.encode)
