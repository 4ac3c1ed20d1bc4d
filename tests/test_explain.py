from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllctl import select_models
from mllctl.errors import InvalidTask
from mllctl.explain import explain_choice, leading_models
from mllctl.hub import Hub
from mllctl.kernels.reuse import reuse_metric
from mllctl.report import explanation_page

CLASSES = ["dog", "cat", "apple"]


@pytest.fixture(scope="module")
def hub(exact):
    with Hub.open(exact.hub) as opened:
        yield opened


@pytest.fixture(scope="module")
def selection(hub, exact):
    return select_models(hub, CLASSES, encoder=exact.encoder)


@pytest.mark.parametrize("class_", CLASSES)
def test_an_explanation_counts_the_hits_of_the_label(hub, selection, class_):
    for model in selection.names:
        explanation = explain_choice(hub, selection, class_, model)
        for told in explanation.nodes:
            v = [node.node for node in selection.nodes].index(told.node.node)
            m = selection.names.index(model)
            assert sum(told.hits.values()) == selection.hits[m, v]
            assert sum(told.images.values()) == selection.images[m, v]
            assert sum(count for _, count in told.rivals) <= selection.images[m, v] - selection.hits[m, v]
            assert told.low <= told.precision <= told.high
        assert sum(told.part for told in explanation.nodes) == pytest.approx(1)


def test_the_model_that_was_chosen_is_explained_unless_another_is_named(hub, selection):
    explanation = explain_choice(hub, selection, "dog")
    assert explanation.rank == 1
    assert explanation.model == explanation.chosen == selection.names[selection.members[0, 0]]
    other = explain_choice(hub, selection, "dog", "things")
    assert other.rank > 1
    assert other.chosen == explanation.chosen


def test_names_that_are_unknown_are_refused(hub, selection):
    with pytest.raises(InvalidTask, match="dgo"):
        explain_choice(hub, selection, "dgo")
    with pytest.raises(InvalidTask, match="nobody"):
        explain_choice(hub, selection, "dog", "nobody")


def test_a_page_shows_every_image_with_what_became_of_it(hub, selection):
    explanation = explain_choice(hub, selection, "apple", "animals")
    page = explanation_page(explanation)
    assert page.count("<figure") == len(explanation.images)
    assert page.count('<figure class="hit">') == sum(seen.hit for seen in explanation.images)
    assert page.count("data:image/png;base64,") == len(explanation.images)
    assert "<script" not in page


# Few distinct values, so that lines often cross in one point or lie on each other.
VALUES = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@given(st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=1, max_size=5))
def test_who_leads_at_an_alpha_is_best_there(rows):
    precision = np.array(rows)
    names = tuple(f"m{n}" for n in range(len(rows)))
    ranges = leading_models(precision, 0, names)
    assert (ranges[0].low, ranges[-1].high) == (0, 1)
    assert all(one.high == other.low for one, other in pairwise(ranges))
    for found in ranges:
        for alpha in np.linspace(found.low, found.high, 5):
            reuse = reuse_metric(precision, float(alpha))[:, 0]
            assert reuse[names.index(found.model)] >= reuse.max() - 1e-12


def test_a_class_without_evidence_says_so(hub, exact):
    selection = select_models(hub, ["dog", "quantum"], encoder=exact.encoder)
    explanation = explain_choice(hub, selection, "quantum")
    assert not explanation.covered
    assert explanation.nodes == explanation.alphas == explanation.changes == ()
    assert explanation.rank == 1
    assert "the other classes decided" in explanation.no_evidence
    assert "no evidence for this class" in explanation_page(explanation).lower()
    assert explanation.similarity < 0.45


def test_a_model_that_is_left_out_is_refused_with_the_reason(hub, exact):
    selection = select_models(hub, ["dog", "cat"], barred={"things": "too large"}, encoder=exact.encoder)
    with pytest.raises(InvalidTask, match="things was no candidate: too large"):
        explain_choice(hub, selection, "dog", "things")


def test_where_no_class_has_evidence_the_best_overall_model_is_said_to_decide(hub, exact):
    selection = select_models(hub, ["quantum", "gene"], encoder=exact.encoder)
    explanation = explain_choice(hub, selection, " gene ")
    assert (explanation.model, explanation.rank) == (selection.names[selection.overall], 1)
    assert "best-overall" in explanation.no_evidence


def test_under_a_cap_only_the_models_that_were_taken_are_compared(hub, exact):
    selection = select_models(hub, ["dog", "car", "apple"], max_models=1, encoder=exact.encoder)
    [taken] = selection.answer("few").models
    for class_ in selection.classes:
        explanation = explain_choice(hub, selection, class_)
        assert explanation.model == selection.names[taken]
        assert explanation.rank == 1
        assert [leader.model for leader in explanation.alphas] == [selection.names[taken]]
        assert explanation.changes == ()
