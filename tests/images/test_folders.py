"""Folders as people have them: links, depth, files beside the classes, folders that are closed."""

import os
from pathlib import Path

import numpy as np
import pytest

from fakes import paint_folder
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.images import imagenet_wnids, recipe, scan, scan_recipe, scanning, sources
from odd_images import encoded, picture


def said(found):
    return {skipped.path.rpartition("/")[2]: skipped.reason for skipped in found.skipped}


@pytest.fixture
def closed(monkeypatch):
    """Folders of these names cannot be looked into; nothing is closed to root, whom tests may run as."""
    names = set()
    entries = sources._entries

    def refuse(folder):
        if os.path.basename(folder) in names:  # noqa: PTH119 - a string or a path
            raise PermissionError(13, "Permission denied", str(folder))
        return entries(folder)

    monkeypatch.setattr(sources, "_entries", refuse)
    return names


def test_images_and_shards_beside_class_folders_are_not_passed_over_in_silence(tmp_path, nouns, pngs, write_tar):
    paint_folder(tmp_path, ["dog.n.01"], 1)
    (tmp_path / "top.JPG").write_bytes(next(pngs))
    (tmp_path / "README.txt").write_text("read me")
    (tmp_path / ".hidden.png").write_bytes(next(pngs))
    write_tar(tmp_path / "more.tar", [("dog/0.png", next(pngs))])
    found = scan(tmp_path, "photo", nouns)
    assert len(found.images) == 1
    assert said(found) == {
        "top.JPG": "not in a class folder",
        "more.tar": "not in a class folder; name it itself to add it",
    }
    (tmp_path / "all").mkdir()
    for name in ("dog.n.01", "top.JPG"):
        (tmp_path / name).rename(tmp_path / "all" / name)
    again = scan(tmp_path, "photo", nouns, domain_folders=True)
    assert said(again) == {"top.JPG": "not in a class folder", "more.tar": said(found)["more.tar"]}


def test_images_beside_the_class_folders_of_a_recipe_or_beside_shards_are_reported(tmp_path, nouns, pngs, write_tar):
    paint_folder(tmp_path / "val", ["dog.n.01"], 1)
    (tmp_path / "val" / "dog.n.01").rename(tmp_path / "val" / imagenet_wnids()[207])
    (tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG").write_bytes(next(pngs))
    found = scan_recipe(recipe("imagenet"), tmp_path, "photo", nouns)
    assert said(found) == {"ILSVRC2012_val_00000001.JPEG": "not in a class folder"}
    write_tar(tmp_path / "shards" / "0.tar", [("dog/0.png", next(pngs))])
    (tmp_path / "shards" / "1.png").write_bytes(next(pngs))
    (tmp_path / "shards" / "1.tar.gz").write_bytes(b"\x1f\x8b")
    assert said(scan(tmp_path / "shards", "photo", nouns)) == {
        "1.png": "not in a class folder",
        "1.tar.gz": "a compressed archive; unpack it to .tar first, its images stay inside",
    }
    (tmp_path / "shards" / "0.tar").unlink()
    with pytest.raises(SourceUnreadable, match="a compressed archive; unpack it"):
        scan(tmp_path / "shards", "photo", nouns)


def test_a_class_folder_that_is_a_link_upwards_does_not_take_the_images_of_others(tmp_path, nouns):
    paint_folder(tmp_path / "all", ["dog.n.01"], 2)
    (tmp_path / "all" / "cat").symlink_to(".")
    (tmp_path / "all" / "apple").symlink_to(tmp_path)
    paint_folder(tmp_path / "elsewhere", ["wolf.n.01"], 1)
    (tmp_path / "all" / "wolf").symlink_to(tmp_path / "elsewhere" / "wolf.n.01")
    found = scan(tmp_path / "all", "photo", nouns)
    assert [nouns[image.wnid].synset for image in found.images] == ["dog.n.01", "dog.n.01", "wolf.n.01"]
    assert said(found) == dict.fromkeys(("cat", "apple"), "a link to a folder that it is in")


@pytest.fixture
def deep(tmp_path, pngs, monkeypatch):
    """An image below a thousand folders, which `shutil.rmtree` could not remove, and Python names by steps only."""
    (tmp_path / "all" / "dog").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "all" / "dog")
    for _ in range(1100):
        os.mkdir("d")  # noqa: PTH102
        os.chdir("d")
    Path("0.png").write_bytes(next(pngs))
    yield tmp_path / "all"
    Path("0.png").unlink()
    for _ in range(1100):
        os.chdir("..")
        os.rmdir("d")  # noqa: PTH106


def test_folders_may_lie_deeper_than_python_calls(deep, nouns):
    [image] = scan(deep, "photo", nouns).images
    assert image.uri.endswith("/d/d/d/0.png")


def test_paths_of_a_manifest_that_go_round_in_circles_are_skipped(tmp_path, nouns, pngs):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "good.png").write_bytes(next(pngs))
    (tmp_path / "list.csv").write_text("path,synset\na/1.png,dog\ngood.png,dog\n" + "x" * 5000 + ".png,dog\n")
    found = scan(tmp_path / "list.csv", "photo", nouns)
    assert len(found.images) == 1
    assert [skipped.reason for skipped in found.skipped] == ["too many levels of symbolic links", "file name too long"]


def test_what_is_closed_is_reported_and_the_rest_is_read(tmp_path, nouns, closed):
    paint_folder(tmp_path / "all" / "photo", ["dog.n.01", "cat.n.01"], 1)
    paint_folder(tmp_path / "all" / "sketch", ["wolf.n.01"], 1)
    closed |= {"cat.n.01", "sketch"}
    reason = "a folder that cannot be read (permission denied)"
    found = scan(tmp_path / "all", "", nouns, domain_folders=True)
    assert [image.domain for image in found.images] == ["photo"]
    assert said(found) == {"cat.n.01": reason, "sketch": reason}
    with pytest.raises(SourceUnreadable, match="sketch: permission denied"):
        scan(tmp_path / "all" / "sketch", "sketch", nouns)


def test_a_domain_without_classes_is_refused_before_the_first_image_is_read(tmp_path, nouns, monkeypatch):
    paint_folder(tmp_path / "photo", ["dog.n.01"], 1)
    (tmp_path / "sketch").mkdir()
    monkeypatch.setattr(scanning, "decode", lambda content: pytest.fail("decoded"))
    with pytest.raises(SourceUnreadable, match="with --domain-folders a domain has one folder a synset"):
        scan(tmp_path, "", nouns, domain_folders=True)


def test_images_without_a_domain_are_refused_before_the_first_is_read(tmp_path, nouns, monkeypatch):
    paint_folder(tmp_path, ["dog.n.01"], 1)
    monkeypatch.setattr(scanning, "decode", lambda content: pytest.fail("decoded"))
    with pytest.raises(InvalidTask, match="some images have no domain; name one with --domain NAME"):
        scan(tmp_path, "", nouns)


@pytest.mark.parametrize("name", ["b.csv", "b.parquet"])
def test_of_several_manifests_one_that_is_closed_is_skipped(tmp_path, nouns, monkeypatch, name):
    import pyarrow.parquet as parquet

    (tmp_path / "a.csv").write_text("path,synset\n1.png,dog\n")
    (tmp_path / "1.png").write_bytes(encoded(picture(np.random.default_rng(0)), "PNG"))
    (tmp_path / name).write_bytes(b"")
    plain, packed = sources.Path.open, parquet.ParquetFile

    def refuse(otherwise):
        def opened(path, *given, **options):
            if path.name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return otherwise(path, *given, **options)

        return opened

    monkeypatch.setattr(sources.Path, "open", refuse(plain))
    monkeypatch.setattr(parquet, "ParquetFile", refuse(packed))
    found = scan(tmp_path / "[ab].*", "photo", nouns)
    assert (len(found.images), said(found)) == (1, {name: "permission denied"})
