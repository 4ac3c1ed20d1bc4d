"""`select --save` and `predict`: from a file and a folder to a file, whole or not at all."""

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from fakes import COLOURS, paint_folder
from mllctl.reuse import answering

CLASSES = ("--class", "dog", "--class", "cat", "--class", "apple")


@pytest.fixture
def pictures(tmp_path):
    """Ten images, of which one cannot be read; cars and wolves are none of the classes."""
    folder = paint_folder(tmp_path / "pictures", list(COLOURS), 2, seed=3)
    (folder / "cat.n.01" / "0.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def saved(run, hubs):
    done = run("select", "--hub", hubs.labelled, *CLASSES, "-k", 2, "--save", "selection.json")
    assert done.code == 0
    assert "wrote selection.json; next: mllctl predict --selection selection.json" in done.err
    return "selection.json"


def read(path):
    """The answers in a file of any kind: (path, class, confidence, second class, truth)."""
    name = str(path)
    if name.endswith(".csv"):
        with Path(path).open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        return [(r["path"], r["class"], float(r["confidence"]), r["class_2"], r.get("truth")) for r in rows]
    if name.endswith(".jsonl"):
        rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    else:
        rows = parquet.read_table(path).to_pylist()
    return [(r["path"], r["class"], r["confidence"], r["top"][1]["class"], r.get("truth")) for r in rows]


def test_every_kind_of_file_holds_the_same_answers_in_the_order_of_the_images(run, saved, pictures):
    found = {}
    for ending in ("csv", "jsonl", "parquet"):
        done = run("predict", "--selection", saved, "--images", pictures, "--out", f"answers.{ending}")
        assert done.code == 3
        assert f"skipped {pictures}/cat.n.01/0.png: not an image" in done.err
        found[ending] = read(f"answers.{ending}")
    assert found["csv"] == found["jsonl"] == [(*row[:4], None) for row in found["parquet"]]
    paths = [str(path) for path in sorted(pictures.rglob("*.png")) if path.stat().st_size > 10]
    assert [row[0] for row in found["csv"]] == paths
    printed = run("predict", "--selection", saved, pictures, "--json").json
    assert [(p["path"], p["class"], p["confidence"]) for p in printed["predictions"]] == [r[:3] for r in found["csv"]]
    for prediction in printed["predictions"]:
        assert prediction["top"][0] == {key: prediction[key] for key in ("class", "confidence")}
        assert len(prediction["top"]) == 3
        assert 1 <= len(prediction["models"]) <= 2
        assert 0 <= prediction["entropy"] <= 1.0987


def test_a_saved_selection_answers_as_the_same_made_now(run, hubs, saved, pictures):
    one = pictures / "dog.n.01"
    before = run("predict", one, "--hub", hubs.labelled, *CLASSES, "-k", 2, "--json")
    after = run("predict", one, "--selection", saved, "--json")
    assert before.json == after.json


def test_what_the_file_says_already_is_refused(run, saved, pictures):
    done = run("predict", pictures, "--selection", saved, *CLASSES, "-k", 2, "--single")
    assert done.code == 2
    assert done.err == "mllctl: selection.json says all of that; leave out --class, -k, --single, or --selection\n"


def test_no_file_is_overwritten_without_force(run, saved, pictures, tmp_path):
    (tmp_path / "answers.csv").write_text("mine")
    arguments = ("predict", pictures / "dog.n.01", "--selection", saved, "--out", "answers.csv")
    refused = run(*arguments)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "--force" in refused.err
    assert (tmp_path / "answers.csv").read_text() == "mine"
    assert run(*arguments, "--force").code == 0
    assert len(read("answers.csv")) == 2
    again = run("select", *CLASSES, "--save", "selection.json")
    assert (again.code, "--force" in again.err) == (1, True)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--out", "answers.txt"), 1, "its ending must say"),
        (("--out", "no/answers.csv"), 1, "no such folder"),
        (("--measures", "m.json"), 2, "--truth"),
        (("--plot", "m.svg"), 2, "--truth"),
        (("--truth", "folder", "--out", "a.csv", "--measures", "./a.csv"), 2, "different files"),
        (("--memory", "much"), 2, "no amount"),
        (("--device", "abacus"), 2, "no such device"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_model_is_loaded(
    run, saved, pictures, monkeypatch, options, code, said
):
    monkeypatch.setattr("mllctl.load_model", lambda *_: pytest.fail("loaded"), raising=False)
    done = run("predict", pictures, "--selection", saved, *options)
    assert (done.code, done.err.count("\n")) == (code, 1), done.err
    assert said in done.err


def test_without_images_or_a_selection_it_says_what_to_give(run, saved, tmp_path):
    assert "name images" in run("predict", "--selection", saved).err
    assert "name the classes" in run("predict", "x.png").err
    (tmp_path / "other.json").write_text("{}")
    assert "is no selection" in run("predict", "x.png", "--selection", "other.json").err
    assert "no such file" in run("predict", "x.png", "--selection", saved).err


def test_paths_come_on_stdin(run, saved, pictures):
    paths = [f"{pictures}/dog.n.01/1.png", "absent.png", f"{pictures}/apple.n.01/0.png"]
    done = run("predict", "--images", "-", "--selection", saved, "--json", stdin="\n".join(paths).encode())
    assert done.code == 3
    assert [p["path"] for p in done.json["predictions"]] == [paths[0], paths[2]]
    assert done.json["skipped"] == [{"path": "absent.png", "reason": "no such file"}]


def test_the_same_command_goes_on_after_an_interruption(run, saved, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(answering, "BATCHES_PER_PART", 1)
    arguments = ("predict", pictures, "--selection", saved, "--batch", 2, "--out", "answers.csv")
    encode = answering.class_probability
    left = [7]

    def interrupted(member, images):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return encode(member, images)

    with monkeypatch.context() as patched:
        patched.setattr(answering, "class_probability", interrupted)
        stopped = run(*arguments)
    assert stopped.code == 130
    assert not (tmp_path / "answers.csv").exists()
    done = run(*arguments)
    assert "going on with what was answered before" in done.err
    assert done.code == 3
    assert len(read("answers.csv")) == 9
    assert sorted(path.name for path in tmp_path.iterdir() if "answers" in path.name) == ["answers.csv"]


def test_templates_are_averaged_and_recorded(run, hubs, pictures):
    arguments = ("select", "--hub", hubs.labelled, *CLASSES, "--save", "two.json", "--breadth", "one")
    assert run(*arguments, "--template", "a {}", "--template", "one {} alone", "--weighting", "entropy").code == 0
    facts = json.loads(Path("two.json").read_text())
    assert facts["templates"] == ["a {}", "one {} alone"]
    assert facts["prompts"][0] == ["a dog", "one dog alone"]
    assert (facts["weighting"], len(facts["models"]), facts["told"]["breadth"]) == ("entropy", 1, "one")
    assert run("predict", pictures / "dog.n.01", "--selection", "two.json").code == 0
    wrong = run("select", "--hub", hubs.labelled, *CLASSES, "--save", "x.json", "--template", "no place")
    assert (wrong.code, "must hold {} once" in wrong.err) == (2, True)
    unused = run("select", "--hub", hubs.labelled, *CLASSES, "--weighting", "entropy")
    assert (unused.code, "--save" in unused.err) == (2, True)


def test_the_selection_needs_no_hub(run, saved, hubs, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("MLLCTL_HUB", str(tmp_path / "gone"))
    assert run("predict", pictures / "dog.n.01", "--selection", saved).code == 0


def test_an_image_folder_with_truth_is_measured(run, saved, pictures, tmp_path):
    arguments = ("predict", pictures, "--selection", saved, "--truth", "folder")
    done = run(*arguments, "--out", "a.csv", "--measures", "m.json", "--plot", "m.svg", "--json")
    assert done.code == 3
    assert "the truth of 4 images is none of the classes: 'car.n.01' (2), 'wolf.n.01' (2)" in done.err
    answers = read("a.csv")
    known = {"dog.n.01": "dog", "apple.n.01": "apple", "cat.n.01": "cat"}
    truth = [known.get(row[0].split("/")[-2], "") for row in answers]
    assert [row[4] for row in answers] == truth
    told = [(row[1], true) for row, true in zip(answers, truth, strict=True) if true]
    measured = done.json["measures"]
    assert measured == json.loads((tmp_path / "m.json").read_text())
    assert (measured["images"], measured["outside"]) == (5, 4)
    assert measured["accuracy"] == pytest.approx(sum(said == true for said, true in told) / 5)
    assert sum(map(sum, measured["confusion"])) == 5
    assert (tmp_path / "m.svg").read_text().startswith("<svg")
    shown = run(*arguments)
    assert "top-1 %" in shown.out
    assert "without it %" in shown.out


def test_truth_that_is_no_class_is_refused_before_a_model_loads_and_leaves_nothing(
    run, saved, pictures, monkeypatch, tmp_path
):
    for name in ("dog.n.01", "cat.n.01", "apple.n.01"):
        shutil.rmtree(pictures / name)
    monkeypatch.setattr("mllctl.load_model", lambda *_: pytest.fail("loaded"), raising=False)
    done = run("predict", pictures, "--selection", saved, "--truth", "folder", "--out", "answers.csv")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "'car.n.01' (2)" in done.err
    assert not list(tmp_path.glob(".answers*"))
    assert run("predict", "absent", "--selection", saved, "--out", "answers.csv").code == 1
    assert not list(tmp_path.glob(".answers*"))


def test_a_calibrated_selection_has_temperatures_and_a_hub_without_embeddings_says_so(run, hubs, pictures):
    arguments = ("select", *CLASSES, "-k", 2, "--save")
    assert run(*arguments, "warm.json", "--calibrated", "--hub", hubs.labelled).code == 0
    told = [model["temperature"] for model in json.loads(Path("warm.json").read_text())["models"]]
    assert all(value > 0 for value in told)
    assert any(value != 1 for value in told)
    assert run("predict", pictures / "dog.n.01", "--selection", "warm.json").code == 0
    sealed = run(*arguments, "sealed.json", "--calibrated", "--hub", hubs.sealed)
    assert (sealed.code, sealed.err.count("\n")) == (1, 1)
    assert "embeddings" in sealed.err
    assert not Path("sealed.json").exists()
