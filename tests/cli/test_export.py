"""`export`: from a saved selection to a folder that open_clip uses alone."""

import json

import pytest


@pytest.fixture
def saved(run, hubs):
    classes = ("--class", "dog", "--class", "cat", "--class", "apple")
    assert run("select", "--hub", hubs.labelled, *classes, "-k", 2, "--save", "selection.json").code == 0
    return "selection.json"


def test_an_export_is_a_table_of_files_with_messages_beside_it(run, saved, tmp_path):
    done = run("export", "--selection", saved, "heads", "--device", "cpu")
    assert done.code == 0, done.err
    told = json.loads((tmp_path / "heads" / "manifest.json").read_text())
    heading, *rows = done.out.splitlines()
    assert heading.split() == ["model", "file", "answers", "width", "open_clip", "alone"]
    assert [row.split()[:2] for row in rows] == [[model["name"], model["file"]] for model in told["models"]]
    assert all(row.endswith("of 3     16  no") for row in rows)
    total = len(rows)
    for n, model in enumerate(told["models"], start=1):
        assert f"encoding the classes with {model['name']} ({n} of {total})" in done.err
        assert f"{model['name']}: open_clip does not load it alone: it is of kind fake" in done.err
    assert done.err.endswith("mllctl: wrote heads\n")


def test_an_earlier_export_is_replaced_only_by_force(run, saved, tmp_path):
    assert run("export", "--selection", saved, "heads").code == 0
    again = run("export", "--selection", saved, "heads")
    assert again.code == 1
    assert again.err == "mllctl: heads: is there already; name a new folder or give --force\n"
    assert run("export", "--selection", saved, "heads", "--force", "--json").json["path"] == "heads"
    (tmp_path / "photos").mkdir()
    assert "is not replaced" in run("export", "--selection", saved, "photos", "--force").err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("heads",), 2, "missing option '--selection'"),
        (("--selection", "selection.json"), 2, "missing argument 'DIR'"),
        (("--selection", "gone.json", "heads"), 1, "gone.json: cannot be read"),
        (("--selection", "selection.json", "no/heads"), 1, "no/heads: there is no such folder to write it in"),
        (("--selection", "selection.json", "heads", "--device", "tpu"), 2, "--device tpu: no such device"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_a_line(run, saved, tmp_path, arguments, code, message):
    done = run("export", *arguments)
    assert done.code == code
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "heads").exists()
