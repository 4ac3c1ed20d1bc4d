import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
from mllctl.kernels.shrinkage import Belief, combined, shrunk_precision

NO_KIN = np.zeros((2, 0), dtype=np.int64)


@st.composite
def worlds(draw):
    """Few models, nodes, domains and images, many of them nothing; kin in a tree of two levels."""
    models, nodes, domains = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    counts = st.integers(0, 4)
    images = np.array(draw(st.lists(counts, min_size=nodes * domains, max_size=nodes * domains)))
    images = np.broadcast_to(images.reshape(1, nodes, domains), (models, nodes, domains)).copy()
    parts = np.array(draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=images.size, max_size=images.size)))
    weights = np.array(draw(st.lists(st.sampled_from([1.0, 0.5, 0.01]), min_size=domains, max_size=domains)))
    # A node of no group, of a group, or of a group within it: numbers say which.
    kin = draw(st.lists(st.sampled_from([(-1, -1), (0, -1), (0, 2), (1, -1), (1, 3)]), min_size=nodes, max_size=nodes))
    return (parts.reshape(images.shape) * images).astype(np.int64), images, weights, np.array(kin)


# -- by hand ------------------------------------------------------------------------------------------


def worth(mean, images, told):
    """What a belief is worth whose prior, a half of it, is estimated from `told` images and has the same mean."""
    variance = mean * (1 - mean) / (images + 1) + (1 / 2) ** 2 * 0.25 / (told + 1)
    return mean * (1 - mean) / variance - 1


def test_a_node_is_weighed_against_what_the_model_shows_on_the_others():
    # Two nodes alike in images: 4 of 4 and 0 of 4, so the model's mean is a half, told by 2 images of each.
    belief = shrunk_precision(np.array([[[4], [0]]]), np.array([[[4], [4]]]), np.ones(1), NO_KIN, strength=4)
    assert belief.mean.tolist() == [[(4 * 1 + 4 * 0.5) / 8, (4 * 0 + 4 * 0.5) / 8]]
    assert belief.images[0].tolist() == pytest.approx([worth(0.75, 8, 2 + 2), worth(0.25, 8, 2 + 2)], rel=1e-12)


def test_kin_speaks_before_the_rest():
    # Nodes 0 and 1 are kin; node 0 has no image, node 1 has 8 of 8, node 2 has 0 of 8; what a node says is 8 * 8 / 16.
    hits, images = np.array([[[0], [8], [0]]]), np.array([[[0], [8], [8]]])
    belief = shrunk_precision(hits, images, np.ones(1), np.array([[0], [0], [-1]]), strength=8, tie=1)
    mean = (4 * 1 + 4 * 0) / 8
    kin = (4 * 1 + 8 * mean) / (4 + 8)
    assert belief.mean[0].tolist() == pytest.approx([kin, (8 * 1 + 8 * kin) / 16, (0 + 8 * mean) / 16], rel=1e-12)


def test_images_of_light_domains_are_worth_less():
    # Weighed 1 and 1/2: eight images weigh 6 and are worth 6^2 / (4 + 4 / 4).
    one = np.zeros((1, 0), np.int64)
    belief = shrunk_precision(np.array([[[4, 0]]]), np.array([[[4, 4]]]), np.array([1.0, 0.5]), one, strength=1)
    e, mean = 6**2 / 5, 4 / 6
    variance = mean * (1 - mean) / (e + 2) + (1 / (e + 1)) ** 2 * mean * (1 - mean) / (e / (e + 1) + 1)
    assert belief.mean[0, 0] == pytest.approx(mean)
    assert belief.images[0, 0] == pytest.approx(mean * (1 - mean) / variance - 1)


def test_means_of_beliefs_by_hand():
    belief = Belief(np.array([[0.5, 0.2]]), np.array([[3.0, 7.0]]))
    both = combined(belief, np.array([[0.5, 0.0], [0.5, 0.0]]))
    variance = 0.25 * (0.25 / 4 + 0.16 / 8)
    assert both.mean.tolist() == [[pytest.approx(0.35), 0]]
    assert both.images[0].tolist() == [pytest.approx(0.35 * 0.65 / variance - 1), 0]
    assert both.variance[0, 0] == pytest.approx(variance)


def test_what_is_not_known_may_be_anything():
    low, high = Belief(np.zeros((1, 1)), np.zeros((1, 1))).interval()
    assert (low.item(), high.item()) == (0, 1)


# -- against the dullest code ---------------------------------------------------------------------------


@given(worlds(), st.sampled_from([0.5, 3.0, 40.0]), st.sampled_from([0.5, 1.0, 64.0]))
def test_beliefs_are_those_of_the_loops(world, strength, tie):
    hits, images, weights, lineage = world
    belief = shrunk_precision(hits, images, weights, lineage, strength, tie)
    for m in range(len(hits)):
        expected = oracles.shrunk_precision(hits[m], images[m], weights, lineage, strength, tie)
        np.testing.assert_allclose(belief.mean[m], [mean for mean, _ in expected], rtol=1e-9)
        np.testing.assert_allclose(belief.images[m], [worth for _, worth in expected], rtol=1e-9)


@given(worlds())
def test_a_belief_is_a_share_and_its_interval_lies_round_it(world):
    belief = shrunk_precision(*world)
    low, high = belief.interval()
    assert (belief.mean > 0).all()
    assert (belief.mean < 1).all()
    assert (low <= high).all()
    assert (low >= 0).all()
    assert (high <= 1).all()


@given(worlds())
def test_the_scale_of_the_weights_does_not_matter(world):
    hits, images, weights, lineage = world
    one, other = (shrunk_precision(hits, images, weights * scale, lineage, 4.0) for scale in (1, 1000))
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-9)
    np.testing.assert_allclose(one.images, other.images, rtol=1e-9)


# -- honesty -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concentration", [1.5, 4, 12, 40])
@pytest.mark.parametrize("nodes", [12, 60, 400])
def test_nine_of_ten_intervals_hold_the_precision_that_was_drawn(nodes, concentration):
    # Populations whose precisions are known: each model has a level, kin shares a part of it, a node the rest, and
    # nodes have 1 to 75 images.
    covered = total = 0
    for seed in range(math.ceil(1200 / nodes)):
        random = np.random.default_rng(seed)
        lineage = np.sort(random.integers(0, max(2, nodes // 8), nodes))[:, None]
        level = random.uniform(0.1, 0.8, (4, 1))
        kin = random.beta(12 * level, 12 * (1 - level), (4, nodes // 8 + 2))[:, lineage[:, 0]]
        kin = np.clip(kin, 0.02, 0.98)
        precision = random.beta(concentration * kin, concentration * (1 - kin))
        images = np.broadcast_to(random.integers(1, 76, nodes), precision.shape)
        hits = random.binomial(images, precision)
        low, high = shrunk_precision(hits[..., None], images[..., None], np.ones(1), lineage).interval(0.9)
        covered += int(((low <= precision) & (precision <= high)).sum())
        total += precision.size
    assert 0.85 <= covered / total <= 0.95


# -- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 2, 1), (1, 2, 2), (1,), (2, 0)), "do not agree"),
        (((1, 2, 1), (1, 2, 1), (2,), (2, 0)), "do not agree"),
        (((1, 2, 1), (1, 2, 1), (1,), (3, 0)), "lineage must have shape"),
    ],
)
def test_shapes_that_do_not_agree_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        shrunk_precision(*(np.zeros(shape, dtype=np.int64) for shape in shapes))


def test_a_strength_of_nothing_is_refused():
    with pytest.raises(ValueError, match="strength must be positive, got 0"):
        shrunk_precision(np.zeros((1, 1, 1), int), np.ones((1, 1, 1), int), np.ones(1), np.zeros((1, 0), int), 0)


def test_where_all_images_are_hits_a_mean_is_still_in_doubt():
    belief = combined(Belief(np.ones((1, 2)), np.full((1, 2), 2.0)), np.full((2, 1), 0.5))
    low, high = belief.interval()
    assert 0 < low[0, 0] < 1
    assert high[0, 0] == 1
