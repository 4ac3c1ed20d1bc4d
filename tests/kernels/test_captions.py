import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllctl.kernels.captions import average_unit

# Few directions, so that captions often agree, and often cancel out.
DIRECTIONS = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.6, 0.8)]
classes = st.lists(st.lists(st.sampled_from(DIRECTIONS), min_size=1, max_size=4), max_size=5)


def by_loops(rows):
    mean = [sum(row[d] for row in rows) / len(rows) for d in range(2)]
    length = math.sqrt(sum(value**2 for value in mean))
    return [value / length if length else 0.0 for value in mean]


def stacked(given_):
    vectors = np.array([row for rows in given_ for row in rows], dtype=np.float64).reshape(-1, 2)
    return vectors, np.array([len(rows) for rows in given_], dtype=np.int64)


@given(classes)
def test_a_class_is_the_mean_of_its_rows_at_length_one(given_):
    found = average_unit(*stacked(given_))
    assert found.shape == (len(given_), 2)
    np.testing.assert_allclose(found, np.array([by_loops(rows) for rows in given_]).reshape(-1, 2), rtol=0, atol=1e-12)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=5))
def test_a_class_of_one_row_keeps_it_bit_for_bit(rows):
    vectors, counts = stacked([[row] for row in rows])
    assert average_unit(vectors, counts).tobytes() == vectors.tobytes()


def test_an_average_by_hand():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=np.float32)
    found = average_unit(vectors, np.array([2, 1]))
    assert found.dtype == np.float64
    assert found[0] == pytest.approx([(1 / 2) / math.sqrt(1 / 2), (1 / 2) / math.sqrt(1 / 2)], abs=1e-15)
    assert found[1].tolist() == vectors[2].tolist()


def test_rows_that_cancel_out_resemble_nothing():
    assert average_unit(np.array([[0.6, 0.8], [-0.6, -0.8]]), np.array([2])).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("vectors", "counts", "message"),
    [
        (np.ones(2), np.array([2]), "texts, width"),
        (np.ones((2, 3)), np.array([[2]]), r"shape \(classes,\)"),
        (np.ones((2, 3)), np.array([2, 0]), "at least 1"),
        (np.ones((2, 3)), np.array([3, -1]), "at least 1"),
        (np.ones((2, 3)), np.array([1]), "add up to 2 vectors, got 1"),
        (np.ones((2, 3)), np.array([2, 1]), "add up to 2 vectors, got 3"),
    ],
)
def test_averaging_refuses(vectors, counts, message):
    with pytest.raises(ValueError, match=message):
        average_unit(vectors, counts)
