import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels.calibration import HIGHEST, LOWEST, fit_temperature, shrink_temperatures
from mllctl.kernels.ensemble import softmax


@st.composite
def shown(draw):
    """Logits of few distinct values, so that ties are common, the truth, and weights, of which one is above 0."""
    images, classes = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    logits = draw(hnp.arrays(np.float64, (images, classes), elements=st.sampled_from([-3.0, 0.0, 0.0, 1.0, 2.5, 40.0])))
    truth = draw(hnp.arrays(np.int64, images, elements=st.integers(0, classes - 1)))
    weight = draw(hnp.arrays(np.float64, images, elements=st.sampled_from([0.0, 1e-9, 1.0, 1.0, 3.0])))
    weight[draw(st.integers(0, images - 1))] = 1.0
    return logits, truth, weight


def loss(logits, truth, weight, temperature):
    return oracles.negative_log_likelihood(logits.tolist(), truth.tolist(), weight.tolist(), temperature)


@given(shown())
def test_no_temperature_in_the_range_has_a_smaller_loss(instance):
    logits, truth, weight = instance
    found = fit_temperature(logits, truth, weight)
    assert LOWEST <= found <= HIGHEST
    best = oracles.fit_temperature(logits.tolist(), truth.tolist(), weight.tolist(), LOWEST, HIGHEST)
    for other in (best, LOWEST, 1.0, HIGHEST):
        assert loss(logits, truth, weight, found) <= loss(logits, truth, weight, other) * (1 + 1e-12) + 1e-12


@given(shown())
def test_weights_are_repetitions(instance):
    logits, truth, weight = instance
    times = weight.astype(np.int64)
    again = fit_temperature(np.repeat(logits, times, axis=0), np.repeat(truth, times))
    assert again == pytest.approx(fit_temperature(logits, truth, times.astype(np.float64)))


@given(shown(), st.floats(-50, 50))
def test_what_is_added_to_all_logits_of_an_image_changes_nothing(instance, added):
    logits, truth, _ = instance
    shifted = logits + added * np.arange(len(logits))[:, None]
    found = [fit_temperature(each, truth) for each in (logits, shifted)]
    weight = np.ones(len(truth))
    assert loss(logits, truth, weight, found[0]) == pytest.approx(loss(logits, truth, weight, found[1]), abs=1e-9)


@pytest.mark.parametrize("times", [0.2, 3.0])
def test_logits_that_are_times_as_large_need_a_temperature_that_is(times):
    random = np.random.default_rng(0)
    logits, truth = random.normal(size=(200, 5)), random.integers(0, 5, 200)
    logits[np.arange(200), truth] += 1
    assert fit_temperature(times * logits, truth) == pytest.approx(times * fit_temperature(logits, truth), rel=1e-8)


def test_temperature_by_hand():
    # Two classes 2 apart, right three times of four: softmax([2, 0] / T) must be 3/4, and exp(2 / T) = (3/4) / (1/4).
    logits = np.tile([2.0, 0.0], (4, 1))
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(2 / math.log(3), rel=1e-9)
    # One of the two wrong, which counts a ninth of the other.
    assert fit_temperature(logits[:2], np.array([0, 1]), np.array([9.0, 1.0])) == pytest.approx(2 / math.log(9))


def test_the_temperature_that_truth_was_drawn_at_is_found():
    random = np.random.default_rng(1)
    logits = 4 * random.normal(size=(20_000, 6))
    truth = (softmax(logits / 2.5).cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    assert fit_temperature(logits, np.minimum(truth, 5)) == pytest.approx(2.5, rel=0.03)


def test_a_model_that_is_always_right_is_never_too_sure():
    assert fit_temperature(np.array([[1.0, 0.0], [0.0, 5.0]]), np.array([0, 1])) == LOWEST
    # Right by so much that the slope underflows.
    assert fit_temperature(np.array([[4000.0, 0.0]]), np.array([0])) == LOWEST


@pytest.mark.parametrize("truth", [[1, 1], [0, 1]])
def test_a_model_that_knows_no_more_than_chance_is_always_too_sure(truth):
    assert fit_temperature(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array(truth)) == HIGHEST


@pytest.mark.parametrize("logits", [np.zeros((3, 2)), np.full((3, 4), 7.5), np.array([[3.0], [-1.0], [0.0]])])
def test_a_temperature_that_changes_nothing_is_one(logits):
    assert fit_temperature(logits, np.zeros(3, dtype=np.int64)) == 1


def test_what_is_no_evidence_is_refused():
    logits, truth = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])
    for few in (fit_temperature_of_none, lambda: fit_temperature(logits, truth, np.zeros(2))):
        with pytest.raises(ValueError, match="at least one image that counts"):
            few()
    with pytest.raises(ValueError, match=r"logits \(2, 2\), truth \(1,\) must have shapes"):
        fit_temperature(logits, truth[:1])
    with pytest.raises(ValueError, match=r"weight \(1,\)"):
        fit_temperature(logits, truth, np.ones(1))
    with pytest.raises(ValueError, match=r"truth must be a class 0\.\.1"):
        fit_temperature(logits, np.array([0, 2]))
    with pytest.raises(ValueError, match="logits must be finite"):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]))
    for weight in ([-1.0, 2.0], [np.inf, 1.0]):
        with pytest.raises(ValueError, match="weight must be finite and at least 0"):
            fit_temperature(logits, truth, np.array(weight))


def fit_temperature_of_none():
    return fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))


# -- several models ---------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([0.05, 0.5, 1.0, 2.0, 20.0]), min_size=1, max_size=6), st.sampled_from([0, 1, 50, 1e6]))
def test_models_are_drawn_towards_their_geometric_mean(fitted, images):
    found = shrink_temperatures(np.array(fitted), images, 50.0)
    assert found.tolist() == pytest.approx(oracles.shrink_temperatures(fitted, images, 50.0))


def test_shrinking_by_hand():
    # Half way, in logarithms, from 1 and 4 to 2.
    assert shrink_temperatures(np.array([1.0, 4.0]), 30, 30).tolist() == pytest.approx([math.sqrt(2), math.sqrt(8)])
    assert shrink_temperatures(np.array([3.0]), 1, 30).tolist() == pytest.approx([3])
    assert shrink_temperatures(np.zeros(0), 1, 30).tolist() == []


@pytest.mark.parametrize(
    ("fitted", "images", "strength"), [([0.0], 1, 1), ([[1.0]], 1, 1), ([1.0], -1, 1), ([1.0], 1, 0)]
)
def test_shrinking_refuses_what_is_out_of_range(fitted, images, strength):
    with pytest.raises(ValueError, match="must"):
        shrink_temperatures(np.array(fitted), images, strength)
