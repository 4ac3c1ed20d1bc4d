import json
import shutil

import pytest

from mllctl.errors import HubDamaged, HubNotFound, HubTooNew
from mllctl.hub import Hub
from mllctl.hub.manifest import NAME, SCHEMA_VERSION, changed_files, read_manifest, write_manifest


def edit(path, **facts):
    manifest = path / NAME
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | facts))


def test_a_manifest_is_read_as_it_was_written(labelled_copy):
    manifest = read_manifest(labelled_copy)
    write_manifest(labelled_copy, manifest)
    assert read_manifest(labelled_copy) == manifest
    assert len(manifest.files()) == 1 + 3 + 3 + 3 + 3 + 1


@pytest.mark.parametrize(
    ("name", "cure"), [("folder", "mllctl init"), ("absent", "mllctl init"), ("file", "a hub is a folder")]
)
def test_what_has_no_manifest_is_no_hub(tmp_path, name, cure):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(HubNotFound, match=cure) as found:
        Hub.open(tmp_path / name)
    assert found.value.path == tmp_path / name


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '"text"', "{}", '{"schema_version": 3}', '{"schema_version": "3"}', "\0\0\0\0"],
)
def test_a_manifest_that_cannot_be_understood_is_damage(labelled_copy, content):
    (labelled_copy / NAME).write_text(content)
    with pytest.raises(HubDamaged, match=NAME):
        Hub.open(labelled_copy)


def test_a_manifest_that_is_not_text_is_damage(labelled_copy):
    (labelled_copy / NAME).write_bytes(b"\xff\xfe\x80")
    with pytest.raises(HubDamaged, match=NAME):
        Hub.open(labelled_copy)


@pytest.mark.parametrize(
    "fact", [{"catalog": None}, {"labels": [{"path": "x"}]}, {"index": {"path": "x"}}, {"experts": [{"path": "x"}]}]
)
def test_a_manifest_that_lacks_a_part_is_damage(labelled_copy, fact):
    edit(labelled_copy, **fact)
    with pytest.raises(HubDamaged, match="lacks"):
        Hub.open(labelled_copy)


def test_another_schema_version_is_said_and_not_read(labelled_copy):
    edit(labelled_copy, schema_version=SCHEMA_VERSION + 1, catalog="in another form")
    with pytest.raises(HubTooNew, match="upgrade mllctl") as found:
        Hub.open(labelled_copy)
    assert (found.value.version, found.value.known) == (SCHEMA_VERSION + 1, SCHEMA_VERSION)


def test_each_file_of_a_hub_is_missed_and_its_truncation_noticed(labelled_copy):
    for file in read_manifest(labelled_copy).files():
        path = labelled_copy / file.path
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        with pytest.raises(HubDamaged, match=f"{file.path} is truncated"):
            Hub.open(labelled_copy)
        path.unlink()
        with pytest.raises(HubDamaged, match=f"{file.path} is missing"):
            Hub.open(labelled_copy)
        path.write_bytes(content)
    Hub.open(labelled_copy).close()


def test_a_catalog_or_label_that_is_no_database_is_damage(labelled, tmp_path):
    manifest = read_manifest(labelled.hub)
    for n, file in enumerate([manifest.catalog, manifest.labels[0]]):
        path = shutil.copytree(labelled.hub, tmp_path / str(n))
        (path / file.path).write_bytes(b"x" * file.size)
        with pytest.raises(HubDamaged):
            Hub.open(path)


def test_a_changed_byte_is_found_by_its_checksum(labelled_copy):
    manifest = read_manifest(labelled_copy)
    assert changed_files(labelled_copy, manifest) == []
    features = labelled_copy / manifest.image_features[1].path
    content = bytearray(features.read_bytes())
    content[100] ^= 1
    features.write_bytes(content)
    assert changed_files(labelled_copy, manifest) == [manifest.image_features[1].path]
