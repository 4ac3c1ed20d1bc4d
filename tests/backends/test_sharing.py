"""A batch is prepared once for all models that prepare it alike, and never after it may have changed."""

from mllctl.backends.sharing import one_batch, shared


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
