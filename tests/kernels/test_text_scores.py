import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
from mllctl.kernels.text_scores import CLASSIFICATION, GRANULARITY, classification_scores, granularity_scores

# Cosines of these are exact, and only a few: ties come up all the time.
UNIT = [(1.0, 0, 0, 0), (0, 1.0, 0, 0), (-1.0, 0, 0, 0), (0.5, 0.5, 0.5, 0.5), (0.5, -0.5, 0.5, 0.5)]
FISHER, SILHOUETTE, DISPERSION, CONSISTENCY = range(4)
rows = st.lists(st.sampled_from(UNIT), max_size=8)


@st.composite
def tasks(draw):
    """Prompts, captions and synonyms, classes without any among them."""
    classes = draw(st.lists(st.sampled_from(UNIT), min_size=1, max_size=4))
    texts = []
    for _ in range(2):
        of = draw(rows)
        truth = draw(st.lists(st.integers(0, len(classes) - 1), min_size=len(of), max_size=len(of)))
        texts += [of, truth]
    return classes, *texts


def arrays(classes, *texts):
    vectors = [np.array(of, dtype=np.float64).reshape(-1, 4) for of in (classes, *texts[::2])]
    truths = [np.array(of, dtype=np.int64) for of in texts[1::2]]
    return [vectors[0], *(part for pair in zip(vectors[1:], truths, strict=True) for part in pair)]


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert math.isnan(one) if other is None else one == pytest.approx(other, abs=1e-12)


@given(tasks())
def test_captions_are_answered_as_the_loops_do_with_ties_to_the_lower_class(task):
    classes, captions, truth, *_ = task
    found = classification_scores(*arrays(classes, captions, truth))
    same(found, oracles.text_classification(classes, captions, truth))


@given(tasks())
def test_granularity_is_that_of_the_loops(task):
    same(granularity_scores(*arrays(*task)), oracles.text_granularity(*task))


@given(tasks())
def test_scores_are_in_range_and_as_many_as_their_names(task):
    classification = classification_scores(*arrays(*task[:3]))
    granularity = granularity_scores(*arrays(*task))
    assert (len(classification), len(granularity)) == (len(CLASSIFICATION), len(GRANULARITY))
    assert ((classification >= 0) & (classification <= 1) | np.isnan(classification)).all()
    assert ((abs(granularity) <= 1) | np.isnan(granularity)).all()


@given(tasks(), st.randoms(use_true_random=False))
def test_the_order_of_texts_does_not_matter(task, random):
    classes, captions, truth, synonyms, synonym_class = task
    order = random.sample(range(len(captions)), len(captions))
    shuffled = (classes, [captions[n] for n in order], [truth[n] for n in order], synonyms, synonym_class)
    np.testing.assert_allclose(granularity_scores(*arrays(*shuffled)), granularity_scores(*arrays(*task)), atol=1e-12)
    np.testing.assert_allclose(
        classification_scores(*arrays(*shuffled[:3])), classification_scores(*arrays(*task[:3])), atol=1e-12
    )


def test_by_hand():
    x, y, between = UNIT[0], UNIT[1], UNIT[3]
    captions, truth = [x, between, y, x], [0, 1, 1, 1]
    # `between` is as near to either class and goes to the first; so does the second x, which is the other's.
    top1, f1 = classification_scores(*arrays([x, y], captions, truth))
    assert top1 == 2 / 4
    assert f1 == pytest.approx((2 * 1 / (3 + 1) + 2 * 1 / (1 + 3)) / 2)
    scores = granularity_scores(*arrays([x, y], captions, truth, [between, y], [0, 0]))
    assert scores[FISHER] == 0
    assert scores[SILHOUETTE] == pytest.approx((0 + (1 / 2 + 0 + 1) / 3) / 2)
    assert scores[DISPERSION] == pytest.approx((1 + (1 / 2 + 1 + 0) / 3) / 2)
    assert scores[CONSISTENCY] == (1 / 2 + 0) / 2


def test_one_class_is_near_to_no_other():
    captions = ([UNIT[0], UNIT[3]], [0, 0])
    scores = granularity_scores(*arrays([UNIT[0]], *captions, [], []))
    assert np.isnan(scores[[FISHER, SILHOUETTE, CONSISTENCY]]).all()
    assert scores[DISPERSION] == (1 + 1 / 2) / 2
    assert classification_scores(*arrays([UNIT[0]], *captions)).tolist() == [1, 1]


def test_opposite_classes_are_less_than_nothing_near():
    scores = granularity_scores(*arrays([UNIT[0], UNIT[2]], [], [], [], []))
    assert scores[FISHER] == -1


@pytest.mark.parametrize(
    ("classes", "captions", "truth", "message"),
    [
        (np.ones(3), np.ones((1, 3)), [0], "classes must have shape"),
        (np.ones((2, 3)), np.ones((1, 4)), [0], r"captions must have shape \(texts, 3\)"),
        (np.ones((2, 3)), np.ones((1, 3)), [0, 1], r"must have shape \(1,\)"),
        (np.ones((2, 3)), np.ones((1, 3)), [2], r"must be in \[0, 2\)"),
        (np.ones((2, 3)), np.ones((1, 3)), [-1], r"must be in \[0, 2\)"),
    ],
)
def test_shapes_that_do_not_agree_are_refused(classes, captions, truth, message):
    with pytest.raises(ValueError, match=message):
        classification_scores(classes, captions, np.array(truth))
    with pytest.raises(ValueError, match=message):
        granularity_scores(classes, captions, np.array(truth), np.ones((0, 3)), np.zeros(0, dtype=np.int64))
