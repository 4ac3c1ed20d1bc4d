"""`rank`: from files of features to a table of scores."""

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
    with pytest.raises(InvalidTask, match=r"no model has what emms needs: f_labels\.npz"):
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
        ({"features": np.array([[{}]], dtype=object), "labels": np.zeros(1, int)}, "not an .npz of plain arrays"),
    ],
)
def test_bad_files_are_named(folder, arrays, said):
    np.savez(folder / "bad.npz", **arrays)
    with pytest.raises(SourceUnreadable, match=said):
        read_task(folder)


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
