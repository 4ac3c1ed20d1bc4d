"""The label store against loops: random hubs in which exact ties, split blocks and removed images abound.

A hub costs half a second to make, so three are made and asked many questions each.
"""

from types import SimpleNamespace

import numpy as np
import pytest

import oracles
from fakes import TableModel, commit_label, plain_card, plain_synset
from mllctl.graph import Graph
from mllctl.hub import Hub
from mllctl.hub.writing import change_hub
from mllctl.images import Domain, SampleImage
from mllctl.kernels.precision import node_hits

NODES, MODELS, WIDTH, SELECTIONS = 8, 3, 3, 25
DOMAINS = ("photo", "drawing", "clip art")
VALUES = np.array([-1.0, -0.5, 0.0, 0.0, 0.5])


def random_images(random, node, domain):
    """Usually a few, sometimes none, and for one node and domain more than a block holds."""
    count = 70 if (node, domain) == (1, "photo") else int(random.choice([0, 0, 1, 2, 5]))
    return [
        SampleImage(f"{domain}/{node}/{n}", f"n{node:08d}", domain, f"{random.integers(2**63)}") for n in range(count)
    ]


@pytest.fixture(params=[1, 2, 3], scope="module")
def world(request, tmp_path_factory):
    """A hub whose models 0 and 1 were labelled before images were removed, and model 2 after that."""
    random = np.random.default_rng(request.param)
    path = tmp_path_factory.mktemp("hits") / "hub"
    Hub.create(path).close()
    synsets = tuple(plain_synset(node) for node in range(NODES))
    # The last node has no image; the other images come in no order of node or domain.
    images = [image for node in range(NODES - 1) for domain in DOMAINS for image in random_images(random, node, domain)]
    images = [images[n] for n in random.permutation(len(images))]
    with change_hub(path) as change:
        for domain in DOMAINS:
            change.add_domain(Domain(domain, domain))
        change.add_nodes(synsets)
        assert change.add_images(images) == len(images)
        change.set_graph(Graph(synsets, ()))
    with Hub.open(path) as hub:
        captions = hub.captions()
    models = [
        TableModel(
            plain_card(f"model/{m}"),
            {image.uri: random.choice(VALUES, size=WIDTH) for image in images},
            dict(zip(captions, random.choice(VALUES, size=(NODES, WIDTH)), strict=True)),
        )
        for m in range(MODELS)
    ]
    commit_label(path, models[0])
    commit_label(path, models[1])
    with Hub.open(path) as hub:
        gone = [image.image for image in hub.images() if random.random() < 0.15]
    with change_hub(path) as change:
        change.remove_images(gone)
    commit_label(path, models[2])
    with Hub.open(path) as hub:
        evidence = set(np.flatnonzero(hub.evidence_nodes()).tolist())
        yield SimpleNamespace(
            hub=hub,
            random=random,
            evidence=evidence,
            images=hub.images(),
            similarity=[dense(hub, model, evidence) for model in models],
        )


def dense(hub, model, evidence):
    """Similarities as lists, by order of images and ordinal of node; nothing is like a node without evidence."""
    images = [model.images[image.uri].tolist() for image in hub.images()]
    rows = oracles.similarities(images, [model.captions[caption].tolist() for caption in hub.captions()])
    return [[value if node in evidence else float("-inf") for node, value in enumerate(row)] for row in rows]


def selections(world):
    """The empty one, all nodes, and random ones."""
    yield []
    yield list(range(NODES))
    for _ in range(SELECTIONS):
        yield sorted(world.random.choice(NODES, size=world.random.integers(1, NODES), replace=False).tolist())


def test_the_world_is_as_hard_as_it_should_be(world):
    used = [row[0] for row in world.hub.query("SELECT used FROM block").rows]
    assert 64 in used
    assert world.hub.query("SELECT count(*) FROM block WHERE bit_count(live) < used").rows[0][0] > 0
    assert NODES - 1 not in world.evidence
    ties = [row.count(max(row)) > 1 for rows in world.similarity for row in rows]
    assert sum(ties) > len(ties) / 4


def test_hits_are_those_of_the_kernel_and_of_the_loops(world):
    truth = [image.node for image in world.images]
    for selected in selections(world):
        evidence, by_masks = (count(selected, range(MODELS)) for count in (world.hub.hits, world.hub.hits_by_masks))
        assert evidence.hits.dtype == evidence.images.dtype == np.int64
        assert evidence.hits.shape == (MODELS, len(selected), len(DOMAINS))
        assert np.array_equal(evidence.hits, by_masks.hits)
        assert np.array_equal(evidence.images, by_masks.images)
        for m, similarity in enumerate(world.similarity):
            expected = oracles.node_hits(similarity, truth, selected)
            kernel = node_hits(
                np.array(similarity).reshape(-1, NODES), np.array(truth), np.array(selected, dtype=np.int64)
            )
            assert (kernel[0].tolist(), kernel[1].tolist()) == expected
            assert (evidence.hits[m].sum(axis=1).tolist(), evidence.images[m].sum(axis=1).tolist()) == expected


def test_hits_apart_by_domain_are_those_of_the_images_of_the_domain_alone(world):
    for selected in list(selections(world))[:6]:
        evidence = world.hub.hits(selected, range(MODELS))
        for d, domain in enumerate(DOMAINS):
            within = [n for n, image in enumerate(world.images) if image.domain == domain]
            truth = [world.images[n].node for n in within]
            for m, similarity in enumerate(world.similarity):
                expected = oracles.node_hits([similarity[n] for n in within], truth, selected)
                assert (evidence.hits[m, :, d].tolist(), evidence.images[m, :, d].tolist()) == expected


def test_hits_come_by_ascending_node_and_model_in_whatever_order_they_are_asked(world):
    evidence = world.hub.hits([4, 1, 4, 2], [2, 0, 2])
    straight = world.hub.hits([1, 2, 4], [0, 2])
    assert (evidence.nodes.tolist(), evidence.models.tolist()) == ([1, 2, 4], [0, 2])
    assert np.array_equal(evidence.hits, straight.hits)
    assert np.array_equal(evidence.images, straight.images)


def test_a_model_that_is_not_in_the_hub_has_no_images(world):
    assert not world.hub.hits([0, 1], [7]).images.any()


def test_precision_over_says_in_sql_what_hits_says(world):
    for selected in list(selections(world))[:8]:
        names = [f"thing{node}.n.01" for node in selected]
        found = world.hub.query(f"FROM precision_over({names}::VARCHAR[])")
        assert found.columns == ("model", "node", "hits", "images", "precision")
        evidence = world.hub.hits(selected, range(MODELS))
        won, shown = evidence.hits.sum(axis=2).tolist(), evidence.images.sum(axis=2).tolist()
        expected = [
            (f"model/{m}", name, won[m][v], shown[m][v], won[m][v] / shown[m][v])
            for m in range(MODELS)
            for v, name in enumerate(names)
            if shown[m][v]
        ]
        assert list(found.rows) == expected
        assert all(type(count) is int for row in found.rows for count in row[2:4])


def test_winners_are_those_of_the_loops(world):
    for selected in list(selections(world))[:8]:
        for m, similarity in enumerate(world.similarity):
            expected = {
                image.image: oracles.winner(row, selected)
                for image, row in zip(world.images, similarity, strict=True)
                if image.node in selected
            }
            winners = world.hub.winners(m, selected)
            assert dict(zip(winners.image.tolist(), winners.winner.tolist(), strict=True)) == expected
            truth = {image.image: image.node for image in world.images if image.node in selected}
            assert dict(zip(winners.image.tolist(), winners.truth.tolist(), strict=True)) == truth


def test_unlabelled_and_partly_labelled_nodes_make_a_model_unfit(world):
    evidence = sorted(world.evidence)
    assert world.hub.unseen_nodes(evidence) == set()
    assert world.hub.unseen_nodes([]) == set()
    # A node without evidence was never compared with any image.
    assert world.hub.unseen_nodes([*evidence, NODES - 1]) == {0, 1, 2}


# -- views over all nodes with evidence ---------------------------------------------------------------


def outcomes(world):
    """(model, stored image, node that took it, similarities) of every image, in the order of the views."""
    everything = sorted(world.evidence)
    for m, similarity in enumerate(world.similarity):
        for image, row in zip(world.images, similarity, strict=True):
            yield f"model/{m}", image, oracles.winner(row, everything), row


def count(keys):
    counts = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return counts


def test_precision_counts_the_images_that_stay_with_their_node(world):
    shown = count((model, image.synset) for model, image, _, _ in outcomes(world))
    won = count((model, image.synset) for model, image, taker, _ in outcomes(world) if taker == image.node)
    expected = [(*key, won.get(key, 0), n, won.get(key, 0) / n) for key, n in sorted(shown.items())]
    assert list(world.hub.query("FROM precision ORDER BY ALL").rows) == expected


def test_precision_by_domain_counts_them_apart(world):
    shown = count((model, image.synset, image.domain) for model, image, _, _ in outcomes(world))
    won = count(
        (model, image.synset, image.domain) for model, image, taker, _ in outcomes(world) if taker == image.node
    )
    expected = [(*key, won.get(key, 0), n, won.get(key, 0) / n) for key, n in sorted(shown.items())]
    assert list(world.hub.query("FROM precision_by_domain ORDER BY ALL").rows) == expected


def test_overall_precision_is_the_mean_over_nodes_with_evidence(world):
    rows = world.hub.query("SELECT model, avg(precision ORDER BY node) FROM precision GROUP BY model ORDER BY model")
    overall = world.hub.overall_precision()
    assert list(overall) == [0, 1, 2]
    assert list(overall.values()) == pytest.approx([mean for _, mean in rows.rows], abs=1e-15)


@pytest.mark.parametrize("classes", [1, 2, 4, NODES - 1, 30])
def test_typical_precision_is_the_mean_over_all_tasks_there_can_be(world, classes):
    chances = {}
    for model, image, _, row in outcomes(world):
        chance = oracles.chance_of_a_hit(row, image.node, sorted(world.evidence), classes)
        chances.setdefault((int(model[-1]), image.node), []).append(chance)
    expected = np.full((MODELS, NODES), np.nan)
    for place, hits in chances.items():
        expected[place] = np.mean(hits)
    np.testing.assert_allclose(world.hub.typical_precision(range(MODELS), classes), expected, atol=1e-12)
    # In the order that was asked for.
    some = world.hub.typical_precision([2, 0], classes)
    np.testing.assert_array_equal(some, world.hub.typical_precision(range(MODELS), classes)[[2, 0]])


def test_confusion_counts_who_took_whose_images(world):
    expected = count((model, image.synset, f"thing{taker}.n.01") for model, image, taker, _ in outcomes(world))
    found = world.hub.query("FROM confusion ORDER BY ALL").rows
    assert list(found) == [(*key, n) for key, n in sorted(expected.items())]


def test_similarity_keeps_the_truth_eight_rivals_and_three_others(world):
    expected = []
    for model, image, _, row in outcomes(world):
        order = sorted(world.evidence, key=lambda u: (-row[u], u))
        place = order.index(image.node)
        kept = [("truth", image.node)]
        kept += [("rival", u) for u in order[:place][:8]]
        kept += [("runner-up", u) for u in order[place + 1 : place + 4]]
        expected += [(model, image.image, image.synset, role, f"thing{u}.n.01", row[u]) for role, u in kept]
    assert list(world.hub.query("FROM similarity ORDER BY ALL").rows) == sorted(expected)


def test_sample_lists_the_live_images(world):
    found = world.hub.query("SELECT image, node, domain, uri FROM sample ORDER BY image").rows
    assert list(found) == [(image.image, image.synset, image.domain, image.uri) for image in world.images]


def test_model_card_shows_every_model_with_the_number_of_images_it_was_shown(world):
    found = world.hub.query("SELECT model, kind, graph_version, images FROM model_card ORDER BY model").rows
    shown = dict(world.hub.query("SELECT model, sum(bit_count(labelled))::INTEGER FROM label_state GROUP BY ALL").rows)
    assert list(found) == [(f"model/{m}", "fake", 1, shown[m]) for m in range(MODELS)]
    # The first two were shown what has been removed since.
    assert shown[0] == shown[1] > shown[2] == len(world.images)
