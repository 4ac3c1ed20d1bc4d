"""What answers at once imports nothing heavy: torch and sentence-transformers alone take six seconds."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from fakes import fake
from mllctl import build_index, label_model
from mllctl.backends.sentence import sentence_encoder

HEAVY = (
    "torch",
    "torchvision",
    "sentence_transformers",
    "transformers",
    "open_clip",
    "timm",
    "onnxscript",
    "scipy.stats",
)

# Runs one command and writes which modules it imported to the file named first.
SCRIPT = """
import json, pathlib, sys
note, sys.argv[1:] = sys.argv[1], sys.argv[2:]
try:
    from mllctl_cli.main import main
    main()
finally:
    pathlib.Path(note).write_text(json.dumps(sorted(sys.modules)))
"""


def imported(tmp_path, *argv, **environment):
    """Run a command in a process of its own; return what it printed, and the modules it imported."""
    note = tmp_path / "modules.json"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(note), *map(str, argv)],
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(json.loads(note.read_text()))


@pytest.mark.parametrize(
    "command",
    [
        ("--help",),
        ("--version",),
        ("select", "--help"),
        ("sql", "select 1"),
        ("hub", "info"),
        ("graph", "show"),
        ("images", "list"),
        ("model", "list"),
    ],
)
def test_what_needs_no_model_imports_none(hubs, tmp_path, command):
    _, modules = imported(tmp_path, *command, MLLCTL_HUB=hubs.labelled)
    assert modules.isdisjoint((*HEAVY, "onnxruntime", "faiss"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory, painted):
    """A hub indexed by the packaged encoder, and the cache in which that was exported (about 15 s)."""
    root = tmp_path_factory.mktemp("exported")
    hub = shutil.copytree(painted.hub, root / "hub")
    build_index(hub, sentence_encoder(cache=root / "cache"))
    label_model(hub, fake(0))
    return {"MLLCTL_HUB": hub, "MLLCTL_CACHE": root / "cache"}


def test_select_imports_no_torch_once_its_encoder_has_been_exported(exported, tmp_path):
    task = ("--class", "wolf", "--class", "quantum mechanics", "--domain", "photograph")
    out, modules = imported(tmp_path, "select", *task, "--json", **exported)
    assert modules.isdisjoint(HEAVY)
    assert "onnxruntime" in modules
    wolf, quantum = json.loads(out)["classes"]
    assert (wolf["nodes"][0]["node"], wolf["covered"], quantum["covered"]) == ("wolf.n.01", True, False)


def test_doctor_imports_no_torch(exported, tmp_path):
    _, modules = imported(tmp_path, "doctor", **exported)
    assert modules.isdisjoint(HEAVY)
