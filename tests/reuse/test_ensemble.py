import numpy as np
import pytest

import oracles
from fakes import COLOURS, FakeEncoder, FakeModel, fake, paint_folder
from mllctl import Ensemble, Prediction, select_models
from mllctl.errors import InvalidTask, ModelNotLoadable
from mllctl.hub import Hub
from mllctl.images import open_image
from mllctl.kernels.ensemble import WEIGHTINGS

# Classes and models per class: of three models these need all, the last two, and the last two again, in pairs.
TASKS = [
    (["dog", "cat", "apple", "no such thing"], 2),
    (["apple", "dog", "wolf", "no such thing"], 1),
    (["dog", "wolf"], 2),
]
NEEDED = [[0, 1, 2], [1, 2], [1, 2]]


@pytest.fixture(scope="module", params=TASKS)
def selection(request, labelled):
    classes, k = request.param
    with Hub.open(labelled.hub) as hub:
        selection = select_models(
            hub, classes, k=k, nodes_per_class=1, matching="caption", estimator="paper", encoder=FakeEncoder()
        )
    assert np.unique(selection.members).tolist() == NEEDED[TASKS.index(request.param)]
    return selection


def prompts(selection):
    return [f"a photo of {class_}" for class_ in selection.classes]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = paint_folder(tmp_path_factory.mktemp("task"), list(COLOURS), 2, seed=3)
    return [open_image(str(path)) for path in sorted(folder.rglob("*.png"))]


class Loader:
    """Makes the models of the labelled hub anew, and remembers them."""

    def __init__(self):
        self.loaded = {}

    def __call__(self, source, device="cpu"):
        assert source not in self.loaded
        self.loaded[source] = fake(int(source.removeprefix("fake/")))
        return self.loaded[source]


def probabilities(model, pictures, prompts):
    logits = oracles.similarities(model.encode_images(pictures).tolist(), model.encode_texts(prompts).tolist())
    return [oracles.softmax([model.card.logit_scale * cosine for cosine in row]) for row in logits]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_an_ensemble_answers_as_the_loops_do(selection, pictures, weighting):
    prediction = Ensemble.from_selection(selection, weighting, load=Loader()).predict(pictures)
    fresh = Loader()
    answers = [probabilities(fresh(name), pictures, prompts(selection)) for name in selection.names]
    expected = oracles.ensemble_confidence(answers, selection.members.tolist(), weighting)
    np.testing.assert_allclose(prediction.confidence, expected, atol=1e-9)
    assert prediction.classes == selection.classes
    assert prediction.winner.tolist() == [row.index(max(row)) for row in prediction.confidence.tolist()]
    assert prediction.names == [selection.classes[c] for c in prediction.winner]


def test_each_model_is_loaded_once_and_shown_each_image_once(selection, pictures):
    load = Loader()
    ensemble = Ensemble.from_selection(selection, load=load)
    assert sorted(load.loaded) == sorted({selection.names[m] for m in selection.members.flat})
    ensemble.predict(pictures)
    ensemble.predict(pictures[:3])
    assert {model.shown for model in load.loaded.values()} == {len(pictures) + 3}


def test_a_single_model_answers_alone(selection, pictures):
    load = Loader()
    ensemble = Ensemble.from_selection(selection, breadth="one", load=load)
    name = selection.names[selection.single]
    assert list(load.loaded) == [name]
    expected = probabilities(Loader()(name), pictures, prompts(selection))
    np.testing.assert_allclose(ensemble.predict(pictures).confidence, expected, atol=1e-9)


def test_the_answer_for_an_image_does_not_depend_on_its_batch(selection, pictures):
    ensemble = Ensemble.from_selection(selection, load=Loader())
    apart = [ensemble.predict([picture]).confidence[0] for picture in pictures]
    np.testing.assert_allclose(ensemble.predict(pictures).confidence, apart, atol=1e-12)


def test_no_images_are_no_answers(selection):
    prediction = Ensemble.from_selection(selection, load=Loader()).predict([])
    assert prediction.confidence.shape == (0, len(selection.classes))
    assert prediction.names == []


def test_the_template_is_what_models_read(selection):
    heard = []

    def load(source, device="cpu"):
        model = Loader()(source)
        encode = model.encode_texts
        model.encode_texts = lambda texts: heard.extend(texts) or encode(texts)
        return model

    Ensemble.from_selection(selection, template="a drawing of {}", breadth="one", load=load)
    assert heard == [f"a drawing of {class_}" for class_ in selection.classes]
    with pytest.raises(InvalidTask, match="template"):
        Ensemble.from_selection(selection, template="a drawing", load=load)


def test_a_model_with_other_weights_than_the_labelled_ones_is_refused(selection):
    with pytest.raises(ModelNotLoadable, match="label it again"):
        Ensemble.from_selection(selection, load=lambda source, device: FakeModel(source, seed=99))


def test_a_tie_between_classes_goes_to_the_first():
    prediction = Prediction(("a", "b", "c"), np.array([[0.2, 0.5, 0.5], [0.0, 0.0, 0.0]]))
    assert prediction.winner.tolist() == [1, 0]
    assert prediction.names == ["b", "a"]
