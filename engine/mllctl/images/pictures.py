"""Pictures from whatever a caller has in memory or on disk: Pillow images, arrays, tensors, paths."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mllctl.images.pixels import Unusable, as_rgb, open_image

Viewable = Any  # PIL.Image.Image | str | Path | NumPy array | torch tensor


def as_pictures(images: "Viewable | Iterable[Viewable]") -> Iterator[Image.Image]:
    """Return RGB pictures one by one; of one image, or of many: a list, an iterator, or a batch array or tensor.

    Raises:
        SourceUnreadable: if a path has no image behind it.
        ValueError: if an array is none of a picture.
    """
    if is_one(images):
        yield as_picture(images)
        return
    for image in images:
        yield as_picture(image)


def is_one(images: "Viewable | Iterable[Viewable]") -> bool:
    """Say whether this is one image rather than many."""
    return isinstance(images, str | Path | Image.Image) or getattr(images, "ndim", 4) < 4


def as_picture(image: Viewable) -> Image.Image:
    """Return an RGB picture.

    Args:
        image: a Pillow image; a path; an array of shape (height, width), (height, width, 3) or (height, width, 4); or
            a tensor of shape (3, height, width), as torchvision has them. Arrays and tensors hold bytes, or floats in
            [0, 1] that are not normalised.

    Raises:
        SourceUnreadable: if a path has no image behind it.
        ValueError: if an array has another shape or other values.
    """
    if isinstance(image, Image.Image):
        return _rgb(image)
    if isinstance(image, str | Path):
        return open_image(str(image))
    if hasattr(image, "detach"):  # a tensor, without importing torch to see
        return _from_array(_channels_last(image.detach().cpu().float().numpy() if _is_half(image) else _numbers(image)))
    return _from_array(np.asarray(image))


def _is_half(tensor: Any) -> bool:
    """Say whether NumPy may not know its type."""
    return str(tensor.dtype) in ("torch.bfloat16", "torch.float16")


def _numbers(tensor: Any) -> np.ndarray[Any, Any]:
    return np.asarray(tensor.detach().cpu().numpy())


def _channels_last(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
        return array[..., 0] if array.shape[2] == 1 else array
    if array.ndim == 2:
        return array
    raise ValueError(f"a tensor of a picture has shape (3, height, width), got {array.shape}")


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        raise ValueError(f"an array of a picture has shape (height, width) or (height, width, 3), got {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # so that what is no number is refused, too
            raise ValueError("an array of floats must be in [0, 1]; do not normalise it, the models do")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ValueError(f"an array of a picture holds bytes or floats in [0, 1], got {array.dtype}")
    return _rgb(Image.fromarray(np.ascontiguousarray(array)))


def _rgb(image: Image.Image) -> Image.Image:
    try:
        return as_rgb(image)
    except Unusable as error:
        raise ValueError(f"a picture that no model can be shown: {error.reason}") from error
