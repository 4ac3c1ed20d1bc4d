"""A selection travels as one file: what is read answers as what was saved, and what is wrong is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mllctl import Hub, select_models
from mllctl.errors import InvalidTask, ModelNotLoadable, SourceUnreadable
from mllctl.images import open_image
from mllctl.reuse.ensemble import Ensemble
from mllctl.reuse.saved import read_selection, save_selection

CLASSES = ["dog", "wolf", "apple", "car"]


def loader(exact):
    return lambda source, device: exact.models[source]


@pytest.fixture
def selection(exact):
    with Hub.open(exact.hub) as hub:
        return select_models(hub, CLASSES, "photo", k=2, encoder=exact.encoder)


@pytest.fixture
def file(selection, tmp_path):
    path = tmp_path / "selection.json"
    save_selection(selection).write(path)
    return path


@pytest.fixture
def pictures(exact):
    with Hub.open(exact.hub) as hub:
        return [open_image(image.uri) for image in hub.images()]


@pytest.mark.parametrize("breadth", [None, "one", "few", "each"])
@pytest.mark.parametrize("templates", [("a photo of {}",), ("a photo of {}", "a drawing of {}")])
def test_what_is_read_is_what_was_saved(selection, tmp_path, breadth, templates):
    saved = save_selection(selection, breadth, "confidence", templates, {"animals": 1.5})
    saved.write(tmp_path / "selection.json")
    again = read_selection(tmp_path / "selection.json")
    assert replace(again, members=saved.members, told=saved.told, expert_members=saved.expert_members) == saved
    assert np.array_equal(again.members, saved.members)
    assert again.told.options["k"] == 2
    assert [tuple(texts) for texts in again.told.captions] == [(class_,) for class_ in CLASSES]
    assert list(again.told.covered) == list(saved.told.covered)
    assert saved.prompts[0] == tuple(template.replace("{}", "dog") for template in templates)
    used = {model.name for model in saved.models}
    assert used == {selection.names[m] for m in np.unique(selection.answer(saved.told.breadth).members)}


def test_a_file_answers_as_its_selection_without_the_hub(exact, selection, file, pictures):
    load = loader(exact)
    before = Ensemble.from_selection(selection, "uniform", load=load).predict(pictures)
    after = Ensemble.load(read_selection(file), load).predict(pictures)
    assert np.array_equal(before.confidence, after.confidence)
    assert str(exact.hub) not in file.read_text()


def test_other_weights_or_another_transform_are_refused(exact, file):
    saved = read_selection(file)
    for field, reason in (("fingerprint", "its weights are not"), ("preprocess", "prepared in another way")):
        other = replace(saved, models=tuple(replace(model, **{field: "other"}) for model in saved.models))
        with pytest.raises(ModelNotLoadable, match=reason):
            Ensemble.load(other, loader(exact))


def test_a_file_that_is_there_is_kept_unless_it_is_to_be_replaced(selection, file):
    before = file.read_bytes()
    with pytest.raises(SourceUnreadable, match="is there already; name a new file or give --force"):
        save_selection(selection, "one").write(file)
    assert file.read_bytes() == before
    save_selection(selection, "one").write(file, replace=True)
    assert file.read_bytes() != before
    assert [path.name for path in file.parent.iterdir()] == ["selection.json"]
    with pytest.raises(SourceUnreadable, match="no such folder"):
        save_selection(selection).write(file.parent / "absent" / "selection.json")


def broken(**changes):
    return lambda facts: {**facts, **changes}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (broken(format="other"), "is no selection"),
        (broken(version=1), "is of version 1, this mllctl reads 2"),
        (broken(classes=["dog"]), "prompts must be one a class"),
        (broken(classes=["dog", "dog", "apple", "car"]), "stands twice"),
        (broken(classes="dog"), "must be a list of texts"),
        (broken(members=[[0], [0], [0], [99]]), "members must name models"),
        (broken(members=[[0, 1], [0], [0], [0]]), "contradicts itself"),
        (broken(members=[[-2], [0], [0], [0]]), "members must name models"),
        (broken(weighting="loud"), "weighting must be one of"),
        (broken(templates=[]), "prompts must be one"),
        (broken(told={}), "contradicts itself"),
        (lambda facts: {key: facts[key] for key in facts if key != "models"}, "contradicts itself ('models')"),
        (lambda facts: broken(models=facts["models"] * 2)(facts), "a model stands twice"),
        (lambda facts: broken(models=[{**m, "temperature": 0} for m in facts["models"]])(facts), "must be above 0"),
        (lambda facts: broken(models=[{**m, "temperature": True} for m in facts["models"]])(facts), "be a number"),
        (lambda facts: broken(models=[{**m, "source": ""} for m in facts["models"]])(facts), "a model needs name"),
        (lambda facts: [facts], "is no selection"),
    ],
)
def test_what_contradicts_itself_is_refused_in_a_line(file, change, reason):
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(SourceUnreadable) as refused:
        read_selection(file)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_json_or_not_there_is_refused(tmp_path):
    (tmp_path / "text").write_text("no json")
    for path, reason in ((tmp_path / "text", "is not JSON"), (tmp_path / "absent", "cannot be read")):
        with pytest.raises(SourceUnreadable, match=reason):
            read_selection(path)


def test_a_template_without_a_place_for_the_class_is_refused(selection):
    with pytest.raises(InvalidTask, match=r"must hold \{\} once"):
        save_selection(selection, templates=("a photo",))
