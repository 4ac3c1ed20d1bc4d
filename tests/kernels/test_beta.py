import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaincinv, betaln

from mllctl.kernels.beta import beta_interval, log_beta

PARTS = st.floats(-4, 5).map(lambda power: 10.0**power)


@given(st.lists(st.tuples(PARTS, PARTS), min_size=1, max_size=30))
def test_log_beta_is_scipys(pairs):
    a, b = np.array(pairs).T
    size = np.maximum(1, (a + b) * np.log(a + b + 2))
    assert (np.abs(log_beta(a, b) - betaln(a, b)) / size).max() < 1e-12


@given(st.lists(st.tuples(PARTS, PARTS), min_size=1, max_size=30), st.floats(0.01, 0.49))
def test_quantiles_are_scipys(pairs, mass):
    a, b = np.array(pairs).T
    low, high = beta_interval(a, b, mass, 1 - mass)
    np.testing.assert_allclose(low, betaincinv(a, b, mass), atol=1e-5)
    np.testing.assert_allclose(high, betaincinv(a, b, 1 - mass), atol=1e-5)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3), (1500,)])
def test_any_shape_keeps_its_shape(shape):
    a = np.full(shape, 2.0)
    low, high = beta_interval(a, a, 0.05, 0.95)
    assert low.shape == high.shape == shape
    np.testing.assert_allclose(low, betaincinv(2, 2, 0.05), atol=1e-5)
    np.testing.assert_allclose(low + high, np.ones(shape), atol=1e-9)
