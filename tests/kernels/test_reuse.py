import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels.reuse import best_models, class_precision, reuse_metric

VALUES = st.sampled_from([0.0, 0.25, 0.5, 1.0])


def tables(models, classes):
    return hnp.arrays(np.float64, (models, classes), elements=VALUES)


@st.composite
def carried(draw):
    models, nodes, classes = draw(st.integers(0, 4)), draw(st.integers(0, 5)), draw(st.integers(1, 4))
    return draw(tables(models, nodes)), draw(tables(nodes, classes))


@given(carried(), st.booleans())
def test_class_precision_is_the_sum_over_nodes(instance, normalize):
    precision, transfer = instance
    expected = oracles.class_precision(precision.tolist(), transfer.tolist() or [[]], normalize)
    if len(transfer) == 0:
        expected = [[0.0] * transfer.shape[1]] * len(precision)
    found = class_precision(precision, transfer, normalize)
    assert found.shape == (len(precision), transfer.shape[1])
    np.testing.assert_allclose(found.tolist(), expected, rtol=0, atol=1e-12)


@given(carried())
def test_normalising_keeps_the_order_of_models_within_a_class(instance):
    precision, transfer = instance
    plain, shares = class_precision(precision, transfer), class_precision(precision, transfer, normalize=True)
    assert ((shares >= 0) & (shares <= 1)).all()
    if len(plain):
        assert np.array_equal(best_models(plain, len(plain)), best_models(shares, len(plain)))


@given(st.tuples(st.integers(0, 5), st.integers(1, 5)).flatmap(lambda shape: tables(*shape)), st.floats(0, 1))
def test_reuse_is_the_blend_with_the_mean_over_all_classes(precision, alpha):
    expected = oracles.reuse_metric(precision.tolist(), alpha)
    found = reuse_metric(precision, alpha)
    assert found.shape == precision.shape
    np.testing.assert_allclose(found.tolist(), expected, rtol=0, atol=1e-12)


@given(st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(lambda shape: tables(*shape)), st.integers(1, 7))
def test_best_models_is_a_sort_with_ties_to_the_lower_model(reuse, k):
    members = best_models(reuse, k)
    assert members.tolist() == oracles.best_models(reuse.tolist(), k)
    assert members.shape == (reuse.shape[1], min(k, reuse.shape[0]))
    assert members.dtype == np.int64


def test_class_precision_by_hand():
    precision = np.array([[1 / 2, 1 / 3]])
    transfer = np.array([[0.8, 0.0], [0.4, 0.0]])
    assert class_precision(precision, transfer).tolist() == [[1 / 2 * 0.8 + 1 / 3 * 0.4, 0.0]]
    share = (1 / 2 * 0.8 + 1 / 3 * 0.4) / (0.8 + 0.4)
    assert class_precision(precision, transfer, normalize=True)[0] == pytest.approx([share, 0.0], abs=1e-15)


def test_reuse_by_hand():
    mean = (0.9 + 0.3 + 0.0) / 3
    expected = [0.7 * 0.9 + 0.3 * mean, 0.7 * 0.3 + 0.3 * mean, 0.3 * mean]
    assert reuse_metric(np.array([[0.9, 0.3, 0.0]]))[0] == pytest.approx(expected, abs=1e-15)


def test_of_one_class_the_reuse_metric_is_its_precision():
    assert reuse_metric(np.array([[0.25], [0.5]])).tolist() == [[0.25], [0.5]]


def test_of_one_model_it_is_best_for_each_class():
    assert best_models(np.zeros((1, 3)), 3).tolist() == [[0], [0], [0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: class_precision(np.ones(2), np.ones((2, 1))), "must share their nodes"),
        (lambda: class_precision(np.ones((1, 2)), np.ones(2)), "must share their nodes"),
        (lambda: class_precision(np.ones((1, 2)), np.ones((3, 1))), "must share their nodes"),
        (lambda: reuse_metric(np.ones(2)), "models, classes"),
        (lambda: reuse_metric(np.ones((2, 0))), "models, classes"),
        (lambda: reuse_metric(np.ones((1, 1)), -0.1), "alpha"),
        (lambda: reuse_metric(np.ones((1, 1)), 1.1), "alpha"),
        (lambda: reuse_metric(np.ones((1, 1)), float("nan")), "alpha"),
        (lambda: best_models(np.ones(2), 1), "models, classes"),
        (lambda: best_models(np.ones((2, 2)), 0), "k must be at least 1"),
    ],
)
def test_reuse_kernels_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()
