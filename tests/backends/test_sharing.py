"""A batch is prepared once for all models that prepare it alike, and never after it may have changed."""

from mllctl.backends.sharing import one_batch, same_texts, shared, shared_texts, shares_texts


def test_what_is_made_of_the_same_images_is_shared_within_one_batch_only():
    made = []

    def make(key, images):
        return shared((key,), images, lambda: made.append((key, len(images))) or object())

    one, other = object(), object()
    assert make("a", [one]) is not make("a", [one])
    with one_batch():
        first = make("a", [one, other])
        assert make("a", [one, other]) is first
        assert make("b", [one, other]) is not first
        assert make("a", [one]) is not first
        assert make("a", [other, one]) is not first
        with one_batch():
            assert make("a", [one, other]) is not first
        assert make("a", [one, other]) is first
    assert make("a", [one, other]) is not first
    assert len(made) == 8


def test_what_a_text_tower_makes_is_shared_until_the_end_and_by_content():
    made = []

    def make(*key):
        return shared_texts(key, lambda: made.append(key) or object())

    assert not shares_texts()
    assert make("tower", b"dog") is not make("tower", b"dog")
    with same_texts():
        assert shares_texts()
        first = make("tower", b"dog")
        assert make("tower", b"dog") is first
        assert make("other", b"dog") is not first
        assert make("tower", b"cat") is not first
    assert make("tower", b"dog") is not first
    assert len(made) == 6
