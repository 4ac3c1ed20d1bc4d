"""Pictures from memory: whatever holds the same pixels gives the same picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from mllctl.errors import SourceUnreadable
from mllctl.images.pictures import as_picture, as_pictures, is_one

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.fixture
def forms(tmp_path):
    """The same picture in every form."""
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    return {
        "pillow": Image.fromarray(PIXELS),
        "path": tmp_path / "x.png",
        "text": str(tmp_path / "x.png"),
        "bytes": PIXELS,
        "floats": PIXELS / 255,
        "float32": (PIXELS / 255).astype(np.float32),
        "tensor": tensor,
        "tensor of floats": tensor / 255,
        "tensor that learns": (tensor / 255).requires_grad_(),
        "turned": np.ascontiguousarray(PIXELS[::-1])[::-1],
    }


def test_every_form_gives_the_same_pixels(forms):
    for name, form in forms.items():
        assert np.array_equal(np.asarray(as_picture(form)), PIXELS), name
        assert is_one(form), name
        assert len(list(as_pictures(form))) == 1, name
    half = np.asarray(as_picture(forms["tensor of floats"].to(torch.bfloat16)), dtype=int)
    assert np.abs(half - PIXELS).max() <= 1


def test_many_come_as_a_list_as_an_iterator_or_as_one_array(forms):
    tensor = forms["tensor"]
    for many in (list(forms.values()), iter(forms.values()), np.stack([PIXELS] * 3), torch.stack([tensor] * 3)):
        assert not is_one(many)
        pictures = list(as_pictures(many))
        assert len(pictures) >= 3
        assert all(np.array_equal(np.asarray(picture), PIXELS) for picture in pictures)


def test_grey_and_transparent_pictures_become_rgb():
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    for form in (grey, torch.from_numpy(grey), torch.from_numpy(grey)[None], Image.fromarray(grey)):
        assert np.array_equal(np.asarray(as_picture(form)), np.stack([grey] * 3, axis=2))
    clear = np.zeros((4, 5, 4), dtype=np.uint8)
    for form in (clear, Image.fromarray(clear)):
        assert (np.asarray(as_picture(form)) == 255).all()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (np.zeros((4, 5, 2), np.uint8), "shape"),
        (np.zeros((0, 5, 3), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.full((4, 5, 3), 2.0), r"\[0, 1\]"),
        (np.full((4, 5, 3), np.nan), r"\[0, 1\]"),
        (np.full((4, 5, 3), -0.1), "normalise"),
        (np.zeros((4, 5, 3), np.int64), "int64"),
        (torch.zeros(6, 5, 3), "tensor"),
        (np.zeros((1, 500, 3), np.uint8), "long and thin"),
    ],
)
def test_what_is_no_picture_is_refused(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        as_picture(wrong)


def test_a_path_without_an_image_is_refused(tmp_path):
    with pytest.raises(SourceUnreadable, match="no such file"):
        as_picture(tmp_path / "absent.png")
