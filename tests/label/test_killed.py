"""A process that is killed while it changes a hub: at 58 moments in all, by a real SIGKILL."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from fakes import fake, hub_of_folders, paint_folder
from mllctl import label_model
from mllctl.graph import with_ancestors
from mllctl.hub import Hub
from mllctl.hub.writing import change_hub
from mllctl.images import scan

SCRIPT = Path(__file__).parent / "killing.py"
OLD = Path(__file__).parents[1] / "hub"
# Python before 3.11.4 has no filters yet, from 3.14 on this is the default.
SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


@pytest.fixture(scope="module")
def hubs(tmp_path_factory, nouns):
    """A hub with one label; the same with images of an old and a new node, unlabelled; and with the grown label."""
    root = tmp_path_factory.mktemp("killed")
    old = paint_folder(root / "old", ["dog.n.01", "cat.n.01", "car.n.01"], 6)
    new = paint_folder(root / "new", ["dog.n.01", "apple.n.01"], 3, seed=9)
    hub_of_folders(root / "labelled", {"photo": old}, nouns)
    label_model(root / "labelled", fake(0))
    shutil.copytree(root / "labelled", root / "stale")
    found = scan(new, "photo", nouns).images
    with Hub.open(root / "stale") as hub:
        wnids = [wnid for (wnid,) in hub.query("SELECT wnid FROM node ORDER BY node").rows]
    with change_hub(root / "stale") as change:
        change.set_graph(with_ancestors([*wnids, *(image.wnid for image in found)], nouns))
        change.add_images(found)
    shutil.copytree(root / "stale", root / "grown")
    label_model(root / "grown", fake(0))
    for version in (1, 2):
        with tarfile.open(OLD / f"version-{version}.tar.xz") as archive:
            archive.extractall(root / f"version {version}", **SAFELY)
    return root


CASES = [
    ("label a new model", "labelled", 10),
    ("label what is new", "stale", 10),
    ("remove the images of a node", "grown", 8),
    ("add images", "labelled", 6),
    ("merge the parts of labels", "grown", 8),
    ("restore a generation", "grown", 4),
    ("upgrade from version 1", "version 1/hub", 6),
    ("upgrade from version 2", "version 2/hub", 6),
]


@pytest.mark.parametrize(("operation", "hub", "points"), CASES, ids=[case[0] for case in CASES])
def test_a_killed_process_leaves_a_whole_hub_and_the_same_command_ends_as_if_nothing_had_been(
    operation, hub, points, hubs, tmp_path
):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), operation, str(hubs / hub), str(tmp_path), str(points)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == points
    assert all(kill["same"] for kill in found), found
    assert all(kill["rubbish"] == [] for kill in found), found
    # Until some moment the old hub is left, from then on the new one.
    left = [kill["left"] for kill in found]
    assert left == ["old"] * left.count("old") + ["new"] * left.count("new")
    assert "old" in left
