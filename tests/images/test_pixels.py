import contextlib
import hashlib
import io
import tracemalloc
import warnings

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

import mllctl_data
from mllctl.errors import SourceUnreadable
from mllctl.images import open_image, pixels
from mllctl.images.pixels import KEPT_PIXELS, MAX_RATIO, Unusable, decode
from odd_images import encoded, picture, png_of_size


def test_shipped_images_keep_every_bit():
    path = mllctl_data.path("demo", "images.parquet")
    pack = parquet.ParquetFile(path)
    for content in pack.read_row_group(0, columns=["picture"])["picture"].to_pylist()[:200]:
        with Image.open(io.BytesIO(content)) as plain:
            assert decode(content).tobytes() == plain.convert("RGB").tobytes()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight(kind):
    values = np.array([[0, 255, 256], [32768, 65280, 65535]], dtype=np.uint16)
    grey = np.asarray(decode(encoded(Image.fromarray(values), kind)))
    # 65535 / 255 = 257; clipped, all but the first two would be white.
    assert grey[..., 0].tolist() == [[0, 1, 1], [128, 254, 255]]
    assert (grey[..., 0] == grey[..., 2]).all()


@pytest.mark.parametrize("numbers", ["i4", "f4"])
def test_thirty_two_bits_go_from_their_least_to_their_greatest_value(numbers):
    values = np.array([[-1000, 0, 1000]], dtype=numbers)
    assert np.asarray(decode(encoded(Image.fromarray(values), "TIFF")))[0, :, 1].tolist() == [0, 128, 255]


def test_values_that_are_no_numbers_do_no_harm():
    values = np.array([[np.nan, np.inf, 1.0, 3.0]], dtype=np.float32)
    assert np.asarray(decode(encoded(Image.fromarray(values), "TIFF")))[0, :, 0].tolist() == [0, 0, 85, 255]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_what_a_palette_makes_transparent_is_white(kind):
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    shown = decode(encoded(image, kind, transparency=0))
    assert [shown.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


def test_transparency_that_is_nowhere_used_changes_nothing():
    opaque = picture(np.random.default_rng(0), "RGB")
    image = opaque.copy()
    image.putalpha(255)
    assert decode(encoded(image, "PNG")).tobytes() == opaque.tobytes()


def test_half_transparent_is_half_white():
    assert decode(encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG")).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_camera_gives_an_upright_picture(kind, orientation):
    upright = Image.new("RGB", (16, 8), "black")
    upright.paste("red", (0, 0, 8, 8))
    tags = Image.Exif()
    tags[0x0112] = orientation
    # What the camera stores: the inverse of how it is to be turned.
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright if turned is None else upright.transpose(Image.Transpose(turned))
    shown = decode(encoded(stored, kind, exif=tags))
    assert shown.size == (16, 8)
    assert shown.getpixel((3, 4))[0] > 200
    assert shown.getpixel((12, 4))[0] < 60


def test_cmyk_becomes_rgb():
    shown = decode(encoded(Image.new("CMYK", (4, 4), (255, 0, 0, 0)), "TIFF"))
    assert shown.getpixel((0, 0)) == (0, 255, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    shown = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert shown.getpixel((2, 2)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (png_of_size(60_000, 60_000), "too many pixels"),
        (png_of_size(9_000, 9_000), "too many pixels (9000 x 9000; at most 67,108,864 are read)"),
        (png_of_size(1, MAX_RATIO + 1), "too long and thin (1 x 101; at most 1 to 100 is read)"),
    ],
)
def test_what_is_refused_is_said(content, reason):
    with pytest.raises(Unusable) as error:
        decode(content)
    assert error.value.reason.startswith(reason)


def test_the_longest_picture_that_is_read_is_read():
    assert decode(encoded(Image.new("L", (MAX_RATIO, 1)), "PNG")).size == (MAX_RATIO, 1)


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(pixels, "as_rgb", lambda image: pytest.fail("decoded"))
    with pytest.raises(Unusable, match="too many pixels"):
        decode(png_of_size(9_000, 9_000))


def test_what_is_larger_than_a_model_can_see_is_reduced_by_an_integer():
    large = decode(encoded(Image.new("L", (5000, 4000), 77), "PNG"))
    assert large.size == (2500, 2000)
    assert large.width * large.height <= KEPT_PIXELS
    assert large.getpixel((0, 0)) == (77, 77, 77)


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(SourceUnreadable, match="not a regular file"):
        open_image(str(tmp_path / "a.png"))


def test_warnings_about_damaged_files_are_not_shown(recwarn):
    odd = Image.Exif()
    odd[0x0112] = 6
    damaged = bytearray(odd.tobytes())
    damaged[10:18] = b"\xff" * 8
    decode(encoded(picture(np.random.default_rng(0)), "JPEG", exif=bytes(damaged)))
    assert not recwarn.list


def test_filters_of_warnings_are_left_as_they_were():
    damaged = encoded(picture(np.random.default_rng(0)), "JPEG")[:-20]
    before = list(warnings.filters)
    for content in (damaged, encoded(picture(np.random.default_rng(0)), "PNG")):
        with contextlib.suppress(Unusable):
            decode(content)
    assert warnings.filters == before
    warnings.filterwarnings("ignore", module=r"PIL\.")  # a filter of the caller's stays
    decode(content)
    assert len(warnings.filters) == len(before) + 1


def test_whoever_catches_warnings_while_others_decode_finds_them_as_they_were():
    """What one thread puts back must not be what another has changed."""
    before, hush = list(warnings.filters), pixels._Hush()
    caught = warnings.catch_warnings()
    caught.__enter__()
    warnings.simplefilter("ignore")
    hush.__enter__()
    hush.__enter__()
    caught.__exit__(None, None, None)
    hush.__exit__()
    hush.__exit__()
    assert warnings.filters == before


def test_sixteen_bits_are_scaled_without_many_copies():
    values = np.zeros((4096, 4096), dtype=np.uint16)
    values[-1] = 65535
    tracemalloc.start()
    scaled = pixels._scaled(values, 0, 65535)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (scaled[0, 0], scaled[-1, 0]) == (0, 255)
    assert peak < 2 * values.nbytes


def test_pixels_are_those_of_the_same_file_every_time():
    content = encoded(picture(np.random.default_rng(3), "RGBA"), "PNG")
    assert len({hashlib.sha256(decode(content).tobytes()).digest() for _ in range(3)}) == 1
