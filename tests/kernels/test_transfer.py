import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels.transfer import selected_nodes, transfer_matrix

# Few distinct values, so that ties are the common case; half of them may not be chosen at all.
VALUES = st.sampled_from([-0.5, -0.0, 0.0, 0.25, 0.5, 1.0])
similarities = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=VALUES)


@st.composite
def matchings(draw):
    similarity = draw(similarities)
    usable = draw(st.none() | hnp.arrays(np.bool_, similarity.shape[0]))
    return similarity, draw(st.integers(1, 8)), usable


@given(matchings())
def test_transfer_is_the_repeated_choice_of_the_first_best_free_node(matching):
    similarity, count, usable = matching
    expected = oracles.transfer_matrix(similarity.tolist(), count, None if usable is None else usable.tolist())
    transfer = transfer_matrix(similarity, count, usable)
    assert transfer.tolist() == expected
    assert selected_nodes(transfer).tolist() == oracles.selected_nodes(expected)


@given(matchings())
def test_the_similarities_that_were_handed_in_are_not_changed(matching):
    similarity, count, usable = matching
    before = similarity.copy()
    transfer_matrix(similarity, count, usable)
    assert np.array_equal(similarity, before)


def test_transfer_by_hand():
    # Class 0 takes nodes 0 and 1 (node 2 ties with node 1 and comes later); class 1 has one positive node.
    similarity = np.array([[0.9, -0.1], [0.5, 0.0], [0.5, 0.3]])
    assert transfer_matrix(similarity, 2).tolist() == [[0.9, 0.0], [0.5, 0.0], [0.0, 0.3]]


def test_a_node_without_evidence_gives_its_place_to_the_next():
    similarity = np.array([[0.9], [0.5], [0.4]])
    assert transfer_matrix(similarity, 1, np.array([False, True, True])).tolist() == [[0.0], [0.5], [0.0]]


@pytest.mark.parametrize("usable", [None, np.zeros(3, dtype=bool)])
def test_a_class_without_similar_or_usable_nodes_has_none(usable):
    similarity = np.full((3, 2), -0.5 if usable is None else 0.5)
    transfer = transfer_matrix(similarity, 5, usable)
    assert not transfer.any()
    assert selected_nodes(transfer).shape == (0,)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1)])
def test_transfer_has_the_shape_of_the_similarities_whatever_their_size(shape):
    assert transfer_matrix(np.ones(shape), 5).shape == shape


@pytest.mark.parametrize(
    ("similarity", "count", "usable", "message"),
    [
        (np.ones(3), 1, None, "nodes, classes"),
        (np.array([[np.nan]]), 1, None, "NaN"),
        (np.ones((2, 2)), 0, None, "at least 1, got 0"),
        (np.ones((2, 2)), 1, np.ones(3, dtype=bool), "usable must have shape"),
    ],
)
def test_transfer_refuses(similarity, count, usable, message):
    with pytest.raises(ValueError, match=message):
        transfer_matrix(similarity, count, usable)
