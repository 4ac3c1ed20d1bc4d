"""What a new user does, command by command, and what each of them prints."""

import os
import shutil

import pytest

import mllctl
from fakes import paint_folder
from mllctl.hub import Hub


@pytest.fixture
def hub(labelled_copy, monkeypatch):
    """The labelled hub, named by the environment and free to change."""
    monkeypatch.setenv("MLLCTL_HUB", str(labelled_copy))
    return labelled_copy


def test_the_whole_road_from_an_empty_folder(run, photos):
    assert "next: `mllctl images add" in run("init").err
    added = run("images", "add", photos, "--domain", "photo", "--describe", "a photograph")
    assert (added.code, added.out) == (3, "6 images added, 0 already there, 4 skipped\n")
    built = run("graph", "build")
    assert built.code == 0
    assert built.out.startswith("graph version 1: ")
    assert "next: `mllctl index build`" in built.err
    assert run("index", "build").out.endswith("nodes and 1 domains indexed by fake\n")
    assert run("model", "add", "fake/0").out == "fake/0: 0.0 M parameters, 8 px\n"
    labelled = run("label", "--all")
    assert labelled.out.startswith("fake/0: 6 images shown, ")
    selected = run("select", "--class", "dog", "--class", "quantum")
    assert selected.code == 0
    assert "no evidence" in selected.out
    assert "the hub has no evidence for 1 of 2 classes: quantum" in selected.err
    predicted = run("predict", photos / "dog.n.01" / "0.png", "--class", "dog", "--class", "cat")
    assert predicted.code == 0
    assert "answering with fake/0" in predicted.err
    assert run("doctor").code == 0


# -- images -------------------------------------------------------------------------------------------


def test_adding_reports_each_image_that_cannot_be_used_and_each_word_of_many_senses(run, photos):
    run("init")
    added = run("images", "add", photos, "--domain", "photo", "--describe", "a photograph")
    told = added.err.splitlines()
    assert f"mllctl: skipped {photos}/dog.n.01/broken.png: not an image" in told
    assert f"mllctl: skipped {photos}/dog.n.01/notes.txt: not an image ending (.txt)" in told
    # Not a line for each of its images.
    assert f"mllctl: skipped {photos}/xyzzy: no noun synset for 'xyzzy' in WordNet (2 files)" in told
    assert any(line.startswith("mllctl: 'crane' was taken as crane.n.") for line in told)
    assert sum("it may also be" in line for line in told) == 3
    assert "Traceback" not in added.err


def test_names_of_files_need_not_be_text(run, tmp_path):
    folder = paint_folder(tmp_path / "photos", ["dog.n.01"], 2) / "dog.n.01"
    (folder / "0.png").rename(folder / os.fsdecode(b"\xe9.png"))
    (folder / "1.png").rename(folder / "two words, \u732b.png")
    run("init")
    added = run("images", "add", folder.parent, "--domain", "photo", "--describe", "a photograph")
    assert added.code == 3
    assert "\\udce9.png: its name is not UTF-8 text; rename it" in added.err
    assert run("images", "list", "--json").json[0]["uri"].endswith("two words, \u732b.png")


def test_images_are_added_once(run, photos):
    run("init")
    run("images", "add", photos, "--domain", "photo", "--describe", "a photograph")
    again = run("images", "add", photos, "--domain", "photo", "--json")
    assert (again.code, again.json["added"], again.json["already_there"]) == (3, 0, 6)


def test_a_known_domain_keeps_its_description_and_says_so(run, hub, tmp_path):
    folder = paint_folder(tmp_path / "more", ["dog.n.01"], 1, seed=5)
    added = run("images", "add", folder, "--domain", "photo", "--describe", "something else")
    assert added.code == 0
    assert "keeps its description: photo which is how these images look" in added.err


def test_a_manifest_may_name_its_own_domains(run, hub, tmp_path):
    paint_folder(tmp_path / "more", ["dog.n.01"], 2, seed=5)
    manifest = tmp_path / "images.csv"
    manifest.write_text("path,synset,domain\nmore/dog.n.01/0.png,dog.n.01,wax_crayon\n")
    assert run("images", "add", manifest).code == 0
    with Hub.open(hub) as opened:
        assert [(domain.name, domain.description) for domain in opened.domains()][1:] == [("wax_crayon", "wax crayon")]


def test_a_refused_add_leaves_no_half_of_it(run, hub, tmp_path):
    paint_folder(tmp_path / "more", ["dog.n.01"], 2, seed=5)
    manifest = tmp_path / "images.csv"
    manifest.write_text("path,synset,domain\nmore/dog.n.01/0.png,dog.n.01,new\nmore/dog.n.01/1.png,dog.n.01,\n")
    assert run("images", "add", manifest).code == 2
    with Hub.open(hub) as opened:
        assert len(opened.domains()) == 1
        assert len(opened.images()) == 40


def test_what_is_to_be_typed_next_names_the_hub_that_was_named(run, photos, tmp_path):
    there = "'a hub'"
    run("init", "a hub")
    run("images", "add", photos, "--domain", "photo", "--describe", "a photograph", "--hub", "a hub")
    assert f"next: `mllctl index build --hub {there}`" in run("graph", "build", "--hub", "a hub").err
    indexed = run("index", "build", "--hub", "a hub").err
    assert f"next: `mllctl label ARCH/WEIGHTS --hub {there}`, or `mllctl label --all --hub {there}`" in indexed
    assert f"next: `mllctl label fake/0 --hub {there}`" in run("model", "add", "fake/0", "--hub", "a hub").err


def test_no_encoder_is_exported_for_a_hub_that_cannot_be_indexed(run, hubs, monkeypatch):
    monkeypatch.setattr(mllctl, "sentence_encoder", lambda *args, **options: pytest.fail("it was opened"))
    monkeypatch.setattr(
        "mllctl.backends.sentence.is_exported", lambda *args, **options: pytest.fail("it was asked for")
    )
    for hub in (hubs.empty, hubs.ungraphed, hubs.sealed):
        assert run("index", "build", "--hub", hub).code == 1


def test_images_are_listed_and_removed_by_number_node_or_domain(run, hub):
    dogs = run("images", "list", "--node", "dog.n.01", "--json").json
    assert {image["node"] for image in dogs} == {"dog.n.01"}
    assert run("images", "remove", dogs[0]["image"], dogs[1]["image"], dogs[1]["image"]).out == "2 images removed\n"
    assert len(run("images", "list", "--node", "dog.n.01", "--json").json) == 6
    assert run("images", "remove", "--node", "dog.n.01").out == "6 images removed\n"
    assert run("images", "remove", "--domain", "photo", "--json").json == {"removed": 32}
    assert run("images", "list").out == "image  node  domain  uri\n"


# -- models -------------------------------------------------------------------------------------------


def test_a_label_takes_up_images_that_came_later(run, hub, tmp_path):
    folder = paint_folder(tmp_path / "more", ["dog.n.01"], 2, seed=5)
    run("images", "add", folder, "--domain", "photo")
    states = {model["name"]: model["state"] for model in run("model", "list", "--json").json}
    assert states == dict.fromkeys(("fake/0", "fake/1", "fake/2"), "stale")
    assert run("label", "fake/0").out.startswith("fake/0: 2 images shown, ")
    left_out = "fake/1 is left out: its label lacks some of the hub's images; `mllctl label fake/1`, and"
    assert left_out in run("select", "--class", "dog").err
    assert run("label", "--all").out.count("2 images shown") == 2
    assert run("label", "--all").err == "mllctl: every label is complete\n"


def test_labelling_skips_images_that_are_gone(run, photos):
    run("init")
    run("images", "add", photos, "--domain", "photo", "--describe", "a photograph")
    run("graph", "build")
    (photos / "dog.n.01" / "1.png").unlink()
    labelled = run("label", "fake/0")
    assert labelled.code == 3
    shown, hits = labelled.out.split(", ")
    assert (shown, hits.partition(" of ")[2]) == ("fake/0: 5 images shown", "5 images go to their own node\n")
    assert "mllctl: fake/0: 5 images in " in labelled.err
    assert f"mllctl: skipped {photos}/dog.n.01/1.png: no such file" in labelled.err.splitlines()
    again = run("label", "fake/0")
    assert (again.code, again.out) == (3, labelled.out.replace("5 images shown", "0 images shown"))
    # Nothing was shown, and so there is no speed.
    assert "mllctl: fake/0: 5 images" in again.err.splitlines()


def test_an_image_that_is_gone_keeps_its_node_out_of_selections_until_it_is_removed(run, photos):
    run("init")
    run("images", "add", photos, "--domain", "photo", "--describe", "a photograph")
    run("graph", "build")
    run("index", "build")
    (photos / "dog.n.01" / "1.png").unlink()
    assert "or `mllctl images remove` the images" in run("label", "fake/0").err
    assert run("select", "--class", "dog").code == 1
    [gone] = [image["image"] for image in run("images", "list", "--json").json if image["uri"].endswith("01/1.png")]
    run("images", "remove", gone)
    assert run("select", "--class", "dog").code == 0


def test_a_model_is_removed_with_its_label(run, hub):
    assert run("model", "remove", "fake/1").out == "fake/1 removed\n"
    assert [model["name"] for model in run("model", "list", "--json").json] == ["fake/0", "fake/2"]
    assert run("sql", "select distinct model from precision order by model", "--json").json == [
        {"model": "fake/0"},
        {"model": "fake/2"},
    ]


# -- tasks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"dog\ncat\n", b"\xef\xbb\xbfdog\r\ncat\r\n\r\n", b"dog\ncat", b"  dog \ncat\n\n\n"]
)
def test_classes_come_from_a_file_or_stdin_however_the_lines_end(run, hubs, tmp_path, content):
    (tmp_path / "classes.txt").write_bytes(content)
    from_file = run("select", "--hub", hubs.labelled, "--classes", "classes.txt", "--json")
    from_stdin = run("select", "--hub", hubs.labelled, "--classes", "-", "--json", stdin=content)
    given = run("select", "--hub", hubs.labelled, "--class", "dog", "--class", "cat", "--json")
    assert from_file.out == from_stdin.out == given.out
    assert [class_["class"] for class_ in given.json["classes"]] == ["dog", "cat"]


def test_stdin_that_is_no_text_is_named_so(run, hubs):
    refused = run("select", "--hub", hubs.labelled, "--classes", "-", stdin="dog\n".encode("utf-16"))
    assert (refused.code, refused.err.startswith("mllctl: stdin is not UTF-8 text")) == (2, True)


def test_select_shows_k_models_a_class_and_says_what_it_does_not_know(run, hubs):
    arguments = (
        "select",
        "--hub",
        hubs.labelled,
        "--class",
        "dog",
        "--class",
        "quantum",
        "-k",
        2,
        "--domain",
        "satellite",
    )
    shown, told = run(*arguments), run(*arguments, "--json").json
    members = [member["model"] for member in told["classes"][0]["members"]]
    lines = shown.out.splitlines()
    assert lines[0].split() == ["class", "model", "precision", "%", "evidence", "from"]
    assert lines[1].split()[:2] == ["dog", members[0]]
    assert lines[2].split()[0] == members[1]
    assert "no evidence" in lines[3]
    assert f"one model           {told['single']}, mean precision" in shown.out
    assert f"verdict             {told['verdict']}: {told['reason']}" in shown.out
    assert told["answers"][0]["python"][3] in shown.out
    assert "no sample domain is like 'satellite' (nearest is photo" in shown.err
    assert told["domain_matched"] is False


def test_mean_precision_is_over_the_classes_with_evidence(run, hubs):
    known = run("select", "--hub", hubs.labelled, "--class", "dog", "--json").json
    more = run("select", "--hub", hubs.labelled, "--class", "dog", "--class", "quantum", "--json").json
    none = run("select", "--hub", hubs.labelled, "--class", "quantum", "--json").json
    assert [model["precision"] for model in more["models"]] == [model["precision"] for model in known["models"]]
    assert {model["precision"] for model in none["models"]} == {None}
    assert none["single"] == none["best_overall"]


@pytest.mark.parametrize("weighting", ["entropy", "confidence", "uniform"])
def test_predict_answers_each_image_and_skips_what_is_none(run, hubs, photos, weighting):
    outcome = run(
        "predict", photos, "--hub", hubs.labelled, "--class", "dog", "--class", "cat", "-k", 2,
        "--weighting", weighting, "--json",
    )  # fmt: skip
    assert outcome.code == 3
    assert [skipped["path"] for skipped in outcome.json["skipped"]] == [str(photos / "dog.n.01" / "broken.png")]
    assert len(outcome.json["predictions"]) == 8
    for prediction in outcome.json["predictions"]:
        assert prediction["class"] in ("dog", "cat")
        assert 0 <= prediction["confidence"] <= 1


def test_predict_with_one_model_for_all_classes(run, hubs, photos):
    arguments = ("--hub", hubs.labelled, "--class", "dog", "--class", "apple")
    single = run("select", *arguments, "--json").json["single"]
    predicted = run("predict", photos / "dog.n.01" / "0.png", *arguments, "--single", "--template", "{} in a photo")
    assert f"answering with {single}\n" in predicted.err


# -- which hub ----------------------------------------------------------------------------------------


def test_the_hub_is_the_one_named_else_of_the_environment_else_beside_else_bundled(run, hubs, tmp_path, monkeypatch):
    monkeypatch.setattr("mllctl.hub.finding.bundled_hub", lambda: hubs.sealed)
    monkeypatch.setattr("mllctl_cli.options.bundled_hub", lambda: hubs.sealed)
    bundled = run("hub", "info", "--json")
    assert bundled.json["read_only"] is True
    assert bundled.err == "mllctl: using the bundled demo hub; name another with --hub or $MLLCTL_HUB\n"
    shutil.copytree(hubs.empty, tmp_path / "hub")
    assert run("hub", "info", "--json").json["path"] == "hub"
    monkeypatch.setenv("MLLCTL_HUB", str(hubs.unlabelled))
    assert run("hub", "info", "--json").json["path"] == str(hubs.unlabelled)
    named = run("hub", "info", "--hub", hubs.labelled, "--json")
    assert (named.json["path"], named.err) == (str(hubs.labelled), "")


@pytest.mark.parametrize(("hub", "index"), [("empty", "none"), ("outdated", "stale"), ("labelled", "complete")])
def test_info_says_how_far_the_index_has_come(run, hubs, hub, index):
    assert run("hub", "info", "--hub", getattr(hubs, hub), "--json").json["index"] == index
