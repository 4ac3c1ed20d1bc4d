"""A lock names what a hub's models are, and finds every difference afterwards."""

import json
from dataclasses import replace

import pytest
import typer

from mllctl.backends.canary import take_canary, with_canary
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.hub import Hub, bundled_hub
from mllctl.hub.writing import change_hub
from mllctl.locking import check_lock, lock_models
from mllctl_cli.lock import lock as lock_command


@pytest.fixture
def locked(labelled_copy, tmp_path):
    """A hub of three models of which the first has a canary, and its lock."""
    return write_lock(labelled_copy, tmp_path / "models.lock")


@pytest.fixture
def hub_with_canary(labelled, labelled_copy):
    model = labelled.models[0]
    with change_hub(labelled_copy) as change:
        change.add_model(with_canary(model.card, take_canary(model)))
    return labelled_copy


def write_lock(hub, path):
    with Hub.open(hub) as opened:
        path.write_text(json.dumps(lock_models(opened)))
    return path


def differences(path, hub):
    with Hub.open(hub) as opened:
        return check_lock(path, opened)


def test_a_lock_has_every_model_with_its_hashes(labelled, hub_with_canary):
    with Hub.open(hub_with_canary) as hub:
        facts = lock_models(hub)
        index, generation = hub.manifest.index, hub.manifest.generation
    assert facts["hub"]["generation"] == generation
    assert facts["encoder"] == {"name": "fake", "fingerprint": index.encoder_fingerprint}
    assert list(facts["models"]) == ["fake/0", "fake/1", "fake/2"]
    for model in labelled.models:
        made = facts["models"][model.card.name]
        for field in ("source", "kind", "fingerprint", "preprocess", "tokenizer", "image_size"):
            assert made[field] == getattr(model.card, field)
        assert made["libraries"] == {"fake": "1"}
    assert facts["models"]["fake/0"]["canary"] == take_canary(labelled.models[0]).sha256
    assert facts["models"]["fake/1"]["canary"] is None
    assert facts["libraries"]["fake"] is None  # no such package is installed
    assert facts["libraries"]["numpy"][0].isdigit()
    assert json.loads(json.dumps(facts)) == facts


def test_nothing_differs_from_a_lock_just_written(locked, labelled_copy):
    assert differences(locked, labelled_copy) == []


def test_every_change_is_a_line_in_a_fixed_order(labelled, locked, labelled_copy):
    other = replace(labelled.models[1].card, fingerprint="new")
    with change_hub(labelled_copy) as change:
        change.remove_model("fake/0")
        change.add_model(other)
        change.add_model(replace(labelled.models[2].card, name="fake/9"))
    facts = json.loads(locked.read_text())
    facts["libraries"] |= {"numpy": "0.1"}
    facts["encoder"]["name"] = "another"
    facts["models"]["fake/2"]["libraries"] = {"fake": "0"}
    locked.write_text(json.dumps(facts))
    generation = facts["hub"]["generation"]
    from importlib.metadata import version

    assert differences(locked, labelled_copy) == [
        f"hub generation: locked {generation}, now {generation + 1}",
        "encoder name: locked another, now fake",
        f"library numpy: locked 0.1, now {version('numpy')}",
        "model fake/0: locked, and not in the hub",
        "model fake/9: in the hub, and not locked",
        f"model fake/1: fingerprint: locked {labelled.models[1].card.fingerprint}, now new",
        "model fake/1: state: locked complete, now none",
        "model fake/2: made by fake: locked 0, now 1",
    ]


def test_a_canary_that_came_later_is_a_difference(labelled, locked, hub_with_canary):
    sha256 = take_canary(labelled.models[0]).sha256
    assert f"model fake/0: canary: locked none, now {sha256}" in differences(locked, hub_with_canary)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[]", "is no lock"),
        ("{}", "is no lock"),
        ('{"form": 1, "hub": {}, "encoder": null, "libraries": {}, "models": {"a": 1}}', "is no lock"),
        ('{"form": 2, "hub": {}, "encoder": null, "libraries": {}, "models": {}}', "form 2, this mllctl reads 1"),
    ],
)
def test_what_is_no_lock_is_refused_in_a_line_with_the_cure(labelled, tmp_path, content, reason):
    path = tmp_path / "x.lock"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SourceUnreadable, match=reason) as caught:
        differences(path, labelled.hub)
    assert str(caught.value).endswith("write one with `mllctl model lock --out FILE`")


def test_the_bundled_hub_can_be_locked(tmp_path):
    lock = write_lock(bundled_hub(), tmp_path / "models.lock")
    assert differences(lock, bundled_hub()) == []


# -- the command --------------------------------------------------------------------------------------


def test_the_command_prints_writes_and_checks(labelled_copy, tmp_path, capsys):
    path = tmp_path / "models.lock"
    lock_command(hub=labelled_copy)
    printed = capsys.readouterr().out
    lock_command(out=path, hub=labelled_copy)
    assert capsys.readouterr().out == f"{path}: 3 models\n"
    assert json.loads(printed) == json.loads(path.read_text())
    lock_command(check=path, hub=labelled_copy)
    assert "all is as" in capsys.readouterr().err
    with change_hub(labelled_copy) as change:
        change.remove_model("fake/1")
    for json_ in (False, True):
        with pytest.raises(typer.Exit) as left:
            lock_command(check=path, hub=labelled_copy, json=json_)
        assert left.value.exit_code == 1
        assert "model fake/1: locked, and not in the hub" in capsys.readouterr().out


def test_the_command_does_one_thing_at_a_time(labelled, tmp_path):
    with pytest.raises(InvalidTask, match="not both"):
        lock_command(out=tmp_path / "a", check=tmp_path / "b", hub=labelled.hub)
