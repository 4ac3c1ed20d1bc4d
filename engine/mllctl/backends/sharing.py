"""Work that several models share: what is made of one batch of images, and a frozen text tower on the same texts.

    with one_batch():
        for model in models:
            model.encode_images(images)

Only inside, and only for the very same image objects: a picture may be drawn on between two calls. Models with one
transform prepare a batch once, and those whose image towers have the same trunk, as the demo's, see it once.

    with same_texts():
        for model in models:
            model.encode_texts(texts)

Models whose towers have the same weights, as those of the demo, then differ by the last layer alone. What is shared is
what the tower makes of the same tokens in the same batch, so that no bit hangs on who came first.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Made = TypeVar("Made")

_TEXTS: ContextVar[dict[tuple[object, ...], object] | None] = ContextVar("_TEXTS", default=None)
_MADE: ContextVar[dict[tuple[object, ...], object] | None] = ContextVar("_MADE", default=None)


@contextmanager
def one_batch() -> Iterator[None]:
    """Share what is made of images until the end; they must not change meanwhile, nor go."""
    token = _MADE.set({})
    try:
        yield
    finally:
        _MADE.reset(token)


def shares_images() -> bool:
    """Return whether there is a batch to share images in."""
    return _MADE.get() is not None


def shared(key: tuple[object, ...], images: Sequence[object], make: Callable[[], Made]) -> Made:
    """Return what `make` makes of `images`, or made of them already in this batch under the same key."""
    made = _MADE.get()
    if made is None:
        return make()
    whole = (*key, *map(id, images))
    if whole not in made:
        made[whole] = make()
    return made[whole]  # type: ignore[return-value]


@contextmanager
def same_texts() -> Iterator[None]:
    """Share what equal text towers make of equal batches of tokens until the end; all of it is held in memory."""
    token = _TEXTS.set({})
    try:
        yield
    finally:
        _TEXTS.reset(token)


def shares_texts() -> bool:
    """Return whether there is anything to share texts in."""
    return _TEXTS.get() is not None


def shared_texts(key: tuple[object, ...], make: Callable[[], Made]) -> Made:
    """Return what `make` makes, or made already under the same key: weights of the tower and tokens."""
    made = _TEXTS.get()
    if made is None:
        return make()
    if key not in made:
        made[key] = make()
    return made[key]  # type: ignore[return-value]
