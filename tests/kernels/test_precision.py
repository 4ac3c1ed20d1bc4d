import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels.precision import confusion, node_hits, node_scores

# All negative in a third of the instances: a mask that multiplies by 0 would win there.
SIGNS = st.sampled_from([(-1.0, -0.5), (-0.5, 0.0, 0.5), (0.5, 1.0)])


@st.composite
def instances(draw):
    nodes, images = draw(st.integers(1, 6)), draw(st.integers(0, 8))
    elements = st.sampled_from(draw(SIGNS))
    similarity = draw(hnp.arrays(np.float64, (images, nodes), elements=elements))
    image_node = draw(hnp.arrays(np.int64, images, elements=st.integers(0, nodes - 1)))
    selected = sorted(draw(st.sets(st.integers(0, nodes - 1))))
    return similarity, image_node, np.array(selected, dtype=np.int64)


@given(instances())
def test_hits_are_the_images_that_no_selected_node_takes(instance):
    similarity, image_node, selected = instance
    hits, images = node_hits(similarity, image_node, selected)
    expected = oracles.node_hits(similarity.tolist(), image_node.tolist(), selected.tolist())
    assert (hits.tolist(), images.tolist()) == expected
    assert hits.dtype == images.dtype == np.int64


@given(instances())
def test_similarities_of_nodes_outside_the_selection_do_not_matter(instance):
    similarity, image_node, selected = instance
    outside = np.setdiff1d(np.arange(similarity.shape[1]), selected)
    changed = similarity.copy()
    changed[:, outside] = 9.0
    for counts, expected in zip(
        node_hits(changed, image_node, selected), node_hits(similarity, image_node, selected), strict=True
    ):
        assert np.array_equal(counts, expected)


def test_hits_by_hand():
    similarity = np.array(
        [
            [0.5, 0.5, 0.9],  # truth 0, tie with 1: a hit, for 0 is lower
            [0.5, 0.5, 0.9],  # truth 1, the same tie: none
            [-0.1, -0.2, 0.9],  # truth 0, all selected are negative: a hit
            [0.1, 0.2, 0.9],  # truth 2, which is not selected: no image of anybody
        ]
    )
    hits, images = node_hits(similarity, np.array([0, 1, 0, 2]), np.array([0, 1]))
    assert hits.tolist() == [2, 0]
    assert images.tolist() == [2, 1]


def test_a_selected_node_without_images_has_no_hits_and_still_takes_images():
    hits, images = node_hits(np.array([[0.1, 0.2]]), np.array([0]), np.array([0, 1]))
    assert (hits.tolist(), images.tolist()) == ([0, 0], [1, 0])


def test_an_empty_selection_has_empty_counts():
    hits, images = node_hits(np.ones((2, 2)), np.array([0, 1]), np.zeros(0, dtype=np.int64))
    assert hits.shape == images.shape == (0,)


@pytest.mark.parametrize(
    ("similarity", "image_node", "selected", "message"),
    [
        (np.ones(3), np.zeros(3, dtype=int), np.array([0]), "must share their images"),
        (np.ones((2, 2)), np.zeros(3, dtype=int), np.array([0]), "must share their images"),
        (np.ones((2, 2)), np.zeros(2, dtype=int), np.array([1, 0]), "ascending"),
        (np.ones((2, 2)), np.zeros(2, dtype=int), np.array([1, 1]), "ascending"),
    ],
)
def test_hits_refuse(similarity, image_node, selected, message):
    with pytest.raises(ValueError, match=message):
        node_hits(similarity, image_node, selected)


@given(st.data())
def test_scores_of_nodes_are_those_of_counting(data):
    selected = sorted(data.draw(st.sets(st.integers(0, 9), min_size=1)))
    node = st.sampled_from(selected)
    images = data.draw(st.lists(st.tuples(node, node | st.just(-1))))
    truth, winner = (np.array([pair[n] for pair in images], dtype=np.int64) for n in (0, 1))
    counts = confusion(truth, winner, np.array(selected))
    known = [pair for pair in images if pair[1] >= 0]
    assert counts.tolist() == [[known.count((v, u)) for u in selected] for v in selected]
    scores = node_scores(counts)
    for n, v in enumerate(selected):
        hits = known.count((v, v))
        shown, given_ = sum(t == v for t, _ in known), sum(w == v for _, w in known)
        assert scores.recall[n] == (hits / shown if shown else 0)
        assert scores.precision[n] == (hits / given_ if given_ else 0)
        assert scores.f1[n] == (2 * hits / (shown + given_) if shown + given_ else 0)


def test_a_winner_outside_the_selection_is_refused():
    with pytest.raises(ValueError, match="selected"):
        confusion(np.array([1]), np.array([2]), np.array([1]))
