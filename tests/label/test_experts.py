"""An expert's label is what its heads answered, whatever way the hub came to be what it is."""

import numpy as np
import pytest

from fakes import COLOURS, FakeExpert, FakeModel, InterruptedExpert, hub_of_folders, paint_folder
from mllctl.backends.protocol import ExpertCard
from mllctl.errors import InvalidTask, ModelNotLoadable, NotInHub
from mllctl.hub import Hub
from mllctl.hub.writing import change_hub
from mllctl.images import Domain, open_image, scan
from mllctl.label import compact_labels, label_expert, label_model, remove_images

ANIMALS = ("dog.n.01", "cat.n.01", "wolf.n.01")


@pytest.fixture
def hub(tmp_path, nouns):
    folders = {
        "photo": paint_folder(tmp_path / "photo", list(COLOURS), 4),
        "drawing": paint_folder(tmp_path / "drawing", ["dog.n.01", "cat.n.01"], 3, seed=1),
    }
    return hub_of_folders(tmp_path / "hub", folders, nouns)


def totals(path, name):
    """What a hub says of an expert: of each block its node, domain, images and sums."""
    with Hub.open(path) as opened:
        stored = opened.expert(name)
        found = opened.head_totals(stored.expert, [node.node for node in opened.nodes()])
        assert found.total.dtype == np.float64
        return found


def totals_by_hand(path, expert):
    """The same by looking at each live image again."""
    with Hub.open(path) as opened:
        rows = {}
        for image in opened.images():
            answer = expert.log_probability([open_image(image.uri)])[0].astype(np.float16).astype(np.float64)
            total, count = rows.get((image.node, image.domain), (0.0, 0))
            rows[image.node, image.domain] = (total + answer, count + 1)
        names = {domain.domain: domain.name for domain in opened.domains()}
    return rows, names


def agrees(path, expert):
    found = totals(path, expert.card.name)
    rows, names = totals_by_hand(path, expert)
    assert len(found.node) == len(rows)
    for node, domain, images, total in zip(found.node, found.domain, found.images, found.total, strict=True):
        expected, count = rows[node, names[domain]]
        assert images == count
        assert (total == expected).all()
    return True


def test_a_label_is_the_sum_of_what_the_heads_answered_by_node_and_domain(hub):
    expert = FakeExpert("colours/animals", ANIMALS)
    report = label_expert(hub, expert)
    assert (report.labelled, report.shown, report.hits, report.changed) == (26, 26, None, True)
    assert agrees(hub, expert)
    with Hub.open(hub) as opened:
        stored = opened.expert("colours/animals")
        assert (stored.state, stored.labelled, stored.card) == ("complete", 26, expert.card)
        assert opened.models() == []


def test_what_is_there_is_neither_shown_nor_committed_again(hub):
    expert = FakeExpert("colours/animals", ANIMALS)
    label_expert(hub, expert)
    with Hub.open(hub) as opened:
        before = opened.manifest.generation
    report = label_expert(hub, expert)
    assert (report.shown, report.changed, expert.shown) == (0, False, 26)
    with Hub.open(hub) as opened:
        assert opened.manifest.generation == before


@pytest.mark.parametrize("seed", range(3))
def test_images_that_come_and_go_cost_their_blocks_and_leave_the_label_of_a_new_hub(hub, nouns, tmp_path, seed):
    random = np.random.default_rng(seed)
    expert = FakeExpert("colours/animals", ANIMALS)
    label_expert(hub, expert)
    more = scan(paint_folder(tmp_path / "more", ["dog.n.01", "car.n.01"], 2, seed=9 + seed), "photo", nouns).images
    with change_hub(hub) as change:
        change.add_domain(Domain("photo", "photo"))
        change.add_images(more)
    with Hub.open(hub) as opened:
        assert opened.expert("colours/animals").state == "stale"
    assert label_expert(hub, expert).shown == 4
    assert agrees(hub, expert)
    with Hub.open(hub) as opened:
        live = [image.image for image in opened.images()]
        all_of_one = [image.image for image in opened.images("apple.n.01")]
    remove_images(hub, {*random.choice(live, size=5, replace=False).tolist(), *all_of_one})
    assert agrees(hub, expert)
    with Hub.open(hub) as opened:
        assert len(opened.expert_files(opened.expert("colours/animals").expert)) == 3
    grown = totals(hub, "colours/animals")
    assert compact_labels(hub) == ["colours/animals"]
    merged = totals(hub, "colours/animals")
    assert all((getattr(grown, name) == getattr(merged, name)).all() for name in ("node", "images", "total"))
    with Hub.open(hub) as opened:
        stored = opened.expert("colours/animals")
        assert (len(opened.expert_files(stored.expert)), stored.state) == (1, "complete")


def test_an_interrupted_labelling_goes_on_where_it_was(hub, monkeypatch):
    monkeypatch.setattr("mllctl.label.staging.BATCHES_PER_PART", 1)
    cut_off = InterruptedExpert("colours/animals", ANIMALS)
    with pytest.raises(KeyboardInterrupt):
        label_expert(hub, cut_off, batch=8)
    with Hub.open(hub) as opened:
        assert opened.experts() == []
    again = FakeExpert("colours/animals", ANIMALS)
    assert label_expert(hub, again, batch=8).shown == 18
    assert agrees(hub, again)
    assert not list((hub / "staging").iterdir())


def test_other_weights_from_the_same_source_take_the_place_of_a_label(hub):
    label_expert(hub, FakeExpert("colours/animals", ANIMALS))
    other = FakeExpert("colours/animals", ANIMALS, sharpness=0.2)
    assert label_expert(hub, other).shown == 26
    assert agrees(hub, other)
    with Hub.open(hub) as opened:
        assert [expert.expert for expert in opened.experts()] == [1]


def test_a_name_is_one_models_only(hub):
    label_model(hub, FakeModel("colours/animals"))
    with pytest.raises(InvalidTask, match=r"another model of the name colours/animals, .*`mllctl model remove"):
        label_expert(hub, FakeExpert("colours/animals", ANIMALS))
    with Hub.open(hub) as opened, pytest.raises(NotInHub, match="no expert 'colours'"):
        opened.expert("colours")


def test_answers_that_are_no_numbers_are_refused(hub):
    expert = FakeExpert("colours/animals", ANIMALS)
    expert.log_probability = lambda images: np.full((len(images), 4), np.nan, dtype=np.float32)
    with pytest.raises(ModelNotLoadable, match="not numbers"):
        label_expert(hub, expert)


def test_people_can_ask_for_means_and_for_what_nodes_inherit(hub):
    label_expert(hub, FakeExpert("colours/animals", ANIMALS, named=False))
    found = totals(hub, "colours/animals")
    with Hub.open(hub) as opened:
        by_name = {node.synset: node.node for node in opened.nodes()}
        parents = {child: parent for parent, child in opened.edges()}
        dog = found.node == by_name["dog.n.01"]
        mean = found.total[dog].sum(axis=0) / found.images[dog].sum()
        said = opened.query(
            "SELECT mean_logit, images, name FROM head_logit WHERE node = 'dog.n.01' ORDER BY head"
        ).rows
        assert [(row[0], row[1:]) for row in said] == [(value, (7, "")) for value in mean.tolist()]
        cards = opened.query("SELECT expert, heads, images FROM expert_card").rows
        assert cards == (("colours/animals", 4, 26),)
        canine = next(node for node in opened.nodes() if node.node == parents[by_name["dog.n.01"]])
        inherited = opened.query(
            f"SELECT logit FROM expert_label(0.5) WHERE node = '{canine.synset}' ORDER BY head"
        ).rows
        children = [by_name[name] for name in ("dog.n.01", "wolf.n.01") if parents[by_name[name]] == canine.node]
        means = [found.total[found.node == n].sum(axis=0) / found.images[found.node == n].sum() for n in children]
        assert np.allclose([value for (value,) in inherited], np.mean(means, axis=0), rtol=1e-14)


def test_a_card_says_which_answers_are_alike():
    card = FakeExpert("colours/animals", ANIMALS).card
    assert card.identity == FakeExpert("colours/animals", ANIMALS, named=False).card.identity
    assert card.identity != FakeExpert("colours/animals", ANIMALS[:2]).card.identity
    assert isinstance(card, ExpertCard)
