"""Runs end to end, on images whose answers are known by hand: same numbers, whatever happened in between."""

import dataclasses
import shutil

import duckdb
import numpy as np
import pytest

from mllctl.bench import (
    GROWN,
    compare,
    hub_ground,
    mean_rows,
    methods_for,
    methods_of_fewer,
    plan_run,
    present_tasks,
    read_suite,
    read_values,
    run_ablation,
    run_growth,
    run_subhubs,
    run_suite,
    stored_outcomes,
    stored_runs,
    task_rows,
)
from mllctl.bench.ablating import FACTORS, variant_methods
from mllctl.bench.ground import folds
from mllctl.bench.measuring import measure
from mllctl.errors import InvalidTask, StageMissing
from mllctl.evaluate import evaluate_hub
from mllctl.hub import Hub
from mllctl.methods import METHODS
from mllctl.select import select_models

SEEDS = (0, 3)


@pytest.fixture(scope="module")
def ground(world, tmp_path_factory):
    suite = read_suite(str(world.suite))
    tasks, missing = present_tasks(suite)
    with Hub.open(world.hub) as hub:
        cache = tmp_path_factory.mktemp("cache")
        yield hub_ground(suite, hub, tasks, world.encoder, cache, SEEDS, missing, True, world.models.get)


def run(path, world, ground, **options):
    suite = read_suite(str(world.suite))
    methods, _ = methods_for(suite, ground, options.pop("wanted", ()))
    plan = plan_run(suite, ground, "run", [method.name for method in methods], SEEDS)
    return run_suite(path, suite, ground, methods, SEEDS, plan, **options)


def values(path, number):
    return {(o.seed, o.task, o.method, o.metric): (o.value, o.low, o.high) for o in stored_outcomes(path, number)}


@pytest.fixture(scope="module")
def whole(world, ground, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "bench.duckdb"
    assert run(path, world, ground) == 0
    return path


def test_what_is_missing_is_said(ground):
    assert ground.missing == ("gone: no folder nowhere beside the suite, and no --data DIR; it is the moon",)
    assert [task.name for task in ground.tasks] == ["pets", "drawn"]


def test_top1_is_what_evaluate_finds(world, ground, whole, tmp_path):
    tasks, _ = present_tasks(read_suite(str(world.suite)))
    with Hub.open(world.hub) as hub:
        evaluation = evaluate_hub(hub, tasks, world.encoder, tmp_path, world.models.get)
    found = values(whole, 0)
    same = {"best on the hub": "best-on-hub", "paper": "mll-paper", "paper, k = 3": "mll-paper-k3", "oracle": "oracle"}
    same |= {"MLL, names": "mll-names", "MLL, domain": "mll", "MLL, 2 models": "mll-2", "MLL, k = 3": "mll-k3"}
    same |= {"ModelGPT": "modelgpt"}
    for result in evaluation.results:
        for theirs, ours in same.items():
            assert found[0, result.task.name, ours, "top-1"][0] == result.top1[theirs]
        for model, accuracy in zip(evaluation.models, result.accuracy.tolist(), strict=True):
            assert found[0, result.task.name, f"model: {model}", "reached"][0] == accuracy


def test_what_models_reach_by_hand(whole):
    """Six images a class; what a model does not know goes to the task's first class."""
    found = values(whole, 0)
    reached = {name: [found[0, task, f"model: {name}", "reached"][0] for task in ("pets", "drawn")] for name in MODELS}
    assert reached == {
        "animals": [pytest.approx(2 / 3), pytest.approx(2 / 3)],
        "things": [pytest.approx(2 / 3), pytest.approx(2 / 3)],
        "drawings": [pytest.approx(1 / 3), 1],
        "nothing": [pytest.approx(1 / 3), pytest.approx(1 / 3)],
    }
    assert found[0, "pets", "model: nothing", "F1 of dog"][0] == pytest.approx(1 / 2)
    assert found[0, "pets", "model: nothing", "F1 of cat"][0] == 0


MODELS = ("animals", "things", "drawings", "nothing")


def test_regret_and_rankings_by_hand(whole):
    found = values(whole, 0)
    assert found[0, "drawn", "oracle", "regret"][0] == 0
    assert found[0, "drawn", "oracle", "weighted tau"][0] == 1
    assert found[0, "drawn", "oracle", "R5"][0] == 1
    best = found[0, "drawn", "best-on-hub", "top-1"][0]
    assert best + found[0, "drawn", "best-on-hub", "regret"][0] == 1
    # Several models that answer together say no order.
    assert (0, "pets", "mll-k3", "tau") not in found
    assert found[0, "pets", "mll-k3", "models"][0] == 3


def test_intervals_hold_their_value(whole):
    for value, low, high in values(whole, 0).values():
        if low is not None:
            assert low <= value <= high


def test_two_runs_are_identical(world, ground, whole):
    assert run(whole, world, ground) == 1
    assert values(whole, 1) == values(whole, 0)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_interrupted_run_goes_on_with_the_same_numbers(world, ground, whole, tmp_path, after):
    path = tmp_path / "bench.duckdb"

    def interrupt(_, done, __):
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, world, ground, progress=interrupt)
    [halfway] = stored_runs(path)
    assert halfway.finished is None
    there = values(path, 0)
    assert 0 < len(there) < len(values(whole, 0))
    assert run(path, world, ground) == 0
    assert values(path, 0) == values(whole, 0)
    assert stored_runs(path)[0].finished


def test_fresh_begins_anew(world, ground, tmp_path):
    path = tmp_path / "bench.duckdb"

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, world, ground, progress=interrupt)
    assert run(path, world, ground, fresh=True) == 1


def test_other_methods_are_another_run(world, ground, tmp_path):
    path = tmp_path / "bench.duckdb"
    assert run(path, world, ground, wanted=("random", "oracle")) == 0
    assert run(path, world, ground, wanted=("oracle",)) == 1
    assert {o.method for o in stored_outcomes(path, 1) if o.metric == "top-1"} == {"oracle"}


def test_few_images_are_never_those_that_are_measured_on(ground):
    """A method that remembers the images it saw has none of them right by that."""
    seen = []

    def choose(asked, _):
        seen.append(asked.few)
        return METHODS["few-hits"].choose(asked, None)

    task = ground.tasks[0]
    cell = measure(task, dataclasses.replace(METHODS["few-hits"], choose=choose), 0)
    assert [len(few.truth) for few in seen] == [9, 9]
    assert sum(np.bincount(few.truth) for few in seen).tolist() == [6, 6, 6]
    assert {o.metric: o.value for o in cell.outcomes}["top-1"] == pytest.approx(2 / 3)


def test_what_is_seen_is_not_measured_on(ground):
    """One model knows exactly the first half, another the second: who sees a half chooses what fails on the other."""
    task = ground.tasks[0]
    truth = task.answered.truth
    (few, rest), _ = folds(truth, 0)
    said = np.tile((truth + 1) % 3, (len(task.models), 1))
    said[0, few] = truth[few]
    said[1, rest] = truth[rest]
    answered = dataclasses.replace(task.answered, probability=np.eye(3)[said])
    reached = (said == truth).mean(axis=1)
    cell = measure(dataclasses.replace(task, answered=answered, reached=reached), METHODS["few-hits"], 0)
    assert {o.metric: o.value for o in cell.outcomes}["top-1"] == 0


def test_texts_of_a_task_are_not_among_those_of_the_others(ground):
    one, other = ground.tasks
    assert (one.other_texts == other.texts[None]).all()
    assert (other.other_texts == one.texts[None]).all()
    assert one.asked(0, METHODS["modelgpt"]).texts is one.texts
    assert one.afterwards().texts is one.other_texts


def test_seeds_move_what_draws_and_nothing_else(whole):
    found = values(whole, 0)
    for (seed, task, method, metric), (value, _, _) in found.items():
        if seed == 0 and not method.startswith(("random", "few-")):
            assert found[3, task, method, metric][0] == value


def test_a_hub_without_the_papers_models_is_refused(world, tmp_path):
    suite = dataclasses.replace(read_suite(str(world.suite)), paper_models=True)
    tasks, _ = present_tasks(suite)
    with Hub.open(world.hub) as hub, pytest.raises(StageMissing, match="no model of the paper's is labelled"):
        hub_ground(suite, hub, tasks, world.encoder, tmp_path)


def test_means_and_comparisons_by_hand(whole):
    rows = task_rows(stored_outcomes(whole, 0))
    [mean] = [r for r in mean_rows(rows) if (r.method, r.metric) == ("oracle", "top-1")]
    assert (mean.value, mean.low, mean.high) == pytest.approx((5 / 6, 2 / 3, 1))
    apart = {one.method: one for one in compare(rows, "oracle")}
    top1 = {method: [r.value for r in rows if is_top1(r, method)] for method in ("mll-k3", "oracle")}
    assert apart["mll-k3"].mean == pytest.approx(np.mean(np.subtract(top1["mll-k3"], top1["oracle"])))
    assert (apart["mll-k3"].better, apart["mll-k3"].worse) == (1, 0)
    assert "oracle" not in apart


def is_top1(row, method):
    return (row.method, row.metric) == (method, "top-1")


# -- ablations ------------------------------------------------------------------------------------------


def test_values_are_read_as_people_write_them():
    assert read_values(FACTORS["alpha"], "0.5..0.9") == (0.5, 0.6, 0.7, 0.8, 0.9)
    assert read_values(FACTORS["alpha"], "0.5..0.96") == (0.5, 0.6, 0.7, 0.8, 0.9)
    assert read_values(FACTORS["alpha"], "0.5..0.55") == (0.5,)
    assert read_values(FACTORS["k"], "1..3, 6") == (1, 2, 3, 6)
    assert read_values(FACTORS["estimator"], "shrunk,paper") == ("shrunk", "paper")


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        ("alpha", "1.5"),
        ("alpha", "0.9..0.5"),
        ("k", "0"),
        ("k", "x"),
        ("k", "1..100"),
        ("nodes", ""),
        ("k", "1..e"),
        ("k", "1..2.6"),
    ],
)
def test_what_is_no_value_is_refused(factor, text):
    with pytest.raises(InvalidTask, match=f"--{factor}"):
        read_values(FACTORS[factor], text)


def test_one_option_is_changed_at_a_time(world, ground, tmp_path):
    path = tmp_path / "bench.duckdb"
    suite = read_suite(str(world.suite))
    changed = {"alpha": (0.5, 0.7), "k": (1, 2)}
    plan = plan_run(suite, ground, "ablate", (), (0,), ["--alpha", "0.5,0.7", "--k", "1,2"])
    number = run_ablation(path, ground, changed, (0,), plan)
    found = {(o.variant, o.method, o.task): o.value for o in stored_outcomes(path, number) if o.metric == "top-1"}
    assert {variant for variant, _, _ in found} == {"alpha=0.5", "alpha=0.7", "k=1", "k=2"}
    for task in ("pets", "drawn"):
        # What is not changed is as it is by default.
        assert found["alpha=0.7", "mll-k1", task] == found["k=1", "mll-each", task]
    assert len(list(variant_methods(changed))) == len({(variant, method) for variant, method, _ in found})


# -- fewer models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"matching": "caption", "estimator": "paper"}, {}])
def test_a_choice_among_fewer_models_is_that_of_a_smaller_hub(world, ground, options):
    name = "mll-paper-k1" if options else "mll-k1"
    task = ground.tasks[1]
    choice = METHODS[name](task.asked(0, METHODS[name]), task.afterwards())
    with Hub.open(world.hub) as hub:
        for models in ([0, 1], [1, 3], [0, 2, 3], [2], [0, 1, 2, 3]):
            barred = {name: "gone" for n, name in enumerate(task.models) if n not in models}
            small = select_models(
                hub, task.classes, None if options else task.domain, encoder=world.encoder, barred=barred, **options
            )
            members = [small.names[m] for m in small.answer("each").members[:, 0]]
            among = choice.among(np.array(models))
            assert [task.models[models[m]] for m in among.members[:, 0]] == members


def test_a_hub_grows_to_what_it_is(world, ground, whole, tmp_path):
    path = tmp_path / "bench.duckdb"
    methods = methods_of_fewer(ground, (), GROWN)
    plan = plan_run(read_suite(str(world.suite)), ground, "grow", [m.name for m in methods], (0,), ["--orders", "3"])
    number = run_growth(path, ground, methods, 3, plan)
    full = values(whole, 0)
    orders = set()
    for o in stored_outcomes(path, number):
        if o.metric == "top-1":
            orders.add(o.seed)
            if o.variant == "models=4" and o.method != "random":
                assert o.value == full[0, o.task, o.method, "top-1"][0]
            if o.variant == "models=1":
                reached = {full[0, o.task, f"model: {name}", "reached"][0] for name in MODELS}
                assert min(abs(o.value - value) for value in reached) < 1e-12
    assert orders == {0, 1, 2}


def test_the_oracle_of_a_sub_hub_is_its_best_model(world, ground, tmp_path):
    path = tmp_path / "bench.duckdb"
    methods = methods_of_fewer(ground, ("oracle", "mll-k1", "inb"), ())
    plan = plan_run(read_suite(str(world.suite)), ground, "subhubs", (), (0,), ())
    number = run_subhubs(path, ground, methods, 20, 2, False, plan)
    found = {(o.seed, o.task, o.method): o.value for o in stored_outcomes(path, number) if o.metric == "regret"}
    assert len(found) == 20 * 2 * 3
    assert all(value == 0 for (_, _, method), value in found.items() if method == "oracle")
    assert all(value >= 0 for (_, _, method), value in found.items() if method == "inb")
    with pytest.raises(InvalidTask, match="--size must be 2 to 4"):
        run_subhubs(path, ground, methods, 20, 5, False, plan)


def test_a_budget_is_drawn_once_for_a_sub_hub(world, ground, tmp_path):
    path = tmp_path / "bench.duckdb"
    sizes = np.array([10.0, 20.0, 30.0, 40.0])
    tasks = tuple(dataclasses.replace(task, parameters=sizes) for task in ground.tasks)
    sized = dataclasses.replace(ground, tasks=tasks)
    methods = methods_of_fewer(sized, ("size",), ())
    plan = plan_run(read_suite(str(world.suite)), sized, "subhubs", (), (0,), ())
    run_subhubs(path, sized, methods, 40, 3, True, plan)
    with duckdb.connect(str(path), read_only=True) as db:
        rows = db.execute("SELECT seed, list(DISTINCT chosen) FROM bench_cell GROUP BY seed").fetchall()
    assert len(rows) == 40
    assert all(len(chosen) == 1 for _, chosen in rows)
    # The largest model of four is in three sub-hubs of four; below the budget it is chosen in a third of those.
    assert 2 <= sum(chosen == [["nothing"]] for _, chosen in rows) <= 20


def test_other_images_under_the_same_names_are_another_run(world, ground, tmp_path):
    suite = read_suite(str(world.suite))
    home = tmp_path / "copy"
    for folder in ("photo", "drawing"):
        shutil.copytree(world.root / folder, home / folder)
    digests = []
    first, other = (next((home / "photo" / word).iterdir()) for word in ("dog", "cat"))
    pictures = first.read_bytes(), other.read_bytes()
    for written in (pictures, pictures[::-1], pictures[:1] * 2, pictures):
        first.write_bytes(written[0])
        other.write_bytes(written[1])
        tasks, _ = present_tasks(suite, home)
        with Hub.open(world.hub) as hub:
            made = hub_ground(suite, hub, tasks, world.encoder, tmp_path / "c", SEEDS, (), True, world.models.get)
        digests.append(made.digest)
    assert len(set(digests[:3])) == 3
    assert digests[3] == digests[0]


def test_sample_sets_that_a_hub_has_not_are_said(world, tmp_path):
    text = world.suite.read_text(encoding="utf-8").replace('universal = "photo"', 'universal = "ImageNet"')
    path = world.root / "samples.toml"
    path.write_text(text + '[[sample_set]]\nname = "photo"\n[[sample_set]]\nname = "sketch"\n', encoding="utf-8")
    suite = read_suite(str(path))
    tasks, missing = present_tasks(suite)
    with Hub.open(world.hub) as hub:
        made = hub_ground(suite, hub, tasks, world.encoder, tmp_path, SEEDS, missing, False, world.models.get)
    assert made.missing[1:] == (
        "sample set sketch: no domain of this hub",
        "universal ImageNet: no domain of this hub; all of them stand for it (inb)",
    )


def test_methods_that_hang_on_the_other_models_are_not_asked_of_fewer(ground):
    for name in ("mean-rank", "modelgpt", "few-hits", "mll-2", "oracle-per-class"):
        with pytest.raises(InvalidTask, match=f"{name} cannot be asked of fewer models"):
            methods_of_fewer(ground, (name,), ())
