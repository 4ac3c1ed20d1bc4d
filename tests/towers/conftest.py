"""The demo hub, built once a session with the real towers: three models of twelve, about a minute on two cores.

`MLLCTL_DEMO_HUB` names one that `mllctl demo build` made before, with all models.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mllctl import Hub, sentence_encoder
from mllctl.backends.protocol import Encoder
from mllctl.demo import build_demo


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return sentence_encoder(cache=tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> Path:
    if "MLLCTL_DEMO_HUB" in os.environ:
        return Path(os.environ["MLLCTL_DEMO_HUB"])
    folder = tmp_path_factory.mktemp("demo") / "hub"
    build_demo(folder, encoder, print, lambda name, done, total: None, ["animal-colour", "generalist", "conse-top10"])
    return folder


@pytest.fixture(scope="session")
def built(demo_folder: Path) -> Iterator[Hub]:
    with Hub.open(demo_folder) as hub:
        yield hub


@pytest.fixture(scope="session")
def bundled() -> Iterator[Hub]:
    from mllctl.hub import bundled_hub

    with Hub.open(bundled_hub()) as hub:
        yield hub
