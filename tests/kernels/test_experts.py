import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels.chco import best_heads, expert_confidence, least_losses
from mllctl.kernels.ensemble import softmax

# Uniform and one-hot answers among others.
LOGITS = st.sampled_from([-2000.0, 0.0, 0.0, 1.0, 2000.0])


@st.composite
def experts(draw):
    images, classes, models = draw(st.integers(0, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    probabilities, weights = [], []
    for _ in range(models):
        # Of so many heads none is favoured where all are the same, also by rounding.
        heads = draw(st.sampled_from([1, 2, 4]))
        probabilities.append(softmax(draw(hnp.arrays(np.float64, (images, heads), elements=LOGITS))))
        shares = draw(hnp.arrays(np.float64, (heads, classes), elements=st.sampled_from([0.0, 0.0, 0.5, 1.0])))
        weights.append(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1))
    shape = classes, draw(st.integers(1, 3))
    return probabilities, weights, draw(hnp.arrays(np.int64, shape, elements=st.integers(-1, models - 1)))


@given(experts())
def test_confidence_is_the_weighted_mean_over_the_experts_of_a_class(instance):
    probabilities, weights, members = instance
    found = expert_confidence(probabilities, weights, members)
    assert found.shape == (len(probabilities[0]), len(members))
    lists = [p.tolist() for p in probabilities], [x.tolist() for x in weights], members.tolist()
    expected = oracles.expert_confidence(*lists) if len(probabilities[0]) else found
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), rtol=1e-12, atol=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 40), st.integers(1, 9))
def test_an_image_is_answered_to_the_last_bit_as_if_it_were_alone(seed, images, heads, classes):
    random = np.random.default_rng(seed)
    probabilities = [softmax(3 * random.standard_normal((images, heads))) for _ in range(2)]
    weights = [random.dirichlet(np.full(classes, 0.3), heads) for _ in range(2)]
    members = random.integers(-1, 2, (classes, 2))
    together = expert_confidence(probabilities, weights, members)
    alone = [expert_confidence([p[[x]] for p in probabilities], weights, members)[0] for x in range(images)]
    assert together.tolist() == np.stack(alone).tolist()


def test_confidence_by_hand():
    # Two heads and four: H = log 2 / 2 log 2 of what four heads can have is 1/2, and one-hot is 0.
    sure, half = np.array([[1.0, 0.0]]), np.array([[1 / 2, 1 / 2, 0.0, 0.0]])
    weights = [np.array([[1.0], [0.0]]), np.array([[1 / 4], [1.0], [0.0], [0.0]])]
    found = expert_confidence([sure, half], weights, np.array([[0, 1]]))
    by_weight = (1 * 1 + 1 / 2 * (1 / 2 * 1 / 4 + 1 / 2 * 1)) / (1 + 1 / 2)
    assert found[0, 0] == pytest.approx(by_weight, abs=1e-15)


@pytest.mark.parametrize("heads", [2, 4])
def test_experts_that_know_nothing_weigh_the_same(heads):
    idle = np.full((1, heads), 1 / heads)
    said = np.zeros((heads, 1))
    said[0] = 1
    assert (
        expert_confidence([idle, np.ones((1, 1))], [said, np.ones((1, 1))], np.array([[0, 1]])) == (1 / heads + 1) / 2
    )


def test_an_expert_of_one_head_is_silent_beside_another_and_answers_alone():
    probabilities, weights = [np.ones((1, 1)), np.array([[1.0, 0.0]])], [np.ones((1, 1)), np.array([[1 / 4], [0.0]])]
    assert expert_confidence(probabilities, weights, np.array([[0, 1]])).tolist() == [[1 / 4]]
    assert expert_confidence(probabilities, weights, np.array([[0, -1]])).tolist() == [[1]]


def test_a_class_without_experts_has_confidence_zero():
    assert expert_confidence([np.ones((2, 1))], [np.ones((1, 1))], np.array([[-1, -1]])).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    ("probabilities", "weights", "members", "message"),
    [
        ([], [], np.zeros((1, 1), dtype=int), "must be of the same models"),
        ([np.ones((1, 1))], [], np.zeros((1, 1), dtype=int), "must be of the same models"),
        ([np.ones((1, 2))], [np.ones((1, 1))], np.zeros((1, 1), dtype=int), "do not agree"),
        ([np.ones((1, 1)), np.ones((2, 1))], [np.ones((1, 1))] * 2, np.zeros((1, 1), dtype=int), "do not agree"),
        ([np.ones((1, 1))], [np.ones((1, 2))], np.zeros((1, 1), dtype=int), "do not agree"),
        ([np.ones((1, 1))], [np.ones((1, 1))], np.zeros(1, dtype=int), "do not agree"),
        ([np.ones((1, 1))], [np.ones((1, 1))], np.ones((1, 1), dtype=int), "members must be models 0..0"),
        ([np.ones((1, 1))], [np.ones((1, 1))], np.array([[-2]]), "members must be models 0..0"),
    ],
)
def test_confidence_refuses(probabilities, weights, members, message):
    with pytest.raises(ValueError, match=message):
        expert_confidence(probabilities, weights, members)


LOSSES = st.sampled_from([0.0, 0.5, 0.5, 1.0, math.inf, math.nan])


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 3)), elements=LOSSES),
    st.integers(1, 6),
    st.sampled_from([-1.0, 0.5, 1.0, math.inf]),
)
def test_the_least_losses_are_a_sort_of_those_at_or_under_the_threshold(losses, k, threshold):
    found = least_losses(losses, k, threshold)
    assert found.shape == (losses.shape[1], k)
    assert found.tolist() == oracles.least_losses(losses.tolist(), k, threshold)


def test_without_models_no_class_has_one():
    assert least_losses(np.zeros((0, 2)), 2, 1.0).tolist() == [[-1, -1], [-1, -1]]


@pytest.mark.parametrize(
    ("losses", "k", "threshold", "message"),
    [
        (np.zeros(2), 1, 1.0, "losses must have shape"),
        (np.zeros((2, 2)), 0, 1.0, "k must be at least 1"),
        (np.zeros((2, 2)), 1, math.nan, "threshold must not be NaN"),
    ],
)
def test_least_losses_refuse(losses, k, threshold, message):
    with pytest.raises(ValueError, match=message):
        least_losses(losses, k, threshold)


@st.composite
def single_heads(draw):
    images, heads, classes = draw(st.integers(0, 6)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    logits = draw(hnp.arrays(np.float64, (images, heads), elements=LOGITS))
    return softmax(logits), draw(hnp.arrays(np.int64, images, elements=st.integers(-1, classes - 1))), classes


@given(single_heads())
def test_the_best_head_has_the_least_balanced_cross_entropy(instance):
    probability, truth, classes = instance
    heads, losses = best_heads(probability, truth, classes)
    expected = oracles.best_heads(probability.tolist(), truth.tolist(), classes)
    np.testing.assert_allclose(losses, [loss for _, loss in expected], rtol=1e-12, atol=1e-12)
    # The oracle adds in another order, so heads may differ where losses tie: what is named must cost what is said.
    for c, head in enumerate(heads.tolist()):
        of_head = oracles.best_heads(probability[:, [max(head, 0)]].tolist(), truth.tolist(), classes)[c]
        assert of_head == (min(head, 0), pytest.approx(losses[c], rel=1e-12, abs=1e-12))


def test_best_heads_by_hand():
    probability, truth = np.array([[3 / 4, 1 / 4], [1 / 2, 1 / 2], [1 / 4, 3 / 4]]), np.array([0, 0, 1])
    heads, losses = best_heads(probability, truth, 3)
    assert heads.tolist() == [0, 1, -1]
    of_0 = (-math.log(3 / 4) - math.log(1 / 2)) / 2 - math.log(1 - 1 / 4)
    of_1 = -math.log(3 / 4) - (math.log(1 - 1 / 4) + math.log(1 - 1 / 2)) / 2
    assert losses == pytest.approx([of_0, of_1, math.inf], abs=1e-15)


def test_equal_heads_tie_to_the_lowest_and_a_probability_of_zero_costs_what_it_does_in_torch():
    probability = np.tile(softmax(np.random.default_rng(0).standard_normal((50, 1))), (1, 5)) / 3
    assert best_heads(probability, np.arange(50) % 3, 3)[0].tolist() == [0, 0, 0]
    assert best_heads(np.array([[0.0], [1.0]]), np.array([0, 1]), 2)[1].tolist() == [200.0, 0.0]


@pytest.mark.parametrize(
    ("probability", "truth", "message"),
    [
        (np.ones(2), np.zeros(2, dtype=int), "must be"),
        (np.ones((2, 0)), np.zeros(2, dtype=int), "must be"),
        (np.ones((2, 1)), np.zeros(3, dtype=int), "must be"),
        (np.ones((2, 1)), np.array([0, 2]), "truth must be a class 0..1 or -1"),
        (np.ones((2, 1)), np.array([0, -2]), "truth must be a class 0..1 or -1"),
    ],
)
def test_best_heads_refuse(probability, truth, message):
    with pytest.raises(ValueError, match=message):
        best_heads(probability, truth, 2)
