"""Write odd and damaged image files, the same for the same seed: what a folder from the Internet holds, and worse.

    python tests/odd_images.py DIR [COUNT] [SEED]

Each file is a valid picture of some format, mode and size, to which one thing was done. File number n
depends on n and the seed alone, and is named `NNNNN-KIND.ENDING`; `usable` says of which kinds every
file must be read.
"""

import io
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Random = np.random.Generator

FORMATS = {
    "PNG": (".png", ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")),
    "JPEG": (".jpg", ("RGB", "L", "CMYK")),
    "GIF": (".gif", ("P", "L", "1")),
    "BMP": (".bmp", ("RGB", "L", "P", "1")),
    "TIFF": (".tif", ("RGB", "RGBA", "L", "P", "1", "CMYK", "I;16", "I", "F")),
    "WEBP": (".webp", ("RGB", "RGBA")),
}
ENDINGS = tuple(ending for ending, _ in FORMATS.values())


def picture(random: Random, mode: str = "RGB", size: tuple[int, int] | None = None) -> Image.Image:
    """Return noise in some mode."""
    width, height = size or (int(random.integers(2, 40)), int(random.integers(2, 40)))
    if mode == "I;16":
        return Image.fromarray(random.integers(0, 65536, (height, width), dtype=np.uint16))
    if mode in {"I", "F"}:
        return Image.fromarray(random.integers(-1000, 70000, (height, width)).astype("i4" if mode == "I" else "f4"))
    colours = Image.fromarray(random.integers(0, 256, (height, width, 4), dtype=np.uint8))
    return colours.convert("RGB").convert(mode) if mode in {"P", "1", "CMYK"} else colours.convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as the bytes of a file."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of_size(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    """Return a small PNG file that declares a size, with a few rows of zeros."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1 << 16), 9)) + chunk(b"IEND", b"")


def any_file(random: Random) -> tuple[bytes, str]:
    """Return a valid file and its ending."""
    kind = list(FORMATS)[random.integers(len(FORMATS))]
    ending, modes = FORMATS[kind]
    return encoded(picture(random, modes[random.integers(len(modes))]), kind), ending


# -- what is done to a file: kind -> (random) -> (content, ending) --------------------------------------


def whole(random: Random) -> tuple[bytes, str]:
    return any_file(random)


def cut(random: Random) -> tuple[bytes, str]:
    content, ending = any_file(random)
    return content[: int(random.integers(1, len(content)))], ending


def flipped(random: Random) -> tuple[bytes, str]:
    content, ending = any_file(random)
    damaged = bytearray(content)
    for place in random.integers(0, len(damaged), int(random.integers(1, 12))):
        damaged[place] ^= 1 << int(random.integers(8))
    return bytes(damaged), ending


def header(random: Random) -> tuple[bytes, str]:
    """Noise where sizes, offsets and counts stand."""
    content, ending = any_file(random)
    damaged = bytearray(content)
    for place in random.integers(4, min(64, len(damaged)), int(random.integers(1, 6))):
        damaged[place] = int(random.integers(256))
    return bytes(damaged), ending


def swapped(random: Random) -> tuple[bytes, str]:
    """The first bytes of one format, the rest of another."""
    (first, ending), (second, _) = any_file(random), any_file(random)
    at = int(random.integers(2, 24))
    return first[:at] + second[at:], ending


def middle(random: Random) -> tuple[bytes, str]:
    """A piece is missing, or twice there."""
    content, ending = any_file(random)
    low, high = sorted(random.integers(0, len(content), 2).tolist())
    return (content[:low] + content[high:] if random.random() < 0.5 else content[:high] + content[low:]), ending


def ending(random: Random) -> tuple[bytes, str]:
    """Another image format's ending."""
    return any_file(random)[0], ENDINGS[random.integers(len(ENDINGS))]


def empty(random: Random) -> tuple[bytes, str]:
    return b"", ENDINGS[random.integers(len(ENDINGS))]


def noise(random: Random) -> tuple[bytes, str]:
    return random.bytes(int(random.integers(1, 3000))), ENDINGS[random.integers(len(ENDINGS))]


def text(random: Random) -> tuple[bytes, str]:
    pages = (
        b"<html>404 not found</html>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        b"<svg/>",
        b"{}",
    )
    return pages[random.integers(len(pages))], ENDINGS[random.integers(len(ENDINGS))]


def foreign(random: Random) -> tuple[bytes, str]:
    return any_file(random)[0], (".txt", ".svg", ".heic", "", ".jpg.part")[random.integers(5)]


def animated(random: Random) -> tuple[bytes, str]:
    kind, ending = (("GIF", ".gif"), ("WEBP", ".webp"), ("PNG", ".png"))[random.integers(3)]
    frames = [picture(random, "RGB", (9, 7)) for _ in range(int(random.integers(2, 6)))]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50), ending


def animated_cut(random: Random) -> tuple[bytes, str]:
    content, ending = animated(random)
    return content[: int(random.integers(len(content) // 3, len(content)))], ending


def exif(random: Random) -> tuple[bytes, str]:
    kind, ending = (("JPEG", ".jpg"), ("WEBP", ".webp"), ("PNG", ".png"), ("TIFF", ".tif"))[random.integers(4)]
    tags = Image.Exif()
    tags[0x0112] = int(random.integers(0, 12))
    return encoded(picture(random), kind, exif=tags), ending


def exif_damaged(random: Random) -> tuple[bytes, str]:
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = 6, "x" * 40
    damaged = bytearray(tags.tobytes())
    for place in random.integers(6, len(damaged), 4):
        damaged[place] = int(random.integers(256))
    return encoded(picture(random), "JPEG", exif=bytes(damaged)), ".jpg"


def clear(random: Random) -> tuple[bytes, str]:
    """A palette or grey picture of which one value is transparent."""
    mode = ("P", "L", "RGB")[random.integers(3)]
    key = (1, 2, 3) if mode == "RGB" else int(random.integers(256))
    if mode == "P" and random.random() < 0.5:
        return encoded(picture(random, "P"), "GIF", transparency=key), ".gif"
    return encoded(picture(random, mode), "PNG", transparency=key), ".png"


def tiny(random: Random) -> tuple[bytes, str]:
    kind = list(FORMATS)[random.integers(len(FORMATS))]
    return encoded(picture(random, "RGB" if kind != "GIF" else "L", (1, 1)), kind), FORMATS[kind][0]


def thin(random: Random) -> tuple[bytes, str]:
    length = int(random.integers(101, 6000))
    return encoded(picture(random, "L", (length, 1) if random.random() < 0.5 else (1, length)), "PNG"), ".png"


def bomb(random: Random) -> tuple[bytes, str]:
    """A kilobyte that declares gigabytes."""
    side = int(random.integers(9_000, 60_000))
    which = int(random.integers(4))
    if which == 0:
        return png_of_size(side, side, (8, 16)[random.integers(2)], (0, 2, 6)[random.integers(3)]), ".png"
    if which == 1:
        small = bytearray(encoded(picture(random, "L"), "GIF"))
        small[6:10] = struct.pack("<HH", side, side)
        return bytes(small), ".gif"
    if which == 2:
        small = bytearray(encoded(picture(random), "BMP"))
        small[18:26] = struct.pack("<ii", side, side)
        return bytes(small), ".bmp"
    small = bytearray(encoded(picture(random), "JPEG"))
    frame = small.index(b"\xff\xc0") + 5
    small[frame : frame + 4] = struct.pack(">HH", side, side)
    return bytes(small), ".jpg"


def large(random: Random) -> tuple[bytes, str]:
    """As large as is read, or nearly, from few bytes."""
    side = int(random.integers(4_100, 5_000))
    return encoded(Image.new("L", (side, side), int(random.integers(256))), "PNG"), ".png"


def text_bomb(random: Random) -> tuple[bytes, str]:
    content = encoded(picture(random), "PNG")
    packed = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 22), 9))
    return content[:33] + packed + content[33:], ".png"


Kind = Callable[[Random], tuple[bytes, str]]
KINDS: dict[str, tuple[int, Kind]] = {  # kind -> its share in a thousand
    "whole": (150, whole),
    "cut": (150, cut),
    "flipped": (150, flipped),
    "header": (120, header),
    "swapped": (50, swapped),
    "middle": (60, middle),
    "ending": (40, ending),
    "empty": (20, empty),
    "noise": (30, noise),
    "text": (20, text),
    "foreign": (20, foreign),
    "animated": (30, animated),
    "animated-cut": (20, animated_cut),
    "exif": (40, exif),
    "exif-damaged": (20, exif_damaged),
    "clear": (30, clear),
    "tiny": (20, tiny),
    "thin": (10, thin),
    "bomb": (15, bomb),
    "large": (1, large),
    "text-bomb": (4, text_bomb),
}
USABLE = frozenset({"whole", "ending", "animated", "exif", "exif-damaged", "clear", "tiny", "large"})
UNUSABLE = frozenset({"empty", "noise", "text", "foreign", "thin", "bomb"})


def odd_file(number: int, seed: int = 0) -> tuple[str, bytes]:
    """Return the name and the content of one file."""
    random = np.random.default_rng((seed, number))
    shares = np.array([share for share, _ in KINDS.values()], dtype=float)
    kind = list(KINDS)[random.choice(len(KINDS), p=shares / shares.sum())]
    content, ending = KINDS[kind][1](random)
    return f"{number:05d}-{kind}{ending}", content


def kind_of_file(name: str) -> str:
    """Return what was done to a file, by its name."""
    return name.partition("-")[2].partition(".")[0]


def write_odd_images(root: Path, count: int, seed: int = 0, classes: tuple[str, ...] = ("dog.n.01", "cat.n.01")) -> int:
    """Write `count` odd files as an ImageFolder, and what is odd about no content: links, folders, pipes, names.

    Returns:
        How many there are in all: each must be added or reported.
    """
    for class_ in classes:
        (root / class_).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        name, content = odd_file(number, seed)
        (root / classes[number % len(classes)] / name).write_bytes(content)
    folder = root / classes[0]
    good = encoded(picture(np.random.default_rng(seed)), "PNG")
    (folder / "link-broken.png").symlink_to(root / "nowhere.png")
    (folder / "link-circle.png").symlink_to(folder / "link-circle.png")
    (folder / "link-folder.png").symlink_to(root / classes[-1])
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    os.close(os.open(os.fsencode(folder) + b"/latin-\xe9.png", os.O_CREAT | os.O_WRONLY))
    (folder / "line\nbreak.png").write_bytes(good)
    (folder / "hash#1.png").write_bytes(good)
    closed = folder / "closed.png"
    closed.write_bytes(good)
    closed.chmod(0)
    return count + 9


if __name__ == "__main__":
    root, count, seed = [*sys.argv[1:], *("", "5000", "0")[len(sys.argv) - 1 :]]
    print(write_odd_images(Path(root), int(count), int(seed)))
