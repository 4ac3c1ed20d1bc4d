import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels.ensemble import WEIGHTINGS, answer_weight, ensemble_confidence, entropy, softmax

# One-hot and uniform answers among others: zero entropies, and ties between models.
LOGITS = st.sampled_from([-2000.0, 0.0, 0.0, 1.0, 2000.0])


@st.composite
def answers(draw):
    models, images, classes = draw(st.integers(1, 4)), draw(st.integers(0, 3)), draw(st.integers(1, 4))
    logits = draw(hnp.arrays(np.float64, (models, images, classes), elements=LOGITS))
    shape = classes, draw(st.integers(1, 3))
    members = draw(hnp.arrays(np.int64, shape, elements=st.integers(-1, models - 1)))
    return softmax(logits), members


@given(answers(), st.sampled_from(WEIGHTINGS))
def test_confidence_is_the_weighted_mean_over_the_models_of_a_class(instance, weighting):
    probability, members = instance
    found = ensemble_confidence(probability, members, weighting)
    assert found.shape == probability.shape[1:]
    expected = oracles.ensemble_confidence(probability.tolist(), members.tolist(), weighting)
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), rtol=1e-12, atol=1e-12)


@given(answers(), st.sampled_from(WEIGHTINGS))
def test_one_model_a_class_answers_for_itself_whatever_the_weighting(instance, weighting):
    probability, members = instance
    first = np.maximum(members[:, :1], 0)
    found = ensemble_confidence(probability, first, weighting)
    for c, (m,) in enumerate(first.tolist()):
        np.testing.assert_allclose(found[:, c], probability[m, :, c], rtol=1e-12)


# Weights of any size, so that sums round; models, images and classes of many numbers, since loops over arrays differ.
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.sampled_from(WEIGHTINGS))
def test_an_image_is_answered_to_the_last_bit_as_if_it_were_alone(seed, models, images, classes, weighting):
    random = np.random.default_rng(seed)
    probability = softmax(3 * random.standard_normal((models, images, classes)))
    members = random.integers(-1, models, (classes, 3))
    together = ensemble_confidence(probability, members, weighting)
    alone = [ensemble_confidence(probability[:, [x]], members, weighting)[0].tolist() for x in range(images)]
    assert together.tolist() == alone


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(2, 9), st.sampled_from(WEIGHTINGS))
def test_classes_with_the_same_answers_tie_in_whatever_order_their_models_stand(seed, models, classes, weighting):
    random = np.random.default_rng(seed)
    probability = np.repeat(softmax(random.standard_normal((models, 4, 1))) * random.random((models, 4, 1)), classes, 2)
    members = random.permuted(np.tile(np.arange(models), (classes, 1)), axis=1)
    found = ensemble_confidence(probability, members, weighting)
    assert (found == found[:, :1]).all()


@given(answers(), st.sampled_from(WEIGHTINGS), st.data())
def test_the_weight_in_an_answer_is_what_confidence_is_made_of(instance, weighting, data):
    probability, members = instance
    images, classes = probability.shape[1:]
    answer = data.draw(hnp.arrays(np.int64, images, elements=st.integers(0, classes - 1)))
    found = answer_weight(probability, members, answer, weighting)
    expected = oracles.answer_weight(probability.tolist(), members.tolist(), answer.tolist(), weighting)
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), rtol=1e-12, atol=1e-12)
    taken = probability[:, np.arange(images), answer]
    confidence = ensemble_confidence(probability, members, weighting)[np.arange(images), answer]
    np.testing.assert_allclose((found * taken).sum(axis=0), confidence, rtol=1e-12, atol=1e-12)


@given(hnp.arrays(np.float64, (3, 4), elements=LOGITS))
def test_softmax_and_entropy_are_those_of_the_loops(logits):
    np.testing.assert_allclose(softmax(logits), [oracles.softmax(row) for row in logits.tolist()], atol=1e-12)
    expected = [oracles.entropy(row) for row in softmax(logits).tolist()]
    np.testing.assert_allclose(entropy(softmax(logits)), expected, atol=1e-12)


def test_entropy_by_hand():
    assert entropy(np.array([1.0, 0.0])) == 0
    assert math.copysign(1, entropy(np.array([1.0, 0.0]))) == 1
    assert entropy(np.array([1 / 2, 1 / 2])) == pytest.approx(math.log(2), abs=1e-15)


# Two models and one image: H = log 2 and H = log 4 / 2 + ... = 0.25 log 4 + 0.75 log(4/3).
SURE, UNSURE = [1 / 4, 3 / 4], [1 / 2, 1 / 2]
H_SURE = 1 / 4 * math.log(4) + 3 / 4 * math.log(4 / 3)
H_UNSURE = math.log(2)


@pytest.mark.parametrize(
    ("weighting", "weight_of_sure"),
    [
        ("entropy", H_SURE / (H_SURE + H_UNSURE)),
        ("confidence", (1 / H_SURE) / (1 / H_SURE + 1 / H_UNSURE)),
        ("uniform", 1 / 2),
    ],
)
def test_confidence_by_hand(weighting, weight_of_sure):
    probability = np.array([[SURE], [UNSURE]])
    found = ensemble_confidence(probability, np.array([[0, 1], [0, 1]]), weighting)
    expected = [weight_of_sure * s + (1 - weight_of_sure) * u for s, u in zip(SURE, UNSURE, strict=True)]
    assert found[0] == pytest.approx(expected, abs=1e-15)
    weight = answer_weight(probability, np.array([[0, 1], [0, 1]]), np.array([1]), weighting)
    assert weight[:, 0] == pytest.approx([weight_of_sure, 1 - weight_of_sure], abs=1e-15)


def test_models_that_are_all_certain_weigh_the_same():
    probability = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    members = np.array([[0, 1], [0, 1]])
    for weighting in WEIGHTINGS:
        assert ensemble_confidence(probability, members, weighting).tolist() == [[1 / 2, 1 / 2]]


def test_a_certain_model_is_silent_under_entropy_and_decides_under_confidence():
    probability = np.array([[[1.0, 0.0]], [UNSURE]])
    members = np.array([[0, 1], [0, 1]])
    assert ensemble_confidence(probability, members, "entropy").tolist() == [UNSURE]
    assert ensemble_confidence(probability, members, "confidence")[0] == pytest.approx([1.0, 0.0], abs=1e-11)


def test_a_class_without_members_has_confidence_zero():
    assert ensemble_confidence(np.array([[UNSURE]]), np.array([[-1], [0]])).tolist() == [[0.0, 1 / 2]]


@pytest.mark.parametrize(
    ("probability", "members", "weighting", "message"),
    [
        (np.ones((1, 2)), np.zeros((2, 1), dtype=int), "entropy", "must share their classes"),
        (np.ones((1, 1, 2)), np.zeros((3, 1), dtype=int), "entropy", "must share their classes"),
        (np.ones((1, 1, 2)), np.zeros(2, dtype=int), "entropy", "must share their classes"),
        (np.ones((1, 1, 2)), np.array([[0], [1]]), "entropy", "members must be models"),
        (np.ones((1, 1, 2)), np.array([[0], [-2]]), "entropy", "members must be models"),
        (np.ones((1, 1, 2)), np.array([[0], [0]]), "loudest", "weighting must be one of"),
    ],
)
def test_ensembles_refuse(probability, members, weighting, message):
    with pytest.raises(ValueError, match=message):
        ensemble_confidence(probability, members, weighting)


@pytest.mark.parametrize("answer", [[2], [-1], [0, 0], [[0]]])
def test_a_weight_in_what_is_no_answer_is_refused(answer):
    with pytest.raises(ValueError, match=r"answer must be a class 0\.\.1 of each of 1 images"):
        answer_weight(np.ones((1, 1, 2)), np.array([[0], [0]]), np.array(answer))
