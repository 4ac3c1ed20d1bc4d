import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels.evidence import domain_weights, weighted_precision


@st.composite
def counts(draw):
    shape = draw(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(1, 3)))
    images = draw(hnp.arrays(np.int64, shape, elements=st.sampled_from([0, 0, 1, 2, 70])))
    hits = draw(hnp.arrays(np.int64, shape, elements=st.sampled_from([0, 1, 2, 70])))
    weights = draw(hnp.arrays(np.float64, shape[2], elements=st.sampled_from([0.0, 1e-9, 0.25, 0.5])))
    return np.minimum(hits, images), images, weights


@given(counts())
def test_weighted_precision_is_weighted_hits_over_weighted_images(instance):
    hits, images, weights = instance
    expected = oracles.weighted_precision(hits.tolist(), images.tolist(), weights.tolist())
    if len(set(weights.tolist())) == 1:
        expected = oracles.weighted_precision(hits.tolist(), images.tolist(), [1] * len(weights))
    found = weighted_precision(hits, images, weights)
    assert found.shape == hits.shape[:2]
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), rtol=1e-12, atol=0)


@given(counts())
def test_equal_weights_give_one_division_of_whole_numbers(instance):
    hits, images, weights = instance
    found = weighted_precision(hits, images, np.full(len(weights), 1 / len(weights)))
    for m, v in np.ndindex(found.shape):
        shown = int(images[m, v].sum())
        assert found[m, v] == (int(hits[m, v].sum()) / shown if shown else 0.0)


def test_weighted_precision_by_hand():
    hits, images = np.array([[[3, 1]]]), np.array([[[4, 2]]])
    expected = (0.9 * 3 + 0.1 * 1) / (0.9 * 4 + 0.1 * 2)
    assert weighted_precision(hits, images, np.array([0.9, 0.1]))[0, 0] == pytest.approx(expected, abs=1e-15)


def test_a_domain_without_images_of_a_node_leaves_the_word_to_the_others_however_little_they_weigh():
    weights = domain_weights(np.array([0.9, -0.9]), temperature=0.05, floor=0.3)
    hits, images = np.array([[[0, 1]]]), np.array([[[0, 3]]])
    assert weighted_precision(hits, images, weights)[0, 0] == pytest.approx(1 / 3, abs=1e-15)


def test_a_node_that_was_never_shown_has_precision_zero():
    nothing = np.zeros((1, 1, 2), dtype=np.int64)
    assert weighted_precision(nothing, nothing, np.array([0.5, 0.5])).tolist() == [[0.0]]


@given(
    hnp.arrays(np.float64, st.integers(1, 5), elements=st.sampled_from([-0.2, 0.1, 0.3, 0.9])),
    st.sampled_from([0.05, 1.0]),
    st.sampled_from([-1.0, 0.3]),
)
def test_domain_weights_are_a_softmax_or_equal(similarity, temperature, floor):
    weights = domain_weights(similarity, temperature, floor)
    expected = oracles.domain_weights(similarity.tolist(), temperature, floor)
    np.testing.assert_allclose(weights, expected, rtol=1e-12, atol=0)
    assert weights.sum() == pytest.approx(1)


def test_domain_weights_by_hand():
    weights = domain_weights(np.array([0.5, 0.4]), temperature=0.05, floor=0.3)
    assert weights == pytest.approx([1 / (1 + math.exp(-2)), math.exp(-2) / (1 + math.exp(-2))], abs=1e-15)


def test_a_likeness_at_the_floor_counts_and_one_below_does_not():
    assert domain_weights(np.array([0.3, 0.2]), 0.05, 0.3)[0] > 1 / 2
    assert domain_weights(np.array([0.29, 0.2]), 0.05, 0.3).tolist() == [1 / 2, 1 / 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: domain_weights(np.zeros(0), 0.05, 0.3), "at least one domain"),
        (lambda: domain_weights(np.zeros((1, 1)), 0.05, 0.3), "at least one domain"),
        (lambda: domain_weights(np.zeros(1), 0.0, 0.3), "temperature"),
        (lambda: weighted_precision(np.ones((1, 1, 1)), np.ones((1, 1, 2)), np.ones(1)), "do not agree"),
        (lambda: weighted_precision(np.ones((1, 1)), np.ones((1, 1)), np.ones(1)), "do not agree"),
        (lambda: weighted_precision(np.ones((1, 1, 2)), np.ones((1, 1, 2)), np.ones(1)), "do not agree"),
    ],
)
def test_evidence_kernels_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()
