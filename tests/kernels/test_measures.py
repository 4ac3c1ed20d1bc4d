import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels.measures import (
    Reliability,
    calibration_error,
    confusion,
    mean_recall,
    rank_of_truth,
    recall,
    reliability,
)


@st.composite
def answered(draw):
    """Confidence of few distinct values, so that ties are common, and the truth."""
    images, classes = draw(st.integers(0, 6)), draw(st.integers(1, 7))
    row = st.sampled_from([0.0, 0.25, 0.25, 0.5])
    confidence = draw(hnp.arrays(np.float64, (images, classes), elements=row))
    return confidence, draw(hnp.arrays(np.int64, images, elements=st.integers(0, classes - 1)))


@st.composite
def sure_and_right(draw):
    """Confidence on the edges of bins and beside them, whether it was right, and how many bins there are."""
    images, bins = draw(st.integers(0, 12)), draw(st.integers(1, 20))
    edge = draw(st.lists(st.integers(0, bins), min_size=images, max_size=images))
    to = draw(st.lists(st.sampled_from([-1.0, 0.5, 2.0]), min_size=images, max_size=images))
    beside = draw(st.lists(st.booleans(), min_size=images, max_size=images))
    sure = [math.nextafter(n / bins, t) if b else n / bins for n, t, b in zip(edge, to, beside, strict=True)]
    right = draw(hnp.arrays(np.bool_, images))
    return np.clip(np.array(sure, dtype=np.float64), 0, 1), right, bins


def rows(found):
    return [list(row) for row in zip(found.count, found.confidence_sum, found.correct, strict=True)]


# -- confusion and recall -------------------------------------------------------------------------------


@given(answered())
def test_confusion_counts_every_image_once_in_the_row_of_its_truth(instance):
    confidence, truth = instance
    classes = confidence.shape[1]
    found = confusion(truth, confidence.argmax(axis=1), classes)
    expected = oracles.confusion(truth, [oracles.first_best_class(row) for row in confidence.tolist()], classes)
    assert found.tolist() == expected
    assert found.dtype == np.int64


@given(hnp.arrays(np.int64, st.integers(1, 5).map(lambda c: (c, c)), elements=st.integers(0, 2)))
def test_recall_and_precision_are_shares_of_rows_and_columns(counts):
    classes = range(len(counts))
    diagonal = [int(counts[c, c]) for c in classes]
    for of, whole in ((counts, counts.sum(axis=1)), (counts.T, counts.sum(axis=0))):
        expected = oracles.shares(diagonal, whole.tolist())
        assert [None if math.isnan(r) else r for r in recall(of)] == expected
    known = [r for r in oracles.shares(diagonal, counts.sum(axis=1).tolist()) if r is not None]
    if known:
        assert mean_recall(counts) == pytest.approx(sum(known) / len(known))
    else:
        with pytest.raises(ValueError, match="at least one image"):
            mean_recall(counts)


def test_recall_by_hand():
    # Three images of the first class, one of which is taken for the second; one of the second; none of the third.
    counts = confusion(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 3)
    assert counts.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert recall(counts)[:2].tolist() == [2 / 3, 1 / 1]
    assert math.isnan(recall(counts)[2])
    assert recall(counts.T)[:2].tolist() == [2 / 2, 1 / 2]
    assert mean_recall(counts) == pytest.approx((2 / 3 + 1) / 2)


# -- rank -----------------------------------------------------------------------------------------------


@given(answered())
def test_the_rank_of_the_truth_is_how_many_classes_beat_it(instance):
    confidence, truth = instance
    found = rank_of_truth(confidence, truth)
    assert found.tolist() == oracles.rank_of_truth(confidence.tolist(), truth.tolist())
    assert ((found == 0) == (confidence.argmax(axis=1) == truth)).all()
    order = np.argsort(-confidence, axis=1, kind="stable")
    assert (np.take_along_axis(order, found[:, None], axis=1)[:, 0] == truth).all()


def test_rank_by_hand():
    # Of equal confidence, the class that comes first stands before the others.
    confidence = np.array([[0.2, 0.5, 0.2, 0.5]] * 4)
    assert rank_of_truth(confidence, np.arange(4)).tolist() == [2, 0, 2 + 1, 1]


# -- calibration ----------------------------------------------------------------------------------------


@given(sure_and_right())
def test_bins_are_closed_on_the_right_and_zero_is_in_the_first(instance):
    sure, right, bins = instance
    found = reliability(sure, right, bins)
    expected = oracles.reliability(sure.tolist(), right.tolist(), bins)
    assert [(n, hits) for n, _, hits in rows(found)] == [(n, hits) for n, _, hits in expected]
    np.testing.assert_allclose(found.confidence_sum, [total for _, total, _ in expected], rtol=1e-12, atol=1e-300)


@given(sure_and_right())
def test_calibration_error_is_that_of_the_loops_and_in_0_to_1(instance):
    sure, right, bins = instance
    found = reliability(sure, right, bins)
    if len(sure):
        expected = oracles.calibration_error(oracles.reliability(sure.tolist(), right.tolist(), bins))
        assert calibration_error(found) == pytest.approx(expected, abs=1e-12)
        assert 0 <= calibration_error(found) <= 1
    else:
        with pytest.raises(ValueError, match="at least one image"):
            calibration_error(found)


@given(sure_and_right(), st.integers(0, 12))
def test_chunks_add_up(instance, cut):
    sure, right, bins = instance
    whole = reliability(sure, right, bins)
    parts = reliability(sure[:cut], right[:cut], bins) + reliability(sure[cut:], right[cut:], bins)
    assert parts.count.tolist() == whole.count.tolist()
    assert parts.correct.tolist() == whole.correct.tolist()
    np.testing.assert_allclose(parts.confidence_sum, whole.confidence_sum, rtol=1e-12)


def test_calibration_error_by_hand():
    # Two bins: 0.2 and 0.4, of which one is right; 0.6, 0.8 and 1, all right.
    found = reliability(np.array([0.2, 0.6, 0.4, 0.8, 1.0]), np.array([True, True, False, True, True]), 2)
    assert rows(found) == [[2, 0.2 + 0.4, 1], [3, 0.6 + 0.8 + 1.0, 3]]
    assert calibration_error(found) == pytest.approx(2 / 5 * abs(1 / 2 - 0.3) + 3 / 5 * abs(1 - 0.8))


@pytest.mark.parametrize("bins", [1, 3, 7, 10, 15, 49])
def test_an_edge_is_the_float_nearest_to_it(bins):
    edges = np.array([float(Fraction(n, bins)) for n in range(1, bins + 1)])
    assert reliability(edges, np.ones(bins, dtype=bool), bins).count.tolist() == [1] * bins


def test_confidence_may_be_off_by_rounding():
    found = reliability(np.array([math.nextafter(1, 2), -1e-17]), np.array([True, False]), 4)
    assert found.count.tolist() == [1, 0, 0, 1]


# -- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: confusion(np.array([0]), np.array([0, 1]), 2), r"must both have shape \(images,\)"),
        (lambda: confusion(np.array([[0]]), np.array([[0]]), 2), r"must both have shape \(images,\)"),
        (lambda: confusion(np.array([2]), np.array([0]), 2), r"truth must be classes 0\.\.1, got 2\.\.2"),
        (lambda: confusion(np.array([0]), np.array([-1]), 2), r"predicted must be classes 0\.\.1, got -1\.\.-1"),
        (lambda: rank_of_truth(np.ones((2, 3)), np.array([0])), "must share their images"),
        (lambda: rank_of_truth(np.ones(2), np.array([0, 0])), "must share their images"),
        (lambda: rank_of_truth(np.ones((1, 3)), np.array([-1])), r"truth must be classes 0\.\.2, got -1"),
        (lambda: rank_of_truth(np.array([[0.5, np.nan]]), np.array([0])), "must be finite"),
        (lambda: reliability(np.ones(2), np.ones(1, dtype=bool)), r"must both have shape \(images,\)"),
        (lambda: reliability(np.ones(1), np.ones(1, dtype=bool), 0), "bins must be at least 1, got 0"),
        (lambda: reliability(np.array([1.1]), np.array([True])), r"confidence must be in \[0, 1\], got 1\.1"),
        (lambda: reliability(np.array([np.nan]), np.array([True])), r"confidence must be in \[0, 1\], got nan"),
        (lambda: calibration_error(Reliability(*np.zeros((3, 4), dtype=int))), "at least one image"),
        (lambda: Reliability(*np.zeros((3, 4))) + Reliability(*np.zeros((3, 1))), "bins must be as many"),
        (lambda: recall(np.zeros((2, 3), dtype=int)), r"must have shape \(classes, classes\)"),
    ],
)
def test_measures_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()
