import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels.label import rivals, similarities
from mllctl.kernels.precision import node_hits

VALUES = st.sampled_from([-1.0, -0.5, 0.0, 0.5])


@st.composite
def instances(draw):
    nodes, images = draw(st.integers(1, 6)), draw(st.integers(0, 8))
    similarity = draw(hnp.arrays(np.float64, (images, nodes), elements=VALUES))
    return similarity, draw(hnp.arrays(np.int64, images, elements=st.integers(0, nodes - 1)))


@given(instances())
def test_rivals_are_the_nodes_that_beat_the_true_one(instance):
    similarity, truth = instance
    expected = [
        [u != v and oracles.beats(row, u, v) for u in range(len(row))]
        for row, v in zip(similarity.tolist(), truth.tolist(), strict=True)
    ]
    assert rivals(similarity, truth).tolist() == expected


@given(instances(), st.data())
def test_an_image_is_a_hit_where_no_selected_node_is_a_rival(instance, data):
    similarity, truth = instance
    selected = np.array(sorted(data.draw(st.sets(st.integers(0, similarity.shape[1] - 1)))), dtype=np.int64)
    free = ~rivals(similarity, truth)[:, selected].any(axis=1)
    assert node_hits(similarity, truth, selected)[0].tolist() == [int(free[truth == v].sum()) for v in selected]


def test_rivals_by_hand():
    # Against node 1: node 0 ties and is lower, node 2 ties and is higher, node 3 is greater.
    assert rivals(np.array([[0.5, 0.5, 0.5, 0.6]]), np.array([1])).tolist() == [[True, False, False, True]]


@given(st.integers(0, 2**32 - 1))
def test_similarities_of_unit_float16_vectors_do_not_depend_on_the_order_of_summation(seed):
    random = np.random.default_rng(seed)
    images, nodes = (random.normal(size=(n, 384)) for n in (3, 4))
    images = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float16)
    nodes = (nodes / np.linalg.norm(nodes, axis=1, keepdims=True)).astype(np.float16)
    order = random.permutation(384)
    assert np.array_equal(similarities(images, nodes), similarities(images[:, order], nodes[:, order]))
    assert similarities(images, nodes).tolist() == oracles.similarities(images.tolist(), nodes.tolist())
