"""`rank --images`: models of a hub, by what they make of labelled images."""

import pytest

from fakes import paint_folder

SYNSETS = ("dog.n.01", "cat.n.01", "apple.n.01")


@pytest.fixture
def pictures(tmp_path):
    painted = paint_folder(tmp_path / "painted", list(SYNSETS), 12, seed=11)
    for synset in SYNSETS:
        (painted / synset).rename(painted / synset.split(".")[0])
    return painted


def test_models_of_a_hub_are_ranked_and_shown_the_images_once(run, hubs, pictures, monkeypatch):
    given = ("rank", "--images", pictures, "--hub", hubs.labelled, "--scores", "logme,emms,sfda", "--json")
    done = run(*given)
    assert done.code == 0, done.err
    assert len(done.json["models"]) == len(run("model", "list", "--hub", hubs.labelled, "--json").json)
    assert all(score["value"] is not None for model in done.json["models"] for score in model["scores"])

    def forbidden(*_):
        raise AssertionError("a model was loaded again")

    monkeypatch.setattr("mllctl.reuse.showing.load_same", forbidden)
    again = run(*given).json
    values = [
        [[score["value"] for score in model["scores"]] for model in told["models"]] for told in (done.json, again)
    ]
    assert values[0] == values[1]


def test_class_names_become_f_labels_of_the_encoder_that_is_named(run, hubs, pictures):
    given = ("rank", "--images", pictures, "--hub", hubs.labelled, "--scores", "emms,logme_f", "--json")
    own, named = run(*given), run(*given, "--encoders", "multilingual-e5-small")
    assert named.code == 0, named.err
    assert [score["score"] for score in named.json["models"][0]["scores"]] == ["emms", "logme_f"]
    # Here every name opens the one fake, that of the index, too.
    assert [model["scores"][0]["value"] for model in named.json["models"]] == [
        model["scores"][0]["value"] for model in own.json["models"]
    ]


def test_some_models_are_ranked_and_unreadable_images_are_skipped(run, hubs, pictures):
    (pictures / "cat" / "0.png").write_bytes(b"no image")
    done = run("rank", "--images", pictures, "--hub", hubs.labelled, "--models", "*0")
    assert done.code == 3
    assert "0.png: not an image" in done.err
    assert done.out.count("fake/") == 1
    none = run("rank", "--images", pictures, "--hub", hubs.labelled, "--models", "gone*")
    assert none.code == 2
    assert "`mllctl model list`" in none.err


def test_what_makes_no_task_is_refused(run, hubs, pictures, tmp_path):
    assert "give --features DIR, or --images DIR" in run("rank").err
    both = run("rank", "--features", pictures, "--hub", hubs.labelled)
    assert both.code == 2
    one = run("rank", "--images", pictures / "dog", "--hub", hubs.labelled)
    assert one.code == 2
    assert "all images are of 'dog'" in one.err
    assert "12 images" not in one.err
    (tmp_path / "empty").mkdir()
    assert run("rank", "--images", tmp_path / "empty", "--hub", hubs.labelled).code == 1
    unknown = run("rank", "--images", pictures, "--hub", hubs.labelled, "--scores", "logm")
    assert "no score 'logm'" in unknown.err


def test_an_image_that_is_in_no_class_folder_is_skipped(run, hubs, pictures):
    whole = run("rank", "--images", pictures, "--hub", hubs.labelled, "--json").json
    (pictures / "loose.png").write_bytes((pictures / "dog" / "1.png").read_bytes())
    done = run("rank", "--images", pictures, "--hub", hubs.labelled, "--json")
    assert done.code == 3
    assert "loose.png: not in a class folder" in done.err
    values = [[model["scores"][0]["value"] for model in told["models"]] for told in (whole, done.json)]
    assert values[0] == values[1]


def test_scores_of_outputs_are_refused_before_images_are_shown(run, hubs, pictures, monkeypatch):
    monkeypatch.setattr("mllctl.reuse.showing.load_same", None)
    refused = run("rank", "--images", pictures, "--hub", hubs.labelled, "--scores", "logme,leep")
    assert refused.code == 2
    assert "leep needs outputs or targets, which images have not" in refused.err
