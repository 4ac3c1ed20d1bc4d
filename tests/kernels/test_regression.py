import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import oracles
from mllctl.kernels.regression import predict_linear

value = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@st.composite
def problems(draw, width=2):
    """Rows of few distinct values, so that columns are often constant or alike."""
    rows = draw(st.integers(1, 8))
    table = draw(st.lists(st.lists(value, min_size=width, max_size=width), min_size=rows, max_size=rows))
    target = draw(st.lists(value, min_size=rows, max_size=rows))
    asked = draw(st.lists(st.lists(value, min_size=width, max_size=width), min_size=1, max_size=3))
    return tuple(np.array(part) for part in (table, target, asked))


def has_one_answer(features):
    return np.linalg.matrix_rank(np.column_stack([np.ones(len(features)), features])) == features.shape[1] + 1


@given(problems())
def test_it_is_least_squares_wherever_that_has_one_answer(problem):
    assume(has_one_answer(problem[0]))
    expected = oracles.linear_prediction(*(part.tolist() for part in problem))
    assert predict_linear(*problem) == pytest.approx(expected, abs=1e-9)


@given(problems(width=4))
def test_what_was_learned_is_fitted_as_well_as_can_be_and_without_bias(problem):
    features, target, _ = problem
    said = predict_linear(features, target, features)
    table = np.column_stack([np.ones(len(features)), features])
    best = table @ np.linalg.lstsq(table, target, rcond=None)[0]
    np.testing.assert_allclose(said, best, atol=1e-9)
    assert said.mean() == pytest.approx(target.mean())


@given(problems(), st.sampled_from([1e-3, 1.0, 1e3]), st.sampled_from([-1.0, 0.0, 5.0]))
def test_units_do_not_matter_even_where_columns_say_the_same(problem, scale, shift):
    features, target, asked = (np.column_stack([part, part]) if part.ndim == 2 else part for part in problem)
    moved = [np.column_stack([part[:, :2] * scale + shift, part[:, 2:]]) for part in (features, asked)]
    np.testing.assert_allclose(
        predict_linear(moved[0], target, moved[1]), predict_linear(features, target, asked), atol=1e-6
    )


@given(problems())
def test_the_same_columns_twice_predict_the_same(problem):
    features, target, asked = problem
    twice = predict_linear(np.tile(features, 2), target, np.tile(asked, 2))
    assert twice == pytest.approx(predict_linear(features, target, asked), abs=1e-9)


def test_what_is_unknown_counts_as_the_mean():
    features = np.array([[0.0, np.nan], [1.0, np.nan], [np.nan, np.nan]])
    target = np.array([1.0, 3.0, 2.0])
    said = predict_linear(features, target, np.array([[2.0, 7.0], [np.nan, np.nan]]))
    assert said == pytest.approx([(1 + 3) / 2 + (2 - 1 / 2) * 2, (1 + 3 + 2) / 3])


def test_rounding_is_no_feature():
    features = np.array([[0.9], [0.9 + 1e-8], [0.9 - 1e-8]])
    assert predict_linear(features, np.array([0.0, 1.0, 2.0]), np.array([[5.0]])) == pytest.approx([1.0])


def test_rows_without_a_target_teach_nothing():
    features, target = np.array([[0.0], [1.0], [9.0]]), np.array([0.0, 1.0, np.nan])
    assert predict_linear(features, target, np.array([[2.0]])) == pytest.approx([2.0])
    assert np.isnan(predict_linear(features, np.full(3, np.nan), np.zeros((2, 1)))).tolist() == [True, True]
    assert np.isnan(predict_linear(np.empty((0, 1)), np.empty(0), np.zeros((1, 1)))).all()


@pytest.mark.parametrize(
    ("features", "target", "asked"), [((3, 2), (2,), (1, 2)), ((3,), (3,), (1, 2)), ((3, 2), (3,), (1, 3))]
)
def test_shapes_that_do_not_agree_are_refused(features, target, asked):
    with pytest.raises(ValueError, match="must"):
        predict_linear(np.zeros(features), np.zeros(target), np.zeros(asked))
