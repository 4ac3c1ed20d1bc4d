import json
import tarfile
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from mllctl.errors import SourceUnreadable
from mllctl.images import file_behind, open_image, packs, read_bytes, scan, tars


def shown(found, nouns):
    return [(image.uri.rpartition("#")[2], nouns[image.wnid].synset, image.domain) for image in found.images]


def said(found):
    return {skipped.path.rpartition("#")[2]: skipped.reason for skipped in found.skipped}


# -- tar ----------------------------------------------------------------------------------------------


def test_members_of_one_key_are_an_image_and_what_it_shows(tmp_path, nouns, pngs, write_tar):
    members = [
        ("0.png", next(pngs)),
        ("0.cls", b"1"),
        ("1.txt", b"dog.n.01\n"),
        ("1.png", next(pngs)),
        ("2.json", json.dumps({"synset": "apple.n.01", "domain": "sketch", "width": 3}).encode()),
        ("2.PNG", next(pngs)),
        ("a/n02084071/x.png", next(pngs)),
        ("3.png", next(pngs)),
        ("4.png", next(pngs)),
        ("4.cls", b"7"),
    ]
    path = write_tar(tmp_path / "s.tar", members)
    found = scan(path, "photo", nouns, classes=("dog", "n02121620"))
    assert shown(found, nouns) == [
        ("0.png", "cat.n.01", "photo"),
        ("1.png", "dog.n.01", "photo"),
        ("2.PNG", "apple.n.01", "sketch"),
        ("a/n02084071/x.png", "dog.n.01", "photo"),
    ]
    assert said(found) == {
        "3.png": "nothing beside it says what it shows (a member '3' with .cls, .txt or .json)",
        "4.png": "a class index (7) beyond the list of classes (2 of them)",
    }
    assert read_bytes(found.images[0].uri) == members[0][1]
    assert open_image(found.images[3].uri).mode == "RGB"
    assert file_behind(found.images[0].uri) == path
    said_without = said(scan(path, "photo", nouns))
    assert said_without["0.png"] == "a class index (1) without a list of classes; name one with --classes FILE"


@pytest.mark.parametrize("label", [b"{", b"[1]", b'{"synset": {"a": 1}}', b'{"synset": 1.5}', b"[" * 100_000])
def test_json_that_names_no_synset_is_a_reason(tmp_path, nouns, pngs, write_tar, label):
    path = write_tar(tmp_path / "s.tar", [("0.png", next(pngs)), ("0.json", label)])
    [skipped] = scan(path, "photo", nouns, classes=["dog"]).skipped
    assert skipped.path == f"{path}#0.png"


def test_a_label_that_is_no_text_of_this_world_is_a_reason(tmp_path, nouns, pngs, write_tar):
    members = [
        ("0.png", next(pngs)),
        ("0.json", b'{"synset": "dog", "domain": "a\\ud800b"}'),
        ("1.png", next(pngs)),
        ("1.json", b'{"synset": "d\\ud800g"}'),
        ("2.png", next(pngs)),
        ("2.txt", b"dog" * (1 << 19)),
        ("./3.png", next(pngs)),
        ("4.png", next(pngs)),
        ("4.txt", b"dog"),
    ]
    found = scan(write_tar(tmp_path / "s.tar", members), "photo", nouns)
    assert [image.uri.rpartition("#")[2] for image in found.images] == ["4.png"]
    assert said(found) == {
        "0.png": "the name of its domain is not UTF-8 text (a\\ud800b)",
        "1.png": r"no noun synset for 'd\ud800g' in WordNet",
        "2.png": "the .txt beside it cannot be read (too many bytes (1,572,864; at most 1,048,576 are read))",
        "./3.png": "nothing beside it says what it shows (a member './3' with .cls, .txt or .json)",
    }


def test_a_sparse_header_that_is_cut_off_is_a_reason(tmp_path, nouns, pngs, write_tar):
    """`tarfile` reads on where the archive ends."""
    content = write_tar(tmp_path / "s.tar", [("dog/0.png", next(pngs))]).read_bytes()
    end = 512 + -(-tars.index_of(tmp_path / "s.tar").members["dog/0.png"][1] // 512) * 512
    header = bytearray(tarfile.TarInfo("dog/1.png").tobuf(tarfile.GNU_FORMAT))
    header[156:157], header[482:483] = tarfile.GNUTYPE_SPARSE, b"\1"  # more of it follows
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "cut.tar").write_bytes(content[:end] + header)
    found = scan(tmp_path / "cut.tar", "photo", nouns)
    assert len(found.images) == 1
    assert "the archive is damaged or cut off" in found.skipped[0].reason


def test_nothing_is_written_and_no_name_of_a_member_is_a_path(tmp_path, nouns, pngs, write_tar):
    secret = tmp_path / "dog" / "secret.png"
    secret.parent.mkdir()
    secret.write_bytes(next(pngs))
    link, hard, device = (tarfile.TarInfo(f"dog/{name}.png") for name in ("link", "hard", "device"))
    link.type, link.linkname = tarfile.SYMTYPE, str(secret)
    hard.type, hard.linkname = tarfile.LNKTYPE, str(secret)
    device.type = tarfile.CHRTYPE
    inside = next(pngs)
    names = (f"{tmp_path}/dog/secret.png", "../dog/up.png", "/dog/root.png")
    path = write_tar(tmp_path / "s.tar", [*((name, inside) for name in names), link, hard, device])
    before = sorted(tmp_path.rglob("*"))
    found = scan(path, "photo", nouns)
    assert sorted(tmp_path.rglob("*")) == before
    assert len(found.images) == 3
    assert {read_bytes(image.uri) for image in found.images} == {inside}
    assert said(found) == {
        "dog/link.png": "a link in an archive; links are not followed",
        "dog/hard.png": "a link in an archive; links are not followed",
        "dog/device.png": "not a regular file",
    }


def test_of_a_cut_archive_what_is_whole_is_used(tmp_path, nouns, pngs, write_tar):
    content = write_tar(tmp_path / "s.tar", [(f"dog/{n}.png", next(pngs)) for n in range(8)]).read_bytes()
    whole = scan(tmp_path / "s.tar", "photo", nouns)
    assert (len(whole.images), whole.skipped) == (8, ())
    offsets = sorted(offset for offset, _ in tars.index_of(tmp_path / "s.tar").members.values())
    for cut in (offsets[3], offsets[3] - 100, offsets[3] - 512, offsets[3] + 10):
        (tmp_path / "cut.tar").write_bytes(content[:cut])
        found = scan(tmp_path / "cut.tar", "photo", nouns)
        assert len(found.images) == 3
        assert "cut off" in found.skipped[-1].reason


def test_no_damage_to_an_archive_is_more_than_a_report(tmp_path, nouns, pngs, write_tar):
    content = write_tar(tmp_path / "s.tar", [(f"dog/{n}.png", next(pngs)) for n in range(4)]).read_bytes()
    random = np.random.default_rng(0)
    used = 0
    for n in range(120):
        damaged = bytearray(content)
        for _ in range(random.integers(1, 4)):
            damaged[512 * random.integers(16) + random.integers(512)] = random.integers(256)
        path = tmp_path / f"{n}.tar"
        path.write_bytes(damaged)
        try:
            used += len(scan(path, "photo", nouns).images)
        except SourceUnreadable as error:
            assert error.path == path
    assert used > 120


def test_shards_are_named_by_a_folder_or_a_pattern_and_a_bad_one_is_skipped(tmp_path, nouns, pngs, write_tar):
    for n in (0, 1):
        write_tar(tmp_path / f"{n}.tar", [(f"dog/{n}.png", next(pngs))])
    (tmp_path / "2.tar").write_bytes(b"no archive")
    for source in (tmp_path, tmp_path / "*.tar"):
        found = scan(source, "photo", nouns)
        assert [image.uri for image in found.images] == [f"{tmp_path}/{n}.tar#dog/{n}.png" for n in (0, 1)]
        assert [skipped.path for skipped in found.skipped] == [f"{tmp_path}/2.tar"]
    with pytest.raises(SourceUnreadable, match=r"unpack it to \.tar first"):
        scan(tmp_path / "2.tar", "photo", nouns)
    (tmp_path / "s.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(SourceUnreadable, match=r"a compressed archive; unpack it to \.tar first"):
        scan(tmp_path / "s.tar.gz", "photo", nouns)


def test_a_member_that_has_gone_is_said(tmp_path, nouns, pngs, write_tar):
    path = write_tar(tmp_path / "s.tar", [("dog/0.png", next(pngs))])
    with pytest.raises(SourceUnreadable, match="no such member in the archive"):
        open_image(f"{path}#dog/1.png")


# -- Parquet ------------------------------------------------------------------------------------------


@pytest.fixture
def pack(tmp_path, pngs):
    pictures = list(islice(pngs, 100))
    table = pa.table({"synset": ["dog.n.01"] * 100, "picture": pictures})
    parquet.write_table(table, tmp_path / "pack.parquet", row_group_size=30)
    return tmp_path / "pack.parquet", pictures


@pytest.mark.parametrize("cached_group", [0, 1 << 26])
def test_rows_of_a_pack_are_found_in_any_order(pack, monkeypatch, cached_group):
    path, pictures = pack
    monkeypatch.setattr(packs, "CACHED_GROUP", cached_group)
    monkeypatch.setattr(packs, "_READER", packs._Reader())
    orders = (range(100), range(99, -1, -1), np.random.default_rng(0).permutation(100).tolist())
    for row in (row for order in orders for row in order):
        assert read_bytes(f"{path}#{row}") == pictures[row]
    for row in (100, 10**9, int("9" * 18)):
        with pytest.raises(OSError, match="no picture in this row"):
            read_bytes(f"{path}#{row}")


def test_only_the_latest_row_groups_are_kept(pack, monkeypatch):
    path, _ = pack
    reader = packs._Reader()
    monkeypatch.setattr(packs, "_READER", reader)
    pack = packs._Pack(parquet.ParquetFile(path), [], "picture")
    sizes = [packs._bytes_of(pack, group) for group in range(4)]
    monkeypatch.setattr(packs, "CACHED", sizes[0] + sizes[1] + 1)
    for row in (0, 30, 60, 99, 5):
        read_bytes(f"{path}#{row}")
        assert sum(size for size, _ in reader._kept.values()) <= packs.CACHED
    assert len(reader._kept) == 2


def test_a_large_row_group_is_read_a_few_rows_at_a_time(tmp_path, monkeypatch):
    table = pa.table({"synset": ["dog"] * 64, "picture": [bytes([n]) * (1 << 20) for n in range(64)]})
    parquet.write_table(table, tmp_path / "a.parquet", compression="none", use_dictionary=False)
    monkeypatch.setattr(packs, "CACHED_GROUP", 1 << 24)
    reader = packs._Reader()
    monkeypatch.setattr(packs, "_READER", reader)
    for row in range(64):
        assert read_bytes(f"{tmp_path}/a.parquet#{row}")[:1] == bytes([row])
        assert len(reader._pack.held) <= packs.BATCH
    assert not reader._kept


def test_a_pack_that_is_written_anew_is_read_anew(pack, pngs):
    path, pictures = pack
    read_bytes(f"{path}#0")
    other = [next(pngs) for _ in range(3)]
    parquet.write_table(pa.table({"synset": ["dog"] * 3, "picture": other}), path)
    assert read_bytes(f"{path}#0") == other[0] != pictures[0]


def test_a_pack_that_is_damaged_inside_is_a_reason(pack, nouns):
    path, _ = pack
    content = bytearray(path.read_bytes())
    content[200:3000] = bytes(2800)
    path.write_bytes(content)
    found = scan(path, "photo", nouns)
    assert len(found.images) + len(found.skipped) == 100
    assert found.skipped


def test_manifests_are_streamed_in_batches(tmp_path, nouns, monkeypatch):
    monkeypatch.setattr("mllctl.images.sources.MANIFEST_BATCH", 7)
    parquet.write_table(
        pa.table({"path": [f"{n}.png" for n in range(40)], "synset": ["dog"] * 40}), tmp_path / "a.parquet"
    )
    found = scan(tmp_path / "a.parquet", "photo", nouns)
    assert [skipped.path for skipped in found.skipped] == [str(tmp_path / f"{n}.png") for n in range(40)]
