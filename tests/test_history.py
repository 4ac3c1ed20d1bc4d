"""Generations compared and restored: a hub that gained a model and lost its dogs."""

import json
import shutil

import numpy as np
import pytest

from fakes import FakeEncoder, FakeModel, fake
from mllctl import label_model, select_models
from mllctl.errors import HubReadOnly, NotInHub, SourceUnreadable
from mllctl.history import SavedTask, diff_hub, read_saved_tasks
from mllctl.hub import Hub, read_history
from mllctl.hub.manifest import read_manifest
from mllctl.hub.writing import change_hub, restore_hub, seal
from mllctl.images import SampleImage
from mllctl.label import remove_images

PETS = SavedTask("pets", ("dog", "cat"), None)
THINGS = SavedTask("things", ("car", "apple"), "photo")


@pytest.fixture
def grown(labelled_copy):
    """The labelled hub after two more changes: a model that knows dogs only too well, and no dog left."""
    before = read_manifest(labelled_copy).generation
    label_model(labelled_copy, FakeModel("fake/sharp", seed=1, blur=0.0))
    with Hub.open(labelled_copy) as hub:
        dogs = [image.image for image in hub.images(synset="dog.n.01")]
    remove_images(labelled_copy, dogs)
    return labelled_copy, before


def best(path, task, generation):
    with Hub.open(path, generation) as hub:
        selection = select_models(hub, task.classes, task.domain, encoder=FakeEncoder())
        return selection.names[selection.single], [selection.names[members[0]] for members in selection.members]


def test_a_difference_names_what_came_and_went(grown):
    path, before = grown
    found = diff_hub(path, before, before + 2)
    assert (found.before, found.after, found.images, found.tasks) == (before, before + 2, (0, 8), ())
    assert (found.nodes_gained, found.nodes_lost) == ((), ("dog.n.01",))
    assert (found.models_added, found.models_removed) == (("fake/sharp",), ())
    assert found.models_relabelled == ("fake/0", "fake/1", "fake/2")
    back = diff_hub(path, before + 2, before)
    assert (back.images, back.nodes_gained, back.models_removed) == ((8, 0), ("dog.n.01",), ("fake/sharp",))
    assert diff_hub(path, before + 1, before + 1).images == (0, 0)


def test_a_difference_says_which_selections_change(grown):
    path, before = grown
    found = diff_hub(path, before, before + 2, [PETS, THINGS], FakeEncoder())
    for task, change in zip((PETS, THINGS), found.tasks, strict=True):
        old, new = best(path, task, before), best(path, task, before + 2)
        assert (change.task, change.single, change.refused) == (task.name, (old[0], new[0]), ("", ""))
        pairs = zip(task.classes, old[1], new[1], strict=True)
        assert change.classes == {name: (one, other) for name, one, other in pairs if one != other}
        assert change.changed == (old != new)
    assert found.tasks[0].changed
    assert not any(change.changed for change in diff_hub(path, before, before, [PETS], FakeEncoder()).tasks)


def test_a_generation_that_cannot_answer_says_why(painted_copy):
    before = read_manifest(painted_copy).generation
    label_model(painted_copy, fake(0))
    [change] = diff_hub(painted_copy, before, before + 1, [PETS], FakeEncoder()).tasks
    assert change.single == (None, "fake/0")
    assert change.classes == {"dog": (None, "fake/0"), "cat": (None, "fake/0")}
    assert "mllctl label --all" in change.refused[0]


def test_a_restored_generation_answers_as_it_did_and_nothing_is_lost(grown):
    path, before = grown
    was, is_now = best(path, PETS, before), best(path, PETS, before + 2)
    restored = restore_hub(path, before)
    assert (restored.generation, restored.note) == (before + 3, f"hub restore {before}")
    assert best(path, PETS, None) == was
    found = diff_hub(path, before, before + 3)
    assert (found.images, found.models_added, found.models_relabelled) == ((0, 0), (), ())
    assert [past.generation for past in read_history(path)][-4:] == [before, before + 1, before + 2, before + 3]
    # What came after it can be restored too.
    restore_hub(path, before + 2)
    assert best(path, PETS, None) == is_now


def test_ordinals_that_were_given_out_stay_taken_after_a_restore(grown):
    path, before = grown
    new = SampleImage("/new", "n02084071", "photo", "new")
    with change_hub(path) as change:
        change.add_images([new])
    with Hub.open(path) as hub:
        [taken] = [image.image for image in hub.images() if image.uri == "/new"]
    restore_hub(path, before)
    with change_hub(path) as change:
        change.add_images([SampleImage("/other", "n02084071", "photo", "other")])
    label_model(path, FakeModel("fake/later"))
    with Hub.open(path) as hub:
        assert [image.image for image in hub.images() if image.uri == "/other"] == [taken + 1]
        assert hub.model("fake/later").model == 4


def test_only_a_kept_generation_of_a_hub_that_may_change_is_restored(grown, labelled, tmp_path):
    path, before = grown
    with pytest.raises(NotInHub, match=f"no generation '{before + 3}' in this hub; kept are"):
        restore_hub(path, before + 3)
    sealed = shutil.copytree(labelled.hub, tmp_path / "sealed")
    seal(sealed)
    with pytest.raises(HubReadOnly):
        restore_hub(sealed, read_manifest(sealed).generation)


def test_saved_tasks_are_read_with_and_without_a_domain(tmp_path):
    path = tmp_path / "tasks.json"
    facts = [
        {"name": "pets", "classes": ["dog", "cat"]},
        {"name": "things", "classes": [{"name": "car", "synset": "car.n.01"}, "apple"], "domain_text": "photo"},
    ]
    path.write_text(json.dumps(facts))
    assert read_saved_tasks(path) == [PETS, THINGS]


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '[{"name": "x"}]', '{"name": "x"}', "null", '[{"classes": ["x"]}]']
)
def test_a_file_that_holds_no_tasks_is_refused(tmp_path, content):
    path = tmp_path / "tasks.json"
    path.write_text(content)
    with pytest.raises(SourceUnreadable, match=r"tasks\.json"):
        read_saved_tasks(path)
    with pytest.raises(SourceUnreadable, match="no such file"):
        read_saved_tasks(tmp_path / "absent.json")


def test_the_history_counts_only_what_was_committed(grown):
    path, _ = grown
    history = read_history(path)
    numbers = [manifest.generation for manifest in history]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert [manifest.note for manifest in history[-2:]] == ["label fake/sharp", "images remove"]
    assert all(manifest.made.endswith("+00:00") for manifest in history)
    # The copy of a manifest that a killed commit has left is no generation.
    (path / "manifests" / f"{numbers[-1] + 1:06d}.json").write_bytes((path / "manifest.json").read_bytes())
    assert len(read_history(path)) == len(history)
    assert np.array_equal([past.generation for past in read_history(path)], numbers)
