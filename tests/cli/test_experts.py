"""Experts by the commands: added, labelled, selected, explained, asked, removed."""

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import FakeExpert, InterruptedExpert, paint_folder
from mllctl.backends.facts import ModelFacts

KEYS = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "write_cli.py"))["KEYS"]
CLASSES = ("--class", "dog", "--class", "cat", "--class", "apple", "--class", "car")
SOURCES = {
    "fake/animals": FakeExpert("colours/animals", ("dog.n.01", "cat.n.01", "wolf.n.01"), sharpness=0.2),
    "fake/things": FakeExpert("colours/things", ("apple.n.01", "car.n.01"), named=False, sharpness=0.2),
    "fake/interrupted": InterruptedExpert("colours/interrupted", ("dog.n.01",)),
}


SOURCES["fake/things"].card = replace(SOURCES["fake/things"].card, parameters=10)  # of models it is 7


def open_fake(spec, device="cpu"):
    expert = SOURCES[spec]
    expert.card = replace(expert.card, source=f"expert:{spec}")
    return expert


@pytest.fixture(autouse=True)
def fake_experts(monkeypatch):
    monkeypatch.setattr("mllctl.backends.experts.open_expert", open_fake)


@pytest.fixture
def hub(run, labelled_copy):
    path = labelled_copy
    done = run("label", "expert:fake/animals", "expert:fake/things", "--hub", path)
    assert done.code == 0, done.err
    return path


def test_experts_are_labelled_listed_shown_and_removed(run, hub):
    again = run("label", "colours/animals", "--hub", hub)
    assert "its label is complete already, 40 images answered by its heads" in again.out
    listed = run("model", "list", "colours/*", "--hub", hub)
    assert "colours/things" in listed.out
    assert "heads" in listed.out
    shown = run("model", "show", "colours/animals", "--hub", hub, "--json").json
    assert (shown["heads"][0], shown["state"], shown["labelled"]) == ("dog.n.01", "complete", 40)
    plans = run("label", "colours/animals", "--plan", "--hub", hub, "--json").json
    assert (plans[0]["model"], plans[0]["to_show"], plans[0]["images"]) == ("colours/animals", 0, 40)
    assert run("model", "remove", "colours/things", "--hub", hub).code == 0
    assert "colours/things" not in run("model", "list", "--hub", hub).out
    assert run("model", "show", "colours/things", "--hub", hub).code == 1


def test_an_expert_may_be_added_and_labelled_later(run, labelled_copy):
    added = run("model", "add", "expert:fake/things", "--hub", labelled_copy)
    assert "3 heads" in added.out
    assert "`mllctl label colours/things" in added.err
    assert "none" in run("model", "list", "--hub", labelled_copy).out
    assert run("label", "--all", "--hub", labelled_copy).code == 0
    assert run("model", "show", "colours/things", "--hub", labelled_copy, "--json").json["state"] == "complete"


def test_experts_are_selected_saved_asked_and_explained(run, hub, tmp_path):
    done = run("select", "--experts", *CLASSES, "--hub", hub, "--save", "experts.json")
    assert done.code == 0, done.err
    assert "colours/animals" in done.out
    assert "shares in the answers" in done.out
    saved = json.loads((tmp_path / "experts.json").read_text())
    assert [expert["name"] for expert in saved["experts"]] == ["colours/animals", "colours/things"]
    pictures = paint_folder(tmp_path / "pictures", [f"{name}.n.01" for name in CLASSES[1::2]], 2, seed=3)
    asked = run("predict", pictures, "--selection", "experts.json", "--json")
    assert asked.code == 0, asked.err
    told = {row["path"].split("/")[-2].split(".")[0]: row for row in asked.json["predictions"]}
    assert {shown: row["class"] for shown, row in told.items()} == {name: name for name in CLASSES[1::2]}
    assert told["car"]["models"][0] == "colours/things"
    measured = run("predict", pictures, "--selection", "experts.json", "--truth", "folder")
    assert "top-1 %" in measured.out
    assert run("export", "heads", "--selection", "experts.json").code == 2
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES[1::2]))
    why = run("explain", "dog", "--experts", "--classes", "classes.txt", "--hub", hub)
    assert why.code == 0, why.err
    assert "colours/animals is number 1 for 'dog' and answers for it" in why.out
    assert "dog.n.01" in why.out


def test_an_interrupted_label_of_an_expert_goes_on(run, labelled_copy):
    cut_off = run("label", "expert:fake/interrupted", "--batch", "16", "--hub", labelled_copy)
    assert cut_off.code == 130
    SOURCES["fake/interrupted"].left = 9
    assert run("label", "expert:fake/interrupted", "--batch", "16", "--hub", labelled_copy).code == 0


def test_experts_travel_with_the_labels(run, hub):
    exported = run("hub", "export", "--labels", "labels.tar", "--hub", hub)
    assert exported.code == 0, exported.err
    assert "labels of 3 models and 2 experts" in exported.out
    told = run("hub", "import", "labels.tar", "--show")
    assert re.search(r"^colours/things .* complete +40 ", told.out, re.MULTILINE)
    shown = run("hub", "import", "labels.tar", "--show", "--json").json
    assert set(shown["experts"][0]) == {
        key.partition("[].")[2] for key in KEYS["hub import, with --show"] if key.startswith("experts[]")
    }
    imported = run("hub", "import", "labels.tar", "--hub", "new")
    assert imported.code == 0, imported.err
    assert "colours/animals: imported\ncolours/things: imported" in imported.out
    answers = [run("select", "--experts", *CLASSES, "--hub", path, "--json").out for path in (hub, "new")]
    assert len({re.sub(r'"hub_generation": \d+', "", answer) for answer in answers}) == 1
    again = run("label", "colours/animals", "--hub", "new")
    assert (again.code, "its label is complete already, 40 images answered by its heads" in again.out) == (0, True)
    [plan] = run("label", "colours/animals", "--plan", "--hub", "new", "--json").json
    assert plan["to_show"] == 0


def test_an_imported_expert_that_lacks_images_is_not_labelled_and_the_cure_is_named(run, hub, tmp_path):
    run("hub", "export", "--labels", "labels.tar", "--hub", hub)
    run("hub", "import", "labels.tar", "--hub", "new")
    more = paint_folder(tmp_path / "more", ["dog.n.01"], 1, seed=9)
    assert run("images", "add", more, "--domain", "photo", "--hub", "new").code == 0
    cure = "the label of colours/animals was imported without its embeddings"
    for options in ((), ("--plan",)):
        refused = run("label", "colours/animals", *options, "--hub", "new")
        assert (refused.code, refused.err.count("\n")) == (1, 1)
        assert cure in refused.err
    stuck = run("label", "--all", "--hub", "new")
    assert stuck.code == 3
    assert "(and of 4 more) was imported without its embeddings" in stuck.err
    assert run("model", "remove", "colours/animals", "--hub", "new").code == 0
    assert run("label", "expert:fake/animals", "--hub", "new").code == 0


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (("--max-params", "8"), "10 parameters, more than 8"),
        (("--max-size", "30"), "about 40B of weights, more than 30B"),
        (("--models", "*/animals", "--models", "fake/*"), "its name is not like */animals or fake/*"),
    ],
)
def test_limits_bar_experts_as_they_bar_models(run, hub, limits, reason):
    done = run("select", "--experts", *CLASSES, "--hub", hub, *limits, "--json")
    assert done.code == 0, done.err
    assert done.json["left_out"] == [{"expert": "colours/things", "reason": reason}]
    assert [row["expert"] for row in done.json["experts"]] == ["colours/animals"]
    said = run("select", "--experts", *CLASSES, "--hub", hub, *limits)
    assert f"colours/things is left out: {reason}" in said.err


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (("--models", "fake/*"), "loosen --models first: it refuses 2 of 2, even colours/animals"),
        (("--max-latency", "1s"), "its latency on this machine is not known"),
        (("--license", "MIT", "--allow-unknown-license", "--max-gflops", "1"), "its number of operations is not known"),
    ],
)
def test_where_no_expert_is_within_the_limits_it_is_said_which_to_loosen(run, hub, monkeypatch, limits, words):
    facts = ModelFacts(5, 0.1, 5, 1.0, "MIT", True)
    monkeypatch.setattr("mllctl_cli.budget.model_facts", lambda card, cache: facts)
    refused = run("select", "--experts", *CLASSES, "--hub", hub, *limits)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "no expert is within the limits" in refused.err
    assert words in refused.err


def test_options_that_are_about_models_do_not_go_with_experts(run, hub):
    refused = run("select", "--experts", *CLASSES, "--hub", hub, "--max-models", "2")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "leave them out, or --experts" in refused.err


def test_a_hub_without_experts_says_what_to_type(run, hubs):
    refused = run("select", "--experts", *CLASSES, "--hub", hubs.labelled)
    assert refused.code == 1
    assert "`mllctl label expert:demo/animal`" in refused.err
    sealed = run("select", "--experts", *CLASSES, "--hub", hubs.sealed)
    assert "`mllctl demo build DIR`" in sealed.err
