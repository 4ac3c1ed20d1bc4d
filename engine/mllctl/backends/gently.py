"""A model that is handed things in smaller batches once memory ran out."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mllctl.backends.devices import is_out_of_memory, release_memory
from mllctl.backends.protocol import Float32, ModelCard, VisionLanguageModel
from mllctl.errors import ModelNotLoadable

if TYPE_CHECKING:
    from PIL import Image

Item = TypeVar("Item")
Say = Callable[[str], None]


class Gently:
    """A vision-language model that halves its batches, from there on, where memory does not suffice.

    Attributes:
        batch, text_batch: images and texts that are handed to the model at once, at most.
    """

    def __init__(self, model: VisionLanguageModel, batch: int, text_batch: int, say: Say | None = None) -> None:
        """Take a model.

        Args:
            model: the model itself.
            batch, text_batch: images and texts at once, at least 1.
            say: told once if batches had to be halved.
        """
        self.batch = batch
        self.text_batch = text_batch
        self._model = model
        self._image_limit, self._text_limit = batch, text_batch
        self._say = say

    @property
    def card(self) -> ModelCard:
        return self._model.card

    def encode_images(self, images: "Sequence[Image.Image]") -> Float32:
        """Return unit vectors, shape (i, d).

        Raises:
            ModelNotLoadable: if not even one image fits into memory.
        """
        vectors, self._image_limit = self._encode(self._model.encode_images, images, self._image_limit, "images")
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d).

        Raises:
            ModelNotLoadable: if not even one text fits into memory.
        """
        vectors, self._text_limit = self._encode(self._model.encode_texts, texts, self._text_limit, "captions")
        return vectors

    def _encode(
        self, encode: Callable[[Sequence[Item]], Float32], items: Sequence[Item], limit: int, what: str
    ) -> tuple[Float32, int]:
        """Encode at most `limit` at a time, and return with the embeddings the limit that held."""
        parts: list[Float32] = []
        done = 0
        while done < len(items):
            few = items[done : done + limit]
            vectors = _or_none(encode, few)
            if vectors is None:
                limit = self._halve(len(few), what)
                continue
            parts.append(vectors)
            done += len(few)
        return np.concatenate(parts) if parts else encode(items), limit

    def _halve(self, tried: int, what: str) -> int:
        """Return half of what was too much."""
        release_memory()
        if tried == 1:
            reason = "there is no memory for even one image; free some, or give --device cpu"
            raise ModelNotLoadable(self.card.name, reason)
        if self._say:
            self._say(f"{self.card.name}: no memory for {tried} {what} at once; going on with batches of half")
            self._say = None
        return tried // 2


def _or_none(encode: Callable[[Sequence[Item]], Float32], items: Sequence[Item]) -> Float32 | None:
    """Encode, or return None for lack of memory; the error goes, and with it the tensors its frames hold."""
    try:
        return encode(items)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
