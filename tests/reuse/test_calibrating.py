"""Temperatures come from the hub alone: the very images, weights and similarities that a selection rests on."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import oracles
from fakes import COLOURS, SIDES, FakeEncoder, FakeModel, fake, hub_of_folders, paint_folder
from mllctl import Hub, build_index, label_model, select_models
from mllctl.errors import StageMissing
from mllctl.hub.bundling import export_labels, import_labels
from mllctl.hub.writing import change_hub, seal
from mllctl.kernels.calibration import HIGHEST, LOWEST, STRENGTH
from mllctl.reuse import calibrating
from mllctl.reuse.calibrating import temperatures
from mllctl.reuse.saved import save_selection

CLASSES = ["dog", "wolf", "apple"]


@pytest.fixture(scope="module")
def world(tmp_path_factory, nouns):
    """Two domains with unlike numbers of images, and models that are wrong now and then."""
    root = tmp_path_factory.mktemp("warm")
    folders = {
        "photo": paint_folder(root / "photo", list(COLOURS), 6, seed=1, side=SIDES["photo"]),
        "drawing": paint_folder(root / "drawing", list(COLOURS)[:3], 3, seed=2, side=SIDES["drawing"]),
    }
    hub = hub_of_folders(root / "hub", folders, nouns)
    build_index(hub, FakeEncoder())
    for number in range(3):
        label_model(hub, fake(number))
    return SimpleNamespace(root=root, hub=hub)


def expected_temperatures(hub, selection):
    """Every image of the selected nodes, its weight worked out class by class."""
    at = {node.node: v for v, node in enumerate(selection.nodes)}
    shown = [image for image in hub.images() if image.node in at]
    domain = {weight.name: weight.weight for weight in selection.domains}
    weight = []
    for image in shown:
        alike = sum(domain[other.domain] for other in shown if other.node == image.node)
        column = selection.transfer[at[image.node]]
        say = sum(float(z / selection.transfer[:, c].sum()) for c, z in enumerate(column) if z > 0)
        weight.append(say * domain[image.domain] / alike)
    fitted = []
    for model in selection.models:
        images, captions = hub.features(model.model)
        seen = images.take(np.array([image.image for image in shown]))
        named = captions.take(np.array(list(at)))
        logits = model.card.logit_scale * np.array(oracles.similarities(seen, named))
        truth = [at[image.node] for image in shown]
        fitted.append(oracles.fit_temperature(logits.tolist(), truth, weight, LOWEST, HIGHEST))
    worth = sum(weight) ** 2 / sum(w**2 for w in weight)
    return oracles.shrink_temperatures(fitted, worth, STRENGTH)


@pytest.mark.parametrize("domain", [None, "drawing which is how these images look"])
@pytest.mark.parametrize("nodes_per_class", [1, 3])
def test_temperatures_are_those_of_a_dull_search_over_the_images_of_the_selected_nodes(world, domain, nodes_per_class):
    with Hub.open(world.hub) as hub:
        selection = select_models(hub, CLASSES, domain, nodes_per_class=nodes_per_class, encoder=FakeEncoder())
        found = temperatures(hub, selection)
        assert list(found) == list(selection.names)
        assert list(found.values()) == pytest.approx(expected_temperatures(hub, selection), rel=1e-5)
        assert len({round(t, 6) for t in found.values()}) == 3


def test_every_model_that_is_saved_is_given_its_temperature(world):
    with Hub.open(world.hub) as hub:
        selection = select_models(hub, CLASSES, k=2, encoder=FakeEncoder())
        found = temperatures(hub, selection)
    for breadth in ("one", "few", "each"):
        saved = save_selection(selection, breadth, temperature=found)
        assert {model.name: model.temperature for model in saved.models}.items() <= found.items()


def test_a_model_that_is_surer_of_the_same_has_a_higher_temperature(painted_copy):
    calm, sure = FakeModel("fake/calm", seed=5, blur=0.5), FakeModel("fake/sure", seed=5, blur=0.5)
    sure.card = replace(sure.card, logit_scale=3 * calm.card.logit_scale)
    for model in (calm, sure):
        label_model(painted_copy, model)
    with Hub.open(painted_copy) as hub:
        found = temperatures(hub, select_models(hub, CLASSES, encoder=FakeEncoder()))
    assert found["fake/sure"] > found["fake/calm"]


def test_without_a_node_for_any_class_nothing_is_known_and_nothing_is_divided(exact):
    with Hub.open(exact.hub) as hub:
        selection = select_models(hub, ["zzzz", "qqqq"], encoder=exact.encoder)
        assert not selection.covered.any()
        assert temperatures(hub, selection) == dict.fromkeys(selection.names, 1.0)


def test_of_many_images_those_that_are_looked_at_are_spread_over_the_nodes(world, monkeypatch):
    seen = []
    monkeypatch.setattr(calibrating, "MOST_IMAGES", 20)
    monkeypatch.setattr(calibrating, "fit_temperature", lambda logits, truth, weight: seen.append(truth) or 1.0)
    with Hub.open(world.hub) as hub:
        selection = select_models(hub, CLASSES, encoder=FakeEncoder())
        temperatures(hub, selection)
        count = sum(node.images for node in selection.nodes)
    assert count > 20 >= len(seen[0]) > 10
    assert set(seen[0].tolist()) == set(range(len(selection.nodes)))


# -- hubs without embeddings ------------------------------------------------------------------------------


def test_the_bundled_hub_says_how_to_make_one_with_embeddings(labelled_copy):
    seal(labelled_copy)
    with Hub.open(labelled_copy) as hub:
        selection = select_models(hub, CLASSES, encoder=FakeEncoder())
        with pytest.raises(
            StageMissing, match=r"bundled demo hub is without; --hub DIR .*; run `mllctl demo build DIR`$"
        ):
            temperatures(hub, selection)


def test_a_label_that_came_without_embeddings_matters_only_where_it_answers(labelled_copy, tmp_path):
    keep_only(labelled_copy, "fake/0")
    with Hub.open(labelled_copy) as hub:
        export_labels(hub, tmp_path / "bare.tar")
    import_labels(tmp_path / "bare.tar", tmp_path / "new")
    label_model(tmp_path / "new", fake(2))
    with Hub.open(tmp_path / "new") as hub:
        selection = select_models(hub, ["dog"], encoder=FakeEncoder())
        assert selection.names == ("fake/0", "fake/2")
        answering = {m for answer in selection.answers for m in answer.models}
        assert answering == {1}
        assert list(temperatures(hub, selection)) == ["fake/2"]
        both = select_models(hub, ["dog"], k=2, encoder=FakeEncoder())
        cure = re.escape("; run `mllctl model remove fake/0 && mllctl label fake/0`")
        with pytest.raises(StageMissing, match=f"^the label of fake/0 was imported without .*{cure}$"):
            temperatures(hub, both)


def keep_only(path, name):
    with change_hub(path) as change:
        for number in range(3):
            if f"fake/{number}" != name:
                change.remove_model(f"fake/{number}")
