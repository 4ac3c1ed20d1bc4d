"""A hub that grew and shrank in random steps answers as one that was made from what is left: labels full of ties."""

import shutil

import numpy as np
import pytest

from fakes import TableModel, commit_label, plain_card, plain_synset
from mllctl.errors import HubReadOnly, NotInHub
from mllctl.graph import Graph
from mllctl.hub import Hub
from mllctl.hub.writing import change_hub, seal
from mllctl.images import Domain, SampleImage
from mllctl.label import compact_labels, growing, remove_images

NODES, WIDTH, STEPS = 12, 3, 7
DOMAINS = ("photo", "drawing")
VALUES = np.array([-1.0, -0.5, 0.0, 0.0, 0.5, 0.75])
VIEWS = ("precision", "precision_by_domain", "confusion")


class World:
    """A hub in `path`, and the embeddings of all models, images and captions that may ever be in it."""

    def __init__(self, path, seed):
        self.path = path
        self.random = np.random.default_rng(seed)
        self.images = 0
        Hub.create(path).close()
        self.synsets = tuple(plain_synset(node) for node in range(NODES))
        begin(path, self.synsets)
        with Hub.open(path) as hub:
            captions = hub.captions()
        self.models = [
            TableModel(plain_card(f"model/{m}"), {}, dict(zip(captions, self.vectors(NODES), strict=True)))
            for m in range(3)
        ]

    def vectors(self, count):
        return self.random.choice(VALUES, size=(count, WIDTH))

    def add_images(self):
        """A few images each of some nodes, some of which may have had none."""
        new = []
        for node in self.random.choice(NODES, size=3, replace=False):
            for _ in range(self.random.integers(1, 40)):
                self.images += 1
                domain = DOMAINS[self.random.integers(2)]
                new.append(SampleImage(f"/{self.images}", f"n{node:08d}", domain, f"{self.images}"))
        for model in self.models:
            model.images |= {image.uri: vector for image, vector in zip(new, self.vectors(len(new)), strict=True)}
        with change_hub(self.path) as change:
            change.add_images(new)

    def remove_some_images(self):
        with Hub.open(self.path) as hub:
            live = [image.image for image in hub.images()]
        if live:
            remove_images(self.path, self.random.choice(live, size=max(1, len(live) // 5), replace=False).tolist())

    def remove_a_node(self):
        with Hub.open(self.path) as hub:
            held = [node.synset for node in hub.nodes() if node.images]
            gone = [image.image for image in hub.images(synset=str(self.random.choice(held)))] if held else []
        remove_images(self.path, gone)

    def label_one(self):
        commit_label(self.path, self.models[self.random.integers(3)])

    def remove_a_model(self):
        with Hub.open(self.path) as hub:
            names = [model.card.name for model in hub.models()]
        if names:
            with change_hub(self.path) as change:
                change.remove_model(str(self.random.choice(names)))

    def compact(self):
        compact_labels(self.path)

    def label_all(self):
        for model in self.models:
            commit_label(self.path, model)

    def rebuild(self, path):
        """A hub of the images that are left, labelled from nothing."""
        Hub.create(path).close()
        begin(path, self.synsets)
        with Hub.open(self.path) as hub:
            left = [SampleImage(i.uri, f"n{i.node:08d}", i.domain, i.uri.strip("/")) for i in hub.images()]
        with change_hub(path) as change:
            change.add_images(left)
        for model in self.models:
            commit_label(path, model)
        return path


def begin(path, synsets):
    with change_hub(path) as change:
        for domain in DOMAINS:
            change.add_domain(Domain(domain, domain))
        change.set_graph(Graph(synsets, ()))


def answers(path):
    """What can be asked of a hub, with models by name and images by uri: ordinals may differ."""
    with Hub.open(path) as hub:
        uris = {image.image: image.uri for image in hub.images()}
        names = {model.model: model.card.name for model in hub.models()}
        evidence = np.flatnonzero(hub.evidence_nodes())
        random = np.random.default_rng(0)
        selections = [evidence, *(np.sort(random.permutation(evidence)[:size]) for size in (1, 2, 4, 7))]
        found = {}
        for model, name in sorted(names.items(), key=lambda pair: pair[1]):
            for n, chosen in enumerate(selections):
                by_order, by_masks = hub.hits(chosen, [model]), hub.hits_by_masks(chosen, [model])
                assert np.array_equal(by_order.hits, by_masks.hits)
                assert np.array_equal(by_order.images, by_masks.images)
                won = hub.winners(model, chosen)
                pairs = sorted(zip((uris[i] for i in won.image.tolist()), won.winner.tolist(), strict=True))
                found[name, n] = by_order.hits.tolist(), by_order.images.tolist(), pairs
            found[name, "overall"] = hub.overall_precision().get(model), hub.overall_hits(model)
        for view in VIEWS:
            found[view] = hub.query(f"FROM {view} ORDER BY ALL").rows
        kept = "SELECT s.* REPLACE (i.uri AS image) FROM similarity s JOIN sample i USING (image) ORDER BY ALL"
        found["similarity"] = hub.query(kept).rows
        found["states"] = sorted((model.card.name, model.state, model.labelled) for model in hub.models())
        return found


def whole_orders(path):
    """All rivals of each image in order, as SQL shows them; of a label that has not grown they are what was written."""
    with Hub.open(path) as hub:
        query = """
            SELECT m.name, i.uri, r.rivals
              FROM rival_order r JOIN model m USING (model) JOIN sample i USING (image)
          ORDER BY m.name, i.uri
        """
        return hub.query(query).rows


@pytest.mark.parametrize(("seed", "at_once"), [(0, 1 << 23), (1, 64), (2, 1 << 23), (3, 64), (4, 1)])
def test_a_hub_that_grew_answers_as_one_that_was_rebuilt(seed, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(growing, "CELLS_AT_ONCE", at_once)
    world = World(tmp_path / "grown", seed)
    world.add_images()
    world.label_all()
    steps = [
        world.add_images,
        world.add_images,
        world.remove_some_images,
        world.remove_a_node,
        world.label_one,
        world.label_all,
        world.remove_a_model,
        world.compact,
    ]
    parts = 0
    for _ in range(STEPS):
        steps[world.random.integers(len(steps))]()
        with Hub.open(world.path) as hub:
            parts = max([parts, *(len(hub.label_files(model.model)) for model in hub.models())])
    world.label_all()
    rebuilt = world.rebuild(tmp_path / "rebuilt")
    assert answers(world.path) == answers(rebuilt)
    compact_labels(world.path, [model.card.name for model in world.models])
    assert answers(world.path) == answers(rebuilt)
    assert whole_orders(world.path) == whole_orders(rebuilt)


def test_every_kind_of_growth_adds_a_part_and_touches_no_other_file(tmp_path):
    world = World(tmp_path / "hub", 11)
    world.add_images()
    world.label_all()
    kept = {path: path.read_bytes() for path in sorted((world.path / "labels").iterdir())}
    for grow in (world.add_images, world.remove_a_node):
        grow()
        world.label_all()
        now = {path: path.read_bytes() for path in (world.path / "labels").iterdir()}
        assert kept.items() <= now.items()
        assert len(now) == len(kept) + 2 * 3
        kept = now
    with Hub.open(world.path) as hub:
        assert [len(hub.label_files(model.model)) for model in hub.models()] == [3, 3, 3]
    # Nothing is new any more.
    before = (world.path / "manifest.json").read_bytes()
    world.label_all()
    assert (world.path / "manifest.json").read_bytes() == before
    assert compact_labels(world.path) == ["model/0", "model/1", "model/2"]
    assert compact_labels(world.path) == []
    with Hub.open(world.path) as hub:
        assert [len(hub.label_files(model.model)) for model in hub.models()] == [1, 1, 1]


def test_removing_the_last_images_of_all_nodes_leaves_a_hub_that_can_grow_again(tmp_path):
    world = World(tmp_path / "hub", 5)
    world.add_images()
    world.label_all()
    with Hub.open(world.path) as hub:
        everything = [image.image for image in hub.images()]
    remove_images(world.path, everything)
    with Hub.open(world.path) as hub:
        assert hub.overall_precision() == {}
        assert hub.query("FROM precision").rows == hub.query("FROM confusion").rows == ()
    world.add_images()
    world.label_all()
    assert answers(world.path) == answers(world.rebuild(tmp_path / "rebuilt"))


def test_a_node_that_comes_back_competes_again(tmp_path):
    world = World(tmp_path / "hub", 7)
    world.add_images()
    world.label_all()
    with Hub.open(world.path) as hub:
        back = hub.images()[0]
        images = [image for image in hub.images() if image.node == back.node]
    remove_images(world.path, [image.image for image in images])
    world.label_all()
    again = [SampleImage(i.uri, f"n{i.node:08d}", i.domain, i.uri.strip("/")) for i in images]
    with change_hub(world.path) as change:
        assert change.add_images(again) == len(again)
    world.label_all()
    assert answers(world.path) == answers(world.rebuild(tmp_path / "rebuilt"))


def test_a_label_of_several_parts_is_merged_before_it_is_sealed(tmp_path):
    world = World(tmp_path / "hub", 3)
    for _ in range(2):
        world.add_images()
        world.label_all()
    with pytest.raises(ValueError, match="several parts"):
        seal(world.path)
    compact_labels(world.path)
    before = answers(world.path)
    sealed = shutil.copytree(world.path, tmp_path / "sealed")
    seal(sealed)
    after = answers(sealed)
    for key in before:
        if key[0] not in ("model/0", "model/1", "model/2") or key[1] == "overall":
            assert after[key] == before[key]
        else:
            # A sealed hub may not know a winner, but never names a wrong one.
            assert after[key][:2] == before[key][:2]
            assert all(
                ours in (theirs, (theirs[0], -1)) for ours, theirs in zip(after[key][2], before[key][2], strict=True)
            )


def test_a_hub_that_cannot_be_changed_refuses(tmp_path):
    world = World(tmp_path / "hub", 1)
    world.add_images()
    world.label_all()
    with pytest.raises(NotInHub):
        compact_labels(world.path, ["model/9"])
    seal(world.path)
    for change in (lambda: compact_labels(world.path), lambda: remove_images(world.path, [0])):
        with pytest.raises(HubReadOnly):
            change()
