"""Boxes: against division by hand, and in words against a list of cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllctl.scoring import box_texts, normalised_boxes

WORDS = {
    (0.0, 0.0, 0.2, 0.2): "dog at the top left, small",
    (0.4, 0.0, 0.6, 0.2): "dog at the top, small",
    (0.8, 0.1, 1.0, 0.3): "dog at the top right, small",
    (0.0, 0.3, 0.4, 0.7): "dog at the left, medium-sized",
    (0.3, 0.3, 0.7, 0.7): "dog in the middle, medium-sized",
    (0.6, 0.3, 1.0, 0.7): "dog at the right, medium-sized",
    (0.0, 0.8, 0.2, 1.0): "dog at the bottom left, small",
    (0.4, 0.8, 0.6, 1.0): "dog at the bottom, small",
    (0.8, 0.8, 1.0, 1.0): "dog at the bottom right, small",
    (0.0, 0.0, 1.0, 1.0): "dog in the middle, large",
    (0.0, 0.95, 1.0, 1.0): "dog at the bottom, small",  # a strip: its area counts, not its longer side
}


@pytest.mark.parametrize(("box", "said"), WORDS.items())
def test_a_box_is_said_by_thirds_of_its_centre_and_of_the_side_of_its_area(box, said):
    assert box_texts(["dog"], np.array([box])) == (said,)


@given(st.lists(st.tuples(*[st.integers(0, 8)] * 4), min_size=1, max_size=5))
def test_pixels_are_divided_by_the_width_and_the_height(corners):
    boxes = np.array([(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in corners])
    sizes = np.tile([[9, 12]], (len(boxes), 1))
    oracle = [[left / 9, top / 12, right / 9, bottom / 12] for left, top, right, bottom in boxes.tolist()]
    assert normalised_boxes(boxes, sizes).tolist() == oracle
    assert normalised_boxes(np.array(oracle)).tolist() == oracle


@pytest.mark.parametrize(
    ("boxes", "sizes", "said"),
    [
        ([[0, 0, 1, 1], [0.5, 0, 0.5, 1]], None, "left < right and top < bottom; row 1 is not"),
        ([[0, 0.9, 1, 0.1]], None, "row 0 is not"),
        ([[0, 0, 30, 20]], None, r"in \[0, 1\]; row 0 does not; where they are pixels give sizes \(n, 2\)"),
        ([[-0.1, 0, 1, 1]], None, "row 0 does not"),
        ([[0, 0, 30, 20]], [[29, 20]], r"in \[0, 1\]; row 0 does not$"),
        ([[0, 0, 30, 20]], [[0, 20]], "a width and a height above 0"),
        ([[0, 0, 30, 20]], [[30, 20], [30, 20]], "one row a box, 1"),
        ([[0, 0, np.nan, 1]], None, "boxes must be finite; row 0 is not"),
        ([[0, 0, 1]], None, r"boxes must be numbers of shape \(n, 4\), got float64 \(1, 3\)"),
        (np.zeros((0, 4)), None, "boxes must be numbers of shape"),
        ([["a", "b", "c", "d"]], None, "boxes must be numbers of shape"),
    ],
)
def test_boxes_that_are_none_are_refused_by_row(boxes, sizes, said):
    boxes = np.array(boxes) if "a" in str(boxes) else np.array(boxes, float)
    with pytest.raises(ValueError, match=said):
        normalised_boxes(boxes, None if sizes is None else np.array(sizes))
