"""`select --examples` and `--unlabelled`: a few images of the user's own beside what names say."""

import json
import shutil

import pytest

from fakes import paint_folder

CLASSES = ("--class", "dog", "--class", "cat", "--class", "apple")
SYNSETS = ("dog.n.01", "cat.n.01", "apple.n.01")


@pytest.fixture
def pictures(tmp_path):
    """Three images of each class, in folders named as the classes."""
    painted = paint_folder(tmp_path / "painted", list(SYNSETS), 3, seed=11)
    for synset in SYNSETS:
        (painted / synset).rename(painted / synset.split(".")[0])
    return painted


def test_labelled_images_count_and_a_second_run_shows_them_to_no_model(run, hubs, pictures, monkeypatch):
    plain = run("select", *CLASSES, "--hub", hubs.labelled, "--json").json
    done = run("select", *CLASSES, "--examples", pictures, "--hub", hubs.labelled, "--json")
    assert done.code == 0, done.err
    told = done.json
    assert "examples" not in plain or not plain["examples"]
    assert told["examples"]["images"] == 9
    assert told["examples"]["classes"] == 3

    def forbidden(*_):
        raise AssertionError("a model was loaded again")

    monkeypatch.setattr("mllctl.reuse.showing.load_same", forbidden)
    again = run("select", *CLASSES, "--examples", pictures, "--hub", hubs.labelled, "--json")
    assert again.code == 0, again.err
    assert again.json == told


def test_the_table_says_how_many_images_counted(run, hubs, pictures):
    done = run("select", *CLASSES, "--examples", pictures, "--hub", hubs.labelled)
    assert "9 images of 3 classes" in done.out
    assert "with_examples(hub, selection, DIR)" in done.out


def test_a_file_that_cannot_be_read_is_skipped_and_said(run, hubs, pictures):
    (pictures / "dog" / "0.png").write_bytes(b"no image")
    done = run("select", *CLASSES, "--examples", pictures, "--hub", hubs.labelled)
    assert done.code == 3
    assert "0.png: not an image" in done.err
    assert "8 images" in done.out


def test_folders_that_are_no_class_and_folders_without_images_are_refused(run, hubs, pictures, tmp_path):
    (pictures / "dog").rename(pictures / "dgo")
    done = run("select", *CLASSES, "--examples", pictures, "--hub", hubs.labelled)
    assert done.code == 2
    assert "'dgo' is none of the classes" in done.err
    (tmp_path / "empty").mkdir()
    assert run("select", *CLASSES, "--examples", tmp_path / "empty", "--hub", hubs.labelled).code == 1
    gone = run("select", *CLASSES, "--examples", tmp_path / "gone", "--hub", hubs.labelled)
    assert gone.code == 1
    assert "gone" in gone.err
    both = run("select", *CLASSES, "--examples", pictures, "--experts", "--hub", hubs.labelled)
    assert both.code == 2
    assert "--experts" in both.err


def test_unlabelled_images_weigh_the_domains(run, hubs, pictures):
    done = run("select", *CLASSES, "--unlabelled", pictures, "--hub", hubs.labelled, "--json")
    assert done.code == 0, done.err
    assert done.json["unlabelled"]["images"] == 9
    assert sum(domain["weight"] for domain in done.json["domains"]) == pytest.approx(1)


def test_what_was_selected_with_examples_is_saved_and_answers(run, hubs, pictures, tmp_path):
    done = run("select", *CLASSES, "--examples", pictures, "--hub", hubs.labelled, "--save", "saved.json")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "saved.json").read_text())["classes"] == ["dog", "cat", "apple"]
    shutil.rmtree(pictures / "cat")
    assert run("predict", "--selection", "saved.json", pictures).code == 0
