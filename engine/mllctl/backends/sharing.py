"""Work on one batch of images that several models share: the same transform is applied once.

    with one_batch():
        for model in models:
            model.encode_images(images)

Only inside, and only for the very same image objects: a picture may be drawn on between two calls. Six models
with one transform, an EfficientNet-lite0 at 128 px each, take a fifth less (benchmarks/README.md).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Made = TypeVar("Made")

_MADE: ContextVar[dict[tuple[object, ...], object] | None] = ContextVar("_MADE", default=None)


@contextmanager
def one_batch() -> Iterator[None]:
    """Share what is made of images until the end; they must not change meanwhile, nor go."""
    token = _MADE.set({})
    try:
        yield
    finally:
        _MADE.reset(token)


def shared(key: tuple[object, ...], images: Sequence[object], make: Callable[[], Made]) -> Made:
    """Return what `make` makes of `images`, or made of them already in this batch under the same key."""
    made = _MADE.get()
    if made is None:
        return make()
    whole = (*key, *map(id, images))
    if whole not in made:
        made[whole] = make()
    return made[whole]  # type: ignore[return-value]
