import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from mllctl.kernels.simplices import lower_quadratic


@st.composite
def quadratics(draw):
    """Some of full rank and some not, from vertices and from within."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    group = np.repeat(np.arange(len(sizes)), sizes)
    factor = random.standard_normal((len(group), draw(st.integers(1, len(group) + 1))))
    share = random.random(len(group)) * (random.random(len(group)) < draw(st.sampled_from([0.0, 0.5, 1.0])))
    share[np.unique(group, return_index=True)[1]] += 0.1
    point = share / np.bincount(group, share)[group]
    return factor @ factor.T, draw(st.sampled_from([0.1, 1.0, 10.0])) * random.standard_normal(len(group)), point, group


def value(curvature, slope, change):
    return change @ (slope + curvature @ change / 2)


@given(quadratics(), st.integers(0, 4))
def test_no_step_leaves_the_simplices_or_rises(instance, passes):
    curvature, slope, point, group = instance
    found = lower_quadratic(curvature, slope, point, group, passes)
    assert (found >= 0).all()
    np.testing.assert_allclose(np.bincount(group, found), 1, atol=1e-12)
    assert value(curvature, slope, found - point) <= 1e-12 * np.abs(slope).max()


@given(quadratics())
def test_with_passes_enough_the_quadratic_is_least(instance):
    curvature, slope, point, group = instance
    found = lower_quadratic(curvature, slope, point, group, 200)
    equal = [{"type": "eq", "fun": lambda y, g=g: y[group == g].sum() - 1} for g in range(group[-1] + 1)]
    least = minimize(
        lambda y: value(curvature, slope, y - point),
        point,
        jac=lambda y: slope + curvature @ (y - point),
        bounds=[(0, 1)] * len(point),
        constraints=equal,
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert value(curvature, slope, found - point) <= least.fun + 1e-6 * max(1, np.abs(slope).max())
