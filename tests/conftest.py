"""What tests share: how hypothesis runs, and worlds that are built once and copied, since a hub is only files."""

import shutil
from types import SimpleNamespace

import pytest
from hypothesis import settings

from fakes import COLOURS, SIDES, ExactModel, FakeEncoder, WordEncoder, fake, hub_of_folders, paint_folder
from mllctl import build_index, label_model
from mllctl.wordnet import wordnet

# A loaded machine is not a failure.
settings.register_profile("mllctl", deadline=None)
settings.load_profile("mllctl")


@pytest.fixture(scope="session")
def nouns():
    return wordnet()


@pytest.fixture(scope="session")
def painted(tmp_path_factory, nouns):
    """Eight images of each of five synsets in one domain, in a hub with a graph and an index; no models."""
    root = tmp_path_factory.mktemp("painted")
    folder = paint_folder(root / "images", list(COLOURS), 8)
    hub = hub_of_folders(root / "hub", {"photo": folder}, nouns)
    build_index(hub, FakeEncoder())
    return SimpleNamespace(folder=folder, hub=hub)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory, painted):
    """The painted hub with three labelled models."""
    hub = tmp_path_factory.mktemp("labelled") / "hub"
    shutil.copytree(painted.hub, hub)
    models = [fake(number) for number in range(3)]
    for model in models:
        label_model(hub, model)
    return SimpleNamespace(folder=painted.folder, hub=hub, models=models)


@pytest.fixture(scope="session")
def exact(tmp_path_factory, nouns):
    """Four photos and two drawings of each of five things, and three models of which all is known by hand.

    To an image a model does not know, all nodes are alike: the first of those compared takes it.
    """
    root = tmp_path_factory.mktemp("exact")
    folders = {
        "photo": paint_folder(root / "photo", list(COLOURS), 4, side=SIDES["photo"]),
        "drawing": paint_folder(root / "drawing", list(COLOURS), 2, side=SIDES["drawing"]),
    }
    hub = hub_of_folders(root / "hub", folders, nouns)
    encoder = WordEncoder("apple", "car", "cat", "dog", "wolf", "photo", "drawing")
    build_index(hub, encoder)
    animals, things = {"dog", "wolf", "cat"}, {"apple", "car"}
    models = [
        ExactModel("animals", {"photo": animals, "drawing": animals}),
        ExactModel("things", {"photo": things, "drawing": things}),
        ExactModel("drawings", {"drawing": animals | things}),
    ]
    for model in models:
        label_model(hub, model)
    return SimpleNamespace(root=root, hub=hub, encoder=encoder, models={model.card.name: model for model in models})


@pytest.fixture
def exact_copy(exact, tmp_path):
    return shutil.copytree(exact.hub, tmp_path / "hub")


@pytest.fixture
def painted_copy(painted, tmp_path):
    return shutil.copytree(painted.hub, tmp_path / "hub")


@pytest.fixture
def labelled_copy(labelled, tmp_path):
    return shutil.copytree(labelled.hub, tmp_path / "hub")
