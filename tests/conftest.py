"""What tests share: how hypothesis runs, commands in process, and worlds that are built once and copied.

A hub is only files.
"""

import io
import json
import shutil
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from hypothesis import settings

from fakes import COLOURS, SIDES, ExactModel, FakeEncoder, WordEncoder, fake, hub_of_folders, paint_folder
from mllctl import build_index, label_model
from mllctl.wordnet import wordnet
from mllctl_cli.main import main

# A loaded machine is not a failure.
settings.register_profile("mllctl", deadline=None)
settings.load_profile("mllctl")


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in process, in an empty folder, as on a pipe and with nothing set."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLLCTL_HUB", "COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*argv, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in argv])
        out, err = capsys.readouterr()
        return Outcome(end.value.code, out, err)

    return run


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
