"""`hub export` and `hub import`: one labels, everyone else asks, and every answer is the same text."""

import re
import runpy
import shutil
from pathlib import Path

import pytest

from fakes import COLOURS, FakeEncoder, fake, hub_of_folders, paint_folder
from mllctl import build_index, label_model

KEYS = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "write_cli.py"))["KEYS"]
TASKS = (
    ("--class", "dog", "--class", "wolf"),
    ("--class", "dog", "--class", "cat", "--class", "apple", "-k", "2"),
    ("--class", "car", "--class", "quantum"),
)
DOMAINS = ((), ("--domain", "drawing"))


@pytest.fixture
def travelled(run, nouns, tmp_path):
    """A hub, and the same after it went through a bundle; the images are gone."""
    images = paint_folder(tmp_path / "images", list(COLOURS), 4)
    drawings = paint_folder(tmp_path / "drawings", list(COLOURS)[:3], 2, seed=7)
    hub = hub_of_folders(tmp_path / "old", {"photo": images, "drawing": drawings}, nouns)
    build_index(hub, FakeEncoder())
    for number in range(2):
        label_model(hub, fake(number))
    (tmp_path / "LICENCE").write_text("CC0")
    assert run("hub", "export", "--labels", "labels.tar", "--licenses", "LICENCE", "--hub", hub).code == 0
    shutil.rmtree(images)
    shutil.rmtree(drawings)
    imported = run("hub", "import", "labels.tar", "--hub", "new")
    assert imported.code == 0, imported.err
    assert "fake/0: imported\nfake/1: imported" in imported.out
    assert "made a hub at new" in imported.err
    return hub, tmp_path / "new"


def keys(title):
    return {re.sub(r"\.\*$|\[\].*$", "", key) for key in KEYS[title]}


def neutral(text, hub):
    """An answer without the number of the hub's generation and its folder."""
    return re.sub(r'"hub_generation": \d+', "", text).replace(str(hub), "HUB")


def test_every_question_has_the_same_answer_where_neither_images_nor_weights_are(run, travelled, tmp_path):
    questions = [("select", *task, *domain, "--json") for task in TASKS for domain in DOMAINS]
    (tmp_path / "classes.txt").write_text("dog\nwolf\ncat\n")
    questions += [("explain", name, "--classes", "classes.txt", "--json") for name in ("dog", "cat")]
    questions += [("sql", f"from {view} order by all", "--json") for view in ("precision", "confusion", "model_card")]
    questions += [("model", "list", "--json"), ("images", "list", "--json"), ("graph", "show")]
    for question in questions:
        before, after = (run(*question, "--hub", hub) for hub in travelled)
        assert (before.code, after.code) == (0, 0), after.err
        assert neutral(after.out, travelled[1]) == neutral(before.out, travelled[0])
    facts = [run("hub", "info", "--hub", hub, "--json").json for hub in travelled]
    for fact in facts:
        for key in ("path", "generation", "bytes"):
            del fact[key]
    assert facts[0] == facts[1]
    assert run("doctor", "--hub", travelled[1]).code in (0, 1)


def test_exporting_and_importing_print_the_documented_keys(run, travelled):
    exported = run("hub", "export", "--labels", "more.tar.gz", "--hub", travelled[0], "--json")
    assert set(exported.json) == keys("hub export")
    assert exported.json["bytes"] == Path("more.tar.gz").stat().st_size
    shown = run("hub", "import", "labels.tar", "--show", "--json")
    assert set(shown.json) == keys("hub import, with --show")
    assert set(shown.json["models"][0]) == {
        key.partition("[].")[2] for key in KEYS["hub import, with --show"] if key.startswith("models[]")
    }
    assert shown.json["licenses"] == ["licenses/LICENCE"]
    imported = run("hub", "import", "more.tar.gz", "--hub", "third", "--json")
    assert set(imported.json) == keys("hub import")
    assert (imported.json["created"], imported.json["taken"]) == (True, ["fake/0", "fake/1"])


def test_showing_a_bundle_imports_nothing(run, travelled, tmp_path):
    there = sorted(tmp_path.iterdir())
    shown = run("hub", "import", "labels.tar", "--show")
    assert shown.code == 0
    assert "licenses/LICENCE" in shown.out
    assert re.search(r"^fake/1 .* complete +26 ", shown.out, re.MULTILINE)
    assert sorted(tmp_path.iterdir()) == there


def test_importing_again_says_that_nothing_is_new(run, travelled):
    again = run("hub", "import", "labels.tar", "--hub", "new")
    assert again.code == 0
    assert again.out == ""
    assert "fake/0: its label is here already" in again.err
    assert "nothing is new; new is as it was" in again.err


def test_a_bundle_goes_to_the_hub_of_the_environment_else_beside(run, travelled, monkeypatch):
    assert run("hub", "import", "labels.tar", "--json").json["path"] == "hub"
    monkeypatch.setenv("MLLCTL_HUB", "named")
    assert run("hub", "import", "labels.tar", "--json").json["path"] == "named"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("hub export", 2, "missing option '--labels'"),
        (
            "hub export --labels labels.tar --hub new",
            1,
            "labels.tar: is there already; name a new file or give --force",
        ),
        ("hub export --labels a.tar --licenses nothing --hub new", 1, "nothing: no such file or folder"),
        ("hub export --labels nowhere/a.tar --hub new", 1, "no such file or directory"),
        ("hub import LICENCE --hub x", 1, "is no bundle of labels; `mllctl hub export --labels BUNDLE` writes one"),
        ("hub import nothing.tar --hub x", 1, "nothing.tar: no such file or directory"),
        ("hub import labels.tar --hub full", 1, "full already holds files; choose an empty or new folder"),
        ("hub import labels.tar --hub other", 1, "image 0 is .* in the bundle; import it into a hub of its own"),
        ("hub import cut.tar --hub x", 1, "cut.tar: the bundle is damaged: it has 100,000 bytes"),
    ],
)
def test_a_refusal_is_one_line(run, travelled, hubs, tmp_path, command, code, words):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("all I have")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "labels.tar").read_bytes()[:100_000])
    shutil.copytree(hubs.outdated, tmp_path / "other")
    outcome = run(*command.split())
    assert outcome.code == code
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert re.search(words, outcome.err) or words in outcome.err
    assert not (tmp_path / "x").exists()


def test_a_new_model_is_told_in_one_line_that_the_images_are_not_here(run, travelled):
    outcome = run("label", "fake/new", "--hub", "new")
    assert outcome.code == 1
    assert re.search(r"0\.png: no such file.*; no image of the hub can be read", outcome.err.splitlines()[-1])


def test_force_writes_over_a_bundle(run, travelled, tmp_path):
    before = (tmp_path / "labels.tar").read_bytes()
    (tmp_path / "labels.tar").write_text("mine")
    assert (
        run("hub", "export", "--labels", "labels.tar", "--licenses", "LICENCE", "--hub", travelled[0], "--force").code
        == 0
    )
    assert (tmp_path / "labels.tar").read_bytes() == before
