"""From encoded bytes to RGB pixels, whatever the file holds; what cannot be read is said in few words.

Limits are checked before anything is decoded: a file of a kilobyte may declare a picture of gigabytes.
Only the formats below are tried: Pillow knows others, one of which runs another program.

What is done to pixels, in this order: the first frame is taken; 16 bits are scaled to 8; transparent
parts become white; EXIF rotation is applied; what is larger than `KEPT_PIXELS` is reduced by an integer.
An opaque 8-bit RGB file without EXIF rotation keeps every bit.
"""

import io
import logging
import math
import re
import struct
import warnings
import zlib
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from mllctl.errors import SourceUnreadable
from mllctl.images.uris import read_bytes

if TYPE_CHECKING:
    from PIL import Image

ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

MAX_PIXELS = 1 << 26  # 8192 x 8192: 200 MB as RGB
MAX_RATIO = 100  # a model scales the shorter side to its own: 1 x 5000 would become 224 x 1,120,000
KEPT_PIXELS = 1 << 24  # 4096 x 4096; no model sees more than 1024 x 1024, and a batch of images is held at once

ROWS_AT_ONCE = 256
ORIENTATION = 0x0112  # EXIF

# Decoders that are fed damaged files raise nearly everything; all of these were seen, or are raised in Pillow's source.
DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


class Unusable(Exception):
    """Encoded bytes that give no pixels."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def open_image(uri: str) -> "Image.Image":
    """Return the pixels of a stored image, in RGB.

    Raises:
        SourceUnreadable: if the file is gone, is not an image any more, or is beyond the limits.
    """
    try:
        return decode(read_bytes(uri))
    except OSError as error:
        raise SourceUnreadable(uri, reason_of(error)) from error
    except Unusable as error:
        raise SourceUnreadable(uri, error.reason) from error


def decode(content: bytes) -> "Image.Image":
    """Return the pixels of an encoded image, in RGB.

    Raises:
        Unusable: if there are none.
    """
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise Unusable("the file is empty")
    try:
        with _HUSH, Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(*image.size)
            return as_rgb(image)
    except UnidentifiedImageError as error:
        raise Unusable("not an image") from error
    except Image.DecompressionBombError as error:
        raise Unusable(f"too many pixels (at most {MAX_PIXELS:,} are read)") from error
    except DAMAGE as error:
        raise Unusable(f"damaged or cut off ({_words(error)})") from error


def reason_of(error: OSError) -> str:
    """Say in a few words why bytes cannot be read; the path is said elsewhere."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return error.strerror.lower() if error.strerror else _words(error)


class _Hush:
    """Keeps what Pillow warns of and logs about damaged files off stderr: it is in the reasons.

    All threads share one list of filters. Of those that decode at once the first puts a filter in and the last takes it
    out; `warnings.catch_warnings` would put a list back that another thread has changed since.
    """

    FILTER = ("ignore", None, Warning, re.compile(r"PIL\."), 0)  # as `warnings` keeps it

    def __init__(self) -> None:
        self._turn = Lock()
        self._inside = 0
        self._ours = False  # whether the filter is
        self._log = logging.NullHandler()

    def __enter__(self) -> None:
        with self._turn:
            self._inside += 1
            logging.getLogger("PIL").addHandler(self._log)
            # Each time, since whoever caught warnings meanwhile may have put back a list without it.
            if self.FILTER not in warnings.filters:
                warnings.filterwarnings("ignore", module=self.FILTER[3].pattern)
                self._ours = True

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._inside -= 1
            if self._inside:
                return
            logging.getLogger("PIL").removeHandler(self._log)
            if self._ours:
                filters = cast(list[object], warnings.filters)
                filters[:] = [kept for kept in filters if kept != self.FILTER]
                self._ours = False


_HUSH = _Hush()


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_size(width: int, height: int) -> None:
    """Refuse a size before it is decoded."""
    if width < 1 or height < 1:
        raise Unusable(f"no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise Unusable(f"too many pixels ({width} x {height}; at most {MAX_PIXELS:,} are read)")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise Unusable(f"too long and thin ({width} x {height}; at most 1 to {MAX_RATIO} is read)")


def as_rgb(image: "Image.Image") -> "Image.Image":
    """Return an opened picture in RGB, as all are seen: see above.

    Raises:
        Unusable: if it is beyond the limits.
    """
    from PIL import ImageOps

    image.load()
    _check_size(*image.size)  # a damaged file may be of another size than it said
    plain = _eight_bits(image)
    rgb = _on_white(plain) if plain.has_transparency_data else plain.convert("RGB")
    orientation = _orientation(image)
    if 2 <= orientation <= 8:
        exif = rgb.getexif()
        exif[ORIENTATION] = orientation
        rgb.info["exif"] = exif.tobytes()
        rgb = ImageOps.exif_transpose(rgb)
    factor = math.ceil(math.sqrt(rgb.width * rgb.height / KEPT_PIXELS))
    return rgb.reduce(factor) if factor > 1 else rgb


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """Scale grey values of more than 8 bits; Pillow would cut them off at 255."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray(_scaled(np.asarray(image), 0, 65535))
    if image.mode == "I" and image.format in {"PNG", "PPM"}:  # 16 bits, as older versions of Pillow open them
        return Image.fromarray(_scaled(np.asarray(image), 0, 65535))
    if image.mode in {"I", "F"}:
        # 32 bits have no stated range: from the least value to the greatest.
        values = np.nan_to_num(np.asarray(image), posinf=0.0, neginf=0.0)
        return Image.fromarray(_scaled(values, float(values.min()), float(values.max())))
    return image


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Spread [low, high] over 0 to 255, shape (height, width)."""
    scaled = np.zeros(values.shape, dtype=np.uint8)
    if high <= low:
        return scaled
    # A few rows at a time: in float64 the largest picture would take gigabytes.
    for start in range(0, len(values), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        shares = (values[rows].astype(np.float64) - low) / (high - low)
        scaled[rows] = np.round(np.clip(shares, 0, 1) * 255)
    return scaled


def _on_white(image: "Image.Image") -> "Image.Image":
    """Lay what is transparent on white: what is stored under it is arbitrary, often black."""
    from PIL import Image

    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB")
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba.convert("RGB"), mask=alpha)
    return white


def _orientation(image: "Image.Image") -> int:
    """Return how EXIF says the picture is turned; damaged EXIF says nothing, and the pixels are good."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except DAMAGE:
        return 1
    return value if isinstance(value, int) else 1
