"""`rank`: from files of features to a table of scores."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.kernels import transferability as kernels
from mllctl.scoring import SCORES, rank_models, read_task, read_truth

N, CLASSES = 60, 3
WORDS = ("ape", "bee", "cat")


@pytest.fixture
def folder(tmp_path):
    """Three models, the first of which tells classes best, and F-labels of two foundation models."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), N // CLASSES)
    centres = random.normal(size=(CLASSES, 5))
    for number, (name, noise) in enumerate((("able", 0.3), ("fair", 1.0), ("weak", 4.0))):
        features = centres[labels] + noise * random.normal(size=(N, 5))
        outputs = np.exp(-((features[:, None] - centres) ** 2).sum(axis=2))
        outputs /= outputs.sum(axis=1, keepdims=True)
        if number == 1:
            table = {"feature": features.tolist(), "label": np.array(WORDS)[labels], "output": outputs.tolist()}
            parquet.write_table(pa.table(table), tmp_path / f"{name}.parquet")
        else:
            np.savez(tmp_path / f"{name}.npz", features=features, labels=np.array(WORDS)[labels], outputs=outputs)
    np.savez(tmp_path / "f_labels.npz", one=random.normal(size=(3, 4)), two=random.normal(size=(3, 4)))
    (tmp_path / "truth.csv").write_text("model,accuracy\nable,0.9\nfair,0.7\nweak,0.4\n")
    return tmp_path


def test_every_score_is_the_kernels_and_orders_the_models(folder):
    task = read_task(folder)
    assert task.classes == WORDS
    assert task.foundation == ("one", "two")
    truth = read_truth(folder / "truth.csv", tuple(model.name for model in task.models))
    ranking = rank_models(task, [name for name in SCORES if name != "logme_regression"], truth)
    assert ranking.models == ("able", "fair", "weak")
    able = task.models[0]
    assert ranking.values[0, ranking.scores.index("logme")] == kernels.logme(able.features, task.labels)
    assert ranking.values[0, ranking.scores.index("leep")] == kernels.leep(able.outputs, task.labels)
    by_image = kernels.emms(able.features, task.f_labels[task.labels]).score
    assert ranking.values[0, ranking.scores.index("emms")] == pytest.approx(by_image, rel=1e-9)
    flat = task.f_labels[task.labels].reshape(N, -1)
    assert ranking.values[0, ranking.scores.index("logme_f")] == kernels.logme_regression(able.features, flat)
    # TransRate grows with the noise, which lengthens the code of all images more than that of a class.
    assert all(ranking.best_first(s)[0] == 0 for s, name in enumerate(ranking.scores) if name != "transrate")
    assert ranking.tau[ranking.scores.index("logme")] == pytest.approx(1)
    assert np.diag(ranking.agreement) == pytest.approx(1)


def test_the_command_prints_a_table_and_json(folder, run):
    given = ("--features", folder, "--truth", folder / "truth.csv", "--scores", "logme,leep")
    shown = run("rank", *given)
    assert shown.code == 0, shown.err
    assert shown.out.index("able") < shown.out.index("fair") < shown.out.index("weak")
    assert "weighted tau" in shown.out
    assert "1.00" in shown.out
    told = run("rank", *given, "--json").json
    assert [row["model"] for row in told["models"]] == ["able", "fair", "weak"]
    assert told["scores"][1]["agreement"][0] == {"score": "logme", "weighted_tau": pytest.approx(1)}


def test_what_a_score_lacks_is_said(folder):
    (folder / "f_labels.npz").unlink()
    task = read_task(folder)
    with pytest.raises(InvalidTask, match=r"no model has what emms needs: F-labels of f_labels\.npz"):
        rank_models(task, ["emms"])
    with pytest.raises(InvalidTask, match="no score 'logm'; there are logme"):
        rank_models(task, ["logm"])
    with pytest.raises(InvalidTask, match="named twice"):
        rank_models(task, ["logme", "logme"])
    with pytest.raises(InvalidTask, match="name a score"):
        rank_models(task, [])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"features": np.ones((N, 2))}, "no array labels"),
        ({"features": np.ones((3, 2)), "labels": np.zeros(3, int)}, "labels are not those of able.npz"),
        ({"features": np.ones((4, 2)), "labels": np.zeros(3, int)}, r"features must be numbers of shape \(3, width\)"),
        ({"features": np.full((3, 2), np.nan), "labels": np.zeros(3, int)}, "must be finite; row 0"),
        ({"features": np.ones((3, 2)), "labels": np.zeros(3)}, "labels must be integers or texts"),
        ({"features": np.ones((3, 2)), "labels": np.zeros(3, int), "outputs": -np.ones((3, 2))}, "logits are not"),
        ({"features": np.ones((3, 2)), "labels": np.zeros(3, int), "outputs": np.ones((3, 2))}, "row 0 sum to 2"),
        ({"features": np.ones((0, 2)), "labels": np.zeros(0, int)}, "labels are of no image"),
        ({"features": np.array([[{}]], dtype=object), "labels": np.zeros(1, int)}, r"dtype=str\)$"),
    ],
)
def test_bad_files_are_named(folder, arrays, said):
    np.savez(folder / "bad.npz", **arrays)
    with pytest.raises(SourceUnreadable, match=said):
        read_task(folder)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"features": [[1.0], [2.0]], "labels": ["a", "b"]}, "no column feature; columns are feature, output, label"),
        ({"feature": [[1.0], [2.0, 3.0]], "label": ["a", "b"]}, "row 1, column feature: must be 1 numbers, as row 0"),
        ({"feature": [[1.0, None], [2.0, 3.0]], "label": ["a", "b"]}, "row 0, column feature"),
        ({"feature": [[1.0], [2.0]], "label": ["a", None]}, "row 1, column label: must be a value"),
    ],
)
def test_bad_parquet_is_named_by_row_and_column(tmp_path, columns, said):
    parquet.write_table(pa.table(columns), tmp_path / "bad.parquet")
    with pytest.raises(SourceUnreadable, match=said):
        read_task(tmp_path)


def test_what_is_no_npz_is_said_without_recommending_pickle(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"no arrays")
    with pytest.raises(SourceUnreadable, match=r"not an \.npz of plain arrays") as refused:
        read_task(tmp_path)
    assert "pickle" not in str(refused.value)


def saved(folder, **of_model):
    for name, arrays in of_model.items():
        np.savez(folder / f"{name}.npz", **arrays)
    return read_task(folder)


def test_models_without_a_score_are_last_and_said(tmp_path, run):
    random = np.random.default_rng(0)
    labels = np.arange(20) % 2
    good = np.eye(2)[labels] + 0.1 * random.normal(size=(20, 2))
    wide = random.normal(size=(20, 30))
    saved(tmp_path, good={"features": good, "labels": labels}, wide={"features": wide, "labels": labels})
    np.savez(tmp_path / "f_labels.npz", one=random.normal(size=(2, 4)), two=random.normal(size=(2, 4)))
    done = run("rank", "--features", tmp_path, "--scores", "emms,h_score", "--json")
    assert done.code == 3
    assert [model["model"] for model in done.json["models"]] == ["good", "wide"]
    assert "emms: none for 1 of 2 models, which stand last unranked; it needs F-labels" in done.err
    assert "h_score: 1 of 2 models have no more images (20) than features" in done.err
    assert len(done.json["notes"]) == 2
    weights = [model["emms_weights"] for model in done.json["models"]]
    assert weights[0].keys() == {"one", "two"}
    assert sum(weights[0].values()) == pytest.approx(1)
    assert weights[1] is None
    shown = run("rank", "--features", tmp_path, "--scores", "emms")
    assert "weights of emms" in shown.out


def test_an_order_is_not_that_of_rounding_errors(tmp_path):
    random = np.random.default_rng(1)
    labels = np.arange(8) % 4
    task = saved(
        tmp_path, **{name: {"features": random.normal(size=(8, 40)), "labels": labels} for name in ("a", "b", "c", "d")}
    )
    ranking = rank_models(task, ["h_score", "logme"])
    assert ranking.values[:, 0] == pytest.approx(3, abs=1e-9)
    assert ranking.best_first() == [0, 1, 2, 3]
    assert np.isnan(ranking.agreement[0, 1])


@pytest.mark.parametrize("score", ["logme", "sfda", "gbc", "parc", "n_leep", "h_score"])
def test_one_class_has_no_score(tmp_path, score):
    task = saved(tmp_path, a={"features": np.ones((5, 2)), "labels": np.zeros(5, int)})
    with pytest.raises(InvalidTask, match=f"no model has what {score} needs: .*labels of two categories"):
        rank_models(task, [score])


def test_texts_that_are_all_the_same_tell_nothing(tmp_path):
    task = saved(tmp_path, a={"features": np.random.default_rng(0).normal(size=(5, 2)), "texts": np.array(["so"] * 5)})
    told = dataclasses.replace(task, f_labels=np.ones((5, 3, 1)), foundation=("one",))
    with pytest.raises(InvalidTask, match="not the same of all images"):
        rank_models(told, ["emms"])


def test_truths_are_read_by_their_header_and_not_twice(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("value,model\n0.5,able\n0.6,fair\n")
    assert read_truth(path, ("fair", "able")).tolist() == [0.6, 0.5]
    path.write_text("model,value\nable,0.5\nable,0.5\nable,0.1\n")
    with pytest.raises(SourceUnreadable, match="row 4: able is there already, with another value"):
        read_truth(path, ("able",))
    path.write_text("model,value\nable\n")
    with pytest.raises(SourceUnreadable, match="row 2: write model,value"):
        read_truth(path, ("able",))


def test_bad_folders_and_truths_are_named(folder, tmp_path):
    with pytest.raises(SourceUnreadable, match="no such folder"):
        read_task(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnreadable, match="no features"):
        read_task(tmp_path / "empty")
    with pytest.raises(SourceUnreadable, match="no finite value for odd"):
        read_truth(folder / "truth.csv", ("able", "odd"))
    (folder / "truth.csv").write_text("model,value\nable,good\n")
    with pytest.raises(SourceUnreadable, match="row 2: write model,value"):
        read_truth(folder / "truth.csv", ("able",))
    np.savez(folder / "f_labels.npz", one=np.ones((3, 4)), two=np.ones((3, 5)))
    with pytest.raises(SourceUnreadable, match="must have one shape"):
        read_task(folder)
