"""What is drawn, and the published sets."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import paint_folder
from mllctl.errors import SourceUnreadable
from mllctl.images import RECIPES, Draw, imagenet_wnids, recipe, scan, scan_recipe
from mllctl.images.sampling import SPARE, Drawing

names = st.lists(st.text("ab/", max_size=4), unique=True, min_size=1, max_size=60)


def drawn(offered, draw):
    drawing = Drawing(draw)
    for name in offered:
        drawing.offer(("dog", name[:1]), name, name, name)
    return {group[0][:1]: group[: draw.per_node] for group in drawing.groups()}


@given(names, st.randoms(), st.integers(1, 5), st.integers(0, 3))
def test_a_draw_is_the_lowest_hashes_whatever_the_order(offered, random, per_node, seed):
    draw = Draw(per_node, seed)
    shuffled = random.sample(offered, len(offered))
    expected = {}
    for name in sorted(offered, key=draw.rank):
        expected.setdefault(name[:1], []).append(name)
    assert drawn(shuffled, draw) == {group: few[:per_node] for group, few in expected.items()}


@given(names, names, st.integers(1, 5))
def test_images_that_come_later_move_no_others(before, later, per_node):
    draw = Draw(per_node)
    first, second = drawn(before, draw), drawn(dict.fromkeys([*before, *later]), draw)
    for group, few in first.items():
        stayed = [name for name in second[group] if name in before]
        assert stayed == few[: len(stayed)]


def test_at_most_n_a_node_and_the_damaged_are_replaced(tmp_path, nouns):
    paint_folder(tmp_path, ["dog.n.01", "cat.n.01"], 12)
    draw = Draw(4, seed=1)
    found = scan(tmp_path, "photo", nouns, draw=draw)
    assert (len(found.images), found.left_out, found.skipped) == (8, 16, ())
    chosen = found.images[0].uri
    Path(chosen).write_bytes(b"damaged")
    again = scan(tmp_path, "photo", nouns, draw=draw)
    assert (len(again.images), again.left_out) == (8, 15)
    assert [skipped.path for skipped in again.skipped] == [chosen]
    assert {i.uri for i in found.images} - {i.uri for i in again.images} == {chosen}
    assert {i.uri for i in scan(tmp_path, "photo", nouns, draw=Draw(4, seed=2)).images} != {i.uri for i in found.images}


def test_a_draw_does_not_depend_on_where_the_source_lies(tmp_path, nouns):
    paint_folder(tmp_path / "a", ["dog.n.01"], 12)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    kept = [[image.sha256 for image in scan(tmp_path / root, "p", nouns, draw=Draw(3)).images] for root in "ab"]
    assert kept[0] == kept[1]


def test_shards_of_the_same_keys_are_drawn_alike_wherever_they_lie(tmp_path, nouns, pngs, write_tar):
    for n in range(8):
        write_tar(tmp_path / "a" / f"{n}.tar", [(f"dog/{key}.png", next(pngs)) for key in range(2)])
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "c")
    kept = [[image.sha256 for image in scan(tmp_path / root, "p", nouns, draw=Draw(3)).images] for root in ("a", "b/c")]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("seed", range(3))
def test_the_same_picture_twice_is_drawn_once(tmp_path, nouns, seed):
    paint_folder(tmp_path, ["dog.n.01"], 12)
    for n in range(8):
        shutil.copy(tmp_path / "dog.n.01" / "0.png", tmp_path / "dog.n.01" / f"copy-{n}.png")
    found = scan(tmp_path, "photo", nouns, draw=Draw(6, seed))
    assert len({image.sha256 for image in found.images}) == 6
    assert len(found.images) + len(found.skipped) + found.left_out == 20


def test_more_damaged_images_than_are_spare_leave_fewer(tmp_path, nouns):
    folder = tmp_path / "dog.n.01"
    folder.mkdir()
    for n in range(50):
        (folder / f"{n}.png").write_bytes(b"x")
    found = scan(tmp_path, "photo", nouns, draw=Draw(2))
    assert (len(found.images), len(found.skipped), found.left_out) == (0, 4 + SPARE, 50 - 4 - SPARE)


def test_a_draw_of_nothing_is_refused():
    with pytest.raises(ValueError, match="per_node must be at least 1, got 0"):
        Draw(0)


# -- recipes ------------------------------------------------------------------------------------------

LAYOUTS = [
    ("imagenet", "val/n02084071"),
    ("imagenet", "train/n02084071"),
    ("imagenet", "ILSVRC/Data/CLS-LOC/train/n02084071"),
    ("imagenet", "n02084071"),
    ("imagenet-v2", "imagenetv2-matched-frequency-format-val/207"),
    ("imagenet-v2", "207"),
    ("imagenet-sketch", "sketch/n02084071"),
    ("imagenet-a", "imagenet-a/n02084071"),
    ("imagenet-r", "imagenet-r/n02084071"),
    ("imagenet-r", "n02084071"),
]


@pytest.mark.parametrize(("name", "folder"), LAYOUTS)
def test_a_recipe_knows_its_layout(tmp_path, nouns, name, folder):
    paint_folder(tmp_path / "painted", ["dog.n.01"], 2)
    (tmp_path / "root" / folder).parent.mkdir(parents=True)
    (tmp_path / "painted" / "dog.n.01").rename(tmp_path / "root" / folder)
    (tmp_path / "root" / folder).with_name("other").mkdir()
    (tmp_path / "root" / "README.txt").write_text("read me")
    found = scan_recipe(RECIPES[name], tmp_path / "root", "photo", nouns)
    # Class 207 is the golden retriever.
    synset = "golden_retriever.n.01" if folder.endswith("207") else "dog.n.01"
    assert [nouns[image.wnid].synset for image in found.images] == [synset] * 2
    assert [skipped.reason for skipped in found.skipped] == [f"not a class folder of {name}"]


@pytest.mark.parametrize("name", RECIPES)
def test_another_layout_is_one_line_that_says_what_was_expected(tmp_path, nouns, name):
    (tmp_path / "dog").mkdir()
    with pytest.raises(SourceUnreadable, match=f"not the layout of {name}, which has folders") as error:
        scan_recipe(RECIPES[name], tmp_path, "photo", nouns)
    assert "ROOT/" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(SourceUnreadable, match="no such folder"):
        scan_recipe(RECIPES[name], tmp_path / "gone", "photo", nouns)


def test_class_indexes_are_those_of_imagenet(nouns):
    wnids = imagenet_wnids()
    assert len(wnids) == 1000
    expected = {0: "tench.n.01", 207: "golden_retriever.n.01", 999: "toilet_tissue.n.01"}
    assert {n: nouns[wnids[n]].synset for n in expected} == expected


def test_an_unknown_recipe_names_those_there_are():
    with pytest.raises(ValueError, match="no recipe 'cifar'; there are imagenet, imagenet-v2"):
        recipe("cifar")
