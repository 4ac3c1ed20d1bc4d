"""The shipped pictures and tasks keep the rules that `assets/` states."""

import io
import json
import sys
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from PIL import Image

import mllctl_data
from mllctl.wordnet import wordnet

ASSETS = Path(__file__).parents[2] / "assets"


@pytest.fixture(scope="module")
def scripts():
    """The scripts import each other by name, as they do when they are run."""
    sys.path.insert(0, str(ASSETS))
    import split
    import tasks

    yield split, tasks
    sys.path.remove(str(ASSETS))


@pytest.fixture(scope="module")
def rows():
    return parquet.read_table(mllctl_data.path("demo", "images.parquet")).to_pylist()


def test_no_drawing_is_in_two_splits(scripts, rows):
    split, _ = scripts
    pictures = [
        split.Picture(
            **{name: row[name] for name in ("source", "item", "synset", "domain")},
            held_out=row["domain"] == "clipart",
            image=Image.open(io.BytesIO(row["picture"])).convert("RGB"),
        )
        for row in rows
    ]
    assert split.straddling(pictures, [row["split"] for row in rows]) == []


def test_the_held_out_style_is_in_no_training_picture(rows):
    assert {row["domain"] for row in rows if row["split"] == "train"} == {
        domain["name"] for domain in json.loads(mllctl_data.path("demo", "domains.json").read_text())
    } - {"clipart"}


def test_the_shipped_tasks_are_what_the_rule_makes_of_the_shipped_pictures(scripts, rows):
    _, tasks = scripts
    nouns = tasks.Nouns(wordnet())
    domains = json.loads(mllctl_data.path("demo", "domains.json").read_text())
    made = [task for task in tasks.make_tasks(rows, domains, nouns) if tasks.is_large(task)]
    assert made == json.loads(mllctl_data.path("demo", "tasks.json").read_text())


def test_every_task_image_is_a_task_picture_of_the_tasks_own_domain(rows):
    for task in json.loads(mllctl_data.path("demo", "tasks.json").read_text()):
        for image, class_ in task["images"]:
            row = rows[image]
            assert (row["split"], row["domain"]) == ("task", task["domain"])
            assert row["synset"] == task["classes"][class_]["synset"]


def test_a_user_says_other_words_than_the_hub():
    for domain in json.loads(mllctl_data.path("demo", "domains.json").read_text()):
        assert domain["task_domain"] != domain["description"]


def test_every_source_has_its_notice_and_none_is_proprietary(rows):
    sources = {row["source"] for row in rows}
    emoji = {"noto", "twemoji", "fluent3d", "openmoji", "openmoji-line", "fxemoji", "emojione", "glyph"}
    assert sources <= emoji | {"tuxpaint", "clipart"}
    assert all(row["licence"] for row in rows)
    assert len(list(mllctl_data.path("demo", "LICENSES").iterdir())) >= 9


def test_the_shipped_files_keep_to_their_sizes():
    def size(*parts):
        path = mllctl_data.path(*parts)
        return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())

    assert size("demo", "images.parquet") <= 20e6
    assert size("demo", "heads") <= 12e6
    assert size("demo", "hub") <= 15e6
