import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels.sdag import mutual_best_match, node_label

LOGITS = st.sampled_from([-3.0, 0.0, 0.5, 2.0, 8.0])


@st.composite
def graphs(draw):
    """Few nodes, many of them without images, several parents and edges that are there twice."""
    nodes, heads = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    logits = draw(hnp.arrays(np.float64, (nodes, heads), elements=LOGITS))
    usable = draw(hnp.arrays(np.bool_, nodes))
    # Parents come after children in a shuffled order, so there is no way round.
    order = draw(st.permutations(range(nodes)))
    pairs = st.lists(st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)), max_size=12)
    edges = [[order[max(pair)], order[min(pair)]] for pair in draw(pairs) if pair[0] != pair[1]]
    return logits, usable, np.array(edges, dtype=np.int64).reshape(-1, 2)


@given(graphs(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans())
def test_a_label_is_what_the_node_and_its_children_show(graph, discount, recursive):
    logits, usable, edges = graph
    found = node_label(np.where(usable[:, None], logits, np.nan), usable, edges, discount, recursive)
    expected = oracles.node_label(logits.tolist(), usable.tolist(), edges.tolist(), discount, recursive)
    rows = [[np.nan] * logits.shape[1] if row is None else row for row in expected]
    np.testing.assert_allclose(found, rows, rtol=1e-12, atol=1e-12)


@given(graphs(), st.booleans())
def test_what_stands_at_nodes_without_images_does_not_matter(graph, recursive):
    logits, usable, edges = graph
    found = [node_label(np.where(usable[:, None], logits, x), usable, edges, 0.5, recursive) for x in (7.0, np.inf)]
    np.testing.assert_array_equal(*found)


# 0 is above 1 and 2, 1 is above 3; node 2 has no images.
LOGITS_BY_HAND = np.array([[8.0], [4.0], [np.nan], [1.0]])
USABLE_BY_HAND = np.array([True, True, False, True])
EDGES_BY_HAND = np.array([[0, 1], [0, 2], [1, 3]])


def test_labels_by_hand():
    found = node_label(LOGITS_BY_HAND, USABLE_BY_HAND, EDGES_BY_HAND, 0.25)
    np.testing.assert_array_equal(found[:, 0], [8 / 4 + 4 * 3 / 4, 4 / 4 + 1 * 3 / 4, np.nan, 1])
    found = node_label(LOGITS_BY_HAND, USABLE_BY_HAND, EDGES_BY_HAND, 0.25, recursive=True)
    np.testing.assert_array_equal(found[:, 0], [8 / 4 + (4 / 4 + 1 * 3 / 4) * 3 / 4, 4 / 4 + 1 * 3 / 4, np.nan, 1])


def test_a_node_without_images_has_the_mean_of_its_children():
    logits, usable = np.array([[np.nan], [2.0], [4.0]]), np.array([False, True, True])
    assert node_label(logits, usable, np.array([[0, 1], [0, 2]]))[0] == (2 + 4) / 2


def test_only_a_recursive_label_looks_past_a_child_without_images():
    logits, usable, chain = (
        np.array([[9.0], [np.nan], [2.0]]),
        np.array([True, False, True]),
        np.array([[0, 1], [1, 2]]),
    )
    assert node_label(logits, usable, chain)[:, 0].tolist() == [9, 2, 2]
    assert node_label(logits, usable, chain, recursive=True)[:, 0].tolist() == [(9 + 2) / 2, 2, 2]


def test_graphs_without_edges_or_heads():
    assert node_label(np.ones((2, 1)), np.array([True, True]), np.zeros((0, 2), dtype=int)).tolist() == [[1], [1]]
    assert node_label(np.ones((2, 0)), np.array([True, True]), np.array([[0, 1]]), recursive=True).shape == (2, 0)
    assert node_label(np.ones((0, 3)), np.zeros(0, dtype=bool), np.zeros((0, 2), dtype=int), recursive=True).size == 0


def test_a_way_round_is_refused_where_it_matters():
    logits, usable, ring = np.ones((4, 1)), np.ones(4, dtype=bool), np.array([[0, 1], [1, 2], [2, 1], [2, 3]])
    assert np.isfinite(node_label(logits, usable, ring)).all()
    with pytest.raises(ValueError, match="edges must not go round, but some do above node 0 or at it"):
        node_label(logits, usable, ring, recursive=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean_logits": np.ones(4)}, "must be"),
        ({"usable": np.ones(3, dtype=bool)}, "must be"),
        ({"usable": np.ones(4, dtype=int)}, "int64 must be"),
        ({"mean_logits": np.array([[1.0], [np.inf], [0.0], [0.0]])}, "node 1 must be finite"),
        ({"edges": np.array([[0, 1, 2]])}, "must have shape"),
        ({"edges": np.array([[0, 4]])}, "nodes 0..3"),
        ({"edges": np.array([[-1, 0]])}, "nodes 0..3"),
        ({"edges": np.array([[0, 1], [2, 2]])}, "node 2 must not be its own child"),
        ({"discount": 1.5}, "discount must be in"),
        ({"discount": np.nan}, "discount must be in"),
    ],
)
def test_labels_refuse(change, message):
    given = {"mean_logits": LOGITS_BY_HAND, "usable": USABLE_BY_HAND, "edges": EDGES_BY_HAND, "discount": 0.5}
    with pytest.raises(ValueError, match=message):
        node_label(**given | change)


@st.composite
def similarities(draw):
    shape = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    similarity = draw(hnp.arrays(np.float64, shape, elements=st.sampled_from([-0.5, 0.0, 0.5, 1.0])))
    return similarity, draw(hnp.arrays(np.bool_, shape[1]))


@given(similarities())
def test_a_match_is_mutual_and_one_to_one(instance):
    similarity, usable = instance
    found = mutual_best_match(similarity, usable)
    assert found.tolist() == oracles.mutual_best_match(similarity.tolist(), usable.tolist())
    matched = found[found >= 0]
    assert len(set(matched.tolist())) == len(matched)
    assert usable[matched].all()


def test_matches_by_hand():
    # Classes 0 and 1 both want node 1, which is not usable, then node 0, which prefers class 1.
    similarity = np.array([[0.5, 0.9, 0.1], [0.6, 0.9, 0.2], [0.3, 0.0, 0.4]])
    assert mutual_best_match(similarity, np.array([True, False, True])).tolist() == [-1, 0, 2]


def test_matches_refuse():
    with pytest.raises(ValueError, match="must be"):
        mutual_best_match(np.ones((2, 3)), np.ones(2, dtype=bool))
    with pytest.raises(ValueError, match="NaN"):
        mutual_best_match(np.array([[np.nan]]), np.array([True]))
