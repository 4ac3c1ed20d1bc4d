"""Experts are selected by what their heads answered, saved, and asked beside a general model."""

from dataclasses import replace

import numpy as np
import pytest

from fakes import COLOURS, FakeEncoder, FakeExpert, fake, hub_of_folders, paint_folder
from mllctl import build_index, label_model, select_models
from mllctl.errors import InvalidTask, ModelNotLoadable, NotInHub, StageMissing
from mllctl.experts import explain_expert, select_experts
from mllctl.hub import Hub
from mllctl.images import open_image
from mllctl.images.listing import list_images
from mllctl.kernels.chco import combine_heads
from mllctl.label import label_expert
from mllctl.reuse.answering import Answering, Manner
from mllctl.reuse.ensemble import Ensemble
from mllctl.reuse.experts import save_experts
from mllctl.reuse.saved import read_selection

ANIMALS = FakeExpert("colours/animals", ("dog.n.01", "cat.n.01", "wolf.n.01"), sharpness=0.2)
THINGS = FakeExpert("colours/things", ("apple.n.01", "car.n.01"), named=False, sharpness=0.2)
CLASSES = ["dog", "cat", "apple", "car"]
EXPERTS = {expert.card.source: expert for expert in (ANIMALS, THINGS)}


@pytest.fixture(scope="module")
def hub(tmp_path_factory, nouns):
    folder = tmp_path_factory.mktemp("experts")
    folders = {
        "photo": paint_folder(folder / "photo", list(COLOURS), 4),
        "drawing": paint_folder(folder / "drawing", list(COLOURS), 3, seed=1),
    }
    path = hub_of_folders(folder / "hub", folders, nouns)
    build_index(path, FakeEncoder())
    label_model(path, fake(0))
    for expert in EXPERTS.values():
        label_expert(path, expert)
    return path


def ask(hub, *arguments, **options):
    with Hub.open(hub) as opened:
        return select_experts(opened, *arguments, encoder=FakeEncoder(), **options)


def general(hub, classes):
    with Hub.open(hub) as opened:
        return select_models(opened, classes, encoder=FakeEncoder())


def load_expert(source, device):
    return EXPERTS[source]


def load_model(source, device):
    return fake(0)


def ensemble(saved):
    return Ensemble.load(saved, load_model, load_expert=load_expert)


def test_each_class_goes_to_the_expert_whose_heads_tell_it_from_the_others(hub):
    found = ask(hub, CLASSES, k=1)
    assert [node.synset for node in found.nodes] == ["dog.n.01", "cat.n.01", "apple.n.01", "car.n.01"]
    assert found.served.all()
    assert [found.names[m] for m in found.members[:, 0]] == ["colours/animals"] * 2 + ["colours/things"] * 2
    assert (found.gaps <= 1e-4).all()


def test_a_combination_is_that_of_the_mean_of_all_images_of_the_nodes(hub):
    found = ask(hub, CLASSES, "photo", k=1)
    plain = ask(hub, CLASSES, k=1)
    with Hub.open(hub) as opened:
        stored = opened.expert("colours/animals")
        columns = []
        for node in plain.nodes:
            answers = [ANIMALS.log_probability([open_image(image.uri)])[0] for image in opened.images(node.synset)]
            columns.append(np.mean(np.array(answers).astype(np.float16).astype(np.float64), axis=0))
    m = [expert.expert for expert in plain.experts].index(stored.expert)
    assert np.allclose(plain.labels[m], np.array(columns).T, rtol=1e-12)
    assert np.allclose(plain.losses[m], combine_heads(np.array(columns).T).losses, atol=1e-9)
    assert found.domain == "photo"


def test_heads_are_anonymous(hub, tmp_path, nouns):
    """Names on the heads change nothing that is selected."""
    path = hub_of_folders(tmp_path / "hub", {"photo": paint_folder(tmp_path / "photo", list(COLOURS), 4)}, nouns)
    build_index(path, FakeEncoder())
    for number, named in enumerate((True, False)):
        label_expert(path, FakeExpert(f"heads/{number}", ("apple.n.01", "car.n.01"), named))
    found = ask(path, ["apple", "car"])
    assert found.experts[0].card.heads == ("apple.n.01", "car.n.01", "")
    assert (found.losses[0] == found.losses[1]).all()


def test_a_class_without_a_node_or_within_no_threshold_goes_to_no_expert(hub):
    found = ask(hub, ["dog", "quasar", "car"], matching="caption")
    strict = ask(hub, CLASSES, threshold=1e-9)
    assert not strict.served.any()
    assert (strict.members == -1).all()
    assert (found.losses[:, [node is None for node in found.nodes]] == np.inf).all()


def test_where_no_class_has_a_node_no_expert_serves_any(hub):
    with Hub.open(hub) as opened:
        stored = opened.expert("colours/animals")
        assert opened.head_totals(stored.expert, []).total.shape == (0, 4)
    found = ask(hub, ["quark"])
    assert found.nodes == (None,)
    assert not found.served.any()


def test_a_hub_without_experts_says_what_to_type(tmp_path, nouns):
    path = hub_of_folders(tmp_path / "hub", {"photo": paint_folder(tmp_path / "photo", list(COLOURS), 1)}, nouns)
    build_index(path, FakeEncoder())
    with pytest.raises(StageMissing, match=r"no labelled expert.*`mllctl label"):
        ask(path, CLASSES)
    with pytest.raises(InvalidTask, match="threshold must be above 0"):
        ask(path, CLASSES, threshold=0.0)


def test_an_expert_that_lacks_images_is_left_out_and_said(tmp_path, nouns):
    pictures = paint_folder(tmp_path / "photo", list(COLOURS), 2)
    path = hub_of_folders(tmp_path / "hub", {"photo": pictures}, nouns)
    build_index(path, FakeEncoder())
    label_expert(path, ANIMALS)
    from mllctl.hub.writing import change_hub
    from mllctl.images import scan

    with change_hub(path) as change:
        change.add_images(scan(paint_folder(tmp_path / "more", ["dog.n.01"], 1, seed=7), "photo", nouns).images)
    label_expert(path, THINGS)
    found = ask(path, CLASSES)
    assert found.names == ("colours/things",)
    assert found.left_out[0][0] == "colours/animals"
    assert "`mllctl label colours/animals`" in found.left_out[0][1]


def test_an_expert_that_is_barred_is_left_out_with_the_reason(hub):
    found = ask(hub, CLASSES, barred={"colours/animals": "too large"})
    assert found.names == ("colours/things",)
    assert found.left_out == (("colours/animals", "too large"),)
    with pytest.raises(InvalidTask, match="no labelled expert is within the limits; colours/animals: too large"):
        ask(hub, CLASSES, barred=dict.fromkeys(("colours/animals", "colours/things"), "too large"))


def test_a_general_model_shares_in_what_experts_answer_and_need_not_be_there(hub, tmp_path):
    saved = save_experts(ask(hub, CLASSES, k=1), general(hub, CLASSES))
    assert len(saved.models) == 1
    saved = replace(saved, models=(), members=np.full((len(CLASSES), 1), -1))
    assert saved.names == ("colours/animals", "colours/things")
    saved.write(tmp_path / "selection.json")
    again = read_selection(tmp_path / "selection.json")
    assert again.experts == saved.experts
    assert again.identity == saved.identity
    with Hub.open(hub) as opened:
        images = [image for image in opened.images() if image.synset.split(".")[0] in CLASSES]
        answer = ensemble(again).predict([open_image(image.uri) for image in images])
    assert [image.synset.split(".")[0] for image in images] == answer.names


def test_classes_that_no_expert_serves_are_the_general_models(hub):
    experts = ask(hub, ["dog", "cat", "quasar"], k=1)
    saved = save_experts(experts, general(hub, ["dog", "cat", "quasar"]))
    assert saved.served.tolist() == [True, True, False]
    assert [model.name for model in saved.models] == ["fake/0"]
    with Hub.open(hub) as opened:
        images = [open_image(image.uri) for image in opened.images()]
    confidence = ensemble(saved).predict(images).confidence
    alone = replace(saved, experts=(), expert_members=saved.expert_members[:, :0])
    theirs = ensemble(alone).predict(images).confidence
    assert np.allclose(confidence.sum(axis=1), 1)
    assert (confidence[:, 2] == theirs[:, 2]).all()
    assert np.allclose(confidence[:, :2].sum(axis=1), theirs[:, :2].sum(axis=1))
    bare = ensemble(replace(saved, models=(), members=saved.members[:, :0])).predict(images).confidence[:, :2]
    both = np.sqrt(bare * theirs[:, :2])
    assert np.allclose(confidence[:, 0] * both[:, 1], confidence[:, 1] * both[:, 0], rtol=1e-9)


def test_answers_put_down_are_those_in_memory(hub, tmp_path):
    saved = save_experts(ask(hub, ["dog", "cat", "quasar"]), general(hub, ["dog", "cat", "quasar"]))
    pictures = paint_folder(tmp_path / "pictures", ["dog.n.01", "cat.n.01"], 3, seed=5)
    manner = Manner(batch=2, workers=0, load=load_model, load_expert=load_expert)
    with Answering(tmp_path / "work", saved, list_images([str(pictures)])) as work:
        work.ask(manner)
        parts = list(work.parts())
    paths = sorted(pictures.rglob("*.png"))
    together = ensemble(saved).predict([open_image(str(path)) for path in paths]).confidence
    assert np.allclose(np.concatenate([part.confidence for part in parts]), together, atol=1e-6)


def test_an_explanation_adds_up_to_what_the_heads_answer_on_the_node(hub):
    found = ask(hub, CLASSES, k=1)
    told = explain_expert(found, "dog")
    assert (told.expert, told.rank, told.chosen, told.node.synset) == ("colours/animals", 1, True, "dog.n.01")
    assert told.own == pytest.approx(sum(head.weight * head.probability for head in told.heads))
    assert told.heads[0].name == "dog.n.01"
    assert [name for name, _ in told.mistaken] != []
    other = explain_expert(found, "dog", "colours/things")
    assert (other.rank, other.chosen) == (2, False)
    assert other.loss > told.loss
    with pytest.raises(InvalidTask, match="none of the classes"):
        explain_expert(found, "quasar")
    with pytest.raises(NotInHub, match="no expert 'nobody'"):
        explain_expert(found, "dog", "nobody")


def test_another_expert_than_was_labelled_is_refused(hub):
    saved = save_experts(ask(hub, CLASSES), general(hub, CLASSES))
    other = FakeExpert("colours/animals", ("dog.n.01", "cat.n.01", "wolf.n.01"), sharpness=0.3)
    with pytest.raises(ModelNotLoadable, match="not those that were labelled"):
        Ensemble.load(saved, load_model, load_expert=lambda source, device: other)


def test_the_general_model_must_be_of_the_same_classes(hub):
    with pytest.raises(ValueError, match="same classes"):
        save_experts(ask(hub, CLASSES), general(hub, CLASSES[:2]))
