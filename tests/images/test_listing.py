"""Which images an answer is wanted for: every one that is named, in order, with its truth where that is asked for."""

import io
import os

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from fakes import paint_folder
from mllctl.errors import SourceUnreadable
from mllctl.images import Skipped, packs, read_bytes
from mllctl.images.listing import list_images


def listed(*sources, **options):
    return list(list_images([str(source) for source in sources], **options))


def names(rows):
    return [row.name if not isinstance(row, Skipped) else f"! {row.path}" for row in rows]


@pytest.fixture
def folder(tmp_path):
    return paint_folder(tmp_path / "pictures", ["dog.n.01", "cat.n.01"], 2)


def test_a_folder_is_all_its_images_by_folder_and_name(folder):
    (folder / "alone.JPG").write_bytes(b"")
    (folder / "notes.md").write_text("passed over")
    (folder / ".hidden.png").write_bytes(b"")
    passed = []
    rows = listed(folder, passed=passed.append)
    assert names(rows) == [
        f"{folder}/{name}"
        for name in ("alone.JPG", "cat.n.01/0.png", "cat.n.01/1.png", "dog.n.01/0.png", "dog.n.01/1.png")
    ]
    assert passed == [f"{folder}/notes.md"]
    assert {row.word for row in rows} == {""}


def test_truth_is_the_first_folder_below_the_source_else_the_source_itself(folder):
    deep = folder / "cat.n.01" / "2021"
    deep.mkdir()
    (folder / "cat.n.01" / "0.png").rename(deep / "0.png")
    (folder / "alone.png").write_bytes(b"")
    assert [row.word for row in listed(folder, truth="folder")] == ["pictures", *["cat.n.01"] * 2, *["dog.n.01"] * 2]
    assert [row.word for row in listed(folder / "dog.n.01", truth="folder")] == ["dog.n.01"] * 2


def test_sources_are_taken_in_the_order_in_which_they_are_named(folder):
    first, second = folder / "dog.n.01" / "1.png", folder / "cat.n.01" / "0.png"
    assert names(listed(first, second, first)) == [str(first), str(second), str(first)]
    assert [row.word for row in listed(first, second, truth="folder")] == ["dog.n.01", "cat.n.01"]


def test_a_relative_path_keeps_its_name_and_is_found_from_elsewhere(folder, monkeypatch):
    monkeypatch.chdir(folder)
    rows = listed("dog.n.01")
    monkeypatch.chdir("/")
    assert names(rows) == ["dog.n.01/0.png", "dog.n.01/1.png"]
    assert all(read_bytes(row.uri) for row in rows)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_paths_come_from_stdin_and_from_lists(folder, tmp_path, ending):
    paths = [f"{folder}/cat.n.01/1.png", "no such.png", f"{folder}/dog.n.01/0.png"]
    text = (ending.join(paths) + ending + ending).encode()
    (tmp_path / "list.txt").write_bytes(text)
    assert names(listed("-", stdin=io.BytesIO(text))) == paths
    assert names(listed(tmp_path / "list.txt")) == paths
    for source, stdin in (("-", io.BytesIO(b"\n")), (tmp_path / "empty.txt", None)):
        (tmp_path / "empty.txt").write_bytes(b"\n\n")
        with pytest.raises(SourceUnreadable, match="names no image"):
            listed(source, stdin=stdin)


def test_manifests_name_images_relative_to_them_with_truth_in_a_column(folder, tmp_path):
    rows = [("pictures/dog.n.01/0.png", "hound"), ("pictures/cat.n.01/1.png", "")]
    (tmp_path / "list.csv").write_text("path,shows\n" + "".join(f"{path},{shows}\n" for path, shows in rows))
    table = {"path": [path for path, _ in rows], "shows": ["hound", None], "other": [1, 2]}
    parquet.write_table(pa.table(table), tmp_path / "list.parquet")
    for manifest in (tmp_path / "list.csv", tmp_path / "list.parquet"):
        found = listed(manifest, truth="shows")
        assert names(found) == [path for path, _ in rows]
        assert [row.word for row in found] == ["hound", ""]
        assert all(read_bytes(row.uri) for row in found)
        assert [row.word for row in listed(manifest)] == ["", ""]
        with pytest.raises(SourceUnreadable, match="no column 'label'"):
            listed(manifest, truth="label")
        with pytest.raises(SourceUnreadable, match="name a column"):
            listed(manifest, truth="folder")


def test_a_parquet_file_may_hold_nothing_but_pictures(folder, tmp_path):
    contents = [path.read_bytes() for path in sorted(folder.rglob("*.png"))]
    parquet.write_table(pa.table({"picture": contents}), tmp_path / "pack.parquet")
    parquet.write_table(pa.table({"picture": contents, "class": [0, 1, 1, 0]}), tmp_path / "told.parquet")
    rows = listed(tmp_path / "pack.parquet")
    assert names(rows) == [f"{tmp_path}/pack.parquet#{n}" for n in range(4)]
    assert [read_bytes(row.uri) for row in rows] == contents
    assert [row.word for row in listed(tmp_path / "told.parquet", truth="class")] == ["0", "1", "1", "0"]


@pytest.mark.parametrize("column", ["image", "image.bytes", "picture", "jpg"])
@pytest.mark.parametrize("cached", [True, False])
def test_pictures_are_found_in_the_columns_that_data_sets_use(folder, tmp_path, monkeypatch, column, cached):
    monkeypatch.setattr(packs, "_READER", packs._Reader())
    monkeypatch.setattr(packs, "CACHED_GROUP", 1 << 26 if cached else 0)
    contents = [path.read_bytes() for path in sorted(folder.rglob("*.png"))]
    name, _, inner = column.partition(".")
    cells = [{"bytes": content, "path": "x.png"} for content in contents] if inner else contents
    parquet.write_table(pa.table({"label": [1, 0, 1, 0], name: cells}), tmp_path / "pack.parquet")
    rows = listed(tmp_path / "pack.parquet", truth="label")
    assert [read_bytes(row.uri) for row in rows] == contents
    assert [row.word for row in rows] == ["1", "0", "1", "0"]
    parquet.write_table(pa.table({"image": ["a", "b"]}), tmp_path / "text.parquet")
    with pytest.raises(SourceUnreadable, match="no column 'path'"):
        listed(tmp_path / "text.parquet")


def test_shards_are_images_with_truth_beside_them_in_them_or_in_their_folder(tmp_path, pngs, write_tar):
    shard = tmp_path / "shards" / "0.tar"
    members = [
        ("a/1.png", next(pngs)),
        ("a/1.cls", b"3"),
        ("a/1.json", b'{"label": "dog", "n": 7}'),
        ("a/2.jpg", next(pngs)),
        ("a/2.json", b"no json"),
        ("a/.hidden.png", next(pngs)),
    ]
    write_tar(shard, members)
    for source in (shard, shard.parent, tmp_path / "shards" / "*.tar"):
        assert names(listed(source)) == [f"{shard}#a/1.png", f"{shard}#a/2.jpg"]
    words = {truth: [row.word for row in listed(shard, truth=truth)] for truth in ("folder", "cls", "label", "n", "x")}
    expected = {"folder": ["a", "a"], "cls": ["3", ""], "label": ["dog", ""], "n": ["7", ""], "x": ["", ""]}
    assert words == expected


def test_what_is_no_source_is_refused_and_a_damaged_shard_in_a_folder_is_skipped(folder, tmp_path, pngs, write_tar):
    (tmp_path / "empty").mkdir()
    (tmp_path / "some.tar.gz").write_bytes(b"")
    write_tar(tmp_path / "bare.tar", [("notes.txt", b"")])
    refused = {
        "empty": "no images in this folder",
        "some.tar.gz": "unpack it",
        "absent.png": "no such file",
        "bare.tar": "no images in this archive",
    }
    for name, reason in refused.items():
        with pytest.raises(SourceUnreadable, match=reason):
            listed(tmp_path / name)
    with pytest.raises(SourceUnreadable, match="--truth folder"):
        listed(folder, truth="label")
    with pytest.raises(SourceUnreadable, match="there is none"):
        listed("-")
    (folder / "damaged.tar").write_bytes(b"x" * 2000)
    assert f"! {folder}/damaged.tar" in names(listed(folder))
    assert len(listed(folder)) == 5


def test_a_name_that_is_no_text_is_skipped_with_its_reason(folder):
    (folder / os.fsdecode(b"\xff.png")).write_bytes(b"")
    (skipped,) = [row for row in listed(folder) if isinstance(row, Skipped)]
    assert skipped.path == f"{folder}/\\udcff.png"
    assert "not UTF-8" in skipped.reason
