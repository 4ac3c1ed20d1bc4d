"""A process that is killed while it predicts: at 16 moments, by a real SIGKILL."""

import json
import os
import subprocess
import sys
from pathlib import Path

from fakes import COLOURS, FakeEncoder, paint_folder
from mllctl import Hub, select_models
from mllctl.reuse.saved import save_selection

SCRIPT = Path(__file__).parent / "killing.py"
POINTS = 16


def test_a_killed_process_leaves_no_part_of_a_file_and_the_same_command_ends_as_if_nothing_had_been(labelled, tmp_path):
    with Hub.open(labelled.hub) as hub:
        selection = select_models(hub, ["dog", "cat", "apple"], k=2, encoder=FakeEncoder())
    save_selection(selection).write(tmp_path / "selection.json")
    images = paint_folder(tmp_path / "images", list(COLOURS), 2, seed=3)
    (images / "cat.n.01" / "0.png").write_bytes(b"no image")
    (tmp_path / "scratch").mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
        "MLLCTL_CACHE": str(tmp_path / "cache"),
    }
    given = [tmp_path / "selection.json", images, tmp_path / "scratch", POINTS]
    command = [sys.executable, str(SCRIPT), *map(str, given)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == POINTS
    assert all(kill["killed"] and kill["same"] for kill in found), found
    left = [kill["left"] for kill in found]
    assert left == ["nothing"] * left.count("nothing") + ["whole"] * left.count("whole")
    assert 0 < left.count("whole") < POINTS / 2
    assert all(kill["again"] == 3 and kill["rubbish"] == [] for kill in found if kill["left"] == "nothing"), found
