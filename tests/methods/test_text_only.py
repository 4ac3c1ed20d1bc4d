import numpy as np
import pytest

from mllctl.methods import METHODS, Afterwards, Asked

NAMES = ("one", "two", "three")


def asked(texts, universal=None):
    return Asked(
        name="task",
        classes=("dog", "cat"),
        domain="",
        models=NAMES,
        parameters=np.full(3, np.nan),
        universal=np.full(3, np.nan) if universal is None else np.array(universal),
        random=np.random.default_rng(0),
        texts=np.array(texts, dtype=np.float64),
    )


def scores(column, values):
    """Text scores that differ in one feature only, shape (m, f)."""
    table = np.full((len(values), 6), 0.5)
    table[:, column] = values
    return table


def afterwards(others, texts, reached=(0.0, 0.0, 0.0)):
    return Afterwards(np.array(others), np.array(reached), texts=np.array(texts))


# On both other tasks the model with the best text top-1 is the best, however hard the task.
OTHERS = [[0.1, 0.2, 0.3], [0.9, 0.7, 0.8]]
TEXTS = [scores(0, [0.1, 0.2, 0.3]), scores(0, [0.3, 0.1, 0.2])]


@pytest.mark.parametrize("name", ["modelgpt", "modelgpt-c"])
def test_what_texts_told_on_other_tasks_is_what_they_tell_here(name):
    choice = METHODS[name](asked(scores(0, [0.2, 0.9, 0.4])), afterwards(OTHERS, TEXTS))
    assert choice.members is None
    assert choice.chosen.tolist() == [1]
    # 0.1 more of text top-1 is 0.1 more of top-1.
    assert np.diff(choice.score[0]) == pytest.approx([0.7, -0.5])


def test_a_score_may_be_a_bad_sign():
    worse = [scores(0, [0.3, 0.2, 0.1]), scores(0, [0.1, 0.3, 0.2])]
    assert METHODS["modelgpt"](asked(scores(0, [0.2, 0.9, 0.4])), afterwards(OTHERS, worse)).chosen.tolist() == [0]


def test_each_ablation_looks_at_its_own_scores_only():
    here = scores(0, [0.2, 0.9, 0.4])
    blind = METHODS["modelgpt-g"](asked(here), afterwards(OTHERS, TEXTS))
    assert np.ptp(blind.score) == pytest.approx(0)
    near = [scores(2, [0.1, 0.2, 0.3]), scores(2, [0.3, 0.1, 0.2])]
    assert METHODS["modelgpt-g"](asked(scores(2, [0.2, 0.9, 0.4])), afterwards(OTHERS, near)).chosen.tolist() == [1]


def test_inb_is_a_feature_of_the_whole_alone():
    same = [scores(0, [0.5, 0.5, 0.5])] * 2
    universal = [0.3, 0.1, 0.2]
    given = asked(same[0], universal), afterwards([[0.5, 0.3, 0.4], [0.9, 0.7, 0.8]], same)
    assert METHODS["modelgpt"](*given).score[0] == pytest.approx([0.1, -0.1, 0.0])
    assert np.ptp(METHODS["modelgpt-c"](*given).score) == pytest.approx(0)


def test_nothing_of_the_task_itself_is_looked_at():
    method = METHODS["modelgpt"]
    assert method.sees == "other tasks"
    here = scores(0, [0.2, 0.9, 0.4])
    one, other = (method(asked(here), afterwards(OTHERS, TEXTS, reached)) for reached in [(0, 0, 1), (1, 0, 0)])
    assert (one.score == other.score).all()


def test_models_unknown_on_a_task_and_scores_of_nothing_are_no_hindrance():
    others = [[0.1, np.nan, 0.3], [np.nan, np.nan, np.nan]]
    texts = [scores(0, [0.1, 0.2, 0.3]), np.full((3, 6), np.nan)]
    choice = METHODS["modelgpt"](asked(scores(0, [0.2, 0.9, np.nan])), afterwards(others, texts))
    assert np.isfinite(choice.score).all()
    assert choice.chosen.tolist() == [1]


def test_without_other_tasks_all_models_are_alike():
    nothing = Afterwards(np.empty((0, 3)), np.zeros(3), texts=np.empty((0, 3, 6)))
    choice = METHODS["modelgpt"](asked(scores(0, [0.2, 0.9, 0.4])), nothing)
    assert np.ptp(choice.score) == 0
