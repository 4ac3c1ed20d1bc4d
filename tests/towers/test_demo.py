"""The whole road with real images and real models, against the shipped hub and the dense way."""

import numpy as np
import pytest

import oracles
from mllctl import Ensemble, evaluate_hub, select_models
from mllctl.backends import load_model
from mllctl.backends.sharing import same_texts
from mllctl.captions import class_prompts
from mllctl.demo import compare_labels, demo_tasks
from mllctl.images import open_image
from mllctl.kernels.ensemble import ensemble_confidence
from mllctl.kernels.precision import node_hits
from mllctl.reuse.ensemble import class_probability

pytestmark = pytest.mark.towers

TASKS = {task.name: task for task in demo_tasks()}


@pytest.fixture(scope="session")
def selected(built, encoder):
    """V_sel of every demo task, as ordinals."""
    return {
        name: np.array([node.node for node in select_models(built, task.classes, encoder=encoder).nodes])
        for name, task in TASKS.items()
    }


def dense(hub, model):
    """Similarities of all images and all nodes with evidence, from the stored embeddings."""
    images, nodes = hub.features(model.model)
    similarity = images.take(images.ordinals).astype(float) @ nodes.take(nodes.ordinals).astype(float).T
    return images.ordinals.tolist(), nodes.ordinals.tolist(), similarity


def test_the_built_hub_has_the_shipped_labels(built, bundled):
    differences = compare_labels(built, bundled)
    assert [d.model for d in differences] == [model.card.name for model in built.models()]
    # On the machine type that made them none differs; other processors may round a tie the other way.
    for difference in differences:
        assert difference.bits <= difference.compared / 10_000


def test_hits_by_sql_by_kernel_and_by_oracle_are_equal_on_every_task(built, selected):
    truth = {image.image: image.node for image in built.images()}
    for model in built.models():
        images, nodes, similarity = dense(built, model)
        column = {node: n for n, node in enumerate(nodes)}
        image_node = np.array([column[truth[image]] for image in images])
        for name, chosen in selected.items():
            evidence = built.hits(chosen, [model.model])
            columns = np.array([column[node] for node in chosen])
            hits, shown = node_hits(similarity, image_node, columns)
            assert evidence.hits[0].sum(axis=1).tolist() == hits.tolist()
            assert evidence.images[0].sum(axis=1).tolist() == shown.tolist()
            if name == "animal-photo":
                by_hand = oracles.node_hits(similarity.tolist(), image_node.tolist(), columns.tolist())
                assert (hits.tolist(), shown.tolist()) == tuple(map(list, by_hand))


def test_an_image_alone_is_answered_as_in_a_batch(bundled, encoder):
    task = TASKS["food-flat"]
    selection = select_models(bundled, task.classes, task.domain_text, k=2, encoder=encoder)
    ensemble = Ensemble.from_selection(selection, "uniform")
    pictures = [open_image(uri) for uri in task.uris[:16]]
    together = ensemble.predict(pictures).confidence
    alone = np.concatenate([ensemble.predict([picture]).confidence for picture in pictures])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    # What models share in a batch is what each would have made of it by itself.
    assert len(ensemble.members) > 1
    apart = np.stack([class_probability(member, pictures) for member in ensemble.members])
    assert np.array_equal(ensemble_confidence(apart, ensemble.chosen, "uniform"), together)


@pytest.mark.slow
def test_domains_beat_the_best_on_average_model_by_ten_points(bundled, encoder, tmp_path_factory):
    evaluation = evaluate_hub(bundled, list(TASKS.values()), encoder, tmp_path_factory.mktemp("cache"))
    means = evaluation.mean_top1()
    assert means["MLL, domain"] >= means["best on average"] + 0.10
    assert max(evaluation.wins().values()) <= 0.4 * len(TASKS)
    assert {task.domain for task in TASKS.values()} >= {"clipart"}


def test_models_that_share_a_text_tower_say_the_same_as_alone():
    models = [load_model(f"demo:{name}") for name in ("animal-colour", "tool-ink")]
    texts = class_prompts([*TASKS["animal-photo"].classes, "a hammer with two claws", "ant"])
    alone = [model.encode_texts(texts) for model in models]
    with same_texts():
        together = [model.encode_texts(texts) for model in models]
    np.testing.assert_array_equal(together, alone)
    assert not np.array_equal(alone[0], alone[1])
