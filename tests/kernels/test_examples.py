import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
from mllctl.kernels.examples import blended_precision, chance_better, worth_of_names
from mllctl.kernels.reuse import best_models, reuse_metric


@st.composite
def worlds(draw, most=4):
    """Few models and classes, few values of each, many classes without images: ties come up all the time."""
    models, classes = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    cells = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=models * classes, max_size=models * classes)
    prior = np.array(draw(cells)).reshape(models, classes)
    images = np.array(draw(st.lists(st.integers(0, most), min_size=classes, max_size=classes)))
    hits = (np.array(draw(cells)).reshape(models, classes) * images).astype(np.int64)
    return prior, hits, images


# -- by hand ------------------------------------------------------------------------------------------


def test_what_a_model_does_better_on_one_class_is_in_part_believed_of_the_others():
    # Expected a half on both classes; 2 of 2 on the first, of which nothing is known on the second.
    blend = blended_precision(np.array([[0.5, 0.5]]), np.array([[2, 0]]), np.array([2, 0]), worth=4, strength=2)
    says = 2 * 2 / (2 + 2)
    better = says * (1 - 0.5) / (says + 4)
    assert blend.mean.tolist() == [[0.5 + better + 2 / 4 * (0.5 - better), 0.5 + better]]
    assert blend.held.tolist() == [1 / 2, 1]
    mean = np.clip(blend.mean, 1e-3, 1 - 1e-3).mean()
    assert blend.shared.tolist() == pytest.approx([mean * (1 - mean) / (1 + 4)])


def test_names_are_worth_the_less_the_further_the_nodes():
    near, far = np.array([1.0, 0.5]), np.array([0.1, 0.0])
    assert worth_of_names(near, np.array([True, True])) == 16 / max((0 + 0.5) / 2, 0.25)
    assert worth_of_names(far, np.array([True, False])) == pytest.approx(16 / ((0.9 + 2) / 2))


def test_the_chance_by_hand():
    # No image: what parts the models is 0.2, and all of what could is the prior's.
    prior = np.array([[0.6, 0.6], [0.4, 0.4]])
    images = np.array([0, 0])
    blend = blended_precision(prior, np.zeros((2, 2), np.int64), images, worth=10, strength=2)
    variance = 0.6 * 0.4 + 0.4 * 0.6
    deviation = math.sqrt(variance * (1 / 10 + 2 * (1 / (2 + 1)) / 2**2))
    right = np.zeros((2, 0), dtype=bool)
    chance = chance_better(blend, right, images, 0, 1, worth=10, strength=2)
    assert chance == pytest.approx(0.5 * (1 + math.erf(0.2 / deviation / math.sqrt(2))))
    assert chance_better(blend, right, images, 1, 0, worth=10, strength=2) == pytest.approx(1 - chance)
    assert chance_better(blend, right, images, 0, 0, worth=10, strength=2) == 0.5


def test_models_that_are_right_on_the_same_images_are_told_apart_sooner():
    images = np.array([8, 8])
    apart = np.array([[1] * 12 + [0] * 4, [0] * 4 + [1] * 8 + [0] * 4], dtype=bool)
    crossed = np.array([[1] * 12 + [0] * 4, [0] * 8 + [1] * 8], dtype=bool)
    prior = np.full((2, 2), 0.5)
    chances = []
    for right in (apart, crossed):
        hits = np.stack([right[:, :8].sum(axis=1), right[:, 8:].sum(axis=1)], axis=1)
        blend = blended_precision(prior, hits, images, worth=10)
        chances.append(chance_better(blend, right, images, 0, 1, worth=10))
    assert chances[0] > chances[1] > 0.5


# -- properties ---------------------------------------------------------------------------------------


@given(worlds(), st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_without_images_models_are_ranked_as_names_have_it_ties_included(world, alpha):
    prior, hits, images = world
    blend = blended_precision(prior, 0 * hits, 0 * images, worth=32)
    assert (blend.mean == prior).all()
    assert (best_models(reuse_metric(blend.mean, alpha), 9) == best_models(reuse_metric(prior, alpha), 9)).all()


@given(worlds(), st.sampled_from([0.5, 2, 64]), st.sampled_from([1, 32, 500]))
def test_it_is_a_normal_belief_conditioned_on_what_was_seen(world, strength, worth):
    prior, hits, images = world
    blend = blended_precision(prior, hits, images, worth, strength)
    for m in range(len(prior)):
        exact = [[Fraction(x) for x in row.tolist()] for row in (prior[m], hits[m], images)]
        plain = oracles.blended_precision(*exact, Fraction(worth), Fraction(strength))
        assert blend.mean[m].tolist() == pytest.approx([float(x) for x in plain], abs=1e-12)


@given(worlds())
def test_with_ever_more_images_it_is_what_was_measured(world):
    prior, hits, images = world
    images = images + 1
    distances = []
    for times in (1, 10**2, 10**4, 10**6):
        blend = blended_precision(prior, hits * times, images * times, worth=32)
        distances.append(np.abs(blend.mean - hits / images).max())
    assert distances[-1] < 1e-4
    assert distances[1] >= distances[2] >= distances[3] or distances[0] == 0


@given(worlds(), st.randoms())
def test_the_order_of_classes_and_models_changes_nothing_but_the_order(world, random):
    prior, hits, images = world
    models, classes = list(range(len(prior))), list(range(len(images)))
    random.shuffle(models)
    random.shuffle(classes)
    straight = blended_precision(prior, hits, images, worth=32)
    shuffled = blended_precision(prior[models][:, classes], hits[models][:, classes], images[classes], worth=32)
    np.testing.assert_allclose(shuffled.mean, straight.mean[models][:, classes], atol=1e-12)


@given(worlds())
def test_a_hit_more_never_lowers_what_is_believed_of_any_class(world):
    prior, hits, images = world
    missed = np.argwhere(hits < images)
    if len(missed):
        m, c = missed[0]
        more = hits.copy()
        more[m, c] += 1
        before, after = (blended_precision(prior, h, images, worth=32).mean for h in (hits, more))
        assert (after[m] >= before[m] - 1e-12).all()
        assert after[m, c] > before[m, c]


@given(worlds())
def test_beliefs_about_means_hold_the_mean_and_are_worth_more_than_nothing(world):
    prior, hits, images = world
    blend = blended_precision(prior, hits, images, worth=32)
    classes = len(images)
    told = blend.combined(np.eye(classes))
    assert told.mean.tolist() == np.clip(blend.mean, 0, 1).tolist()
    mean = blend.combined(np.full((classes, 1), 1 / classes))
    assert (told.images > 0).all()
    assert (mean.images > 0).all()
    low, high = mean.interval()
    assert (low <= np.clip(mean.mean, 1e-3, 1 - 1e-3)).all()
    assert (np.clip(mean.mean, 1e-3, 1 - 1e-3) <= high).all()


def test_the_interval_of_a_mean_holds_the_truth_in_about_as_many_cases_as_it_says():
    random = np.random.default_rng(0)
    held = []
    for _ in range(400):
        classes, worth, strength = 20, 30.0, 4.0
        prior = random.uniform(0.2, 0.6, (1, classes))
        better = random.normal(0, math.sqrt(0.24 / worth))
        truth = np.clip(prior + better + random.normal(0, math.sqrt(0.24 / strength), (1, classes)), 0, 1)
        images = random.integers(0, 4, classes)
        blend = blended_precision(prior, random.binomial(images, truth), images, worth, strength)
        low, high = blend.combined(np.full((classes, 1), 1 / classes)).interval()
        held.append(low[0, 0] <= truth.mean() <= high[0, 0])
    assert 0.84 <= np.mean(held) <= 0.96


# -- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hits": np.zeros((2, 3), np.int64)}, "do not agree"),
        ({"images": np.zeros(3, np.int64)}, "do not agree"),
        ({"hits": np.full((2, 2), 0.5), "images": np.ones(2, np.int64)}, "hits must be whole numbers, got float64"),
        ({"images": np.full(2, 1.5)}, "images must be whole numbers"),
        ({"hits": np.full((2, 2), 9)}, "hits must be between 0 and images"),
        ({"hits": np.full((2, 2), -1)}, "hits must be between 0 and images"),
        ({"worth": 0}, "worth must be above 0, got 0"),
        ({"strength": -1}, "strength must be above 0, got -1"),
    ],
)
def test_what_makes_no_counts_is_refused(changed, message):
    given = {"prior": np.zeros((2, 2)), "hits": np.zeros((2, 2), np.int64), "images": np.full(2, 2), "worth": 1.0}
    with pytest.raises(ValueError, match=message):
        blended_precision(**{**given, **changed})
