import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllctl.kernels.advantage import area_spread, chance_ahead

LEADS = st.floats(-1, 1)
DEVIATIONS = st.floats(0.01, 1)


def test_evidence_alone_decides_where_nothing_was_known_before():
    assert chance_ahead(0.1, 0.1, -0.5, 1e6) == pytest.approx(0.5 * (1 + math.erf(1 / math.sqrt(2))), abs=1e-9)


def test_what_is_usual_decides_where_the_evidence_says_nothing():
    assert chance_ahead(0.5, 1e6, -0.1, 0.1) == pytest.approx(0.5 * (1 - math.erf(1 / math.sqrt(2))), abs=1e-9)


@pytest.mark.parametrize(("lead", "chance"), [(0.1, 1.0), (-0.1, 0.0), (0.0, 0.5)])
def test_evidence_without_doubt_is_not_doubted(lead, chance):
    assert chance_ahead(lead, 0.0, -0.3, 0.1) == chance


@given(LEADS, DEVIATIONS, LEADS, DEVIATIONS)
def test_the_other_model_is_ahead_where_this_one_is_not(lead, deviation, usual, spread):
    one, other = chance_ahead(lead, deviation, usual, spread), chance_ahead(-lead, deviation, -usual, spread)
    assert one + other == pytest.approx(1)
    assert 0 <= one <= 1


def test_it_is_the_share_of_leads_that_are_drawn_so_and_seen_so():
    random = np.random.default_rng(0)
    lead = random.normal(-0.1, 0.2, 2_000_000)
    seen = lead + random.normal(0, 0.1, len(lead))
    near = np.abs(seen - 0.05) < 0.005
    assert chance_ahead(0.05, 0.1, -0.1, 0.2) == pytest.approx((lead[near] > 0).mean(), abs=0.01)


def test_the_spread_of_areas_is_found_again():
    random = np.random.default_rng(1)
    area = np.repeat(np.arange(400), 20)
    difference = random.normal(0, 0.1, 400)[area] + random.normal(0, 0.3, len(area))
    assert area_spread(difference, area) == pytest.approx(0.1, rel=0.1)


def test_areas_that_differ_by_chance_alone_have_little_spread():
    difference = np.random.default_rng(2).normal(0.1, 0.3, 8000)
    assert area_spread(difference, np.repeat(np.arange(400), 20)) < 0.02


@pytest.mark.parametrize(
    ("difference", "area"),
    [
        ([], []),
        ([0.1] * 9, ["one"] * 9),
        ([0.1] * 5 + [0.9] * 4, ["one"] * 5 + ["few"] * 4),
        ([np.nan] * 12, ["a", "b"] * 6),
    ],
)
def test_less_than_two_areas_have_no_spread(difference, area):
    assert area_spread(np.array(difference, dtype=float), np.array(area, dtype=str)) == 0


def test_nodes_that_nobody_knows_are_left_out():
    random = np.random.default_rng(3)
    known, area = random.normal(0, 1, 40), np.repeat(["a", "b"], 20)
    known[area == "b"] += 2
    unknown = np.concatenate([known, np.full(7, np.nan)])
    assert area_spread(unknown, np.concatenate([area, np.repeat("b", 7)])) == area_spread(known, area) > 0.5
