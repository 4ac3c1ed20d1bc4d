import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import LinearConstraint, minimize

import oracles
from mllctl.kernels.chco import combine_heads, combine_heads_of_models, head_probability

# Few distinct values: identical heads, identical classes and ties; with -inf, heads that never say a class.
TIES = st.sampled_from([0.0, 0.0, 1.0, 3.0])
HARD = st.sampled_from([-math.inf, -800.0, 0.0, 0.0, 2.0, 60.0])


def logits_of(elements, heads=6, classes=4):
    return hnp.arrays(np.float64, st.tuples(st.integers(1, heads), st.integers(1, classes)), elements=elements)


def possible(logits):
    """The same with a head for each class, if none was left."""
    return np.where(np.isneginf(logits.max(axis=0)) & (np.arange(len(logits)) == 0)[:, None], 0.0, logits)


def assert_certified(logits, found, tolerance):
    """X is feasible, losses are those of X, and the gap is that of X and within the tolerance."""
    assert found.weights.shape == logits.shape
    assert (found.weights >= 0).all()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, atol=1e-9)
    assert np.isfinite(found.losses).all()
    assert (found.losses >= 0).all()
    assert 0 <= found.gap <= tolerance
    probability = head_probability(logits)
    reached = found.weights.T @ probability
    classes = len(reached)
    price = 1 / np.maximum(1 - reached, 1e-16) / max(classes - 1, 1)
    np.fill_diagonal(price, -1 / reached.diagonal())
    gradient = probability @ price.T
    gap = (found.weights * gradient).sum() - np.minimum(gradient.min(axis=1), 0).sum()
    assert gap <= tolerance + 1e-9
    missed = -np.log1p(-np.where(np.eye(classes, dtype=bool), 0, reached)).sum(axis=1)
    losses = -np.log(reached.diagonal()) + missed / max(classes - 1, 1)
    np.testing.assert_allclose(found.losses, losses, atol=1e-12)


@given(logits_of(TIES))
def test_combinations_are_certified_where_heads_and_classes_are_the_same(logits):
    assert_certified(logits, combine_heads(logits, 1e-10), 1e-10)


@given(logits_of(HARD))
def test_combinations_are_certified_where_probabilities_are_zero(logits):
    logits = possible(logits)
    assert_certified(logits, combine_heads(logits), 1e-4)


@settings(max_examples=30)
@given(logits_of(TIES, 4, 3))
def test_losses_are_those_of_the_gradient_steps_of_the_paper(logits):
    found = combine_heads(logits, 1e-10)
    _, losses, gap = oracles.combine_heads(logits.tolist(), 1e-5, 60)
    assert sum(losses) - gap - 1e-9 <= found.losses.sum() <= sum(losses) + 1e-9
    # L is strongly convex in Q, so a loss is as near as the root of the gap that the sweeps reached.
    np.testing.assert_allclose(found.losses, losses, atol=3 * math.sqrt(gap) + 1e-4)
    probability = oracles.head_probability(logits.tolist())
    assert oracles.combination_losses(found.weights.tolist(), probability) == pytest.approx(found.losses, abs=1e-9)
    assert oracles.combination_gap(found.weights.tolist(), probability) == pytest.approx(found.gap, abs=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(2, 4), st.sampled_from([0.3, 1.0, 4.0]))
def test_no_solver_that_knows_only_the_loss_finds_a_lower_one(seed, heads, classes, scale):
    logits = scale * np.random.default_rng(seed).standard_normal((heads, classes))
    probability = head_probability(logits)

    def loss(flat):
        reached = np.clip(flat.reshape(logits.shape).T @ probability, 1e-12, 1 - 1e-12)
        missed = np.where(np.eye(classes, dtype=bool), 0, np.log(1 - reached)).sum() / (classes - 1)
        return -np.log(reached.diagonal()).sum() - missed

    rows = LinearConstraint(np.kron(np.eye(heads), np.ones(classes)), -np.inf, 1)
    start = np.full(logits.size, 1 / classes)
    options = {"ftol": 1e-10, "maxiter": 300}
    least = minimize(loss, start, bounds=[(0, 1)] * logits.size, constraints=rows, method="SLSQP", options=options)
    found = combine_heads(logits, 1e-10)
    assert found.losses.sum() <= loss(np.clip(least.x, 0, 1)) + 1e-6
    assert loss(found.weights.ravel()) == pytest.approx(found.losses.sum(), abs=1e-9)
    if least.success:
        assert found.losses.sum() == pytest.approx(least.fun, abs=1e-4)


def tied(heads, classes, strength, scale=1.0, seed=0):
    """Like a real classifier: a class has a few heads of its own, and heads overlap."""
    random = np.random.default_rng(seed)
    logits = random.standard_normal((heads, classes))
    for c in range(classes):
        own = random.choice(heads, min(heads, 1 + random.poisson(1)), replace=False)
        logits[own, c] += strength * random.uniform(0.5, 1, len(own))
    return scale * logits


BY_NAME = {
    "one head": tied(1, 9, 2),
    "one class": tied(12, 1, 2),
    "one of each": np.zeros((1, 1)),
    "identical heads": np.zeros((40, 7)),
    "heads that differ by rounding": 1e-12 * tied(30, 6, 2),
    "identical rows": np.repeat(tied(20, 8, 5), 3, axis=0),
    "identical classes": np.repeat(tied(20, 4, 5), 3, axis=1),
    "one class many times": np.repeat(tied(30, 1, 5), 12, axis=1),
    "fewer heads than classes": tied(5, 20, 9),
    "losses below rounding": 60 * np.eye(9),
    "losses below rounding, idle heads": np.vstack([60 * np.eye(9), np.full((5, 9), -1.0)]),
    "underflow": tied(60, 12, 9, scale=500),
    "offset": tied(40, 10, 6) + 1e6,
    "offset by class": tied(40, 10, 6) + 1e4 * np.arange(10),
    "beyond float64": np.where(tied(20, 6, 1) > 0.5, 1.7e308, -1.7e308),
    "split": tied(15, 12, 3, scale=0.3),
    "flat": tied(200, 30, 5, scale=0.2),
    "tied": tied(300, 40, 9),
    "float32": tied(50, 10, 9).astype(np.float32),
    "rounded": np.random.default_rng(0).integers(0, 2, (30, 6)) * 5.0,
}
BY_NAME["one head has all"] = np.full((30, 6), -np.inf)
BY_NAME["one head has all"][7] = 0.0


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-10])
@pytest.mark.parametrize("name", BY_NAME)
def test_hard_cases_are_certified(name, tolerance):
    assert_certified(BY_NAME[name], combine_heads(BY_NAME[name], tolerance), tolerance)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_wide_tolerance_finds_almost_the_same_losses(name):
    near, far = combine_heads(BY_NAME[name], 1e-10), combine_heads(BY_NAME[name], 1e-4)
    np.testing.assert_allclose(far.losses, near.losses, atol=2e-2)
    assert near.losses.sum() - 1e-9 <= far.losses.sum() <= near.losses.sum() + far.gap + 1e-9


def test_one_head_by_hand():
    # Q[c,c'] = x[c], so by symmetry x = 1/C.
    found = combine_heads(np.array([[5.0, -3.0, 0.0]]), 1e-12)
    np.testing.assert_allclose(found.weights, [[1 / 3, 1 / 3, 1 / 3]], rtol=1e-5)
    np.testing.assert_allclose(found.losses, -math.log(1 / 3) - math.log(1 - 1 / 3), rtol=1e-5)


def test_one_class_takes_all_heads():
    found = combine_heads(np.array([[1.0], [2.0]]))
    assert found.weights.tolist() == [[1.0], [1.0]]
    assert found.losses.tolist() == [0.0]
    assert found.gap == 0


def test_two_heads_by_hand():
    # P = [[3/4, 1/4], [1/4, 3/4]]: each class takes its head, L = -log 3/4 - log(1 - 1/4) for both.
    found = combine_heads(np.log(np.array([[3.0, 1.0], [1.0, 3.0]])), 1e-12)
    np.testing.assert_allclose(found.weights, np.eye(2), atol=1e-9)
    np.testing.assert_allclose(found.losses, 2 * -math.log(3 / 4), rtol=1e-9)


def test_a_loss_far_below_rounding_is_a_number():
    # Nine heads, one for each class: 1 - Q[c,c] = 8 / e^60, and each Q[c,c'] = 1 / e^60.
    found = combine_heads(60 * np.eye(9))
    np.testing.assert_allclose(found.losses, (8 + 1) * math.exp(-60), rtol=1e-6)


def test_classes_do_not_depend_on_an_offset():
    logits = tied(40, 10, 6)
    np.testing.assert_allclose(combine_heads(logits + 2.0**20).losses, combine_heads(logits).losses, atol=1e-4)


def test_identical_heads_have_identical_weights():
    found = combine_heads(np.repeat(tied(20, 8, 5), 3, axis=0)).weights
    np.testing.assert_array_equal(found[::3], found[1::3])


def test_heads_with_one_key_and_different_rows_stay_apart(monkeypatch):
    # A generator of nothing but zeros makes all odd numbers 1, and the key of a row the sum of its bits.
    class Zeros:
        def integers(self, low, high, size, dtype):
            return np.zeros(size, dtype)

    logits = np.log(np.array([[3.0, 1.0], [1.0, 3.0], [3.0, 1.0]]))
    expected = combine_heads(logits)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: Zeros())
    found = combine_heads(logits)
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_a_tolerance_that_is_not_reached_is_reported_and_not_an_error():
    logits = tied(200, 30, 5, scale=0.2)
    gaps = [combine_heads(logits, 1e-4, steps) for steps in (0, 1, 2, 100)]
    assert gaps[0].gap > 1e-4
    least = gaps[-1].losses.sum()
    assert all(found.gap >= found.losses.sum() - least - 1e-9 for found in gaps)
    assert [found.losses.sum() for found in gaps] == sorted([found.losses.sum() for found in gaps], reverse=True)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_tolerance_below_rounding_ends(name):
    found = combine_heads(BY_NAME[name], 1e-300)
    assert found.gap < 1e-11
    assert_certified(BY_NAME[name], found, 1e-11)


def test_the_same_logits_give_the_same_weights():
    first, second = (combine_heads(tied(60, 12, 4)) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)


def test_logits_are_not_changed():
    logits = tied(20, 5, 4)
    before = logits.copy()
    combine_heads(logits)
    np.testing.assert_array_equal(logits, before)


def test_models_are_combined_as_if_alone():
    models = [tied(heads, 6, 4, seed=heads) for heads in (1, 7, 20)]
    for alone, together in zip(map(combine_heads, models), combine_heads_of_models(models), strict=True):
        np.testing.assert_array_equal(alone.weights, together.weights)
    assert combine_heads_of_models([]) == []


@pytest.mark.parametrize(
    ("logits", "change", "message"),
    [
        (np.zeros(3), {}, "mean_logits must have shape"),
        (np.zeros((0, 3)), {}, "mean_logits must have shape"),
        (np.zeros((3, 0)), {}, "mean_logits must have shape"),
        (np.array([[math.nan]]), {}, "must not contain NaN or plus infinity"),
        (np.array([[math.inf]]), {}, "must not contain NaN or plus infinity"),
        (np.array([[0.0, -math.inf], [0.0, -math.inf]]), {}, "class 1 are minus infinity for all heads"),
        (np.zeros((1, 1)), {"tolerance": 0}, "tolerance must be above 0"),
        (np.zeros((1, 1)), {"tolerance": math.nan}, "tolerance must be above 0"),
        (np.zeros((1, 1)), {"steps": -1}, "steps must be at least 0"),
    ],
)
def test_combinations_refuse(logits, change, message):
    with pytest.raises(ValueError, match=message):
        combine_heads(logits, **change)
