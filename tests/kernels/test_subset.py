import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels import subset
from mllctl.kernels.reuse import best_models
from mllctl.kernels.subset import best_subset, pareto_front

# Multiples of a quarter: sums are exact and ties come up all the time.
VALUES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 5))
TABLES = SHAPES.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=VALUES))
SIZES = st.integers(1, 8)


# The ways of `best_subset`, and the constants by which it takes them, whatever the number of sets.
WAYS = {"enumerated": {"FEW": 10**9}, "priced": {"FEW": 0}, "greedy": {"FEW": 0, "MANY": 0, "ROUNDS": 0}}
exactly = pytest.mark.parametrize("way", ["enumerated", "priced"])


def chosen(way, quality, size):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in WAYS[way].items():
            patch.setattr(subset, name, value)
        return best_subset(quality, size)


@exactly
@given(TABLES, SIZES)
def test_the_best_subset_is_that_of_looking_at_all_with_ties_to_the_lowest(way, quality, size):
    found = chosen(way, quality, size)
    models, value = oracles.best_subset(quality.tolist(), size)
    assert found.models.tolist() == models
    assert (found.value, found.bound, found.exact) == (value, value, True)
    assert found.models.dtype == np.int64


@given(TABLES, SIZES)
def test_a_greedy_subset_is_that_of_adding_the_best_model_each_time(quality, size):
    found = chosen("greedy", quality, size)
    if len(oracles.best_subset(quality.tolist(), 99)[0]) > size:
        assert (found.models.tolist(), found.value) == oracles.greedy_subset(quality.tolist(), size)


@given(TABLES, SIZES, st.integers(0, 20))
def test_the_bound_of_what_was_left_open_holds_and_exact_is_true(quality, size, rounds):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"FEW": 0, "MANY": 0, "ROUNDS": rounds}.items():
            patch.setattr(subset, name, value)
        found = best_subset(quality, size)
    best = oracles.best_subset(quality.tolist(), size)[1]
    assert oracles.greedy_subset(quality.tolist(), size)[1] <= found.value <= best <= found.bound + 1e-9
    assert (1 - 1 / np.e) * found.bound <= found.value + 1e-9
    if found.exact:
        assert found.value == best


@given(TABLES, st.integers(1, 8), st.lists(VALUES, min_size=5, max_size=5))
def test_no_set_is_worth_more_than_the_ceiling_of_a_model_in_it(quality, size, prices):
    size = min(size, len(quality))
    ceilings = subset._ceilings(quality, np.array(prices[: quality.shape[1]]), size)
    for models in itertools.combinations(range(len(quality)), size):
        assert oracles.subset_worth(quality.tolist(), models) <= ceilings[list(models)].min() + 1e-9


@given(TABLES, SIZES)
def test_where_each_class_can_have_its_best_model_the_limit_changes_nothing(quality, size):
    unlimited = np.unique(best_models(quality, 1))
    if len(unlimited) <= size:
        assert best_subset(quality, size).models.tolist() == unlimited.tolist()


@given(hnp.arrays(np.float64, (6, 8), elements=st.floats(0, 1)), st.integers(1, 6))
def test_leaving_models_out_first_changes_nothing(quality, size):
    enumerated, priced = chosen("enumerated", quality, size), chosen("priced", quality, size)
    assert priced.models.tolist() == enumerated.models.tolist()
    assert priced.value == enumerated.value


def structured(models, classes, seed):
    """Models that differ in general and by kinds of classes, as those of a hub do."""
    random = np.random.default_rng(seed)
    kinds = random.normal(size=(models, 5)) @ random.normal(size=(5, classes))
    general = random.normal(size=(models, 1)) + 2.5 * random.normal(size=(1, classes))
    return np.clip(0.5 + 0.08 * (general + kinds) + 0.06 * random.normal(size=(models, classes)), 0, 1)


@pytest.mark.parametrize("seed", range(3))
def test_as_many_models_as_in_the_paper_are_chosen_exactly(seed):
    quality = structured(49, 100, seed)
    found = best_subset(quality, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subset, "FEW", 10**6)
        best = best_subset(quality, 4)
    assert (found.models.tolist(), found.value, found.exact) == (best.models.tolist(), best.value, True)
    assert best_subset(quality, 8).exact


def test_prices_bound_closer_than_greedy_gains_do():
    quality = np.random.default_rng(0).random((60, 40))
    found, greedy = best_subset(quality, 8), chosen("greedy", quality, 8)
    assert not found.exact
    assert greedy.value <= found.value <= found.bound < greedy.bound
    assert found.bound < 1.03 * found.value


def test_two_together_beat_the_best_one_with_another():
    # Model 0 is the best of all by itself, and in no best pair.
    quality = np.array([[0.6, 0.6, 0.6, 0.6], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    assert best_subset(quality, 1).models.tolist() == [0]
    found = best_subset(quality, 2)
    assert (found.models.tolist(), found.value) == ([1, 2], 4 * 1.0)


def test_the_greedy_bound_by_hand():
    quality = np.array([[0.6, 0.6, 0.6, 0.6], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.2]])
    found = chosen("greedy", quality, 2)
    # 0 and 1 are chosen; the gains of the others are added up, though they cannot both be had.
    value = 4 * 0.6 + 2 * (1.0 - 0.6)
    gains = 2 * (1.0 - 0.6) + (1.2 - 0.6)
    assert found.models.tolist() == [0, 1]
    assert found.value == pytest.approx(value, abs=1e-15)
    assert found.bound == pytest.approx(min(value / (1 - 1 / np.e), value + gains, 1.0 + 1.0 + 1.0 + 1.2), abs=1e-15)
    assert not found.exact


@pytest.mark.parametrize("way", WAYS)
def test_of_models_that_are_all_worth_nothing_the_first_is_chosen(way):
    found = chosen(way, np.zeros((5, 3)), 2)
    assert (found.models.tolist(), found.value, found.bound, found.exact) == ([0], 0.0, 0.0, True)


@pytest.mark.parametrize("way", WAYS)
def test_of_equal_models_the_lowest_are_chosen(way):
    # Models 2 and 3 are the same, 0 and 1 useless: a set with 3 would be as good, and 5 is second to both.
    quality = np.array([[0, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1], [0.25, 0.25, 1]])
    assert chosen(way, quality, 1).models.tolist() == [2]
    assert chosen(way, quality, 2).models.tolist() == [2, 4]


@pytest.mark.parametrize("way", WAYS)
def test_the_same_question_has_the_same_answer(way):
    quality = np.random.default_rng(1).random((12, 30))
    first, again = chosen(way, quality, 4), chosen(way, quality, 4)
    assert first.models.tolist() == again.models.tolist()
    assert (first.value, first.bound) == (again.value, again.bound)


@pytest.mark.parametrize(
    ("quality", "size", "message"),
    [
        (np.ones(3), 1, "models, classes"),
        (np.ones((0, 3)), 1, "models, classes"),
        (np.ones((3, 0)), 1, "models, classes"),
        (np.full((2, 2), np.nan), 1, "finite"),
        (np.full((2, 2), np.inf), 1, "finite"),
        (np.full((2, 2), -0.5), 1, "not negative"),
        (np.ones((2, 2)), 0, "size must be at least 1, got 0"),
    ],
)
def test_best_subset_refuses(quality, size, message):
    with pytest.raises(ValueError, match=message):
        best_subset(quality, size)


POINTS = st.lists(st.tuples(VALUES, VALUES), max_size=8)


@given(POINTS)
def test_the_front_is_all_that_nothing_beats_with_ties_to_the_lowest(points):
    quality, cost = (np.array([point[n] for point in points], dtype=np.float64) for n in (0, 1))
    front = pareto_front(quality, cost)
    assert front.tolist() == oracles.pareto_front(quality.tolist(), cost.tolist())
    assert front.dtype == np.int64
    assert (np.diff(cost[front]) > 0).all()
    assert (np.diff(quality[front]) > 0).all()


def test_a_front_by_hand():
    quality, cost = np.array([0.5, 0.9, 0.4, 0.9, 0.7]), np.array([2.0, 8.0, 3.0, 9.0, 4.0])
    assert pareto_front(quality, cost).tolist() == [0, 4, 1]


@pytest.mark.parametrize(
    ("quality", "cost", "message"),
    [
        (np.ones(2), np.ones(3), "the same shape"),
        (np.ones((2, 2)), np.ones((2, 2)), "the same shape"),
        (np.array([np.nan]), np.ones(1), "NaN"),
        (np.ones(1), np.array([np.nan]), "NaN"),
    ],
)
def test_pareto_front_refuses(quality, cost, message):
    with pytest.raises(ValueError, match=message):
        pareto_front(quality, cost)
