import dataclasses
import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels.ensemble import WEIGHTINGS, ensemble_confidence, softmax
from mllctl.reuse.measuring import Measures, Tally, without_model

# Shares of eighths add up exactly in any order, so that ties are ties for the loops, too.
EIGHTHS = st.sampled_from([0.0, 0.125, 0.25, 0.25, 0.5, 1.0])


@st.composite
def answers(draw, most_models=3):
    """Probabilities full of ties, members with pads, and a truth that may be none of the classes."""
    models, images, classes = draw(st.integers(1, most_models)), draw(st.integers(0, 5)), draw(st.integers(1, 7))
    probability = draw(hnp.arrays(np.float64, (models, images, classes), elements=EIGHTHS))
    columns = draw(st.integers(1, 3))
    rows = [draw(st.permutations([*range(models), *[-1] * columns]))[:columns] for _ in range(classes)]
    truth = draw(hnp.arrays(np.int64, images, elements=st.integers(-1, classes - 1)))
    return probability, np.array(rows, dtype=np.int64), truth


def names(kind, count):
    return [f"{kind}{n}" for n in range(count)]


def tallied(probability, members, truth, weighting, cuts=()):
    tally = Tally(names("c", len(members)), names("m", len(probability)), members, weighting)
    for chunk in np.split(np.arange(len(truth)), cuts):
        part = probability[:, chunk]
        tally.add(part, ensemble_confidence(part, members, weighting), truth[chunk])
    return tally


def plain(found):
    """Measures as the loops have them: without names."""
    if found is None:
        return None
    table = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    table["reliability"] = [(one.images, one.confidence, one.accuracy) for one in found.reliability]
    table["classes"] = [(one.images, one.recall, one.precision) for one in found.classes]
    table["confusion"] = found.confusion.tolist()
    table["contribution"] = [(one.classes, one.alone, one.without, one.weight) for one in found.contribution]
    return table


def assert_same(one, other):
    """Compare nested numbers to 1e-12; None is None."""
    if isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in other:
            assert_same(one[key], other[key])
    elif isinstance(other, list | tuple):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    else:
        assert one == (None if other is None else pytest.approx(other, abs=1e-12))


@given(answers())
def test_measures_are_those_of_the_loops(instance):
    probability, members, truth = instance
    found = tallied(probability, members, truth, "uniform").measures()
    confidence = ensemble_confidence(probability, members, "uniform")
    expected = oracles.measures(*(a.tolist() for a in (probability, confidence, truth, members)), "uniform")
    assert_same(plain(found), expected)


# Measured answers are unique almost surely: whatever the weighting, the loops agree on who wins.
@given(st.integers(0, 2**32), st.sampled_from(WEIGHTINGS), st.integers(1, 4), st.integers(1, 8))
def test_measures_are_those_of_the_loops_under_any_weighting(seed, weighting, models, classes):
    random = np.random.default_rng(seed)
    probability = softmax(3 * random.standard_normal((models, 6, classes)))
    members = random.integers(-1, models, (classes, 3))
    members[:, 0] = np.maximum(members[:, 0], 0)
    truth = random.integers(-1, classes, 6)
    confidence = ensemble_confidence(probability, members, weighting)
    found = tallied(probability, members, truth, weighting).measures()
    expected = oracles.measures(*(a.tolist() for a in (probability, confidence, truth, members)), weighting)
    assert_same(plain(found), expected)


@given(answers(), st.sampled_from(WEIGHTINGS), st.lists(st.integers(0, 5), max_size=3).map(sorted))
def test_many_chunks_measure_as_one(instance, weighting, cuts):
    probability, members, truth = instance
    probability = softmax(8 * probability)
    whole, parts = (tallied(probability, members, truth, weighting, where) for where in ([], cuts))
    assert (parts.images, parts.outside) == (whole.images, whole.outside)
    assert_same(plain(parts.measures()), plain(whole.measures()))


@given(answers(), st.sampled_from(WEIGHTINGS))
def test_measures_are_json_and_shares_are_shares(instance, weighting):
    probability, members, truth = instance
    found = tallied(softmax(8 * probability), members, truth, weighting).measures()
    if found is None:
        assert (truth == -1).all()
        return
    json.dumps(dataclasses.asdict(dataclasses.replace(found, confusion=found.confusion.tolist())), allow_nan=False)
    assert found.images + found.outside == len(truth)
    assert sum(one.images for one in found.reliability) == sum(one.images for one in found.classes) == found.images
    if (members >= 0).any(axis=1).all():
        assert sum(one.weight for one in found.contribution) == pytest.approx(1)


def test_memory_does_not_grow_with_images():
    members = np.array([[0], [0]])
    tally = Tally("ab", ["m"], members, "uniform")
    for _ in range(3):
        probability = np.full((1, 1000, 2), 1 / 2)
        tally.add(probability, probability[0], np.zeros(1000, dtype=np.int64))
    arrays = [value for value in vars(tally).values() if isinstance(value, np.ndarray)]
    assert max(array.size for array in arrays) == 2 * 2
    assert tally.images == 3000


# -- by hand --------------------------------------------------------------------------------------------

# Model 0 serves cat and dog, model 1 dog and cow. Of dog, both have half the weight.
MEMBERS = np.array([[0, -1], [0, 1], [1, -1]])
FIRST = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]]
SECOND = [[0.1, 0.3, 0.6], [0.5, 0.4, 0.1], [0.3, 0.5, 0.2], [0.1, 0.1, 0.8]]
# Confidence of the ensemble, uniform: cat of FIRST, mean of dog, cow of SECOND.
#   0.7 0.25 0.6 -> cat    0.1 0.6 0.1 -> dog    0.5 0.45 0.2 -> cat    0.2 0.15 0.8 -> cow
TRUTH = [0, 1, 1, 2]


@pytest.fixture(scope="module")
def by_hand():
    tally = Tally(["cat", "dog", "cow"], ["first", "second"], MEMBERS, "uniform")
    probability = np.array([FIRST, SECOND])
    tally.add(probability, ensemble_confidence(probability, MEMBERS, "uniform"), np.array(TRUTH))
    return tally.measures()


def test_accuracy_and_recall_by_hand(by_hand):
    assert by_hand.accuracy == 3 / 4
    assert by_hand.mean_class_recall == pytest.approx((1 / 1 + 1 / 2 + 1 / 1) / 3)
    assert by_hand.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert [one.precision for one in by_hand.classes] == [1 / 2, 1 / 1, 1 / 1]
    assert by_hand.mistaken(5) == [("dog", "cat", 1)]


def test_calibration_error_is_of_the_confidence_as_it_was_told(by_hand):
    # 0.7, 0.6, 0.5 and 0.8, each in a bin of its own; the third was wrong.
    expected = 1 / 4 * (abs(1 - 0.7) + abs(1 - 0.6) + abs(0 - 0.5) + abs(1 - 0.8))
    assert by_hand.calibration_error == pytest.approx(expected)


def test_contribution_by_hand(by_hand):
    first, second = by_hand.contribution
    assert (first.classes, second.classes) == (2, 2)
    # FIRST answers cat, dog, cat, cow; SECOND cow, cat, dog, cow.
    assert (first.alone, second.alone) == (3 / 4, 2 / 4)
    # Without one of two, the other answers for every class, also for that which it did not serve.
    assert (first.without, second.without) == (second.alone, first.alone)
    # Answers were cat, dog, cat, cow: of dog, both have one half.
    assert first.weight == pytest.approx((1 + 1 / 2 + 1 + 0) / 4)
    assert second.weight == pytest.approx((0 + 1 / 2 + 0 + 1) / 4)


def test_a_class_keeps_its_other_members_and_goes_to_all_others_if_it_has_none():
    members = np.array([[0, 1], [0, -1], [2, 1], [-1, -1]])
    assert without_model(members, 0).tolist() == [[-1, 1], [1, 2], [2, 1], [-1, -1]]
    assert without_model(members, 1).tolist() == [[0, -1], [0, -1], [2, -1], [-1, -1]]
    assert without_model(members, 2).tolist() == [[0, 1], [0, -1], [-1, 1], [-1, -1]]


def test_more_models_are_left_than_a_class_has_places():
    assert without_model(np.array([[0], [1], [2]]), 1).tolist() == [[0, -1], [0, 2], [2, -1]]


def test_there_is_nothing_without_the_only_model():
    assert without_model(np.array([[0, -1], [0, 0]]), 0) is None
    probability = np.array([[[0.3, 0.7]]])
    tally = Tally("ab", ["m"], np.array([[0], [0]]), "entropy")
    tally.add(probability, probability[0], np.array([1]))
    (only,) = tally.measures().contribution
    assert (only.alone, only.without, only.weight) == (1, None, pytest.approx(1))


# -- edges ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [5, 6])
def test_top5_is_told_where_it_can_be_missed(classes):
    tally = Tally(names("c", classes), ["m"], np.zeros((classes, 1), dtype=np.int64), "uniform")
    even = np.full((1, classes, classes), 1 / classes)
    tally.add(even, even[0], np.arange(classes))
    # Of equals the first five are the best.
    assert tally.measures().top5 == (None if classes == 5 else 5 / 6)


def test_an_image_of_none_of_the_classes_is_counted_and_left_out():
    tally = Tally("ab", ["m"], np.array([[0], [0]]), "uniform")
    assert tally.measures() is None
    probability = np.array([[[0.9, 0.1], [0.9, 0.1]]])
    tally.add(probability[:, :1], probability[0, :1], np.array([-1]))
    assert (tally.images, tally.outside, tally.measures()) == (0, 1, None)
    tally.add(probability, probability[0], np.array([-1, 1]))
    found = tally.measures()
    assert (found.images, found.outside, found.accuracy) == (1, 2, 0)
    assert found.calibration_error == pytest.approx(0.9)


@given(hnp.arrays(np.int64, st.integers(1, 5).map(lambda c: (c, c)), elements=st.integers(0, 2)), st.integers(0, 30))
@example(np.array([[5]]), 3)
def test_mistakes_come_by_count_then_truth_then_answer(counts, n):
    nothing = {"images": 1, "outside": 0, "accuracy": 0, "mean_class_recall": 0, "top5": None, "calibration_error": 0}
    classes = tuple(Named(name) for name in names("c", len(counts)))
    found = Measures(**nothing, reliability=(), classes=classes, confusion=counts, contribution=())
    expected = [(f"c{t}", f"c{u}", count) for t, u, count in oracles.mistaken(counts.tolist())]
    assert found.mistaken(n) == expected[:n]


@dataclasses.dataclass
class Named:
    class_: str


ONE = np.ones((1, 1, 2)) / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda tally: Tally("", ["m"], np.zeros((0, 1), dtype=int), "uniform"), "classes must not be empty"),
        (lambda tally: Tally("ab", ["m"], np.zeros((1, 1), dtype=int), "uniform"), r"must have shape \(2, k\)"),
        (lambda tally: Tally("ab", ["m"], np.array([[0], [1]]), "uniform"), r"must be models 0\.\.0 or -1"),
        (lambda tally: tally.add(ONE, ONE[0], np.array([2])), r"truth must be classes 0\.\.1, got 2"),
        (lambda tally: tally.add(ONE, ONE[0], np.array([-2])), r"truth must be classes 0\.\.1, got -2"),
        (lambda tally: tally.add(ONE, ONE[0], np.array([[0]])), r"must be \(m, i, c\), \(i, c\) and \(i,\)"),
        (lambda tally: tally.add(ONE, np.ones((1, 3)), np.array([0])), r"must be \(m, i, c\), \(i, c\) and \(i,\)"),
        (lambda tally: tally.add(np.ones((2, 1, 2)), ONE[0], np.array([0])), r"must be \(m, i, c\), \(i, c\) and"),
        (lambda tally: tally.add(ONE, 3 * ONE[0], np.array([0])), r"confidence must be in \[0, 1\]"),
        (lambda tally: tally.add(ONE, np.nan * ONE[0], np.array([0])), "confidence must be finite"),
    ],
)
def test_what_cannot_be_measured_is_refused_and_not_counted(call, message):
    tally = Tally("ab", ["m"], np.array([[0], [0]]), "uniform")
    tally.add(ONE, ONE[0], np.array([0]))
    before = plain(tally.measures())
    with pytest.raises(ValueError, match=message):
        call(tally)
    assert plain(tally.measures()) == before


def test_a_negative_number_of_mistakes_is_refused(by_hand):
    with pytest.raises(ValueError, match="at least 0, got -1"):
        by_hand.mistaken(-1)
