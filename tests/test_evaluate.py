import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from fakes import COLOURS, SIDES, ExactModel, paint_folder
from mllctl import evaluate_hub, label_model
from mllctl.errors import ModelNotLoadable, SourceUnreadable, StageMissing
from mllctl.evaluate import METHODS, Task, read_tasks, text_scores_of
from mllctl.hub import Hub
from mllctl.kernels.text_scores import CLASSIFICATION, GRANULARITY

IMAGES = 3
NAMES = ("animals", "things", "drawings", "nothing")


def make_task(root, domain, *classes):
    uris, truth = [], []
    for c, word in enumerate(classes):
        for n in range(IMAGES):
            uris.append(str(root / domain / f"{word}.n.01" / f"{n}.png"))
            truth.append(c)
    return Task("-".join(classes), domain, domain, classes, tuple(uris), np.array(truth))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    root = tmp_path_factory.mktemp("tasks")
    for domain, side in SIDES.items():
        paint_folder(root / domain, list(COLOURS), IMAGES, seed=8, side=side)
    return [
        make_task(root, "photo", "dog", "cat"),
        make_task(root, "drawing", "apple", "car"),
        make_task(root, "drawing", "wolf", "dog", "car"),
    ]


@pytest.fixture(scope="module")
def world(exact, tmp_path_factory):
    """The exact hub with a fourth model that knows nothing, so that three a class leave one out."""
    hub = shutil.copytree(exact.hub, tmp_path_factory.mktemp("world") / "hub")
    models = {**exact.models, "nothing": ExactModel("nothing", {})}
    label_model(hub, models["nothing"])
    return SimpleNamespace(hub=hub, models=models, encoder=exact.encoder)


@pytest.fixture(scope="module")
def run(world, tasks, tmp_path_factory):
    """Two evaluations with one cache, and how many images each model was shown in each."""
    cache = tmp_path_factory.mktemp("cache")
    outcomes, shown, progress = [], [], []
    for _ in range(2):
        before = {name: model.shown for name, model in world.models.items()}
        with Hub.open(world.hub) as hub:
            outcomes.append(
                evaluate_hub(hub, tasks, world.encoder, cache, world.models.get, lambda *step: progress.append(step))
            )
        shown.append({name: model.shown - before[name] for name, model in world.models.items()})
    return SimpleNamespace(outcomes=outcomes, shown=shown, progress=progress, cache=cache)


# What a model does not know is alike to it, and so goes to the task's first class.
ACCURACY = [
    [1, 1 / 2, 1 / 2, 1 / 2],  # dog, cat by photo
    [1 / 2, 1, 1, 1 / 2],  # apple, car by drawing
    [2 / 3, 2 / 3, 1, 1 / 3],  # wolf, dog, car by drawing
]


def test_accuracy_by_hand(run):
    evaluation = run.outcomes[0]
    assert evaluation.models == NAMES
    assert [result.accuracy.tolist() for result in evaluation.results] == ACCURACY


def test_each_method_by_hand(run):
    results = run.outcomes[0].results
    assert [result.chosen for result in results] == [
        {
            "best on average": "drawings",
            "best on the hub": "animals",
            "paper": mll,
            "ModelGPT": gpt,
            "MLL, names": mll,
            "MLL, domain": mll,
            "oracle": oracle,
        }
        # All models read alike, and only INB (photos) tells them apart. On the two tasks by drawing it is a bad sign:
        # what knows no photo does best. On wolf, dog and car the animals model seems perfect: cars go to the first of
        # the nodes, which is car.
        for gpt, mll, oracle in [
            ("drawings", "animals", "animals"),
            ("animals", "things", "things"),
            ("animals", "animals", "drawings"),
        ]
    ]
    assert [result.top1 for result in results] == [
        {
            "random": pytest.approx(sum(accuracy) / 4),
            "best on average": accuracy[2],
            "best on the hub": accuracy[0],
            "paper": mll,
            "paper, k = 3": 1,
            "ModelGPT": gpt,
            "MLL, names": mll,
            "MLL, domain": mll,
            # A model a class: on wolf, dog and car the animals model seems best at each of them.
            "MLL, 2 models": mll,
            "MLL, k = 1": mll,
            # The three best of each class together: one that knows outvotes those to whom all classes are alike.
            "MLL, k = 3": 1,
            "oracle": 1,
        }
        for accuracy, gpt, mll in zip(ACCURACY, [1 / 2, 1 / 2, 2 / 3], [1, 1, 2 / 3], strict=True)
    ]


def test_means_and_wins_by_hand(run):
    evaluation = run.outcomes[0]
    mean = evaluation.mean_top1()
    assert tuple(mean) == METHODS
    assert mean["random"] == pytest.approx((5 / 8 + 3 / 4 + 2 / 3) / 3)
    assert mean["best on average"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert mean["best on the hub"] == pytest.approx((1 + 1 / 2 + 2 / 3) / 3)
    assert mean["MLL, names"] == mean["MLL, domain"] == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert mean["oracle"] == 1
    assert evaluation.wins() == {"animals": 1, "things": 1 / 2, "drawings": 1 + 1 / 2, "nothing": 0}


def test_each_image_is_shown_once_to_each_model_however_many_tasks_it_is_in(run):
    # Seven classes, but cars by drawing are in two tasks.
    assert run.shown[0] == dict.fromkeys(NAMES, 6 * IMAGES)
    assert run.progress == [(name, 6 * IMAGES, 6 * IMAGES) for name in NAMES]


def test_a_second_run_shows_nothing_and_finds_the_same(run):
    assert set(run.shown[1].values()) == {0}
    one, other = run.outcomes
    assert [result.top1 for result in one.results] == [result.top1 for result in other.results]
    assert [result.accuracy.tolist() for result in one.results] == [
        result.accuracy.tolist() for result in other.results
    ]
    assert len(list((run.cache / "embeddings").iterdir())) == len(NAMES)


def test_a_second_run_loads_no_model(run, world, tasks):
    def load(source):
        raise AssertionError(f"{source} was loaded")

    with Hub.open(world.hub) as hub:
        again = evaluate_hub(hub, tasks, world.encoder, run.cache, load)
    assert again.mean_top1() == run.outcomes[0].mean_top1()


def test_text_scores_are_a_models_on_a_task_and_those_of_its_classes(world, tasks, tmp_path):
    with Hub.open(world.hub) as hub:
        models = [model for model in hub.models() if model.labelled]
        scores = text_scores_of(models, tasks, tmp_path, world.models.get)
        alone = text_scores_of(models[1:2], tasks[2:], tmp_path / "alone", world.models.get)
    assert scores.shape == (len(tasks), len(NAMES), len(CLASSIFICATION) + len(GRANULARITY))
    assert (scores[2, 1] == alone[0, 0]).all()
    assert not (scores[0] == scores[2]).all()


def test_given_captions_are_what_is_read(world, tasks, tmp_path):
    captions = {"dog": ("a dog", "a dog and a cat"), "cat": ("a dog",)}
    with Hub.open(world.hub) as hub:
        models = [model for model in hub.models() if model.labelled][:1]
        [[scores]] = text_scores_of(models, tasks[:1], tmp_path, world.models.get, captions)
    top1, _, fisher, silhouette, dispersion, _ = scores
    # Of a tie, dog.
    assert top1 == pytest.approx(2 / 3)
    assert fisher == pytest.approx(0)
    assert silhouette == pytest.approx((1 / 2**0.5 / 2 + 1) / 2)
    assert dispersion == pytest.approx(((1 + 1 / 2**0.5) / 2 + 0) / 2)


def test_other_images_are_not_answered_from_the_cache(world, tasks, tmp_path):
    before = world.models["animals"].shown
    with Hub.open(world.hub) as hub:
        for task in tasks[:2]:
            evaluate_hub(hub, [task], world.encoder, tmp_path, world.models.get)
    assert len(tasks[0].uris) == len(tasks[1].uris)
    assert world.models["animals"].shown == before + 2 * 2 * IMAGES


def test_a_model_with_other_weights_than_the_labelled_ones_is_refused(world, tasks, tmp_path):
    with Hub.open(world.hub) as hub, pytest.raises(ModelNotLoadable, match="label it again"):
        evaluate_hub(hub, tasks, world.encoder, tmp_path, lambda source: ExactModel(f"not {source}", {}))


def test_a_hub_without_labels_is_refused(painted, exact, tasks, tmp_path):
    with Hub.open(painted.hub) as hub, pytest.raises(StageMissing, match="no model of the hub is labelled"):
        evaluate_hub(hub, tasks, exact.encoder, tmp_path, exact.models.get)


# -- task files ---------------------------------------------------------------------------------------

FACTS = {
    "name": "animal-photo",
    "domain": "photo",
    "domain_text": "photographs",
    "classes": [{"name": "dog"}, {"name": "cat"}],
    "images": [[7, 1], [3, 0]],
}


@pytest.mark.parametrize("facts", [[FACTS], {"tasks": [FACTS]}])
def test_a_task_file_names_rows_of_the_pack(tmp_path, facts):
    (tmp_path / "tasks.json").write_text(json.dumps(facts))
    [task] = read_tasks(tmp_path / "tasks.json", "pack.parquet")
    assert (task.name, task.domain, task.domain_text) == ("animal-photo", "photo", "photographs")
    assert task.classes == ("dog", "cat")
    assert task.uris == ("pack.parquet#7", "pack.parquet#3")
    assert task.truth.tolist() == [1, 0]


@pytest.mark.parametrize("content", [None, "", "{", "{}", "[1]", '[{"name": "x"}]', "3"])
def test_a_file_that_holds_no_tasks_is_refused(tmp_path, content):
    path = tmp_path / "tasks.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SourceUnreadable, match="not a task file"):
        read_tasks(path, "pack.parquet")
