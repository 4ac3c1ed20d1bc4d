"""F-labels of every kind of label, by the encoders that packages carry, against one text at a time."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from mllctl import sentence_encoder
from mllctl.backends.packaged_encoders import PACKAGED_ENCODERS
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.kernels.emms import emms
from mllctl.kernels.transferability import logme_regression
from mllctl.scoring import FeatureTask, ModelFeatures, box_texts, rank_models, read_task, with_f_labels
from mllctl.scoring.f_labels import encode_once, of_one_width

KINDS = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "scenes.py"))["KINDS"]
ROWS = 60
WIDTH = 384  # of the widest


@pytest.fixture(scope="module")
def encoders():
    return [sentence_encoder(name, cache=Path()) for name in PACKAGED_ENCODERS]


class Counting:
    """An encoder that tells what it was asked for."""

    def __init__(self, encoder):
        self.name, self.fingerprint, self.asked, self._encoder = encoder.name, encoder.fingerprint, [], encoder

    def encode(self, texts):
        self.asked += texts
        return self._encoder.encode(texts)


def task_of(**told):
    facts = {"labels": None, "classes": (), "f_labels": None, "foundation": ()}
    rows = len(next(iter(told.values())))
    features = np.random.default_rng(0).normal(size=(rows, 3))
    return FeatureTask((ModelFeatures("one", features, None),), **{**facts, **told})


def one_at_a_time(texts, encoders):
    """Rows of every encoder, its columns again and again until there are as many as the widest has."""
    table = np.zeros((len(texts), WIDTH, len(encoders)))
    for k, encoder in enumerate(encoders):
        for row, text in enumerate(texts):
            vector = encoder.encode([text])[0]
            for column in range(WIDTH):
                table[row, column, k] = vector[column % len(vector)]
    return table


def test_classes_texts_and_boxes_become_f_labels(encoders):
    of_classes = with_f_labels(task_of(labels=np.array([1, 0, 1, 1]), classes=("ape", "bee")), encoders)
    assert of_classes.foundation == tuple(PACKAGED_ENCODERS)
    assert of_classes.by_class
    oracle = one_at_a_time(["a photo of ape", "a photo of bee"], encoders)
    assert of_classes.f_labels == pytest.approx(oracle, abs=1e-5)

    texts = ("an ape eats", "a bee", "an ape eats")
    of_texts = with_f_labels(task_of(texts=texts), encoders)
    assert of_texts.f_labels == pytest.approx(one_at_a_time(texts, encoders), abs=1e-5)

    boxes = np.array([[0, 0, 0.2, 0.2], [0.1, 0.2, 0.9, 0.8]])
    of_boxes = with_f_labels(task_of(boxes=boxes, labels=np.array([0, 1]), classes=("ape", "bee")), encoders)
    assert not of_boxes.by_class
    said = one_at_a_time(["ape at the top left, small", "bee in the middle, large"], encoders)
    assert of_boxes.f_labels.shape == (2, 2 * WIDTH, 3)
    assert of_boxes.f_labels[:, :WIDTH] == pytest.approx(said, abs=1e-5)
    for column in range(WIDTH):
        assert of_boxes.f_labels[:, WIDTH + column].tolist() == [[place] * 3 for place in boxes[:, column % 4]]


def test_boxes_of_expressions_take_their_words(encoders):
    texts, boxes = ("the red ape",), np.array([[0, 0, 0.2, 0.2]])
    made = with_f_labels(task_of(texts=texts, boxes=boxes), encoders[:1])
    said = encoders[0].encode(list(box_texts(texts, boxes)))
    assert made.f_labels[:, :WIDTH, 0] == pytest.approx(said, abs=1e-6)


def test_no_encoder_sees_a_text_twice(encoders):
    counting = [Counting(encoder) for encoder in encoders]
    made = encode_once(("bee", "ape", "bee", "bee"), counting)
    assert [sorted(one.asked) for one in counting] == [["ape", "bee"]] * 3
    assert (made[0] == made[2]).all()
    assert (made[0] != made[1]).any()


def test_a_narrow_encoder_gets_no_weight_for_being_narrow():
    """Both tables are as far from the features: halves, where columns of zeros would give the narrow one 6 / 7."""
    random = np.random.default_rng(0)
    features, wide, narrow = (random.normal(size=(4000, d)) for d in (3, 12, 2))
    repeated = emms(features, of_one_width([wide, narrow])).weights
    padded = emms(features, np.stack([wide, np.pad(narrow, ((0, 0), (0, 10)))], axis=2)).weights
    assert repeated == pytest.approx([1 / 2, 1 / 2], abs=0.02)
    assert padded == pytest.approx([1 / 7, 6 / 7], abs=0.02)


def test_what_makes_no_f_labels_is_refused(encoders):
    task = task_of(texts=("ape", "bee"))
    with pytest.raises(InvalidTask, match="named twice"):
        with_f_labels(task, [encoders[0], encoders[0]])
    with pytest.raises(InvalidTask, match=r"holds F-labels already; move it away, or leave out --encoders"):
        with_f_labels(replace(task, f_labels=np.ones((2, 3, 1))), encoders)
    with pytest.raises(InvalidTask, match="give --scores logme_regression"):
        with_f_labels(task_of(targets=np.ones((2, 1))), encoders)


def saved(folder, told, features, name="one"):
    np.savez(folder / f"{name}.npz", features=features, **told)
    return folder


def seen(kind, side, encoders):
    """What a simple model makes of a row: the picture's grey in side x side fields, the question by the table."""
    parts = []
    if kind.pictures:
        parts.append(np.array([picture.convert("L").resize((side, side)) for picture in kind.pictures]) / 255.0)
    if kind.questions:
        parts.append(encoders[-1].encode(kind.questions)[:, : side * side])
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_each_of_the_five_kinds_is_ranked_on_small_real_data(make, run, encoders, tmp_path, monkeypatch):
    monkeypatch.setenv("MLLCTL_CACHE", str(tmp_path / "cache"))
    kind = make(ROWS, np.random.default_rng(0))
    folder = tmp_path / "features"
    folder.mkdir()
    for name, side in (("fine", 5), ("coarse", 2)):
        saved(folder, kind.told, seen(kind, side, encoders), name)
    done = run(
        "rank", "--features", folder, "--scores", "emms,logme_f", "--encoders", ",".join(PACKAGED_ENCODERS), "--json"
    )
    assert done.code == 0, done.err
    assert {model["model"] for model in done.json["models"]} == {"fine", "coarse"}
    values = {model["model"]: [score["value"] for score in model["scores"]] for model in done.json["models"]}
    assert np.isfinite(list(values.values())).all()
    assert -1 <= values["coarse"][0] < values["fine"][0] < 0  # features that hold more reach more

    task = with_f_labels(read_task(folder), encoders)
    rows = task.f_labels[task.labels] if task.by_class else task.f_labels
    assert values["fine"][0] == pytest.approx(emms(task.models[1].features, rows).score, rel=1e-5)
    flat = rows.reshape(ROWS, -1)
    assert values["fine"][1] == pytest.approx(logme_regression(task.models[1].features, flat), rel=1e-5)


def test_parquet_holds_texts_boxes_and_targets_as_npz_does(tmp_path):
    rows = {
        "feature": [[0.0, 1.0], [2.0, 3.0]],
        "text": ["the ape", "the bee"],
        "box": [[0, 0, 5, 5], [5, 5, 10, 20]],
        "size": [[10, 10], [10, 20]],
        "target": [[1.0], [2.0]],
    }
    parquet.write_table(pa.table(rows), tmp_path / "one.parquet")
    task = read_task(tmp_path)
    assert task.texts == ("the ape", "the bee")
    assert task.boxes.tolist() == [[0, 0, 0.5, 0.5], [0.5, 0.25, 1, 1]]
    assert task.targets.tolist() == [[1], [2]]
    assert task.labels is None


def test_numbers_are_ranked_by_the_evidence_of_a_regression(tmp_path, run):
    random = np.random.default_rng(0)
    targets = random.normal(size=(40, 2))
    for name, noise in (("able", 0.1), ("weak", 3.0)):
        saved(tmp_path, {"targets": targets}, targets + noise * random.normal(size=(40, 2)), name)
    done = run("rank", "--features", tmp_path, "--scores", "logme_regression", "--json").json
    assert [model["model"] for model in done["models"]] == ["able", "weak"]
    with np.load(tmp_path / "able.npz") as able:
        assert done["models"][0]["scores"][0]["value"] == logme_regression(able["features"], targets)


def test_boxes_without_targets_are_regressed(tmp_path):
    features, boxes = np.random.default_rng(0).normal(size=(2, 3)), np.array([[0, 0, 0.5, 0.5], [0.2, 0.2, 1, 1]])
    task = read_task(saved(tmp_path, {"boxes": boxes, "labels": np.array(["ape", "bee"])}, features))
    assert rank_models(task, ["logme_regression"]).values[0, 0] == logme_regression(features, boxes)


def test_scores_say_what_kind_of_labels_they_read(tmp_path, run):
    texts = saved(tmp_path, {"texts": np.array(["an ape", "a bee", "an ape"])}, np.eye(3)[:, :2])
    said = run("rank", "--features", texts).err
    assert (
        "no model has what logme needs: labels of two categories at least; of texts and boxes emms and logme_f tell"
        in said
    )
    assert "f_labels.npz or --encoders" in run("rank", "--features", texts, "--scores", "logme_f").err
    assert "targets (n, t), or boxes" in run("rank", "--features", texts, "--scores", "logme_regression").err
    assert "--encoders are for emms and logme_f" in run("rank", "--features", texts, "--encoders", "all").err
    assert (
        "name an encoder; there are all-MiniLM"
        in run("rank", "--features", texts, "--scores", "emms", "--encoders", ",").err
    )


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "no array labels; save features"),
        ({"texts": np.arange(3)}, "texts must be texts, one an image, got int64"),
        ({"texts": np.array(["a", "b"]), "labels": np.arange(3)}, "texts must be texts, one an image"),
        ({"boxes": np.array([[0, 0, 1, 1]] * 3)}, "boxes say where, not of what; save labels"),
        ({"boxes": np.array([[0, 0, 9, 9]] * 3), "labels": np.arange(3)}, "where they are pixels give sizes"),
        ({"boxes": np.array([[0, 0, 1, 1]] * 2), "labels": np.arange(3)}, "boxes must be one an image, 3, got 2"),
        ({"targets": np.array([1.0, 2.0, 3.0])}, r"targets must be numbers of shape \(3, width\)"),
        ({"targets": np.array([[1.0], [np.nan], [3.0]])}, "targets must be finite; row 1 is not"),
    ],
)
def test_labels_of_a_wrong_kind_are_named(tmp_path, told, said):
    with pytest.raises(SourceUnreadable, match=said):
        read_task(saved(tmp_path, told, np.eye(3)))


def test_models_that_were_told_otherwise_are_refused(tmp_path):
    saved(tmp_path, {"texts": np.array(["a", "b"])}, np.eye(2), "one")
    saved(tmp_path, {"texts": np.array(["a", "c"])}, np.eye(2), "two")
    with pytest.raises(SourceUnreadable, match=r"its texts are not those of one\.npz"):
        read_task(tmp_path)
    saved(tmp_path, {"labels": np.array([1, 2])}, np.eye(2), "two")
    with pytest.raises(SourceUnreadable, match=r"its labels are not those of one\.npz"):
        read_task(tmp_path)


def test_f_labels_of_images_are_not_taken_for_those_of_classes(encoders):
    """Three images of three classes: rows are by image, whatever the order of the classes."""
    boxes = np.array([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1]])
    task = with_f_labels(task_of(boxes=boxes, labels=np.array([2, 0, 1]), classes=("a", "b", "c")), encoders[-1:])
    assert not task.by_class
    flat = task.f_labels.reshape(3, -1)
    assert rank_models(task, ["logme_f"]).values[0, 0] == logme_regression(task.models[0].features, flat)
