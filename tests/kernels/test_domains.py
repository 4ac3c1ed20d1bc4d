import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllctl.kernels.domains import domain_mixture, domain_scores

# -- scores -------------------------------------------------------------------------------------------


def test_scores_by_hand():
    # Two domains on a line, at -1 and 1, half a unit to each side of their means: the variance within is 1/4.
    known, domain = np.array([[-1.5], [-0.5], [0.5], [1.5]]), np.array([0, 0, 1, 1])
    score = domain_scores(known, domain, 2, np.array([[0.0], [0.3]]), shrink=0.5)
    assert score[0].tolist() == pytest.approx([-(1 / 2) * 4] * 2)
    assert score[1, 1] - score[1, 0] == pytest.approx(0.3 * (1 - -1) * 4)


def test_a_domain_without_images_is_unlike_anything():
    score = domain_scores(np.eye(2), np.array([0, 2]), 3, np.ones((4, 2)))
    assert np.isneginf(score[:, 1]).all()
    assert domain_mixture(score, np.full(3, 0.1))[1] == pytest.approx(0.1 / 4.3)


def test_fewer_images_than_dimensions_are_enough():
    random = np.random.default_rng(0)
    centre = random.normal(size=(2, 50))
    known = np.repeat(centre, 5, axis=0) + 0.1 * random.normal(size=(10, 50))
    seen = centre[[1, 1, 0]] + 0.1 * random.normal(size=(3, 50))
    assert domain_scores(known, np.repeat([0, 1], 5), 2, seen).argmax(axis=1).tolist() == [1, 1, 0]


def test_images_that_are_all_alike_tell_nothing():
    score = domain_scores(np.ones((4, 3)), np.array([0, 0, 1, 1]), 2, np.ones((2, 3)))
    assert np.isfinite(score).all()
    assert (score[:, 0] == score[:, 1]).all()


@pytest.mark.parametrize(
    ("known", "domain", "unknown", "shrink", "message"),
    [
        (np.ones((2, 3)), np.zeros(3, int), np.ones((1, 3)), 0.1, "must be"),
        (np.ones((2, 3)), np.zeros(2, int), np.ones((1, 2)), 0.1, "must be"),
        (np.ones((0, 3)), np.zeros(0, int), np.ones((1, 3)), 0.1, "must be"),
        (np.ones((2, 3)), np.zeros(2, int), np.ones((1, 3)), 0.0, "shrink must be in"),
    ],
)
def test_what_tells_no_domain_is_refused(known, domain, unknown, shrink, message):
    with pytest.raises(ValueError, match=message):
        domain_scores(known, domain, 2, unknown, shrink)


# -- mixture ------------------------------------------------------------------------------------------

scores = st.integers(0, 5).flatmap(
    lambda n: st.lists(st.lists(st.sampled_from([-3.0, 0.0, 1.0]), min_size=3, max_size=3), min_size=n, max_size=n).map(
        lambda rows: np.array(rows, dtype=np.float64).reshape(-1, 3)
    )
)


def test_images_of_certain_domain_are_counted():
    score = np.where(np.eye(2)[[0, 0, 0, 1]] > 0, 0.0, -np.inf)
    assert domain_mixture(score, np.full(2, 0.5)).tolist() == pytest.approx([3.5 / 5, 1.5 / 5])


@given(scores, st.lists(st.sampled_from([0.1, 1.0, 5.0]), min_size=3, max_size=3))
def test_the_mixture_is_a_fixed_point_and_as_likely_as_any_near_it(score, prior):
    prior = np.array(prior)
    found = domain_mixture(score, prior)
    assert found.sum() == pytest.approx(1)
    if not len(score):
        assert found.tolist() == pytest.approx((prior / prior.sum()).tolist())

    def likely(share):
        return sum(math.log(np.exp(row) @ share) for row in score) + prior @ np.log(share)

    random = np.random.default_rng(0)
    for _ in range(20):
        other = np.maximum(found * np.exp(0.1 * random.normal(size=3)), 1e-12)
        assert likely(found) >= likely(other / other.sum()) - 1e-6


@given(scores, st.randoms())
def test_the_order_of_images_does_not_matter(score, random):
    order = list(range(len(score)))
    random.shuffle(order)
    prior = np.full(3, 1 / 3)
    np.testing.assert_allclose(domain_mixture(score[order], prior), domain_mixture(score, prior), atol=1e-6)


@pytest.mark.parametrize(
    ("score", "prior", "message"),
    [
        (np.zeros((2, 3)), np.ones(2), "must share"),
        (np.zeros((2, 3)), np.zeros(3), "above 0"),
        (np.full((2, 3), -np.inf), np.ones(3), "finite"),
        (np.full((2, 3), np.nan), np.ones(3), "finite"),
    ],
)
def test_what_is_no_mixture_is_refused(score, prior, message):
    with pytest.raises(ValueError, match=message):
        domain_mixture(score, prior)
