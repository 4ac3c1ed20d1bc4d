import numpy as np
import pytest

from mllctl.kernels.bootstrap import bootstrap_means

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
