import shutil
from types import SimpleNamespace

import pytest

from fakes import COLOURS, SIDES, ExactModel, paint_folder
from mllctl import label_model

SUITE = """
about = "colours"
kind = "hub"
universal = "photo"
seeds = [0, 3]
against = "best-on-hub"

[[task]]
name = "pets"
domain = "photo"
folder = "photo"
classes = ["dog", "cat", "car"]

[[task]]
name = "drawn"
domain = "drawing"
folder = "drawing"
classes = ["wolf", "dog", "car"]

[[task]]
name = "gone"
folder = "nowhere"
classes = 3
recipe = "the moon"
"""


@pytest.fixture(scope="session")
def world(exact, tmp_path_factory):
    """A suite of two tasks and one that is missing, and a hub with four models, one of which knows nothing."""
    root = tmp_path_factory.mktemp("bench")
    hub = shutil.copytree(exact.hub, root / "hub")
    models = {**exact.models, "nothing": ExactModel("nothing", {})}
    label_model(hub, models["nothing"])
    for folder, words in (("photo", ("dog", "cat", "car")), ("drawing", ("wolf", "dog", "car"))):
        painted = paint_folder(root / "painted" / folder, list(COLOURS), 6, seed=8, side=SIDES[folder])
        for word in words:
            shutil.copytree(painted / f"{word}.n.01", root / folder / word)
    suite = root / "colours.toml"
    suite.write_text(SUITE, encoding="utf-8")
    return SimpleNamespace(root=root, hub=hub, models=models, encoder=exact.encoder, suite=suite)
