import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
from mllctl.kernels import paired
from mllctl.kernels.paired import sign_flip

# Few distinct values, so that sums that tie with the one that was seen come up all the time.
differences = st.lists(st.sampled_from([-2, -1, 0, 1, 1, 3]), min_size=1, max_size=9)


def random(seed=0):
    return np.random.default_rng(seed)


@given(differences, st.sampled_from([1, 10, 3]))
def test_the_exact_test_is_that_of_all_signs(tenths, parts):
    # Tenths are not exact: ties must count nevertheless.
    found = sign_flip(np.array([n / parts for n in tenths]), random())
    assert found == oracles.sign_flip([Fraction(n, parts) for n in tenths])


def test_by_hand():
    # All six for the first method: with all signs + or all -, 2 of 2^6.
    assert sign_flip(np.array([0.1, 0.2, 0.1, 0.3, 0.1, 0.1]), random()) == 2 / 2**6
    # 1 - 2: of the sums 3, 1, -1, -3 all are as far from 0.
    assert sign_flip(np.array([1.0, -2.0]), random()) == 1
    assert sign_flip(np.zeros(3), random()) == 1
    assert sign_flip(np.array([0.5]), random()) == 1


def test_an_exact_test_asks_for_no_chance():
    one, other = random(), random()
    sign_flip(np.ones(20), one)
    assert one.random() == other.random()


def test_drawn_signs_come_near_to_all_signs(monkeypatch):
    difference = random(1).normal(0.3, 1, 15)
    exact = sign_flip(difference, random())
    monkeypatch.setattr(paired, "EXACT_UP_TO", 4)
    drawn = sign_flip(difference, random(), draws=40_000)
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / 40_000))
    assert drawn == sign_flip(difference, random(), draws=40_000)


def test_drawn_signs_never_say_never():
    assert sign_flip(np.ones(40), random(), draws=99) == 1 / 100


def test_draws_in_parts_are_as_many(monkeypatch):
    monkeypatch.setattr(paired, "AT_ONCE", 50)
    assert sign_flip(np.zeros(21), random(), draws=7) == (1 + 7) / (1 + 7)


@pytest.mark.parametrize(
    ("difference", "draws", "message"),
    [
        ([], 9, r"difference must have shape \(tasks,\) with at least one, got \(0,\)"),
        ([[1.0]], 9, r"difference must have shape \(tasks,\)"),
        ([1.0, np.nan], 9, "difference must be finite"),
        ([1.0], 0, "draws must be at least 1, got 0"),
    ],
)
def test_what_is_no_comparison_is_refused(difference, draws, message):
    with pytest.raises(ValueError, match=message):
        sign_flip(np.array(difference), random(), draws)
