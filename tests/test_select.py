import math

import numpy as np
import pytest

import oracles
from fakes import COLOURS, SIDES, FakeEncoder, FakeModel, hub_of_folders, paint_folder, plain_card
from mllctl import build_index, label_model, select_models
from mllctl.errors import InvalidTask, StageMissing
from mllctl.graph import with_ancestors
from mllctl.hub import Hub
from mllctl.hub.writing import change_hub
from mllctl.images import Domain, scan
from mllctl.select import Options
from mllctl.select.matching import SIMILARITY_FLOOR
from mllctl.select.weighing import DOMAIN_TEMPERATURE

# Of a node: four photos and two drawings.
DRAWINGS = 2 / 6


def select_as_the_paper(hub, *args, **options):
    return select_models(hub, *args, matching="caption", estimator="paper", **options)


@pytest.fixture(scope="module")
def hub(exact):
    with Hub.open(exact.hub) as opened:
        yield opened


@pytest.fixture
def select(hub, exact):
    def with_its_encoder(*args, **options):
        return select_as_the_paper(hub, *args, **options, encoder=exact.encoder)

    return with_its_encoder


# -- by hand ------------------------------------------------------------------------------------------


def test_selection_by_hand(select):
    # V_sel is cat and dog, by ordinal. Images of a cat that a model does not know go to the cat, being first.
    selection = select(["dog", "cat"], k=2)
    assert [node.synset for node in selection.nodes] == ["cat.n.01", "dog.n.01"]
    assert selection.names == ("animals", "things", "drawings")
    assert selection.hits.tolist() == [[6, 6], [6, 0], [6, 2]]
    assert selection.images.tolist() == [[6, 6]] * 3
    assert selection.hits.dtype == selection.images.dtype == np.int64
    assert selection.node_precision.tolist() == [[1, 1], [1, 0], [1, DRAWINGS]]
    assert selection.transfer.tolist() == [[0, 1], [1, 0]]
    assert selection.class_precision.tolist() == [[1, 1], [0, 1], [DRAWINGS, 1]]
    mean = (DRAWINGS + 1) / 2
    expected = [[1, 1], [0.3 * 0.5, 0.7 + 0.3 * 0.5], [0.7 * DRAWINGS + 0.3 * mean, 0.7 + 0.3 * mean]]
    np.testing.assert_allclose(selection.reuse, expected, atol=1e-15)
    assert selection.members.tolist() == [[0, 2], [0, 2]]
    assert (selection.single, selection.overall) == (0, 0)
    assert selection.covered.all()
    assert selection.left_out == ()


def test_the_models_of_a_class_may_be_others_than_those_of_the_next(select):
    # V_sel is apple, dog, wolf: the animals model gets the apples too, for they go to the first node.
    selection = select(["car", "dog", "wolf"], k=3)
    assert selection.class_precision.tolist() == [[1, 1, 1], [1, 0, 0], [1, DRAWINGS, DRAWINGS]]
    selection = select(["apple", "car"], k=1)
    assert selection.class_precision.tolist() == [[1, 0], [1, 1], [1, DRAWINGS]]
    assert selection.members.tolist() == [[1], [1]]
    assert selection.single == 1


def test_the_domain_in_words_weighs_evidence_like_it(select):
    selection = select(["dog", "cat"], "drawing")
    total = 1 + math.exp(-1 / DOMAIN_TEMPERATURE)
    drawing, photo = 1 / total, math.exp(-1 / DOMAIN_TEMPERATURE) / total
    assert [weight.name for weight in selection.domains] == ["photo", "drawing"]
    assert [weight.similarity for weight in selection.domains] == [0, 1]
    assert [weight.weight for weight in selection.domains] == pytest.approx([photo, drawing], rel=1e-12)
    assert selection.domain_matched
    expected = drawing * 2 / (drawing * 2 + photo * 4)
    assert selection.node_precision[2].tolist() == pytest.approx([1, expected], abs=1e-15)
    # The counts that are shown are of all domains together.
    assert selection.hits[2].tolist() == [6, 2]


@pytest.mark.parametrize("domain", [None, "", "apple"])
def test_without_a_domain_like_the_words_all_weigh_the_same(select, domain):
    selection = select(["dog", "cat"], domain)
    assert [weight.weight for weight in selection.domains] == [1 / 2, 1 / 2]
    assert [weight.similarity for weight in selection.domains] == ([0, 0] if domain else [None, None])
    assert not selection.domain_matched
    assert selection.node_precision[2].tolist() == [1, DRAWINGS]


def test_a_class_below_the_floor_is_uncovered_and_follows_the_task(select):
    blurred = " ".join(["apple", "car", "cat", "dog", "wolf", "photo", "drawing"])
    selection = select(["car", blurred, "dog cat"], nodes_per_class=1)
    assert selection.similarity == pytest.approx([1, math.sqrt(1 / 7), math.sqrt(1 / 2)], abs=1e-6)
    assert math.sqrt(1 / 7) < SIMILARITY_FLOOR < math.sqrt(1 / 2)
    assert selection.covered.tolist() == [True, False, True]
    assert not selection.transfer[:, 1].any()
    assert not selection.class_precision[:, 1].any()
    assert selection.nodes_of(1) == []
    # r of the uncovered class is the share of the mean over the task.
    np.testing.assert_allclose(selection.reuse[:, 1], 0.3 * selection.class_precision.mean(axis=1), atol=1e-15)
    assert selection.share[:, 1].tolist() == [0, 0, 0]


@pytest.fixture
def best_comes_last(exact, exact_copy):
    """The same hub with the model that is best overall behind the others."""
    with change_hub(exact_copy) as change:
        change.remove_model("animals")
    label_model(exact_copy, exact.models["animals"])
    with Hub.open(exact_copy) as opened:
        yield opened


def test_where_no_class_is_covered_the_best_overall_leads(best_comes_last, exact):
    selection = select_models(best_comes_last, ["zebra", "unicorn"], k=2, encoder=exact.encoder)
    assert selection.names == ("things", "drawings", "animals")
    assert not selection.covered.any()
    assert selection.nodes == ()
    assert selection.transfer.shape == (0, 2)
    assert not selection.reuse.any()
    # Over all nodes: things 2/5, drawings (1 + 4 * 2/6) / 5, animals 4/5 (the apples fall to it).
    assert selection.overall == selection.single == 2
    assert selection.members.tolist() == [[2, 0], [2, 0]]
    assert all(answer.models[-1] == 2 for answer in selection.answers)
    capped = select_models(best_comes_last, ["zebra", "unicorn"], max_models=1, encoder=exact.encoder)
    assert capped.members.tolist() == [[2], [2]]


def test_a_class_for_which_nothing_speaks_gets_the_best_overall_even_if_the_task_has_another(best_comes_last, exact):
    selection = select_models(best_comes_last, ["apple", "car", "zebra"], alpha=1.0, k=2, encoder=exact.encoder)
    # Precision on apples is 1, 1, 1 and on cars 1, 2/6, 0.
    assert selection.members.tolist() == [[0, 1], [0, 1], [2, 0]]
    assert (selection.single, selection.overall) == (0, 2)


def test_overall_precision_is_the_mean_over_nodes(hub):
    assert hub.overall_precision() == pytest.approx({0: 4 / 5, 1: 2 / 5, 2: (1 + 4 * DRAWINGS) / 5}, abs=1e-15)


def test_more_models_than_there_are_is_all_of_them(select):
    assert select(["dog"], k=9).members.shape == (1, 3)


def test_a_selection_records_what_was_asked(select, hub):
    selection = select([" dog ", "cat"], "drawing", "count them", k=2, alpha=0.5, nodes_per_class=3)
    assert (selection.classes, selection.domain, selection.task) == (("dog", "cat"), "drawing", "count them")
    assert selection.options == Options(2, 0.5, 3, "caption", "paper", None)
    assert selection.hub_generation == hub.manifest.generation


# -- against loops ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fake_world(labelled):
    """The labelled hub, and the stored embeddings as dense similarities of each model."""
    with Hub.open(labelled.hub) as hub:
        images = hub.images()
        nodes = len(hub.captions())
        similarity = []
        for model in hub.models():
            seen, captions = hub.features(model.model)
            shown = seen.take(np.array([image.image for image in images]))
            found = oracles.similarities(shown.tolist(), captions.take(captions.ordinals).tolist())
            dense = np.full((len(images), nodes), -np.inf)
            dense[:, captions.ordinals] = found
            similarity.append(dense.tolist())
        yield hub, [image.node for image in images], similarity


@pytest.mark.parametrize("nodes_per_class", [1, 2, 5])
@pytest.mark.parametrize("classes", [["dog"], ["dog", "cat"], ["car", "dog wolf", "no such thing", "apple"]])
def test_the_whole_road_is_that_of_the_loops(fake_world, classes, nodes_per_class):
    hub, truth, similarity = fake_world
    selection = select_as_the_paper(hub, classes, k=2, nodes_per_class=nodes_per_class, encoder=FakeEncoder())
    encoder = FakeEncoder()
    near = oracles.similarities(encoder.encode(hub.captions()).tolist(), encoder.encode(classes).tolist())
    usable = hub.evidence_nodes().tolist()
    for c in range(len(classes)):
        best = max(row[c] for row, fit in zip(near, usable, strict=True) if fit)
        assert selection.covered[c] == (best >= SIMILARITY_FLOOR)
        for row in near:
            row[c] = row[c] if best >= SIMILARITY_FLOOR else 0
    transfer = oracles.transfer_matrix(near, nodes_per_class, usable)
    selected = oracles.selected_nodes(transfer)
    assert [node.node for node in selection.nodes] == selected
    counts = [oracles.node_hits(rows, truth, selected) for rows in similarity]
    assert selection.hits.tolist() == [hits for hits, _ in counts]
    assert selection.images.tolist() == [images for _, images in counts]
    precision = [[h / n for h, n in zip(hits, images, strict=True)] for hits, images in counts]
    of_class = oracles.class_precision(precision, [transfer[v] for v in selected])
    np.testing.assert_allclose(selection.class_precision, of_class, atol=1e-6)
    reuse = oracles.reuse_metric(of_class)
    np.testing.assert_allclose(selection.reuse, reuse, atol=1e-6)
    assert selection.members.tolist() == oracles.best_models(reuse, 2)
    means = [sum(row) / len(row) for row in of_class]
    assert selection.single == means.index(max(means))
    share = oracles.class_precision(precision, [transfer[v] for v in selected], normalize=True)
    np.testing.assert_allclose(selection.share, share, atol=1e-6)
    for c in range(len(classes)):
        column = {v: transfer[v][c] for v in selected if transfer[v][c] > 0}
        found = [(node.node, near) for node, near in selection.nodes_of(c)]
        assert [node for node, _ in found] == sorted(column, key=lambda v: (-column[v], v))
        assert [near for _, near in found] == pytest.approx(sorted(column.values(), reverse=True), abs=1e-6)


# -- what is refused or left out ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        ([], {}, "no classes"),
        (["dog", " "], {}, "class 2 is empty"),
        (["dog", "dog"], {}, "stands twice"),
        (["dog"], {"k": 0}, "k must be at least 1, got 0"),
        (["dog"], {"alpha": -0.1}, "alpha must be in"),
        (["dog"], {"alpha": 1.5}, "alpha must be in"),
        (["dog"], {"alpha": float("nan")}, "alpha must be in"),
        (["dog"], {"nodes_per_class": 0}, "nodes per class must be at least 1, got 0"),
    ],
)
def test_what_makes_no_task_is_refused(select, classes, options, message):
    with pytest.raises(InvalidTask, match=message):
        select(classes, **options)


def test_selection_refuses_an_encoder_that_did_not_make_the_index(hub):
    with pytest.raises(StageMissing, match="made by words, not fake"):
        select_models(hub, ["dog"], encoder=FakeEncoder())


def test_selection_refuses_an_index_that_is_older_than_its_captions(exact, exact_copy):
    with change_hub(exact_copy) as change:
        change.add_domain(Domain("clip art", "clip art"))
    with Hub.open(exact_copy) as opened, pytest.raises(StageMissing, match="mllctl index build"):
        select_models(opened, ["dog"], encoder=exact.encoder)


@pytest.mark.parametrize("classes", [["dog"], ["zebra"]])
def test_selection_refuses_a_hub_without_labels(painted_copy, classes):
    with change_hub(painted_copy) as change:
        change.add_model(plain_card("fake/unlabelled"))
    with Hub.open(painted_copy) as opened, pytest.raises(StageMissing, match="mllctl label --all"):
        select_models(opened, classes, encoder=FakeEncoder())


def test_a_model_whose_label_lacks_images_of_the_selected_nodes_is_left_out(exact, exact_copy, tmp_path, nouns):
    new = paint_folder(tmp_path / "new", ["dog.n.01"], 1, seed=9, side=SIDES["photo"])
    with change_hub(exact_copy) as change:
        change.add_images(scan(new, "photo", nouns).images)
        change.add_model(plain_card("unlabelled"))
    with (
        Hub.open(exact_copy) as opened,
        pytest.raises(StageMissing, match=r"covers these classes; .*`mllctl images remove`.* run `mllctl label --all`"),
    ):
        select_models(opened, ["dog", "cat"], encoder=exact.encoder)
    for name in ("things", "drawings"):
        label_model(exact_copy, exact.models[name])
    with Hub.open(exact_copy) as opened:
        selection = select_models(opened, ["dog", "cat"], encoder=exact.encoder)
        assert selection.names == ("things", "drawings")
        assert dict(selection.left_out) == {
            "animals": "its label lacks some of the hub's images; `mllctl label animals`, and `mllctl images remove` "
            "those that cannot be read",
            "unlabelled": "it has no label; `mllctl label unlabelled`",
        }
        # Positions are among the candidates: drawings is the better of the two.
        assert selection.members.tolist() == [[1], [1]]
        assert selection.images.tolist() == [[6, 7], [6, 7]]
        elsewhere = select_models(opened, ["cat"], encoder=exact.encoder)
        assert elsewhere.names == ("animals", "things", "drawings")
        assert [name for name, _ in elsewhere.left_out] == ["unlabelled"]


def test_a_model_that_was_not_compared_with_a_new_node_is_left_out_where_it_counts(tmp_path, nouns):
    names = list(COLOURS)
    hub = hub_of_folders(tmp_path / "hub", {"photo": paint_folder(tmp_path / "old", names[:2], 2)}, nouns)
    label_model(hub, FakeModel("fake/old"))
    found = scan(paint_folder(tmp_path / "new", names[2:3], 2), "photo", nouns).images
    with change_hub(hub) as change:
        graph = with_ancestors((image.wnid for image in found), nouns)
        change.add_nodes(graph.synsets)
        change.add_images(found)
        change.set_graph(graph)
    build_index(hub, FakeEncoder())
    label_model(hub, FakeModel("fake/new", seed=1))
    with Hub.open(hub) as opened:
        assert [(model.card.name, model.state, model.unseen) for model in opened.models()] == [
            ("fake/old", "stale", 1),
            ("fake/new", "complete", 0),
        ]
        left_out = dict(select_models(opened, ["cat", "dog"], encoder=FakeEncoder()).left_out)
        assert list(left_out) == ["fake/old"]
        assert left_out["fake/old"].startswith("its label lacks some of the hub's images; `mllctl label fake/old`")
        assert select_models(opened, ["dog"], nodes_per_class=1, encoder=FakeEncoder()).left_out == ()


def test_a_model_that_the_sampled_images_never_showed_is_not_the_best_overall(best_comes_last, exact, monkeypatch):
    known, last = best_comes_last.typical_precision, best_comes_last.models()[-1].model

    def without_the_last(models, *classes):
        found = known(models, *classes)
        found[[model == last for model in models]] = np.nan
        return found

    monkeypatch.setattr(best_comes_last, "typical_precision", without_the_last)
    selection = select_models(best_comes_last, ["dog", "car"], encoder=exact.encoder)
    assert selection.overall != 2
    assert 0 <= selection.doubt.beats_runner_up <= 1
