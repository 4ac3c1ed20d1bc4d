"""The same answers in the shapes of other libraries."""

import numpy as np
import pytest

from fakes import FakeEncoder, fake, paint_folder
from mllctl import Ensemble, Hub, read_selection, select_models
from mllctl.reuse.saved import save_selection
from mllctl.reuse.styles import Classifier, best_classes, pipeline_answers

CONFIDENCE = np.array([[0.2, 0.4, 0.4], [0.1, 0.0, 0.05]])


@pytest.fixture(scope="module")
def ensemble(labelled):
    with Hub.open(labelled.hub) as hub:
        selection = select_models(hub, ["dog", "cat", "apple"], k=2, encoder=FakeEncoder())
    return Ensemble.from_selection(selection, load=lambda source, device: fake(int(source[-1])))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return sorted(paint_folder(tmp_path_factory.mktemp("task"), ["dog.n.01", "cat.n.01"], 3, seed=3).rglob("*.png"))


def test_ties_go_to_the_first_class_and_no_more_classes_come_than_there_are():
    assert best_classes(CONFIDENCE, 2).tolist() == [[1, 2], [0, 2]]
    assert best_classes(CONFIDENCE, 9).shape == (2, 3)
    assert best_classes(np.zeros((0, 3)), 2).shape == (0, 2)


def test_a_pipeline_tells_labels_and_scores_best_first():
    first, second = pipeline_answers("abc", CONFIDENCE, 2)
    assert first == [{"label": "b", "score": 0.4}, {"label": "c", "score": 0.4}]
    assert second == [{"label": "a", "score": 0.1}, {"label": "c", "score": 0.05}]
    with pytest.raises(ValueError, match="top_k"):
        pipeline_answers("abc", CONFIDENCE, 0)


def test_an_ensemble_is_called_with_one_image_or_with_many(ensemble, paths):
    alone = ensemble(paths[0], top_k=2)
    assert [set(answer) for answer in alone] == [{"label", "score"}] * 2
    many = ensemble(paths, top_k=2)
    assert len(many) == 6
    assert [answer["label"] for answer in many[0]] == [answer["label"] for answer in alone]
    assert [answers[0]["label"] for answers in many] == ensemble.predict(paths).names


def test_a_classifier_speaks_as_scikit_learn_does(ensemble, paths):
    classifier = ensemble.classifier.fit(paths, ["?"] * 6)
    assert isinstance(classifier, Classifier)
    assert classifier.classes_.tolist() == ["dog", "cat", "apple"]
    probability = classifier.predict_proba(paths)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    said = classifier.predict(paths)
    assert said.tolist() == classifier.classes_[probability.argmax(axis=1)].tolist() == ensemble.predict(paths).names
    assert classifier.score(paths, said) == 1
    assert classifier.score(paths, ["nothing"] * 6) == 0


def test_images_come_as_paths_pictures_arrays_or_a_stream_of_them(ensemble, paths):
    from PIL import Image

    pictures = [Image.open(path) for path in paths]
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    expected = ensemble.predict(paths).confidence
    for images in (pictures, arrays, list(arrays), map(str, paths), (picture for picture in pictures)):
        np.testing.assert_allclose(ensemble.predict(images, batch=4).confidence, expected, atol=1e-12)
    assert ensemble.predict(paths[0]).confidence.shape == (1, 3)
    with pytest.raises(ValueError, match="batch"):
        ensemble.predict(paths, batch=0)


def test_a_file_opens_as_an_ensemble(labelled, tmp_path, paths, ensemble, monkeypatch):
    from mllctl.backends import open_clip_models

    monkeypatch.setattr(open_clip_models, "open_model", lambda arch, weights, device: fake(int(weights)))
    with Hub.open(labelled.hub) as hub:
        selection = select_models(hub, ["dog", "cat", "apple"], k=2, encoder=FakeEncoder())
    save_selection(selection).write(tmp_path / "selection.json")
    assert read_selection(tmp_path / "selection.json").classes == ("dog", "cat", "apple")
    opened = Ensemble.open(tmp_path / "selection.json")
    np.testing.assert_allclose(opened.predict(paths).confidence, ensemble.predict(paths).confidence, atol=1e-12)
