import numpy as np
import pytest

from mllctl import select_models
from mllctl.hub import Hub
from mllctl.select import Doubt
from mllctl.select.doubting import judge


@pytest.fixture(scope="module")
def hub(exact):
    with Hub.open(exact.hub) as opened:
        yield opened


def covered(count, of):
    return np.arange(of) < count


@pytest.mark.parametrize(
    ("doubt", "share", "same", "advice", "said"),
    [
        (Doubt(1, 0.9, 0.99), covered(10, 10), False, "use", "10 of 10 classes"),
        (Doubt(1, 0.9, 1.0), covered(10, 10), True, "use", "also the best-overall model"),
        (Doubt(1, 0.9, 0.99), covered(7, 10), False, "use with care", "7 of 10 classes"),
        (Doubt(1, 0.9, 0.75), covered(10, 10), False, "use with care", "75 % sure"),
        (Doubt(1, 0.9, 0.99), covered(0, 10), True, "prefer the best-overall model", "none of the classes"),
        (Doubt(1, 0.9, 0.4), covered(10, 10), False, "prefer the best-overall model", "only 40 % sure"),
    ],
)
def test_a_verdict_weighs_coverage_and_odds(doubt, share, same, advice, said):
    verdict = judge(doubt, share, same)
    assert verdict.advice == advice
    assert said in verdict.reason


def test_a_model_that_is_right_on_all_images_surely_beats_one_that_is_not(hub, exact):
    selection = select_models(hub, ["dog", "cat"], encoder=exact.encoder)
    assert selection.names[selection.single] == "animals"
    assert selection.doubt.beats_runner_up > 0.99
    assert selection.doubt.beats_overall == 1


def test_the_same_question_has_the_same_answer(hub, exact):
    one, other = (select_models(hub, ["dog", "car", "wolf"], encoder=exact.encoder) for _ in range(2))
    assert one.doubt == other.doubt


def test_without_evidence_the_best_overall_model_is_preferred(hub, exact):
    selection = select_models(hub, ["quantum", "gene"], encoder=exact.encoder)
    assert not selection.covered.any()
    assert selection.single == selection.overall
    assert selection.verdict.advice == "prefer the best-overall model"
    low, high = selection.task_belief.interval()
    assert (low.tolist(), high.tolist()) == ([0, 0, 0], [1, 1, 1])


def test_intervals_lie_round_what_is_believed(hub, exact):
    selection = select_models(hub, ["dog", "cat", "quantum"], encoder=exact.encoder)
    low, high = selection.class_belief.interval()
    known = selection.covered
    assert (low[:, known] <= selection.share[:, known]).all()
    assert (selection.share[:, known] <= high[:, known]).all()
    assert (low[:, ~known] == 0).all()
    assert (high[:, ~known] == 1).all()
    assert all(np.isfinite(end).all() for end in selection.reuse_belief.interval())


def test_at_most_so_many_models_answer(hub, exact):
    free = select_models(hub, ["apple", "dog", "car", "cat"], k=2, encoder=exact.encoder)
    capped = select_models(hub, ["apple", "dog", "car", "cat"], k=2, max_models=1, encoder=exact.encoder)
    assert len(np.unique(capped.members)) == 1
    assert len(np.unique(free.members)) > 1
    assert free.answer("each").precision >= free.answer("few").precision >= free.answer("one").precision - 1e-12


def test_models_that_are_barred_are_left_out_with_the_reason(hub, exact):
    selection = select_models(hub, ["dog", "cat"], barred={"animals": "too large"}, encoder=exact.encoder)
    assert "animals" not in selection.names
    assert selection.left_out == (("animals", "too large"),)
