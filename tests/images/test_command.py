"""`images add` with its options."""

import csv
import shutil

import numpy as np
import pytest

from fakes import paint_folder
from odd_images import encoded, picture


def domains(run):
    return sorted({(image["node"], image["domain"]) for image in run("images", "list", "--json").json})


def test_a_recipe_brings_its_domain(run, tmp_path):
    paint_folder(tmp_path / "data" / "sketch", ["dog.n.01"], 3)
    (tmp_path / "data" / "sketch" / "dog.n.01").rename(tmp_path / "data" / "sketch" / "n02084071")
    added = run("images", "add", "imagenet-sketch", "--root", tmp_path / "data")
    assert (added.code, added.out) == (0, "3 images added, 0 already there, 0 skipped\n"), added.err
    assert domains(run) == [("dog.n.01", "sketch")]
    [description] = run("sql", "select description from domain", "--json").json
    assert description == {"description": "a black and white sketch"}


def test_a_recipe_may_go_under_another_domain(run, tmp_path):
    paint_folder(tmp_path / "data", ["dog.n.01"], 2)
    (tmp_path / "data" / "dog.n.01").rename(tmp_path / "data" / "n02084071")
    command = ("images", "add", "imagenet-r", "--root", tmp_path / "data", "--domain", "art")
    refused = run(*command)
    assert (refused.code, "domain 'art' is new" in refused.err) == (2, True)
    assert run(*command, "--describe", "a work of art").code == 0
    assert domains(run) == [("dog.n.01", "art")]


def test_domain_folders_are_described_by_name(run, tmp_path):
    for domain in ("photo", "clip_art"):
        paint_folder(tmp_path / "all" / domain, ["dog.n.01"], 2, seed=len(domain))
    describe = ("--describe", "photo=a photograph", "--describe", "other=x")
    assert run("images", "add", tmp_path / "all", "--domain-folders", *describe).code == 0
    assert domains(run) == [("dog.n.01", "clip_art"), ("dog.n.01", "photo")]
    described = run("sql", "select name, description from domain order by name", "--json").json
    assert [row["description"] for row in described] == ["clip art", "a photograph"]


def test_at_most_n_are_drawn_and_again_the_same(run, tmp_path):
    paint_folder(tmp_path / "all", ["dog.n.01", "cat.n.01"], 9)
    command = ("images", "add", tmp_path / "all", "--domain", "photo", "--per-node", "2", "--seed", "4")
    assert run(*command, "--describe", "x").out == "4 images added, 0 already there, 0 skipped, 14 not drawn\n"
    again = run(*command, "--json").json
    assert (again["added"], again["already_there"], again["left_out"]) == (0, 4, 14)


def test_shards_with_class_indexes_need_a_list(run, tmp_path, write_tar, pngs):
    write_tar(tmp_path / "s.tar", [("0.png", next(pngs)), ("0.cls", b"207")])
    command = ("images", "add", tmp_path / "s.tar", "--domain", "photo", "--describe", "x")
    assert "name one with --classes FILE" in run(*command).err
    assert run(*command, "--classes", "imagenet").code == 0
    assert domains(run) == [("golden_retriever.n.01", "photo")]


def test_a_report_lists_all_that_was_skipped_and_stderr_counts_them(run, tmp_path):
    paint_folder(tmp_path / "all", ["dog.n.01"], 1)
    for n in range(30):
        (tmp_path / "all" / "dog.n.01" / f"{n}.txt").write_text("x")
    (tmp_path / "all" / "dog.n.01" / "a.png").write_bytes(b"")
    command = ("images", "add", tmp_path / "all", "--domain", "photo", "--describe", "x")
    added = run(*command, "--report", "report.csv")
    assert added.code == 3
    assert "mllctl: ... and 11 more such lines; --json and --report FILE list all" in added.err.splitlines()
    assert "mllctl:      30 skipped: not an image ending" in added.err.splitlines()
    assert "mllctl:       1 skipped: the file is empty" in added.err.splitlines()
    with (tmp_path / "report.csv").open(newline="") as rows:
        assert sum(1 for _ in csv.DictReader(rows)) == 31
    again = run(*command, "--report", "report.csv")
    assert (again.code, again.err.strip()) == (1, "mllctl: report.csv: is there already; name a new file")
    assert run(*command, "--json").json["reasons"] == {"not an image ending": 30, "the file is empty": 1}


def test_a_single_description_may_be_of_a_domain_that_the_source_names(run, tmp_path):
    paint_folder(tmp_path / "all", ["dog.n.01"], 2)
    command = ("images", "add", "list.csv", "--domain", "photo", "--describe")
    (tmp_path / "list.csv").write_text("path,synset,domain\nall/dog.n.01/0.png,dog.n.01,\n")
    for _ in range(2):
        added = run(*command, "f=2.8, a photograph")
        assert (added.code, added.err) == (0, "")
    (tmp_path / "list.csv").write_text("path,synset,domain\nall/dog.n.01/1.png,dog.n.01,sketch\n")
    assert run(*command, "sketch=drawn with a pencil").err == ""
    described = run("sql", "select name, description from domain order by name", "--json").json
    assert [row["description"] for row in described] == ["f=2.8, a photograph", "drawn with a pencil"]
    assert "no image is of domain 'sketsch', which was described as 'x'" in run(*command, "sketsch=x").err


def test_images_that_are_there_already_bring_neither_domain_nor_node(run, tmp_path):
    paint_folder(tmp_path / "all", ["dog.n.01"], 1)
    assert run("images", "add", tmp_path / "all", "--domain", "photo", "--describe", "x").code == 0
    (tmp_path / "all" / "dog.n.01").rename(tmp_path / "all" / "cat.n.01")
    again = run("images", "add", tmp_path / "all", "--domain", "other", "--describe", "x")
    assert (again.code, again.out) == (3, "0 images added, 1 already there, 0 skipped\n")
    counts = run("sql", "select (select count(*) from domain) as d, (select count(*) from node) as n", "--json").json
    assert counts == [{"d": 1, "n": 1}]


def test_images_that_are_there_under_another_class_or_domain_are_said_with_what_to_type(run, tmp_path):
    paint_folder(tmp_path / "all", ["dog.n.01", "cat.n.01"], 2)
    command = ("images", "add", tmp_path / "all", "--describe", "x", "--domain")
    assert run(*command, "photo").code == 0
    assert (run(*command, "photo").code, run(*command, "photo").err) == (0, "")
    (tmp_path / "all" / "dog.n.01").rename(tmp_path / "all" / "wolf.n.01")
    again = run(*command, "photo")
    assert (again.code, again.out) == (3, "0 images added, 4 already there, 0 skipped\n")
    [line] = again.err.splitlines()
    assert line == (
        f"mllctl: 2 images, such as {tmp_path}/all/wolf.n.01/0.png, are there already as dog.n.01 in photo, and not "
        "added as wolf.n.01 in photo; if that is wrong, first `mllctl images remove 2 3`"
    )
    assert run("images", "remove", 2, 3).code == 0
    assert run(*command, "photo").out == "2 images added, 2 already there, 0 skipped\n"
    assert len(run(*command, "other").err.splitlines()) == 2
    assert [conflict["held_domain"] for conflict in run(*command, "other", "--json").json["conflicts"]] == ["photo"] * 4


def test_an_image_that_a_source_has_under_two_classes_is_said(run, tmp_path):
    paint_folder(tmp_path / "all", ["cat.n.01"], 1)
    shutil.copytree(tmp_path / "all" / "cat.n.01", tmp_path / "all" / "wolf.n.01")
    added = run("images", "add", tmp_path / "all", "--domain", "photo", "--describe", "x")
    assert (added.code, added.out) == (3, "1 images added, 1 already there, 0 skipped\n")
    assert added.err == (
        f"mllctl: {tmp_path}/all/wolf.n.01/0.png is earlier in the source as cat.n.01 in photo, and not added as "
        "wolf.n.01 in photo; leave out the one that is wrong\n"
    )


def test_words_that_are_likely_wrong_come_first_and_with_what_to_type(run, tmp_path):
    random = np.random.default_rng(0)
    for word in ("apple", "crane", "dog", "eagle", "heron", "stork"):
        (tmp_path / "all" / word).mkdir(parents=True)
        (tmp_path / "all" / word / "0.png").write_bytes(encoded(picture(random), "PNG"))
    said = run("images", "add", tmp_path / "all", "--domain", "photo", "--describe", "x").err.splitlines()
    first, likely, *_, cure = said
    assert first.startswith("mllctl: 'crane' was taken as crane.n.04: lifts and moves heavy objects")
    assert likely.startswith("mllctl:     beside the others it is more likely crane.n.05: large long-necked")
    assert "`mllctl images remove --node crane.n.04`, name its folder crane.n.05 and add it again" in cure


def test_folders_of_class_folders_bring_a_hint(run, tmp_path):
    for domain in ("sketch", "photograph"):
        paint_folder(tmp_path / "all" / domain, ["dog.n.01", "cat.n.01"], 1, seed=len(domain))
    hint = "each folder in {} has class folders in it; if these are domains, give --domain-folders"
    assert "or give --domain-folders if folders are domains" in run("images", "add", tmp_path / "all").err
    command = ("images", "add", tmp_path / "all", "--domain", "photo", "--describe", "x")
    assert hint.format(tmp_path / "all") in run(*command).err
    assert hint.format(tmp_path / "all" / "sketch") not in run("images", "add", tmp_path / "all" / "sketch").err
    assert "--domain-folders" not in run("images", "add", tmp_path / "all", "--domain-folders").err


def test_a_name_that_ends_lines_is_said_on_one(run, tmp_path):
    paint_folder(tmp_path / "all", ["dog.n.01"], 1)
    (tmp_path / "all" / "dog.n.01" / "a\nmllctl: b\x1b[2J.png").write_bytes(b"")
    lines = run("images", "add", tmp_path / "all", "--domain", "photo", "--describe", "x").err.splitlines()
    assert lines[0].endswith(r"/dog.n.01/a\nmllctl: b\x1b[2J.png: the file is empty")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("command", "fragment"),
    [
        ("images add imagenet", "say where the images of recipe 'imagenet' are with --root DIR"),
        ("images add cifar --root .", "no recipe 'cifar'; there are imagenet, imagenet-v2"),
        ("images add imagenet --root . --domain-folders", "a recipe knows its classes"),
        ("images add imagenet --root .", "not the layout of imagenet, which has folders named by wnid"),
        ("images add . --domain x --describe y --report gone/a.csv", "gone/a.csv: there is no such folder to write it"),
        ("images add . --describe words", "is of no domain; write NAME=words or give --domain NAME"),
        ("images add . --domain x --describe y --classes gone.txt", "no file gone.txt"),
    ],
)
def test_a_wrong_command_is_one_line(run, command, fragment):
    outcome = run(*command.split())
    assert outcome.code in (1, 2)
    [line] = outcome.err.splitlines()
    assert fragment in line
