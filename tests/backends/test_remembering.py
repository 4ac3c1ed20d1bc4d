import numpy as np

from fakes import FakeEncoder
from mllctl.backends.remembering import RememberingEncoder


def test_the_same_texts_are_encoded_once(tmp_path):
    encoder = FakeEncoder()
    first = RememberingEncoder(encoder, tmp_path).encode(["dog", "cat"])
    again = RememberingEncoder(encoder, tmp_path).encode(["dog", "cat"])
    assert encoder.encoded == 2
    assert again.dtype == np.float32
    assert (first == again).all()
    assert (again == FakeEncoder().encode(["dog", "cat"]).astype(np.float32)).all()


def test_other_texts_or_another_order_are_encoded_anew(tmp_path):
    encoder = FakeEncoder()
    remembering = RememberingEncoder(encoder, tmp_path)
    one, other = remembering.encode(["dog", "cat"]), remembering.encode(["cat", "dog"])
    assert encoder.encoded == 4
    assert (one == other[::-1]).all()


def test_what_another_encoder_kept_is_not_used(tmp_path):
    RememberingEncoder(FakeEncoder(), tmp_path).encode(["dog"])
    other = FakeEncoder()
    other.fingerprint = "0" * 64
    RememberingEncoder(other, tmp_path).encode(["dog"])
    assert other.encoded == 1


def test_a_damaged_file_is_made_again(tmp_path):
    encoder = FakeEncoder()
    whole = RememberingEncoder(encoder, tmp_path).encode(["dog"])
    [file] = (tmp_path / "texts").rglob("*.npy")
    for damage in (b"", file.read_bytes()[:-8], b"not an array"):
        file.write_bytes(damage)
        assert (RememberingEncoder(encoder, tmp_path).encode(["dog"]) == whole).all()
    assert encoder.encoded == 4
