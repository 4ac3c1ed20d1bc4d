"""A hub that mllctl wrote under schema version 1, before labels could grow: two models on images of five nodes.

`version-1.tar.xz` was written by that mllctl: `fakes.COLOURS`, three images each, models `fake(0)` and `fake(1)`; then
all cars and image 0 were removed.
"""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fakes import fake, paint_folder
from mllctl import label_model
from mllctl.errors import HubTooNew, HubTooOld
from mllctl.hub import Hub
from mllctl.hub.manifest import SCHEMA_VERSION, read_manifest
from mllctl.hub.upgrading import upgrade_hub
from mllctl.hub.writing import change_hub
from mllctl.images import scan
from mllctl.label import compact_labels

# Python before 3.11.4 has no filters yet, from 3.14 on this is the default.
SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


@pytest.fixture
def old(tmp_path):
    with tarfile.open(Path(__file__).parent / "version-1.tar.xz") as archive:
        archive.extractall(tmp_path, **SAFELY)
    return tmp_path / "hub"


def answers(path):
    with Hub.open(path) as hub:
        evidence = np.flatnonzero(hub.evidence_nodes())
        counts = [hub.hits(nodes, [0, 1]) for nodes in (evidence, evidence[:2], evidence[1:])]
        views = [hub.query(f"FROM {view} ORDER BY ALL").rows for view in ("precision", "confusion", "sample")]
        return [(count.hits.tolist(), count.images.tolist()) for count in counts], views, hub.models(), hub.nodes()


def test_an_old_hub_is_refused_in_one_line_that_names_the_command(old):
    with pytest.raises(HubTooOld, match=f"mllctl hub upgrade --hub {old}") as refusal:
        Hub.open(old)
    assert (refusal.value.version, refusal.value.known) == (1, SCHEMA_VERSION)


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
    facts = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({**facts, "schema_version": SCHEMA_VERSION + 1}))
    for use in (Hub.open, upgrade_hub):
        with pytest.raises(HubTooNew, match="upgrade mllctl"):
            use(old)
