import numpy as np
import pytest

from mllctl.kernels.bootstrap import bootstrap_means, central_interval, resample_mean

DRAWS = 4000


def drawn(hit, node, part, mean=None, images=None, seed=0):
    hit, node, part = np.array(hit, dtype=bool), np.array(node), np.array(part, dtype=float)
    shape = len(hit), len(part)
    ratio = np.array([[row[node == v].mean() if (node == v).any() else 0 for v in range(len(part))] for row in hit])
    counts = np.bincount(node, minlength=len(part))
    mean = ratio if mean is None else np.array(mean)
    images = np.broadcast_to(np.maximum(counts, 1), shape) if images is None else np.array(images)
    random = np.random.default_rng(seed)
    return bootstrap_means(hit, node, np.ones(len(node)), part, mean, images, DRAWS, random)


def test_draws_lie_round_what_is_believed():
    means = drawn([[1, 1, 0, 0], [1, 0, 0, 0]], [0, 0, 1, 1], [0.5, 0.5])
    # Of two images with exponential weights the share of one is uniform: its variance is a twelfth.
    assert means[:, 1].mean() == pytest.approx(0.25, abs=0.01)
    one_node = drawn([[1, 0]], [0, 0], [1.0])
    assert one_node.var() == pytest.approx(1 / 12, rel=0.1)


def test_images_move_a_belief_by_what_they_weigh_in_it():
    # Two images in a belief that is worth eight: they move it a quarter as much, so its variance is a sixteenth.
    means = drawn([[1, 0]], [0, 0], [1.0], mean=[[0.5]], images=[[8.0]])
    assert means.var() == pytest.approx(1 / 12 / 16, rel=0.1)


def test_what_is_hard_for_all_moves_all_alike():
    # The second model has one image less right, in every draw: it never wins, though the means vary widely.
    means = drawn([[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]], [0] * 6, [1.0])
    assert (means[:, 0] > means[:, 1]).all()
    assert means[:, 0].std() > 0.1


def test_a_node_without_images_keeps_what_is_believed_of_it():
    means = drawn([[1, 1]], [1, 1], [0.5, 0.5], mean=[[0.3, 1.0]], images=[[5.0, 2.0]])
    assert (means >= 0.3).all()
    assert (means <= 1).all()


def test_without_any_image_every_draw_is_what_is_believed():
    means = drawn(np.zeros((2, 0)), np.zeros(0, dtype=int), [0.5, 0.5], [[0.2, 0.4], [0.1, 0.1]], [[1.0, 1], [1, 1]])
    np.testing.assert_allclose(means, np.broadcast_to([0.3, 0.1], means.shape), atol=1e-12)


def test_the_same_seed_gives_the_same_draws():
    one = drawn([[1, 0, 1]], [0, 0, 1], [0.5, 0.5], seed=3)
    assert (one == drawn([[1, 0, 1]], [0, 0, 1], [0.5, 0.5], seed=3)).all()
    assert not np.allclose(one, drawn([[1, 0, 1]], [0, 0, 1], [0.5, 0.5], seed=4))


# -- over tasks -----------------------------------------------------------------------------------------


def test_means_of_resampled_tasks_are_means_of_tasks():
    drawn = resample_mean(np.array([0.0, 1.0]), 3000, np.random.default_rng(0))
    assert set(drawn) == {0.0, 0.5, 1.0}
    # Two of two tasks, each at even odds.
    assert (drawn == 0.5).mean() == pytest.approx(1 / 2, abs=0.05)


def test_columns_are_resampled_alike():
    values = np.random.default_rng(1).random((7, 1))
    drawn = resample_mean(np.hstack([values, values + 1]), 50, np.random.default_rng(0))
    np.testing.assert_allclose(drawn[:, 1] - drawn[:, 0], 1)
    np.testing.assert_allclose(drawn[:, 0], resample_mean(values[:, 0], 50, np.random.default_rng(0)))


def test_an_interval_has_its_mass_between_its_ends():
    assert central_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
    assert central_interval(np.full(3, 0.25)) == (0.25, 0.25)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resample_mean(np.zeros(0), 1, np.random.default_rng(0)), "with at least one, got"),
        (lambda: resample_mean(np.array([np.nan]), 1, np.random.default_rng(0)), "must be finite"),
        (lambda: resample_mean(np.ones(2), 0, np.random.default_rng(0)), "draws must be at least 1, got 0"),
        (lambda: central_interval(np.zeros(0)), "with at least one, got"),
        (lambda: central_interval(np.ones(2), 1.0), r"mass must be in \(0, 1\), got 1\.0"),
    ],
)
def test_what_cannot_be_resampled_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
