"""What is true of published results, by hand, and how images are dealt."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllctl.bench import (
    compare,
    mean_rows,
    methods_for,
    order_of,
    plan_run,
    published_ground,
    read_suite,
    run_suite,
    stored_outcomes,
    stored_runs,
    task_rows,
    write_report,
)
from mllctl.bench.ground import FEW, folds
from mllctl.bench.measuring import measure
from mllctl.errors import InvalidTask, NotPublished, ResultsMixed
from mllctl.methods import METHODS
from mllctl.published import Result, paper_models, read_results

SHARED = Path(__file__).parents[3] / "shared" / "data" / "published" / "openclip_zero_shot.csv"
ONE, OTHER, THIRD = "RN50/openai", "ViT-L-14/openai", "ViT-B-32/openai"

# ImageNet 1k, then two tasks; the best on ImageNet is ViT-L-14, which is not the best on MNIST.
TABLE = {
    ONE: {"ImageNet 1k": 0.5982, "MNIST": 0.9, "EuroSAT": 0.4, "ImageNet v2": 0.5},
    OTHER: {"ImageNet 1k": 0.7554, "MNIST": 0.7, "EuroSAT": 0.6, "ImageNet v2": 0.7},
    THIRD: {"ImageNet 1k": 0.6332, "EuroSAT": 0.5, "STL-10": 0.9},
    "no/paper": {"ImageNet 1k": 0.99, "MNIST": 0.99, "EuroSAT": 0.99},
}


def results(source="S"):
    return [
        Result(model, dataset, "acc1", value, "fraction", "", source)
        for model, of in TABLE.items()
        for dataset, value in of.items()
    ]


def outcomes(ground, *names):
    return {
        (task.name, name, o.metric): o.value
        for task in ground.tasks
        for name in names
        for o in measure(task, METHODS[name], 0).outcomes
    }


def test_tasks_are_data_sets_with_two_models_and_the_universal_one_is_none():
    ground = published_ground(read_suite("published"), results())
    assert [task.name for task in ground.tasks] == ["EuroSAT", "MNIST"]
    assert [task.models for task in ground.tasks] == [(ONE, THIRD, OTHER), (ONE, OTHER)]
    assert len(ground.missing) == 46


def test_inb_by_hand():
    ground = published_ground(read_suite("published"), results())
    found = outcomes(ground, "inb", "best-on-average", "oracle", "size")
    assert found["EuroSAT", "inb", "top-1"] == 0.6
    assert found["MNIST", "inb", "top-1"] == 0.7
    assert found["MNIST", "inb", "regret"] == pytest.approx(0.2)
    assert found["MNIST", "oracle", "top-1"] == 0.9
    # The other task is EuroSAT, where ViT-L-14 is best; for EuroSAT it is MNIST, where RN50 is.
    assert found["MNIST", "best-on-average", "top-1"] == 0.7
    assert found["EuroSAT", "best-on-average", "top-1"] == 0.4
    assert found["EuroSAT", "size", "top-1"] == 0.6


@pytest.mark.skipif(not SHARED.exists(), reason="needs open_clip's published results beside the repository")
def test_inb_over_the_papers_models_on_published_results(tmp_path):
    """Read from the file by hand: of the paper's models, that with the highest ImageNet 1k, and its mean."""
    imported = read_results(SHARED).results
    top1 = {(r.model, r.dataset): r.value for r in imported}
    among = [name for name in paper_models() if (name, "ImageNet 1k") in top1]
    best = max(among, key=lambda name: top1[name, "ImageNet 1k"])
    suite = read_suite("published")
    ground = published_ground(suite, imported)
    methods, _ = methods_for(suite, ground, ("inb", "oracle"))
    plan = plan_run(suite, ground, "run", ["inb", "oracle"], (0,))
    run = run_suite(tmp_path / "bench.duckdb", suite, ground, methods, (0,), plan)
    rows = task_rows(stored_outcomes(tmp_path / "bench.duckdb", run))
    found = {row.task: row.value for row in rows if (row.method, row.metric) == ("inb", "top-1")}
    left = ("ImageNet 1k", "ImageNet v2", "ImageNet Sketch", "ImageNet-A", "ImageNet-R", "ImageNet-O")
    datasets = {r.dataset for r in imported} - set(left)
    assert found == {name: top1[best, name] for name in datasets}
    assert np.mean(list(found.values())) == pytest.approx(np.mean([top1[best, name] for name in datasets]), abs=1e-15)
    oracle = {row.task: row.value for row in rows if (row.method, row.metric) == ("oracle", "top-1")}
    assert oracle == {name: max(top1[model, name] for model in among) for name in datasets}


def test_the_papers_numbers_stand_beside_the_tasks_it_has(tmp_path):
    both = [*results(), *(Result(m, "STL-10", "acc1", v, "fraction", "", "S") for m, v in ((ONE, 0.8), (OTHER, 0.95)))]
    suite = read_suite("published")
    ground = published_ground(suite, both)
    plan = plan_run(suite, ground, "run", ["inb"], (0,))
    run = run_suite(tmp_path / "bench.duckdb", suite, ground, [METHODS["inb"]], (0,), plan)
    printed = {(o.method, o.task): o.value for o in stored_outcomes(tmp_path / "bench.duckdb", run) if ":" in o.method}
    assert printed["paper: MLL, k = 1", "STL-10"] == 0.9878
    assert printed["paper: INB, k = 3", "MNIST"] == 0.7847
    assert ("paper: INB, k = 1", "EuroSAT") not in printed


def test_one_of_several_sources_metrics_and_protocols_is_named():
    suite = read_suite("published")
    other = [dataclasses.replace(r, metric="acc5", value=min(1.0, r.value + 0.1)) for r in results()]
    tuned = [dataclasses.replace(r, protocol="tuned", value=r.value / 2) for r in results()]
    with pytest.raises(ResultsMixed, match="2 metrics: 'acc1', 'acc5'; name one, such as --metric 'acc1'"):
        published_ground(suite, [*results(), *other])
    with pytest.raises(ResultsMixed, match="2 protocols"):
        published_ground(suite, [*results(), *tuned])
    plain = published_ground(suite, results())
    assert published_ground(suite, [*results(), *other], metric="acc1").digest == plain.digest
    assert published_ground(suite, [*results(), *tuned], protocol="").digest == plain.digest
    assert published_ground(suite, [*results("S"), *results("T")], source="S").digest == plain.digest
    halves = published_ground(suite, [*results(), *tuned], protocol="tuned")
    assert outcomes(halves, "inb")["EuroSAT", "inb", "top-1"] == 0.3
    with pytest.raises(NotPublished, match="no metric 'acc9'"):
        published_ground(suite, results(), metric="acc9")


def test_metrics_are_kept_by_task_and_said(tmp_path):
    mixed = [dataclasses.replace(r, metric="jaccard") if r.dataset == "EuroSAT" else r for r in results()]
    suite = read_suite("published")
    ground = published_ground(suite, mixed)
    assert ground.digest != published_ground(suite, results()).digest
    assert ground.metrics == {"jaccard": 1, "acc1": 1}
    path = tmp_path / "bench.duckdb"
    run_suite(path, suite, ground, [METHODS["inb"]], (0,), plan_run(suite, ground, "run", ["inb"], (0,)))
    [stored] = stored_runs(path)
    assert stored.plan.settings["metrics"] == {"EuroSAT": "jaccard", "MNIST": "acc1"}
    methods, tasks, *_ = write_report(path, tmp_path / "report", [stored])
    assert "What is called top-1 is, by number of tasks, jaccard (1), acc1 (1): means mix them." in methods.text
    assert [row[0] for row in tasks.table.rows] == ["EuroSAT (jaccard)", "MNIST", "mean", "mean of the 1 all have"]


def test_what_the_paper_prints_is_neither_ranked_nor_compared(tmp_path):
    both = [*results(), *(Result(m, "STL-10", "acc1", v, "fraction", "", "S") for m, v in ((ONE, 0.8), (OTHER, 0.95)))]
    suite = read_suite("published")
    ground = published_ground(suite, both)
    path = tmp_path / "bench.duckdb"
    names = ["inb", "oracle", "size"]
    methods = [METHODS[name] for name in names]
    run_suite(path, suite, ground, methods, (0,), plan_run(suite, ground, "run", names, (0,)))
    rows = task_rows(stored_outcomes(path, 0))
    order = order_of(mean_rows(rows))
    assert [one.startswith("paper: ") for one in order] == [False] * 3 + [True] * 6
    assert {one.method for one in compare(rows, "inb")} == {"oracle", "size"}
    shown, tasks, *_ = write_report(path, tmp_path / "report", stored_runs(path))
    of = {row[0]: row for row in shown.table.rows}
    assert of["paper: MLL, k = 1"][1].endswith(" of 2 tasks")
    assert of["paper: MLL, k = 1"][2:5] == ("", "", "")
    *_, mean, common = tasks.table.rows
    assert (mean[0], common[0]) == ("mean", "mean of the 2 all have")
    column = tasks.table.columns.index("paper: MLL, k = 1")
    printed = [float(row[column]) for row in tasks.table.rows if row[0] in ("MNIST", "STL-10")]
    assert mean[column] == f"{sum(printed) / 2:.1f} (of 2)"
    assert common[column] == f"{sum(printed) / 2:.1f}"
    assert column not in {n for best in tasks.table.best for n in best}


def test_what_cannot_be_used_is_refused():
    suite = read_suite("published")
    with pytest.raises(ResultsMixed, match="2 sources"):
        published_ground(suite, [*results("S"), *results("T")])
    with pytest.raises(NotPublished, match="ImageNet 1k"):
        published_ground(suite, [r for r in results() if r.dataset != "ImageNet 1k"])
    with pytest.raises(NotPublished, match="RN50/openai"):
        published_ground(suite, [r for r in results() if r.model == "no/paper"])
    with pytest.raises(InvalidTask, match="no data set has values of two of its models"):
        published_ground(suite, [r for r in results() if r.dataset == "ImageNet 1k"])


def test_methods_that_need_more_are_left_out_and_said():
    suite = read_suite("published")
    methods, left = methods_for(suite, published_ground(suite, results()))
    assert {method.name for method in methods} >= {"random", "size", "inb", "best-on-average", "mean-rank", "oracle"}
    reasons = {reason: names.split(", ") for names, reason in (line.split(": ") for line in left)}
    assert "mll" in reasons["needs labels of a hub"]
    assert "few-hits" in reasons["needs answers of models"]
    assert reasons["needs text scores of models"] == ["modelgpt", "modelgpt-c", "modelgpt-g"]
    with pytest.raises(InvalidTask, match="no method can be asked; mll: needs labels of a hub"):
        methods_for(suite, published_ground(suite, results()), ("mll",))


@given(st.lists(st.integers(0, 3), min_size=4, max_size=60), st.integers(0, 5))
def test_every_image_is_measured_on_once_and_seen_by_the_other_half(truth, seed):
    truth = np.array(truth)
    (few, rest), (other_few, other_rest) = folds(truth, seed)
    assert sorted([*rest, *other_rest]) == list(range(len(truth)))
    for seen, measured in ((few, rest), (other_few, other_rest)):
        assert not set(seen.tolist()) & set(measured.tolist())
        assert np.bincount(truth[seen]).max() <= FEW
        assert (np.diff(seen) > 0).all()
    for c in range(4):
        halves = [(truth[part] == c).sum() for part in (rest, other_rest)]
        assert abs(halves[0] - halves[1]) <= 1
    np.testing.assert_array_equal(folds(truth, seed)[0][0], few)
