import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import oracles
from mllctl.kernels.ranking import (
    METRICS,
    best_first,
    kendall_tau,
    pearson,
    regret,
    spearman,
    top_recall,
    top_tau,
    truth_of_chosen,
    weighted_tau,
)

CORRELATIONS = (kendall_tau, weighted_tau, pearson, spearman)


@st.composite
def rankings(draw, least=1, most=12):
    """Predictions and truths of few distinct values, so that ties are common, also at the edge of a top."""
    models = draw(st.integers(least, most))
    value = st.sampled_from(draw(st.sampled_from([[0.0, 0.5, 1.0], [0.1, 0.2, 0.3, 0.6, 0.7], [0.7]])))
    row = st.lists(value, min_size=models, max_size=models)
    return draw(row), draw(row)


def floats(*rows):
    return tuple(np.array(row, dtype=np.float64) for row in rows)


def same(found, expected):
    return math.isnan(found) if expected is None else found == pytest.approx(expected, abs=1e-12)


# -- against the dullest code ---------------------------------------------------------------------------


@given(rankings())
def test_the_order_is_a_sort_with_ties_to_the_lower_index(ranking):
    predicted, _ = ranking
    assert best_first(np.array(predicted)).tolist() == oracles.ranked(predicted)


@given(rankings())
def test_the_chosen_model_is_the_first_of_the_order(ranking):
    assert truth_of_chosen(*floats(*ranking)) == oracles.truth_of_chosen(*ranking)
    assert regret(*floats(*ranking)) == oracles.regret(*ranking)
    assert regret(*floats(*ranking)) >= 0


@given(rankings(), st.integers(1, 13))
def test_recall_of_the_top_counts_what_both_tops_have(ranking, top):
    found = top_recall(*floats(*ranking), top)
    assert found == oracles.top_recall(*ranking, top)
    assert 0 <= found <= 1
    if top >= len(ranking[0]):
        assert found == 1


@given(rankings(), st.integers(1, 13))
def test_tau_of_the_top_is_that_of_the_common_models(ranking, top):
    assert same(top_tau(*floats(*ranking), top), oracles.top_tau(*ranking, top))


@given(rankings(least=0))
def test_tau_is_that_of_all_pairs(ranking):
    assert same(kendall_tau(*floats(*ranking)), oracles.kendall_tau(*ranking))


@given(rankings(least=0))
def test_weighted_tau_is_that_of_all_pairs(ranking):
    assert same(weighted_tau(*floats(*ranking)), oracles.weighted_tau(*ranking))


@given(rankings(least=0))
def test_correlations_are_those_of_the_loops(ranking):
    assert same(pearson(*floats(*ranking)), oracles.pearson(*ranking))
    ranks = [oracles.mean_ranks(row) for row in ranking]
    assert same(spearman(*floats(*ranking)), oracles.pearson(*ranks))


# -- against scipy --------------------------------------------------------------------------------------


@given(rankings(least=2))
def test_correlations_are_those_of_scipy_wherever_it_has_one(ranking):
    one, other = floats(*ranking)
    if len(set(ranking[0])) < 2 or len(set(ranking[1])) < 2:
        assert all(math.isnan(correlation(one, other)) for correlation in CORRELATIONS)
        return
    scipys = (stats.kendalltau, stats.weightedtau, stats.pearsonr, stats.spearmanr)
    for ours, theirs in zip(CORRELATIONS, scipys, strict=True):
        if len(one) == 2 and theirs is stats.spearmanr:
            continue  # it has none of two
        assert ours(one, other) == pytest.approx(theirs(one, other).statistic, abs=1e-12)


@given(rankings(least=3))
def test_tau_of_the_top_is_that_of_lovms_whole_ranks(ranking):
    # Its released code hands scipy the mean ranks of the common models, cut to whole numbers: no tie is made or broken.
    common = oracles.both_tops(*ranking, 5)
    ranks = [stats.rankdata([-row[m] for m in common]).astype(int) for row in ranking]
    if len(common) > 2 and all(len(set(row)) > 1 for row in ranks):
        assert top_tau(*floats(*ranking)) == pytest.approx(stats.kendalltau(*ranks).statistic, abs=1e-12)


def test_many_models_without_ties_are_as_scipy_has_them():
    random = np.random.default_rng(0)
    for models in (3, 49, 300):
        one = random.standard_normal(models)
        other = one + random.standard_normal(models)
        assert kendall_tau(one, other) == pytest.approx(stats.kendalltau(one, other).statistic, abs=1e-12)
        assert weighted_tau(one, other) == pytest.approx(stats.weightedtau(one, other).statistic, abs=1e-12)


# -- what must hold of all of them ----------------------------------------------------------------------


@pytest.mark.parametrize("correlation", CORRELATIONS)
@given(ranking=rankings(least=2))
def test_a_correlation_is_symmetric_and_turns_with_its_ranking(correlation, ranking):
    one, other = floats(*ranking)
    found = correlation(one, other)
    if math.isnan(found):
        return
    assert -1 <= found <= 1
    assert correlation(other, one) == pytest.approx(found, abs=1e-12)
    assert correlation(one, one) == pytest.approx(1, abs=1e-15)
    # Turned round, the other end counts most: only the weighted one changes more than its sign.
    if correlation is not weighted_tau:
        assert correlation(-one, other) == pytest.approx(-found, abs=1e-12)


@given(rankings(least=2))
def test_only_the_order_counts(ranking):
    one, other = floats(*ranking)
    for correlation in (kendall_tau, weighted_tau, spearman):
        found = correlation(one, other)
        np.testing.assert_equal(correlation(np.exp(one), 3 * other + 1), found)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_size_does_not_matter(scale):
    one, other = np.array([1.0, 2.0, 4.0]) * scale, np.array([1.0, 3.0, 2.0]) * scale
    for correlation in CORRELATIONS:
        assert correlation(one, other) == pytest.approx(correlation(one / scale, other / scale))


# -- by hand --------------------------------------------------------------------------------------------


def test_by_hand():
    # Six models; the order by prediction is 0 1 2 3 4 5, that by truth 1 0 2 3 5 4.
    predicted = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    truth = np.array([0.60, 0.64, 0.50, 0.40, 0.10, 0.20])
    assert truth_of_chosen(predicted, truth) == 0.60
    assert regret(predicted, truth) == 0.64 - 0.60
    assert top_recall(predicted, truth) == 4 / 5
    # Common are 0 1 2 3: six pairs, of which (0, 1) is turned.
    assert top_tau(predicted, truth) == pytest.approx((5 - 1) / 6)
    assert kendall_tau(predicted, truth) == pytest.approx((13 - 2) / 15)


def test_weighted_tau_by_hand():
    # By prediction the weights are 1, 1/2, 1/3; a pair weighs the sum of both. By truth the order is 1 0 2.
    by_prediction = (-(1 + 1 / 2) + (1 + 1 / 3) + (1 / 2 + 1 / 3)) / (2 * (1 + 1 / 2 + 1 / 3))
    by_truth = (-(1 + 1 / 2) + (1 / 2 + 1 / 3) + (1 + 1 / 3)) / (2 * (1 + 1 / 2 + 1 / 3))
    found = weighted_tau(np.array([3.0, 2.0, 1.0]), np.array([2.0, 3.0, 1.0]))
    assert found == pytest.approx((by_prediction + by_truth) / 2)


def test_a_tie_is_chosen_and_cut_by_index():
    predicted, truth = np.zeros(6), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert truth_of_chosen(predicted, truth) == 0.1
    assert top_recall(predicted, truth) == 4 / 5
    assert math.isnan(top_tau(predicted, truth))
    assert math.isnan(kendall_tau(predicted, truth))


@pytest.mark.parametrize("models", [0, 1])
def test_there_is_no_correlation_of_fewer_than_two_models(models):
    for correlation in CORRELATIONS:
        assert math.isnan(correlation(np.ones(models), np.ones(models)))


def test_one_and_two_models_have_a_top_but_no_order_in_it():
    assert top_recall(np.ones(1), np.ones(1)) == 1
    assert top_tau(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0
    assert kendall_tau(np.array([1.0, 2.0]), np.array([2.0, 1.0])) == -1


# -- what is refused ------------------------------------------------------------------------------------


def test_every_measure_has_a_name():
    assert set(METRICS.values()) == {truth_of_chosen, regret, top_recall, top_tau, *CORRELATIONS}


@pytest.mark.parametrize("of", METRICS.values())
@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        ([0.1, np.nan], [0.1, 0.2], "predicted must be finite"),
        ([0.1, 0.2], [0.1, np.inf], "truth must be finite"),
        ([0.1, 0.2], [0.1], r"predicted and truth must be of the same models, got \[2, 1\]"),
        ([[0.1]], [0.1], r"predicted must have shape \(models,\), got \(1, 1\)"),
    ],
)
def test_what_is_no_ranking_is_refused(of, predicted, truth, message):
    with pytest.raises(ValueError, match=message):
        of(np.array(predicted), np.array(truth))


@pytest.mark.parametrize("of", [truth_of_chosen, regret, top_recall, top_tau])
def test_nothing_is_chosen_of_no_models(of):
    with pytest.raises(ValueError, match="at least one model"):
        of(np.zeros(0), np.zeros(0))


@pytest.mark.parametrize("of", [top_recall, top_tau])
def test_a_top_has_a_model(of):
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        of(np.ones(2), np.ones(2), 0)
