"""A general model and experts share out an image without taking from what the general model says of the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllctl.kernels.patch import patched_confidence

VALUES = [0.0, 0.1, 0.5, 1.0]


def rows(count):
    return st.lists(st.lists(st.sampled_from(VALUES), min_size=3, max_size=3), min_size=count, max_size=count)


@given(rows(4), rows(4), st.lists(st.booleans(), min_size=3, max_size=3), st.sampled_from(["mass", "blend"]))
def test_the_rest_keeps_what_the_general_model_says_and_the_served_share_what_it_leaves_them(
    general, experts, served, scale
):
    general, experts, served = np.array(general), np.array(experts), np.array(served)
    found = patched_confidence(general, experts, served, scale)
    assert (found[:, ~served] == general[:, ~served]).all()
    assert np.allclose(found.sum(axis=1), general.sum(axis=1))
    shared_out = np.sqrt(experts * general) if scale == "blend" else experts
    for row, said, given_ in zip(found, shared_out, general, strict=True):
        if said[served].sum() > 0:
            expected = given_[served].sum() * said[served] / said[served].sum()
            assert np.allclose(row[served], expected)
        else:
            assert (row == given_).all()


def test_two_served_classes_split_what_the_general_model_gives_both():
    general = np.array([[0.5, 0.25, 0.25]])
    experts = np.array([[0.1, 0.3, 0.9]])
    served = np.array([True, True, False])
    assert np.allclose(
        patched_confidence(general, experts, served, "mass"), [[0.75 * 0.1 / 0.4, 0.75 * 0.3 / 0.4, 0.25]]
    )
    both = [np.sqrt(0.5 * 0.1), np.sqrt(0.25 * 0.3)]
    blended = [[*(0.75 * part / sum(both) for part in both), 0.25]]
    assert np.allclose(patched_confidence(general, experts, served), blended)
    assert patched_confidence(general, experts, served, "plain").tolist() == [[0.1, 0.3, 0.25]]


def test_shapes_and_scales_that_are_none_are_refused():
    ones = np.ones((2, 3))
    with pytest.raises(ValueError, match="must agree"):
        patched_confidence(ones, ones, np.ones(2, dtype=bool))
    with pytest.raises(ValueError, match="blend, mass, plain"):
        patched_confidence(ones, ones, np.ones(3, dtype=bool), "odd")
