"""Damaged and odd files through `images add` and `label`: no crash, each accounted for, memory bounded."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mllctl.images import open_image, scan
from odd_images import KINDS, UNUSABLE, USABLE, kind_of_file, odd_file, write_odd_images

# In a process of its own, whose peak is that of these commands alone: `VmHWM` begins anew with a program,
# `ru_maxrss` does not and would tell what pytest had grown to.
SCRIPT = """
import json, os, re, sys
from pathlib import Path
from fakes import FakeModel
from mllctl import label_model
from mllctl_cli.main import main

codes = []
for command in json.loads(sys.argv[1]):
    try:
        main(command)
    except SystemExit as end:
        codes.append(end.code or 0)
report = label_model(Path(os.environ["MLLCTL_HUB"]), FakeModel("fake/odd"))
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024
print(json.dumps({"codes": codes, "shown": report.shown, "skipped": len(report.skipped), "peak": peak}))
"""


def add_and_label(root, count):
    """Write files, add and label them; return how many there were, what was said, and what was measured."""
    files = write_odd_images(root / "odd", count)
    add = ["images", "add", str(root / "odd"), "--domain", "photo", "--describe", "a photo"]
    commands = [["init", str(root / "hub")], [*add, "--report", str(root / "report.csv")], ["graph", "build"]]
    path = os.pathsep.join(part for part in sys.path if part)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        env={**os.environ, "PYTHONPATH": path, "MLLCTL_HUB": str(root / "hub")},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return files, done, json.loads(done.stdout.splitlines()[-1])


def check_road(root, count):
    files, done, measured = add_and_label(root, count)
    assert measured["codes"] == [0, 3, 0]
    [line] = [line for line in done.stdout.splitlines() if " images added, " in line]
    added, already, skipped = (int(part.split()[0]) for part in line.split(", "))
    assert added + already + skipped == files
    with (root / "report.csv").open(newline="", encoding="utf-8") as rows:
        reported = [row["path"] for row in csv.DictReader(rows)]
    assert len(reported) == len(set(reported)) == skipped
    # What was decoded once is decoded again.
    assert (measured["shown"], measured["skipped"]) == (added, 0)
    counts = [line.split()[1:3] for line in done.stderr.splitlines() if " skipped: " in line]
    assert sum(int(count.replace(",", "")) for count, _ in counts) == skipped
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    return measured


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_three_hundred_odd_files_are_all_accounted_for(tmp_path):
    assert check_road(tmp_path, 300)["peak"] < 2000


@pytest.mark.slow
def test_five_thousand_odd_files_are_all_accounted_for(tmp_path):
    print(check_road(tmp_path, 5000))


def test_what_must_be_read_is_read_and_what_cannot_be_is_not(tmp_path, nouns):
    for number in range(400):
        name, content = odd_file(number, seed=1)
        if "large" not in name:
            (tmp_path / "dog").mkdir(exist_ok=True)
            (tmp_path / "dog" / name).write_bytes(content)
    found = scan(tmp_path, "photo", nouns)
    used = {kind_of_file(image.uri.rpartition("/")[2]) for image in found.images}
    skipped = {kind_of_file(skipped.path.rpartition("/")[2]) for skipped in found.skipped}
    assert used & UNUSABLE == set()
    assert skipped & USABLE == set()
    assert used | skipped >= set(KINDS) - {"large", "text-bomb"}
    for image in found.images[:50]:
        assert open_image(image.uri).mode == "RGB"


def test_files_are_the_same_for_the_same_seed():
    assert [odd_file(n) for n in range(30)] == [odd_file(n) for n in range(30)]
    assert odd_file(0, seed=0) != odd_file(0, seed=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_what_may_not_be_read_is_said(tmp_path, nouns):
    write_odd_images(tmp_path, 2)
    (tmp_path / "dog.n.01" / "folder.png").chmod(0)
    found = scan(tmp_path, "photo", nouns)
    said = {skipped.path.rpartition("/")[2]: skipped.reason for skipped in found.skipped}
    (tmp_path / "dog.n.01" / "folder.png").chmod(0o700)
    assert said["closed.png"] == "permission denied"
    assert said["folder.png"] == "a folder that cannot be read (permission denied)"


def test_odd_names_and_links_have_their_reasons(tmp_path, nouns):
    write_odd_images(tmp_path, 0)
    found = scan(tmp_path, "photo", nouns)
    said = {skipped.path.rpartition("/")[2]: skipped.reason for skipped in found.skipped}
    said.pop("closed.png", None)  # root reads it
    assert said == {
        "folder.png": "a folder, not an image",
        "latin-\\udce9.png": "its name is not UTF-8 text; rename it",
        "link-broken.png": "a link to what is not there",
        "link-circle.png": "a link to what is not there",
        "link-folder.png": "a link to a folder; name that folder itself",
        "pipe.png": "not a regular file",
    }
    assert {"line\nbreak.png", "hash#1.png"} <= {image.uri.rpartition("/")[2] for image in found.images}
