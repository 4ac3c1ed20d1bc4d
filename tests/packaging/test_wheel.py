"""The wheel brings three packages with their data, and no other top-level name."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"mllctl", "mllctl_cli", "mllctl_data"}


def run(*argv, cwd, **environment):
    done = subprocess.run(
        [*map(str, argv)], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built as users build it; by the hatchling at hand where there is one, which needs no network."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", *_isolation(), "-w", folder, ROOT, cwd=folder)
    [path] = folder.glob("*.whl")
    return path


def _isolation():
    from importlib.util import find_spec

    return ["--no-build-isolation"] if find_spec("hatchling") else []


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", folder, wheel, cwd=folder)
    return folder


def test_the_only_top_level_names_are_the_three_packages(site):
    names = {path.name for path in site.iterdir()}
    assert {name for name in names if not name.endswith(".dist-info")} == {*PACKAGES, "bin"}
    assert [path.name for path in (site / "bin").iterdir()] == ["mllctl"]


def test_every_file_of_the_three_packages_is_in_the_wheel_and_no_other(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    outside = {
        str(path.relative_to(folder.parent))
        for folder in (ROOT / "engine/mllctl", ROOT / "cli/mllctl_cli", ROOT / "data/mllctl_data")
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".lock", ".pyc")
    }
    assert inside == outside


def test_data_schemas_types_and_licences_are_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "mllctl/py.typed",
        "mllctl/hub/schema/catalog.sql",
        "mllctl/hub/schema/label.sql",
        "mllctl/hub/schema/views.sql",
        "mllctl_data/wordnet/nouns.npz",
        "mllctl_data/wordnet/LICENSE",
        "mllctl_data/demo/images.parquet",
        "mllctl_data/demo/tasks.json",
    ):
        assert name in names
    licences = {Path(name).name for name in names if name.startswith("mllctl_data/demo/LICENSES/")}
    assert licences == {path.name for path in (ROOT / "data/mllctl_data/demo/LICENSES").iterdir()}
    assert licences
    # The licences stand in the metadata too, where pip and auditors look.
    declared = [name for name in names if ".dist-info/licenses/" in name]
    assert len(declared) == len(licences) + 2


def test_the_installed_wheel_works_outside_the_repository(site, tmp_path):
    code = """
import pathlib, mllctl, mllctl_cli, mllctl_data
from mllctl.wordnet import wordnet
for package in (mllctl, mllctl_cli, mllctl_data):
    print(pathlib.Path(package.__file__).parents[1])
print(mllctl.__version__, len(wordnet()))
"""
    # A path of ours stands before the editable install; -s and -P keep out what else could answer.
    out = run(sys.executable, "-s", "-P", "-c", code, cwd=tmp_path, PYTHONPATH=str(site))
    *places, facts = out.splitlines()
    assert places == [str(site)] * 3
    assert facts == "0.1.0 82115"
    made = run(site / "bin" / "mllctl", "init", "new", cwd=tmp_path, PYTHONPATH=str(site))
    assert made == ""
    assert (tmp_path / "new" / "manifest.json").is_file()
