"""Boxes in images as numbers that do not depend on the image's size, and in words.

    boxes in pixels + sizes ── normalised_boxes ── (n, 4) in [0, 1] ──┬── box_texts ── `dog at the top left, small`
                                                                      └── the coordinates, as they are

A sentence encoder reads words better than numbers, and words tell a place no closer than by a third of the image:
F-labels take both (`f_labels`).
"""

from collections.abc import Sequence

import numpy as np

from mllctl.kernels.arrays import AnyArray, Float, Int

# By thirds of the image, as its centre lies: down, then across.
_PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("at the left", "in the middle", "at the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)
_SIZES = ("small", "medium-sized", "large")  # by thirds of the side of a square of its area


def normalised_boxes(boxes: AnyArray, sizes: AnyArray | None = None) -> Float:
    """Divide the corners of boxes by the sizes of their images.

    Args:
        boxes: left, top, right and bottom, in pixels of images of `sizes`, else in [0, 1], shape (n, 4).
        sizes: width and height of each image, above 0, shape (n, 2).

    Returns:
        shape (n, 4), in [0, 1].

    Raises:
        ValueError: on other shapes, or a box that has no area or leaves its image, naming its row.
    """
    corners = _numbers("boxes", boxes, 4)
    if sizes is not None:
        sides = _numbers("sizes", sizes, 2)
        if len(sides) != len(corners) or (sides <= 0).any():
            raise ValueError(f"sizes must be a width and a height above 0, one row a box, {len(corners)}")
        corners = corners / np.tile(sides, 2)
    flat = (corners[:, :2] >= corners[:, 2:]).any(axis=1)
    if flat.any():
        row = int(flat.argmax())
        raise ValueError(f"boxes must be left, top, right, bottom with left < right and top < bottom; row {row} is not")
    outside = ((corners < 0) | (corners > 1)).any(axis=1)
    if outside.any():
        cure = "" if sizes is not None else "; where they are pixels give sizes (n, 2), width and height"
        raise ValueError(f"boxes must lie inside their images, in [0, 1]; row {int(outside.argmax())} does not{cure}")
    return corners


def box_texts(things: Sequence[str], boxes: Float) -> tuple[str, ...]:
    """Say what is in each box, where it is and how large, such as `dog at the top left, small`.

    Args:
        things: what is in each, n.
        boxes: as `normalised_boxes` returns them, shape (n, 4).
    """
    across, down = _third((boxes[:, 0] + boxes[:, 2]) / 2), _third((boxes[:, 1] + boxes[:, 3]) / 2)
    size = _third(np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))
    return tuple(f"{thing} {_PLACES[down[n]][across[n]]}, {_SIZES[size[n]]}" for n, thing in enumerate(things))


def _third(share: Float) -> Int:
    """Return which third of [0, 1] each number is in, its lower end included."""
    return np.minimum(share * 3, 2).astype(np.int64)


def _numbers(name: str, values: AnyArray, width: int) -> Float:
    if values.ndim != 2 or values.shape[1] != width or len(values) == 0 or values.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be numbers of shape (n, {width}), got {values.dtype} {values.shape}")
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite; row {int((~np.isfinite(numbers)).any(axis=1).argmax())} is not")
    return numbers
