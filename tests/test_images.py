import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

import mllctl_data
from fakes import paint_folder
from mllctl.errors import SourceUnreadable
from mllctl.images import SHIPPED, open_image, scan


def png(shade=0, mode="RGB"):
    content = io.BytesIO()
    Image.new(mode, (3, 2), shade).save(content, "PNG")
    return content.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def reasons(found, root):
    return [(skipped.path.removeprefix(f"{root}/"), skipped.reason) for skipped in found.skipped]


# -- folders ------------------------------------------------------------------------------------------


def test_folders_are_named_by_wnid_synset_or_lemma(tmp_path, nouns):
    for n, name in enumerate(["apple.n.01", "hot dog", "n02084071", "Violin"]):
        write(tmp_path / name / "1.png", png(n))
    found = scan(tmp_path, "photo", nouns)
    # Folders come in the order of their names, capitals first.
    assert [nouns[image.wnid].synset for image in found.images] == [
        "violin.n.01",
        "apple.n.01",
        nouns.senses("hot_dog")[0].synset,
        "dog.n.01",
    ]
    assert {image.domain for image in found.images} == {"photo"}
    assert found.skipped == ()


def test_images_come_by_folder_and_name_with_the_hash_of_their_bytes(tmp_path, nouns):
    paint_folder(tmp_path, ["dog.n.01", "cat.n.01"], 3)
    write(tmp_path / "cat.n.01" / "more" / "0.PNG", png())
    found = scan(tmp_path, "photo", nouns)
    paths = [tmp_path / "cat.n.01" / name for name in ("0.png", "1.png", "2.png", "more/0.PNG")]
    paths += [tmp_path / "dog.n.01" / f"{n}.png" for n in range(3)]
    assert [image.uri for image in found.images] == [str(path) for path in paths]
    assert [image.sha256 for image in found.images] == [hashlib.sha256(p.read_bytes()).hexdigest() for p in paths]


def test_a_word_with_several_senses_takes_the_most_frequent_and_is_listed(tmp_path, nouns):
    write(tmp_path / "tiger" / "1.png", png())
    write(tmp_path / "dog.n.01" / "1.png", png())
    found = scan(tmp_path, "photo", nouns)
    assert [nouns[image.wnid].synset for image in found.images] == ["dog.n.01", "tiger.n.01"]
    assert {word: [sense.synset for sense in senses] for word, senses in found.guessed.items()} == {
        "tiger": ["tiger.n.01", "tiger.n.02"]
    }


def test_what_cannot_be_used_is_skipped_by_path_with_a_reason(tmp_path, nouns):
    whole = png(7)
    write(tmp_path / "dog" / "good.png", whole)
    write(tmp_path / "dog" / "cut.png", whole[: len(whole) // 2])
    write(tmp_path / "dog" / "empty.png", b"")
    write(tmp_path / "dog" / "notes.txt", "hello")
    write(tmp_path / "dog" / "text.jpg", "hello")
    write(tmp_path / "dog" / "README", "hello")
    write(tmp_path / "dog" / ".hidden.png", b"")
    write(tmp_path / "zzz no noun" / "a.png", whole)
    write(tmp_path / ".cache" / "a.png", whole)
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = scan(tmp_path, "photo", nouns)
    assert [image.uri for image in found.images] == [str(tmp_path / "dog" / "good.png")]
    said = dict(reasons(found, tmp_path))
    cut = said.pop("dog/cut.png")
    assert cut
    assert "\n" not in cut
    assert said == {
        "dog/README": "not an image ending (none)",
        "dog/empty.png": "the file is empty",
        "dog/gone.png": "a link to what is not there",
        "dog/notes.txt": "not an image ending (.txt)",
        "dog/text.jpg": "not an image",
        "zzz no noun/a.png": "no noun synset for 'zzz no noun' in WordNet",
    }


def test_a_hash_sign_in_a_path_is_part_of_the_path(tmp_path, nouns):
    path = write(tmp_path / "c#" / "dog" / "a#1.png", png())
    found = scan(tmp_path / "c#", "photo", nouns)
    assert [image.uri for image in found.images] == [str(path)]
    assert open_image(str(path)).size == (3, 2)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA", "I;16"])
def test_pixels_are_rgb_whatever_the_file_holds(tmp_path, mode):
    path = write(tmp_path / "a.png", png(1, mode))
    assert open_image(str(path)).mode == "RGB"


@pytest.mark.parametrize("ending", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_no_damage_to_a_file_is_more_than_an_unreadable_source(tmp_path, ending, recwarn):
    random = np.random.default_rng(0)
    content = io.BytesIO()
    Image.fromarray(random.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(content, ending)
    refused = 0
    for n in range(150):
        damaged = bytearray(content.getvalue())
        if n % 2:
            damaged = damaged[: random.integers(len(damaged))]
        else:
            damaged[random.integers(min(80, len(damaged)))] = random.integers(256)
        try:
            open_image(str(write(tmp_path / "a.image", bytes(damaged))))
        except SourceUnreadable as error:
            refused += 1
            assert error.reason
    assert refused > 20


def test_a_file_that_has_gone_is_said_in_few_words(tmp_path):
    with pytest.raises(SourceUnreadable, match=r"gone\.png: no such file") as error:
        open_image(str(tmp_path / "gone.png"))
    assert error.value.path == str(tmp_path / "gone.png")


# -- manifests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_names_paths_beside_it_synsets_and_perhaps_domains(tmp_path, nouns, mark):
    write(tmp_path / "a" / "1.png", png(1))
    write(tmp_path / "2.png", png(2))
    lines = [
        "path,note,synset,domain",
        "a/1.png,x, dog.n.01 ,drawing",
        f"{tmp_path}/2.png,y,n02084071,",
        "3.png,z,dog,",
    ]
    found = scan(write(tmp_path / "list.csv", mark + "\n".join(lines)), "photo", nouns)
    assert [(image.uri, image.domain, nouns[image.wnid].synset) for image in found.images] == [
        (str(tmp_path / "a" / "1.png"), "drawing", "dog.n.01"),
        (str(tmp_path / "2.png"), "photo", "dog.n.01"),
    ]
    assert reasons(found, tmp_path) == [("3.png", "no such file")]


def test_a_csv_row_that_is_too_short_is_skipped(tmp_path, nouns):
    write(tmp_path / "1.png", png())
    found = scan(write(tmp_path / "list.csv", "path,synset\n1.png\n,dog\n1.png,dog\n"), "photo", nouns)
    assert len(found.images) == 1
    assert [skipped.reason for skipped in found.skipped] == [
        "no noun synset for '' in WordNet",
        "not an image ending (none)",
    ]


def test_a_parquet_pack_holds_its_pictures(tmp_path, nouns):
    columns = {"synset": ["dog.n.01", "cat.n.01", "dog", "dog"], "picture": [png(1), png(2), None, b"no picture"]}
    path = tmp_path / "pack.PARQUET"
    parquet.write_table(pa.table({**columns, "domain": ["drawing", None, None, ""]}), path)
    found = scan(path, "photo", nouns)
    assert [(image.uri, image.domain) for image in found.images] == [(f"{path}#0", "drawing"), (f"{path}#1", "photo")]
    assert reasons(found, tmp_path) == [
        ("pack.PARQUET#2", "no picture in this row"),
        ("pack.PARQUET#3", "not an image"),
    ]
    assert open_image(f"{path}#1").getpixel((0, 0)) == (2, 0, 0)
    with pytest.raises(SourceUnreadable, match="no picture in this row"):
        open_image(f"{path}#4")


def test_a_parquet_manifest_may_name_paths_instead(tmp_path, nouns):
    write(tmp_path / "1.png", png())
    parquet.write_table(pa.table({"path": ["1.png", None], "synset": ["dog", "dog"]}), tmp_path / "list.parquet")
    found = scan(tmp_path / "list.parquet", "photo", nouns)
    assert [image.uri for image in found.images] == [str(tmp_path / "1.png")]
    assert [skipped.reason for skipped in found.skipped] == ["not an image ending (none)"]


def test_a_pack_that_is_shipped_is_named_by_its_place_in_the_package(nouns):
    path = mllctl_data.path("demo", "images.parquet")
    table = parquet.read_table(path, columns=["synset"])
    assert table.num_rows > 0
    with Image.open(io.BytesIO(parquet.read_table(path, columns=["picture"])["picture"][3].as_py())) as expected:
        found = open_image(f"{SHIPPED}demo/images.parquet#3")
        assert found.size == expected.size
        assert np.array_equal(np.asarray(found), np.asarray(expected.convert("RGB")))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "no column 'path'; it has none"),
        ("a.csv", "path\n1.png\n", "no column 'synset'; it has path"),
        ("a.csv", "file,synset\n1.png,dog\n", "no column 'path'; it has file, synset"),
        ("a.csv", "path,synset\n", "the manifest has no rows"),
        ("a.csv", b"path,synset\n\xff\xfe,dog\n", "not UTF-8 text"),
        ("a.csv", "path,synset\n" + "x" * 200_000 + ",dog\n", "not CSV"),
        ("a.parquet", "hello", "not a Parquet file"),
        ("a.json", "{}", "not a folder, a .csv or a .parquet file"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(tmp_path, nouns, name, content, message):
    with pytest.raises(SourceUnreadable, match=message):
        scan(write(tmp_path / name, content), "photo", nouns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"picture": [b"x"]}, "no column 'synset'"),
        ({"synset": ["dog"]}, "no column 'path'"),
        ({"synset": pa.array([], pa.string()), "path": pa.array([], pa.string())}, "no rows"),
    ],
)
def test_a_parquet_manifest_without_its_columns_or_rows_is_refused(tmp_path, nouns, columns, message):
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(SourceUnreadable, match=message):
        scan(tmp_path / "a.parquet", "photo", nouns)


def test_a_source_that_is_not_there_or_has_no_folders_is_refused(tmp_path, nouns):
    with pytest.raises(SourceUnreadable, match="no such file or folder"):
        scan(tmp_path / "absent", "photo", nouns)
    write(tmp_path / "a.png", png())
    with pytest.raises(SourceUnreadable, match="one folder a synset"):
        scan(tmp_path, "photo", nouns)
