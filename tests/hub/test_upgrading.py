"""Hubs that mllctl wrote under earlier schema versions: two models on images of five nodes.

`version-1.tar.xz` was written before labels could grow: `fakes.COLOURS`, three images each, models `fake(0)` and
`fake(1)`; then all cars and image 0 were removed. `version-2.tar.xz` was written before there were experts: the same,
then two dogs and two cats came and `fake(0)` was labelled again; and `labels.tar`, its bundle with embeddings.
"""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeExpert, fake, hub_of_folders, paint_folder
from mllctl import label_model
from mllctl.errors import HubDamaged, HubTooNew, HubTooOld
from mllctl.hub import Hub
from mllctl.hub.bundling import import_labels
from mllctl.hub.manifest import SCHEMA_VERSION, changed_files, read_history, read_manifest
from mllctl.hub.upgrading import upgrade_hub
from mllctl.hub.writing import change_hub, restore_hub
from mllctl.images import scan
from mllctl.label import compact_labels, label_expert

# Python before 3.11.4 has no filters yet, from 3.14 on this is the default.
SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def unpacked(folder, version):
    with tarfile.open(Path(__file__).parent / f"version-{version}.tar.xz") as archive:
        archive.extractall(folder, **SAFELY)
    return folder / "hub"


@pytest.fixture
def old(tmp_path):
    return unpacked(tmp_path, 1)


@pytest.fixture
def second(tmp_path):
    return unpacked(tmp_path, 2)


def facts_of(path):
    return json.loads((path / "manifest.json").read_text())


def edit(path, **facts):
    (path / "manifest.json").write_text(json.dumps({**facts_of(path), **facts}))


def files_of(path):
    """What a hub consists of, besides manifests."""
    files = {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file() and file.name != ".lock"}
    return {name: file.read_bytes() for name, file in files.items() if not name.startswith("manifest")}


def answers(path):
    with Hub.open(path) as hub:
        evidence = np.flatnonzero(hub.evidence_nodes())
        counts = [hub.hits(nodes, [0, 1]) for nodes in (evidence, evidence[:2], evidence[1:])]
        views = [hub.query(f"FROM {view} ORDER BY ALL").rows for view in ("precision", "confusion", "sample")]
        return [(count.hits.tolist(), count.images.tolist()) for count in counts], views, hub.models(), hub.nodes()


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_hub_is_refused_in_one_line_that_names_the_command(tmp_path, version):
    old = unpacked(tmp_path, version)
    with pytest.raises(HubTooOld, match=f"mllctl hub upgrade --hub {old}") as refusal:
        Hub.open(old)
    assert (refusal.value.version, refusal.value.known) == (version, SCHEMA_VERSION)


def test_an_upgraded_hub_counts_what_its_embeddings_say(old):
    assert upgrade_hub(old) == 1
    with Hub.open(old) as hub:
        assert [model.state for model in hub.models()] == ["complete", "complete"]
        assert len(hub.images()) == 11
        assert hub.manifest.orders == ()
    before = answers(old)
    assert compact_labels(old, ["fake/0", "fake/1"]) == ["fake/0", "fake/1"]
    assert answers(old) == before
    with Hub.open(old) as hub:
        assert len(hub.manifest.orders) == 2


def test_an_upgraded_hub_is_that_of_models_which_are_labelled_now(old):
    upgrade_hub(old)
    compact_labels(old, ["fake/0", "fake/1"])
    before = answers(old)
    for number in range(2):
        model = fake(number)
        # Its images are not there any more; its embeddings are.
        assert label_model(old, model).shown == 0
    assert answers(old) == before


def test_a_label_without_its_order_grows_and_is_counted_by_its_masks(old, tmp_path, nouns):
    upgrade_hub(old)
    new = paint_folder(tmp_path / "new", ["dog.n.01", "cat.n.01"], 2, seed=9)
    with change_hub(old) as change:
        change.add_images(scan(new, "photo", nouns).images)
    assert label_model(old, fake(0)).shown == 4
    with Hub.open(old) as hub:
        assert len(hub.label_files(0)) == 2
        evidence = np.flatnonzero(hub.evidence_nodes())
        counted = [hub.hits(nodes, [0]) for nodes in (evidence, evidence[1:])]
        assert counted[0].images.sum() == 15
    assert compact_labels(old) == ["fake/0"]
    with Hub.open(old) as hub:
        assert hub.manifest.orders[0].model == 0
        for nodes, before in zip((evidence, evidence[1:]), counted, strict=True):
            assert np.array_equal(hub.hits(nodes, [0]).hits, before.hits)
            assert np.array_equal(hub.hits(nodes, [0]).images, before.images)


def test_upgrading_keeps_one_generation_of_files_and_a_second_time_does_nothing(old):
    upgrade_hub(old)
    manifest = read_manifest(old)
    files = {str(path.relative_to(old)) for path in old.rglob("*") if path.is_file()} - {".lock"}
    assert files == {
        "manifest.json",
        f"manifests/{manifest.generation:06d}.json",
        *(file.path for file in manifest.files()),
    }
    assert upgrade_hub(old) == SCHEMA_VERSION
    assert read_manifest(old) == manifest


def test_an_upgrade_that_was_cut_off_leaves_the_old_hub_and_is_begun_again(old, tmp_path):
    cut = shutil.copytree(old, tmp_path / "cut")
    (cut / "labels" / "000000-000006.duckdb").write_bytes(b"half a label")
    (cut / "features" / "000000-000006-image.arrow").write_bytes(b"half")
    with pytest.raises(HubTooOld):
        Hub.open(cut)
    upgrade_hub(cut)
    upgrade_hub(old)
    assert answers(cut) == answers(old)


def test_a_newer_hub_is_refused(old):
    edit(old, schema_version=SCHEMA_VERSION + 1)
    for use in (Hub.open, upgrade_hub):
        with pytest.raises(HubTooNew, match="upgrade mllctl"):
            use(old)


# -- version 2 ------------------------------------------------------------------------------------------


def test_from_version_2_on_the_manifest_lists_experts_and_no_other_file_is_touched(second):
    files, facts = files_of(second), facts_of(second)
    assert upgrade_hub(second) == 2
    assert files_of(second) == files
    new = facts_of(second)
    assert (new["schema_version"], new["generation"], new["experts"]) == (SCHEMA_VERSION, 7, [])
    renewed = ("schema_version", "generation", "made", "note", "experts")
    assert {name: fact for name, fact in new.items() if name not in renewed} == {
        name: fact for name, fact in facts.items() if name not in renewed
    }
    assert changed_files(second, read_manifest(second)) == []
    assert upgrade_hub(second) == SCHEMA_VERSION
    assert facts_of(second) == new


def test_generations_of_version_2_are_kept_and_can_be_restored(second):
    upgrade_hub(second)
    assert [past.generation for past in read_history(second)] == list(range(8))
    with Hub.open(second, 3) as hub:
        labelled = [model.labelled for model in hub.models()]
    assert labelled == [15, 15]
    restore_hub(second, 3)
    with Hub.open(second) as hub:
        assert [model.labelled for model in hub.models()] == labelled
        assert hub.manifest.schema_version == SCHEMA_VERSION


def test_an_upgraded_hub_takes_models_images_and_experts(second, tmp_path, nouns):
    upgrade_hub(second)
    before = answers(second)
    assert compact_labels(second) == ["fake/0", "fake/1"]
    assert answers(second) == before
    with change_hub(second) as change:
        change.add_images(scan(paint_folder(tmp_path / "apples", ["apple.n.01"], 2, seed=3), "photo", nouns).images)
    assert label_model(second, fake(0)).shown == 2
    # The images it was made of are nowhere any more.
    report = label_expert(second, FakeExpert("colours/animals", ("dog.n.01", "cat.n.01")))
    assert (report.shown, len(report.skipped)) == (2, 15)


def test_an_upgrade_from_version_2_that_was_cut_off_leaves_the_old_hub(second, monkeypatch):
    def cut_off(hub, manifest):
        raise KeyboardInterrupt

    before, files = facts_of(second), files_of(second)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("mllctl.hub.upgrading.write_manifest", cut_off)
        upgrade_hub(second)
    assert facts_of(second) == before
    assert files_of(second) == files
    upgrade_hub(second)
    assert [past.generation for past in read_history(second)] == list(range(8))


def test_experts_that_were_written_under_version_2_stay(second, tmp_path, nouns):
    """The mllctl that wrote them gave their field no version of its own."""
    new = hub_of_folders(tmp_path / "new", {"photo": paint_folder(tmp_path / "own", ["dog.n.01"], 2)}, nouns)
    label_expert(new, FakeExpert("colours/animals", ("dog.n.01",)))
    edit(new, schema_version=2)
    assert upgrade_hub(new) == 2
    with Hub.open(new) as hub:
        assert hub.expert("colours/animals").labelled == 2


@pytest.mark.parametrize("lacking", ["catalog", "orders"])
def test_a_manifest_that_lacks_a_part_is_not_upgraded(second, lacking):
    facts = facts_of(second)
    del facts[lacking]
    (second / "manifest.json").write_text(json.dumps(facts))
    with pytest.raises(HubDamaged, match=f"lacks '{lacking}'"):
        upgrade_hub(second)
    assert facts_of(second) == facts


def test_a_bundle_of_version_2_is_imported(second, tmp_path):
    upgrade_hub(second)
    imported = import_labels(tmp_path / "labels.tar", tmp_path / "new")
    assert imported.taken == ("fake/0", "fake/1")
    assert answers(tmp_path / "new") == answers(second)
    assert read_manifest(tmp_path / "new").schema_version == SCHEMA_VERSION
